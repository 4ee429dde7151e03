"""Fully connected networks evaluated side by side, or one on many views, by one batched matrix product a layer.

As in training side by side, the bits of an element depend on that element only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..models import Architecture
from .filled import filled_up
from .function import Element
from .layout import Layout, layout, sound
from .members import Weights
from .placement import current, put
from .shapes import EVALUATION_ROWS
from .trained import Evaluation

_ROWS_AT_A_TIME = {"cpu": 2048, "cuda": 65536}
"""Samples that go through networks side by side at a time: on a CPU so that they stay in its caches, on CUDA so that
they fit into its memory."""


class _Part(NamedTuple):
    """Some samples of an element."""

    place: int
    state: Weights
    samples: int  # the rows after so many are zeros
    x: Tensor  # (row, feature)
    y: Tensor  # (row,)


def evaluate(elements: Sequence[Element], *, architecture: Architecture) -> list[Evaluation | Exception]:
    """Evaluate networks side by side, or one on many views; see ``arithmetic.evaluate``."""
    shape = layout(architecture)
    results: list[Evaluation | Exception] = [Evaluation(0, 0.0, 0)] * len(elements)
    parts: dict[int, list[_Part]] = {}
    for place, state, views, _ in sound(shape, elements, results):
        for count, x, y, _ in views:
            for start in range(0, count, EVALUATION_ROWS):
                stop = start + EVALUATION_ROWS
                samples = min(count, stop) - start
                part = _Part(place, state, samples, x[start:stop], y[start:stop])
                parts.setdefault(filled_up(samples), []).append(part)
    with torch.inference_mode():
        rows_at_a_time = _ROWS_AT_A_TIME.get(current().type, 1)
        for rows, alike in sorted(parts.items()):  # sums of an element in an order that is its own
            at_a_time = max(1, rows_at_a_time // rows)
            for first in range(0, len(alike), at_a_time):
                some_parts = alike[first : first + at_a_time]
                for part, correct, loss_sum in zip(some_parts, *_scores(shape, some_parts, rows), strict=True):
                    before = results[part.place]
                    assert isinstance(before, Evaluation)
                    results[part.place] = Evaluation(
                        before.correct + correct, before.loss_sum + loss_sum, before.samples + part.samples
                    )
    return results


def _scores(shape: Layout, parts: Sequence[_Part], rows: int) -> tuple[list[int], list[float]]:
    """How many samples of each part are right, and their summed cross-entropy."""
    x = put(torch.stack([part.x for part in parts]))  # (part, row, feature)
    y = put(torch.stack([part.y for part in parts])).unsqueeze(1)  # (part, 1, row)
    stacks = shape.stacked([part.state for part in parts])
    weights, biases = stacks[::2], stacks[1::2]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = torch.baddbmm(bias, x, weight.transpose(1, 2)).relu_()
    logits = torch.baddbmm(biases[-1].transpose(1, 2), weights[-1], x.transpose(1, 2))  # (part, class, row)
    right = (logits.max(1, keepdim=True).indices == y).squeeze(1).cpu().numpy()  # the first class of the largest logit
    losses = logits.log_softmax(1).gather(1, y).squeeze(1).cpu().numpy()
    here = _here(tuple([part.samples for part in parts]), rows)
    correct = (right & here).sum(1)
    return correct.tolist(), (-np.where(here, losses, 0.0).sum(1, dtype=np.float64)).tolist()


@lru_cache(maxsize=16)
def _here(counts: tuple[int, ...], rows: int) -> npt.NDArray[np.bool_]:
    """Which rows are samples, (part, row)."""
    return np.arange(rows) < np.array(counts)[:, None]
