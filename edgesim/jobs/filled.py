"""Samples as networks side by side take them: rows of numbers, filled up with rows of zeros to a multiple of ``ROWS``.

How far depends on the number of samples and on nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .bench import Batch

ROWS = 8
"""Samples are filled up to a multiple of so many: more jobs have batches of one size, at the cost of a few zeros."""


class Filled(NamedTuple):
    """Samples and rows of zeros.

    Attributes
    ----------
    samples
        How many there are; the rows after them are zeros.
    x
        (row, feature).
    y
        (row,); zero in the rows of zeros.
    labels
        The least and the largest label, of at least one sample.
    """

    samples: int
    x: Tensor
    y: Tensor
    labels: tuple[int, int]


class FilledBatch(tuple[Tensor, Tensor]):
    """A batch that is in memory as the first rows of a filled one."""

    filled: Filled

    @classmethod
    def of(cls, x: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> FilledBatch:
        """The batch of samples, (sample, ...), and their labels, (sample,); takes the arrays over."""
        count = len(y)
        rows = filled_up(count)
        all_x, all_y = (x, y) if rows == count else (_with_zeros(x, rows), _with_zeros(y, rows))
        batch = cls((torch.from_numpy(all_x[:count]), torch.from_numpy(all_y[:count])))
        flat = all_x if all_x.ndim == 2 else all_x.reshape(rows, prod(x.shape[1:]))
        batch.filled = Filled(count, torch.from_numpy(flat), torch.from_numpy(all_y), _range(y))
        return batch

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.filled.x.nbytes + self.filled.y.nbytes


def filled_up(count: int) -> int:
    """How many rows so many samples take.

    Examples
    --------
    >>> filled_up(0), filled_up(1), filled_up(8), filled_up(20)
    (0, 8, 8, 24)
    """
    return -(-count // ROWS) * ROWS


def filled(batch: Batch) -> Filled:
    """The rows of a batch."""
    if type(batch) is FilledBatch:
        return batch.filled
    x, y = batch
    return _filled(x if x.dim() == 2 else x.flatten(1), y, _range(y.numpy()))


def joined(parts: Sequence[Filled]) -> Filled:
    """The samples of some, at least one, one after the other."""
    if len(parts) == 1:
        return parts[0]
    x = torch.cat([part.x[: part.samples] for part in parts])
    y = torch.cat([part.y[: part.samples] for part in parts])
    return _filled(x, y, (min([part.labels[0] for part in parts]), max([part.labels[1] for part in parts])))


def _filled(x: Tensor, y: Tensor, labels: tuple[int, int]) -> Filled:
    count = y.size(0)
    missing = filled_up(count) - count
    if missing:
        x, y = torch.cat([x, x.new_zeros(missing, x.size(1))]), torch.cat([y, y.new_zeros(missing)])
    return Filled(count, x, y, labels)


def _range(labels: npt.NDArray[np.int64]) -> tuple[int, int]:
    return (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)


def _with_zeros(array: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    longer = np.zeros((rows, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer
