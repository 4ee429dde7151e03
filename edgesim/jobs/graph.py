"""The graph of jobs: a job knows its inputs, a handle knows its job, and nothing else keeps a job alive.

References run from handle to job to the handles of its inputs; back from job to handles they are weak. So a
job that nobody wants any more vanishes with its last handle, and so does what only it needed. A job that has
run forgets its inputs: a value lives as long as somebody holds its handle.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, final

from ..errors import WorkFailure
from .function import JobFunction
from .handle import Label
from .keys import ResultKey, job_key

_PENDING = object()

WHOLE = ""
"""The part of a value that is all of it."""


@final
class Job:
    """A call of a job function that has not been made yet."""

    __slots__ = (
        "__weakref__", "_environment", "_handles", "flush", "function", "inputs", "key", "label", "params", "seed"
    )  # fmt: skip

    def __init__(
        self,
        function: JobFunction[..., Any],
        inputs: tuple[object, ...],
        params: dict[str, Any],
        seed: int | None,
        label: Label,
        environment: Callable[[], str],
        flush: Callable[[], None],
    ) -> None:
        self.function = function
        self.inputs = inputs
        self.params = params
        self.seed = seed
        self.label = label
        self.key: str | None = None
        self.flush = flush
        self._environment = environment
        self._handles: list[weakref.ref[JobHandle]] = []

    def handle(self, part: str, held: Held) -> JobHandle:
        """Make a handle of the value or of one of its attributes."""
        handle = JobHandle(self, part, held)
        self._handles.append(weakref.ref(handle))
        return handle

    def handles(self) -> list[JobHandle]:
        """The handles that somebody still holds."""
        return [handle for reference in self._handles if (handle := reference()) is not None]

    def is_ready(self) -> bool:
        """Whether all inputs have run, successfully or not."""
        return all(type(value) is not JobHandle or value.settled for value in self.inputs)

    def failed_input(self) -> WorkFailure | None:
        """The failure of an input, if one has failed."""
        for value in self.inputs:
            if type(value) is JobHandle and value.failure is not None:
                return value.failure
        return None

    def resolved_key(self) -> str:
        """Work out the key, and first those of all pending jobs that it needs; chains may be long, so no
        recursion."""
        stack = [self]
        while stack:
            top = stack[-1]
            if top.key is not None:
                stack.pop()
                continue
            unknown = [
                value.job for value in top.inputs if type(value) is JobHandle and value.job and value.job.key is None
            ]
            if unknown:
                stack += unknown
                continue
            top.key = job_key(
                top.function.name,
                top.function.digest(),
                top._environment(),
                [ResultKey(value.key) if type(value) is JobHandle else value for value in top.inputs],
                top.params,
                top.seed,
            )
            stack.pop()
        assert self.key is not None
        return self.key

    def settle(self, value: Any) -> None:
        """Give every handle its value and forget the inputs."""
        for handle in self.handles():
            handle.settle(value if handle.name == WHOLE else getattr(value, handle.name))
        self.forget()

    def fail(self, failure: WorkFailure) -> None:
        """Give every handle the failure and forget the inputs."""
        for handle in self.handles():
            handle.fail(failure)
        self.forget()

    def forget(self) -> None:
        """Let go of the inputs and of the handles."""
        self.inputs = ()
        self.params = {}
        self._handles = []


class Held:
    """How many bytes of values handles hold; a value that two handles hold counts twice."""

    __slots__ = ("total_bytes",)

    def __init__(self) -> None:
        self.total_bytes = 0


@final
class JobHandle:
    """The handle of a computing plane: pending, then either a value or a failure."""

    __slots__ = ("__weakref__", "_held", "_held_bytes", "_key", "_value", "failure", "job", "name")

    def __init__(self, job: Job | None, name: str, held: Held) -> None:
        self.job = job
        self.name = name
        self.failure: WorkFailure | None = None
        self._held = held
        self._held_bytes = 0
        self._key: str | None = None
        self._value: Any = _PENDING

    @property
    def settled(self) -> bool:
        """Whether the job has run, successfully or not."""
        return self.job is None

    @property
    def done(self) -> bool:
        """See ``Handle``."""
        return self._value is not _PENDING

    @property
    def key(self) -> str:
        """See ``Handle``."""
        if self._key is None:
            if self.job is None:
                assert self.failure is not None, "a handle with a value knows its key"
                raise self.failure
            self._key = part_key(self.job.resolved_key(), self.name)
        return self._key

    def value(self) -> Any:
        """See ``Handle``."""
        if self.job is not None:
            self.job.flush()
        if self.failure is not None:
            raise self.failure
        return self._value

    def part(self, name: str) -> JobHandle:
        """See ``Handle``."""
        if self.name != WHOLE:
            raise ValueError(f"{name!r} of {self.name!r}: only a whole value has parts")
        if self.job is not None:
            return self.job.handle(name, self._held)
        part = JobHandle(None, name, self._held)
        part.failure = self.failure
        if self.failure is None:
            part._key = part_key(self.key, name)
            part.settle(getattr(self._value, name))
        return part

    def settle(self, value: Any) -> None:
        """Take the value."""
        if self.job is not None:
            self._key = self.key
        self._value = value
        self._held_bytes = size_bytes(value)
        self._held.total_bytes += self._held_bytes
        self.job = None

    def fail(self, failure: WorkFailure) -> None:
        """Take the failure."""
        self.failure = failure
        self.job = None

    def __del__(self) -> None:
        self._held.total_bytes -= self._held_bytes

    def __repr__(self) -> str:
        state = "failed" if self.failure else "done" if self.done else "pending"
        return f"<{state} handle>"


def part_key(key: str, name: str) -> str:
    """The key of a part of the value with this key."""
    return f"{key}.{name}" if name else key


def size_bytes(value: Any) -> int:
    """Bytes of the tensors and arrays in a value: in containers and dataclasses too, everything else counts
    nothing."""
    if isinstance(value, float | int | str):
        return 0
    nbytes = getattr(value, "nbytes", None)
    if isinstance(nbytes, int):
        return nbytes
    if isinstance(value, dict):
        return sum(map(size_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(size_bytes, value))
    if is_dataclass(value) and not isinstance(value, type):
        return sum(size_bytes(getattr(value, field.name)) for field in fields(value))
    return 0
