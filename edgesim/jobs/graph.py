"""The graph of jobs: a job knows its inputs, a handle knows its job, and nothing else keeps a job alive.

References run from handle to job to the handles of its inputs; back from job to handles they are weak. So a
job that nobody wants any more vanishes with its last handle, and so does what only it needed. A job that has
run forgets its inputs: a value lives as long as somebody holds its handle.
"""

from __future__ import annotations

import weakref
from typing import Any, Protocol, final

from ..errors import WorkFailure
from .handle import Label
from .keys import ResultKey
from .kinds import Kind
from .results import Result, Results

WHOLE = ""
"""The part of a value that is all of it."""

Group = Kind | None
"""Jobs of one group are computed in one batch; None is that of jobs that run alone."""


class Home(Protocol):
    """The plane that a job was submitted to."""

    def unwanted(self, job: Job) -> None:
        """Nobody holds the job any more."""

    def demand(self, job: Job) -> None:
        """Run what is pending and this job, even if an earlier process has run it already."""


@final
class Job:
    """A call of a job function that has not been made yet.

    Attributes
    ----------
    number
        In the order of submission.
    kind
        What it has in common with others: its function and its parameters, and how it is computed.
    dormant
        Whether it was run by an earlier process and nobody has needed its value since: it is not run again unless
        somebody does.
    demanded
        Whether somebody did.
    """

    __slots__ = (
        "__weakref__", "_handles", "demanded", "dormant", "home", "inputs", "key", "kind", "label", "number", "seed"
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        kind: Kind,
        inputs: tuple[object, ...],
        seed: int | None,
        label: Label,
        home: Home,
    ) -> None:
        self.number = number
        self.kind = kind
        self.inputs = inputs
        self.seed = seed
        self.label = label
        self.key: str | None = None
        self.dormant = False
        self.demanded = False
        self.home = home
        self._handles: list[weakref.ref[JobHandle]] = []

    def __del__(self) -> None:
        if self._handles:  # else it has been settled
            self.home.unwanted(self)

    def handle(self, part: str, results: Results) -> JobHandle:
        """Make a handle of the value or of one of its attributes."""
        handle = JobHandle(self, part, results)
        self._handles.append(weakref.ref(handle))
        return handle

    def group(self) -> Group:
        """The jobs that are computed together with it."""
        return self.kind.group

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
        while self.key is None:
            top = stack[-1]
            given: list[object] = []
            unknown: list[Job] = []
            for value in top.inputs:
                if type(value) is not JobHandle:
                    given.append(value)
                elif value.job is None or value.job.key is not None:
                    given.append(ResultKey(value._key or value.key))
                else:
                    unknown.append(value.job)
            if unknown:
                stack += unknown
                continue
            if top.key is None:
                top.key = top.kind.key(given, top.seed)
            stack.pop()
        return self.key

    def open_handles(self) -> list[JobHandle]:
        """The handles that somebody still holds and that wait for a result."""
        return [handle for held in self._handles if (handle := held()) is not None and handle.job is not None]

    def settle(self, value: Any, results: Results) -> None:
        """Give every handle that waits its result and forget the inputs."""
        key = self.key
        assert key is not None
        function, shared = self.kind.function, self.label.shared
        for handle in self.open_handles():
            name = handle.name
            if name == WHOLE:
                handle.settle(results.take(key, function, value, shared))
            else:
                handle.settle(results.take(f"{key}.{name}", function, getattr(value, name), shared))
        self.forget()

    def fail(self, failure: WorkFailure) -> None:
        """Give every handle the failure and forget the inputs."""
        for handle in self.open_handles():
            handle.fail(failure)
        self.forget()

    def forget(self) -> None:
        """Let go of the inputs and of the handles."""
        self.inputs = ()
        self._handles.clear()


@final
class JobHandle:
    """The handle of a computing plane: pending, then either a result or a failure."""

    __slots__ = ("__weakref__", "_key", "_result", "_results", "failure", "job", "name")

    def __init__(self, job: Job | None, name: str, results: Results) -> None:
        self.job = job
        self.name = name
        self.failure: WorkFailure | None = None
        self._results = results
        self._key: str | None = None
        self._result: Result | None = None

    @property
    def done(self) -> bool:
        """See ``Handle``."""
        return self._result is not None

    @property
    def key(self) -> str:
        """See ``Handle``."""
        if self._key is None:
            if self.job is None:
                assert self.failure is not None, "a handle with a value knows its key"
                raise self.failure
            self._key = part_key(self.job.resolved_key(), self.name)
        return self._key

    @property
    def input(self) -> Any:
        """The value, for the job that needs it; there must be one."""
        assert self._result is not None
        return self._result.value

    def value(self) -> Any:
        """See ``Handle``."""
        if self.job is not None:
            self.job.home.demand(self.job)
        if self.failure is not None:
            raise self.failure
        assert self._result is not None
        return self._results.read(self._result)

    def part(self, name: str) -> JobHandle:
        """See ``Handle``."""
        if self.name != WHOLE:
            raise ValueError(f"{name!r} of {self.name!r}: only a whole value has parts")
        if self.job is not None:
            return self.job.handle(name, self._results)
        part = JobHandle(None, name, self._results)
        part.failure = self.failure
        if self._result is not None:
            part._key = part_key(self.key, name)
            part._result = self._results.part(self._result, part._key, name)
        return part

    def settle(self, result: Result) -> None:
        """Take the result."""
        self._key = result.key
        self._result = result
        self.job = None

    def fail(self, failure: WorkFailure) -> None:
        """Take the failure."""
        self.failure = failure
        self.job = None

    def __repr__(self) -> str:
        state = "failed" if self.failure else "done" if self.done else "pending"
        return f"<{state} handle>"


def part_key(key: str, name: str) -> str:
    """The key of a part of the value with this key; ``Job.settle`` writes it out."""
    return f"{key}.{name}" if name else key
