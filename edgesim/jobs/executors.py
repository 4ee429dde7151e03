"""Where jobs run. An executor is given calls that do not depend on each other; it knows nothing of handles or
keys."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, final

from .function import JobFunction

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .bench import Batch

VIEW_CACHE_BYTES = 64 * 2**20
"""Samples that an executor keeps ready by default: 5,000 colour images of 32x32. To make 100 of them takes 0.1 ms plain
and 4 ms rotated or blurred; a device's test view is read at every deployment."""


class View(Protocol):
    """A spec of samples: jobs are submitted with it, and get what it materialises."""

    @property
    def key(self) -> str:
        """Text that differs between views whose content differs."""

    def materialise(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return features (sample, ...) and labels (sample,) as arrays of its caller's own."""


def is_view(value: object) -> bool:
    """Whether a job's input is a view. (Asking the protocol would take 12 microseconds.)"""
    return hasattr(type(value), "materialise")


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a job function with values for handles; views are still views."""

    function: JobFunction[..., Any]
    inputs: tuple[Any, ...]
    params: dict[str, Any]
    seed: int | None


@dataclass(frozen=True, slots=True)
class Returned:
    """What a call returned."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """What a call raised."""

    error: Exception


class Executor(Protocol):
    """Runs calls; every implementation gives the same bits.

    Attributes
    ----------
    threads_per_job
        How many torch threads each call has.
    width
        How many calls it is worth giving it at a time.
    """

    @property
    def threads_per_job(self) -> int: ...  # noqa: D102

    @property
    def width(self) -> int: ...  # noqa: D102

    def execute(self, calls: Sequence[Call]) -> Iterator[tuple[int, Returned | Raised]]:
        """Run calls that do not depend on each other; yield ``(position, outcome)`` as they finish, in any
        order."""


@final
class InlineExecutor:
    """Runs calls one after the other in this process.

    Parameters
    ----------
    threads_per_job
        Torch threads, at least 1; the process's own number is restored after each call.
    view_cache_bytes
        How many bytes of materialised views to keep for the next call that reads the same.
    """

    width = 1

    def __init__(self, threads_per_job: int = 1, view_cache_bytes: int = VIEW_CACHE_BYTES) -> None:
        if threads_per_job < 1:
            raise ValueError(f"a job runs on at least one thread, not {threads_per_job}")
        self.threads_per_job = threads_per_job
        self._views = ViewCache(view_cache_bytes)

    def execute(self, calls: Sequence[Call]) -> Iterator[tuple[int, Returned | Raised]]:
        """See ``Executor``."""
        for position, call in enumerate(calls):
            yield position, run(call, self.threads_per_job, self._views)


def run(call: Call, threads: int, views: ViewCache) -> Returned | Raised:
    """Make one call on ``threads`` torch threads; only what is not an ``Exception`` (Ctrl-C) passes
    through."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        inputs = [views.batch(value) if is_view(value) else value for value in call.inputs]
        if call.seed is None:
            return Returned(call.function(*inputs, **call.params))
        return Returned(call.function(*inputs, seed=call.seed, **call.params))
    except Exception as error:
        return Raised(error)
    finally:
        torch.set_num_threads(before)


@final
class ViewCache:
    """Materialised views, those used last, up to a number of bytes; what is larger is made anew each time."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._held_bytes = 0
        self._batches: OrderedDict[str, Batch] = OrderedDict()

    def batch(self, view: View) -> Batch:
        """Return the samples of a view as tensors: features float32, labels int64. Not to be changed."""
        import torch

        key = view.key
        if (known := self._batches.get(key)) is not None:
            self._batches.move_to_end(key)
            return known
        x, y = view.materialise()
        batch = torch.from_numpy(x), torch.from_numpy(y)
        size = _size_bytes(batch)
        if size <= self._capacity_bytes:
            self._batches[key] = batch
            self._held_bytes += size
            while self._held_bytes > self._capacity_bytes:
                self._held_bytes -= _size_bytes(self._batches.popitem(last=False)[1])
        return batch


def _size_bytes(batch: Batch) -> int:
    return batch[0].nbytes + batch[1].nbytes
