"""Where jobs run. An executor is given batches of calls that do not depend on each other; it knows nothing of handles
or keys."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, final

from ..errors import EdgesimError
from . import placement
from .function import Element, JobFunction
from .keys import SEQUENTIAL
from .members import plain
from .placement import CPU, Placement

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .bench import Batch
    from .filled import FilledBatch

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


class Call(NamedTuple):
    """The inputs and the seed of one call: values for handles; views are still views."""

    inputs: tuple[Any, ...]
    seed: int | None


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of one job function with the same parameters, to be computed together; a call that runs alone is a batch
    of one.

    Attributes
    ----------
    function
        What is called.
    path
        ``sequential``, or the path of a fused calls.
    params
        The parameters that the calls share.
    each
        At least one; one where the path is sequential.
    """

    function: JobFunction[..., Any]
    path: str
    params: dict[str, Any]
    each: tuple[Call, ...]


@dataclass(slots=True)
class Returned:
    """What a call returned."""

    value: Any


@dataclass(slots=True)
class Raised:
    """What a call raised."""

    error: Exception

    @staticmethod
    def of(error: Exception | SystemExit) -> Raised:
        """What is told of an error: that a job wanted to end its process is its failure, and nobody else's end."""
        if isinstance(error, Exception):
            return Raised(error)
        failure = Exited(error.code)
        failure.__cause__ = error
        return Raised(failure)


class Exited(EdgesimError):
    """A job called ``sys.exit``."""

    def __init__(self, code: object) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        return f"it called sys.exit({self.code!r})"


Outcome = Returned | Raised


class Executor(Protocol):
    """Runs batches that do not depend on each other; every implementation gives the same bits.

    Attributes
    ----------
    threads_per_job
        How many torch threads each call has.
    placement
        The device of PyTorch's that calls compute on.
    slots
        How many batches it is worth having under way at a time, at least 1.
    workers
        How many batches it computes at the same time, at least 1.
    worker_s
        Seconds that other processes computed finished batches, by number, for whoever takes them out.
    """

    @property
    def worker_s(self) -> dict[int, float]: ...  # noqa: D102

    @property
    def threads_per_job(self) -> int: ...  # noqa: D102

    @property
    def placement(self) -> Placement: ...  # noqa: D102

    @property
    def slots(self) -> int: ...  # noqa: D102

    @property
    def workers(self) -> int: ...  # noqa: D102

    def start(self, ticket: int, calls: Calls) -> None:
        """Take a batch, under a number that no other batch under way has."""

    def finish(self) -> tuple[int, list[Outcome]]:
        """Wait until one of the batches under way has finished; return its number and the outcome of each call."""

    def abandon(self) -> None:
        """Forget the batches under way, whose outcomes nobody wants any more."""

    def close(self) -> None:
        """Give back what the executor holds; it is not used again."""


@final
class InlineExecutor:
    """Runs batches one after the other in this process.

    Parameters
    ----------
    threads_per_job
        Torch threads, at least 1; the process's own number is restored after each calls.
    view_cache_bytes
        How many bytes of materialised views to keep for the next call that reads the same.
    placement
        The device of PyTorch's that jobs compute on, but for light ones, which stay on the CPU.
    """

    slots = 1
    workers = 1

    def __init__(
        self, threads_per_job: int = 1, view_cache_bytes: int = VIEW_CACHE_BYTES, placement: Placement = CPU
    ) -> None:
        self.worker_s: dict[int, float] = {}
        if threads_per_job < 1:
            raise ValueError(f"a job runs on at least one thread, not {threads_per_job}")
        self.threads_per_job = threads_per_job
        self.placement = placement
        self._views = ViewCache(view_cache_bytes)
        self._waiting: deque[tuple[int, Calls]] = deque()

    def start(self, ticket: int, calls: Calls) -> None:
        """See ``Executor``."""
        self._waiting.append((ticket, calls))

    def finish(self) -> tuple[int, list[Outcome]]:
        """See ``Executor``."""
        ticket, calls = self._waiting.popleft()
        return ticket, run(calls, self.threads_per_job, self._views, self.placement.device)

    def abandon(self) -> None:
        """See ``Executor``."""
        self._waiting.clear()

    def close(self) -> None:
        """See ``Executor``; there is nothing to give back."""


def run(calls: Calls, threads: int, views: ViewCache, device: str = "cpu") -> list[Outcome]:
    """Compute a batch on ``threads`` torch threads and on a device; only Ctrl-C passes through."""
    import torch

    before = torch.get_num_threads()
    if before != threads:
        torch.set_num_threads(threads)
    try:
        if device == "cpu" or calls.function.light:
            return _run(calls, views)
        with placement.on(device):
            outcomes = _run(calls, views)
            return list(map(_back, outcomes))
    finally:
        if before != threads:
            torch.set_num_threads(before)


def _back(outcome: Outcome) -> Outcome:
    """Bring what a call returned from the device to the CPU."""
    if isinstance(outcome, Raised):
        return outcome
    try:
        return Returned(placement.back(outcome.value))
    except Exception as error:
        return Raised(error)


def _run(calls: Calls, views: ViewCache) -> list[Outcome]:
    if calls.path == SEQUENTIAL:
        return [_run_alone(calls, call, views) for call in calls.each]
    return _run_fused(calls, views)


def _run_alone(calls: Calls, call: Call, views: ViewCache) -> Outcome:
    from .contiguous import contiguous

    try:
        inputs = views.inputs(call)
        if not calls.function.stacks:
            inputs = tuple(map(plain, inputs))
        seed = {} if call.seed is None else {"seed": call.seed}
        return Returned(contiguous(calls.function(*inputs, **seed, **calls.params)))
    except (Exception, SystemExit) as error:
        return Raised.of(error)


def _run_fused(calls: Calls, views: ViewCache) -> list[Outcome]:
    """What goes wrong with one element is told of that element; the others are computed without it."""
    from .contiguous import contiguous

    elements: list[Element] = []
    missing: dict[int, Exception] = {}
    for place, call in enumerate(calls.each):
        try:
            elements.append((views.inputs(call), call.seed))
        except (Exception, SystemExit) as error:
            missing[place] = Raised.of(error).error
    values = _values(calls, elements)
    for place, mistake in missing.items():  # in rising order: each finds its place
        values.insert(place, mistake)
    return [Raised(value) if isinstance(value, Exception) else Returned(contiguous(value)) for value in values]


def _values(calls: Calls, elements: list[Element]) -> list[Any]:
    """Compute elements together; where they fail as a batch, for want of memory or because of one of them, each alone,
    which gives the same bits."""
    assert calls.function.fused is not None
    try:
        return calls.function.fused.run(elements, **calls.params)
    except (Exception, SystemExit) as error:
        if len(elements) == 1:
            return [Raised.of(error).error]
    return [value for element in elements for value in _values(calls, [element])]


@final
class ViewCache:
    """Materialised views, those used last, up to a number of bytes; what is larger is made anew each time."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._held_bytes = 0
        self._batches: OrderedDict[str, FilledBatch] = OrderedDict()

    def inputs(self, call: Call) -> tuple[Any, ...]:
        """Return the inputs of a call with samples for views. (Asking the protocol would take 12 microseconds.)"""
        return tuple([self.batch(value) if hasattr(type(value), "materialise") else value for value in call.inputs])

    def batch(self, view: View) -> Batch:
        """Return the samples of a view as tensors: features float32, labels int64. Not to be changed."""
        from .filled import FilledBatch

        key = view.key
        if (known := self._batches.get(key)) is not None:
            self._batches.move_to_end(key)
            return known
        batch = FilledBatch.of(*view.materialise())
        size = batch.nbytes
        if size <= self._capacity_bytes:
            self._batches[key] = batch
            self._held_bytes += size
            while self._held_bytes > self._capacity_bytes:
                self._held_bytes -= self._batches.popitem(last=False)[1].nbytes
        return batch
