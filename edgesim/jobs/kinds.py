"""What many jobs have in common: a job function with its parameters, and what follows from the two alone.

A round's jobs are of one kind. How they are computed, and the beginning of their keys, is worked out once for all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from ..models import Architecture
from .function import JobFunction
from .keys import SEQUENTIAL, environment, job_key, key_head
from .placement import CPU, Placement

MOST_KINDS = 1024
"""Kinds that are remembered; with more, all are worked out anew."""

_CONSTANTS = (str, int, float, bool, type(None), bytes, Architecture)
"""Types whose values never change, so that the same object always is the same parameter."""


@final
class Kind:
    """A job function with its parameters.

    Attributes
    ----------
    function
        What is called.
    params
        By name.
    path
        How its jobs are computed; part of their keys.
    group
        Itself, where its jobs are computed in batches; None where each runs alone.
    """

    __slots__ = ("_head", "_placement", "_threads", "function", "group", "params", "path")

    def __init__(
        self, function: JobFunction[..., Any], params: dict[str, Any], threads_per_job: int, placement: Placement
    ) -> None:
        self.function = function
        self.params = params
        # Batches on a CPU are computed on one thread, on which their bits have been tested.
        tested = placement.kind != "cpu" or threads_per_job == 1
        self.path = function.path(params, placement.kind) if tested else SEQUENTIAL
        self.group = None if self.path == SEQUENTIAL else self
        self._threads = threads_per_job
        self._placement = placement
        self._head: hashlib.blake2b | None = None

    @property
    def is_light(self) -> bool:
        """Whether its jobs cost less than handing them to another process."""
        return self.function.is_light(self.path, self.params)

    def key(self, inputs: Sequence[object], seed: int | None) -> str:
        """The key of one of its jobs; see :func:`~edgesim.jobs.keys.job_key`."""
        if self._head is None:
            surroundings = environment(self._threads, str(self._placement))
            self._head = key_head(self.function.name, self.function.digest(), surroundings, self.params, self.path)
        return job_key(self._head, inputs, seed)


@final
class Kinds:
    """The kinds of the jobs of one plane: equal parameters are one kind, as far as that is easy to see.

    Parameters
    ----------
    threads_per_job
        Torch threads that each job has.
    placement
        The device that computes.
    """

    def __init__(self, threads_per_job: int = 1, placement: Placement = CPU) -> None:
        self._threads = threads_per_job
        self._placement = placement
        # By the very objects that were given, which are kept, so that no others take their place in memory ...
        self._by_identity: dict[tuple[object, ...], tuple[Kind, tuple[object, ...]]] = {}
        self._by_value: dict[tuple[object, ...], Kind] = {}  # ... and by what they are.

    def of(self, function: Callable[..., Any], params: dict[str, Any]) -> Kind:
        """The kind of a job.

        Raises
        ------
        TypeError
            The function is not marked with :func:`~edgesim.jobs.job`, or does not take these parameters.
        """
        values = tuple(params.values())
        same = (function, tuple(params), tuple(map(id, values)))
        if (known := self._by_identity.get(same)) is not None:
            return known[0]
        if not isinstance(function, JobFunction):
            raise TypeError(f"{function!r} is not a job: mark it with @edgesim.job")
        function.check_parameters(params)
        exact = (function, *_exact(params).items())
        kind = self._by_value.get(exact)
        if kind is None:
            if len(self._by_value) >= MOST_KINDS:
                self._by_value.clear()
            fixed = {name: as_given(value) for name, value in params.items()}
            self._by_value[exact] = kind = Kind(function, fixed, self._threads, self._placement)
        if all(type(value) in _CONSTANTS for value in values):
            if len(self._by_identity) >= MOST_KINDS:
                self._by_identity.clear()
            self._by_identity[same] = kind, values
        return kind


def as_given(value: Any) -> Any:
    """A copy of lists and dicts, in each other and in tuples, so that it says later what it says now."""
    if type(value) in (list, tuple):
        return type(value)(map(as_given, value))
    if type(value) is dict:
        return {key: as_given(item) for key, item in value.items()}
    return value


def _exact(params: Mapping[str, Any]) -> dict[str, object]:
    return {name: (type(params[name]), _distinct(params[name])) for name in sorted(params)}


def _distinct(value: Any) -> object:
    """Something hashable that differs where encodings do, which 0.0 and -0.0 do not; itself alone where that is hard
    to say. No key is asked for: it may be the hash of a file."""
    if value is None or isinstance(value, str | int | bytes):
        return value
    if type(value) is float:
        return value.hex()
    if isinstance(value, list | tuple):
        return tuple((type(item), _distinct(item)) for item in value)
    return repr(value) if type(value) is Architecture else object()
