"""Load balancing of the selector during end-to-end training: without it, a few modules take everything."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from .selector import top_k_gates

Balance = Literal["shazeer", "switch", "none"]


def balance_loss(kind: Balance, clean: Tensor, deviation: Tensor, noisy: Tensor, k: int) -> Tensor:
    """How unevenly one layer's modules are used by a batch; 0 is even.

    Parameters
    ----------
    kind
        ``shazeer``: CV^2 of importance plus CV^2 of load (Shazeer et al. 2017, Eq. 7 and 11), the paper's reference;
        ``switch``: n sum_i f_i p_i - 1 (Fedus et al. 2021, Eq. 4); ``none``: 0.
    clean
        Logits without noise, (batch, module).
    deviation
        Standard deviation of their noise, (batch, module).
    noisy
        Logits as routed by, (batch, module).
    k
        Active modules.
    """
    if kind == "none" or k >= clean.shape[1]:
        return clean.new_zeros(())
    gates = top_k_gates(noisy, k)
    if kind == "switch":
        share = (gates > 0).float().mean(0) / k  # of the assignments that go to each module
        return clean.shape[1] * (share * noisy.softmax(1).mean(0)).sum() - 1
    return _squared_variation(gates.sum(0)) + _squared_variation(_smooth_load(clean, deviation, noisy, k).sum(0))


def _smooth_load(clean: Tensor, deviation: Tensor, noisy: Tensor, k: int) -> Tensor:
    """Probability that each module is among the best ``k`` if its own noise were drawn anew. (batch, module)"""
    best = noisy.topk(k + 1, dim=1).values
    inside = noisy >= best[:, k - 1 : k]
    bar = torch.where(inside, best[:, k : k + 1], best[:, k - 1 : k])  # k-th best of the others
    return 0.5 * (1 + torch.erf((clean - bar) / deviation / math.sqrt(2)))


def _squared_variation(values: Tensor) -> Tensor:
    """(standard deviation / mean)^2"""
    return values.var(unbiased=False) / (values.mean() ** 2 + 1e-10)
