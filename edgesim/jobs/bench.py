"""A network with storage, into which jobs copy weights: one per architecture, process and thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..models import Architecture, State, instantiate, named_tensors, set_trainable
from . import placement

Batch = tuple[Tensor, Tensor]
"""Samples as a job gets them: features float32 (sample, ...), labels int64 (sample,)."""

_KEPT = 16


@final
class Bench:
    """One network to train and evaluate on; what a job leaves in it, the next one overwrites.

    Attributes
    ----------
    module
        The network, on ``device``.
    device
        Where it computes; weights come from the CPU and go back there.
    """

    def __init__(self, architecture: Architecture, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.module = instantiate(architecture, seed=0).to(self.device)
        named = dict(named_tensors(self.module))
        self._names = list(named)
        self._tensors = list(named.values())
        kept = {id(tensor) for tensor in self._tensors}
        loose = [buffer for buffer in self.module.buffers() if id(buffer) not in kept]
        self._loose = loose  # buffers that are no part of a state: every job starts from them as they were made
        self._made = [buffer.clone() for buffer in loose]
        self._mode: tuple[str, tuple[str, ...] | None] | None = None
        self._trainable: list[nn.Parameter] = []
        self._norms = [layer for layer in self.module.modules() if isinstance(layer, _BatchNorm)]

    def load(self, state: State) -> None:
        """Copy weights in.

        Raises
        ------
        ValueError
            They are not those of this network.
        """
        if state.keys() != set(self._names):
            strange = sorted(state.keys() ^ set(self._names))
            raise ValueError(f"these weights are not of this network: {', '.join(strange[:3])}, {len(strange)} in all")
        with torch.no_grad():
            torch._foreach_copy_(self._tensors, [state[name] for name in self._names])
            if self._loose:
                torch._foreach_copy_(self._loose, self._made)

    def state(self) -> State:
        """Copy weights out."""
        if self.device.type != "cpu":
            return {name: tensor.detach().cpu() for name, tensor in zip(self._names, self._tensors, strict=True)}
        with torch.no_grad():
            return {name: tensor.clone() for name, tensor in zip(self._names, self._tensors, strict=True)}

    def put(self, tensor: Tensor) -> Tensor:
        """Return samples or labels where the network is; themselves, if they are there."""
        return tensor.to(self.device)

    def train(self, trainable: Sequence[str] | None = None) -> list[Tensor]:
        """Go into train mode and return the parameters to train; see ``set_trainable``."""
        mode = ("train", None if trainable is None else tuple(trainable))
        if self._mode != mode:  # walking through all layers takes longer than a step of a small network
            self._mode = None
            self._trainable = set_trainable(self.module, trainable)
            self._mode = mode
        return list(self._trainable)

    def evaluate(self) -> None:
        """Go into evaluation mode."""
        if self._mode != ("eval", None):
            self._mode = None
            self.module.eval()
            self._mode = ("eval", None)

    def moving_norms(self) -> list[nn.Module]:
        """The batch norms that would normalise by their batch."""
        return [layer for layer in self._norms if layer.training]


@lru_cache(maxsize=_KEPT)
def _bench(architecture: Architecture, device: str, thread: int) -> Bench:
    return Bench(architecture, device)


def bench(architecture: Architecture) -> Bench:
    """The bench of this thread for a network, where the job of this thread computes; the last 16 are kept."""
    return _bench(architecture, str(placement.current()), threading.get_ident())


def is_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether no tensor holds a NaN or an infinity."""
    for tensor in tensors:
        # A sum is ten times faster; only where it overflows or is NaN are the numbers looked at.
        if tensor.is_floating_point() and not isfinite(tensor.sum().item()) and not bool(tensor.isfinite().all()):
            return False
    return True
