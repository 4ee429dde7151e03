"""The results that somebody holds, by key: handles of equal keys share one, and what all hold is counted in bytes.

A ``Store`` keeps results longer than handles do: the journal of a run, a cache that runs share.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache, partial
from math import inf
from typing import TYPE_CHECKING, Any, Protocol, final

from .function import JobFunction
from .held import Held
from .members import Member, Stack, plain

if TYPE_CHECKING:
    from .overflow import Overflow

_NOT_LOADED = object()

Load = Callable[[], Any]
"""Reads a value from where it is stored."""


@final
class Loaded:
    """A ``Load`` of a value that is in memory already, and is nowhere to be read from a second time."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self) -> Any:
        """Return it."""
        return self.value


ROOM = 0.8
"""Part of the memory that is filled again after results had to make room, so that not every one makes room anew."""


@final
class Result:
    """A value and its key. It lives as long as a handle holds it.

    Attributes
    ----------
    key
        The Merkle key of the value.
    function
        What computed it, or the whole of which it is a part.
    shared
        Whether other learners, runs and points of a sweep are likely to want it.
    """

    __slots__ = ("__weakref__", "_load", "_results", "_stored", "_value", "function", "key", "nbytes", "shared")

    def __init__(
        self,
        key: str,
        function: JobFunction[..., Any],
        results: Results,
        shared: bool = False,
        value: Any = _NOT_LOADED,
        load: Load | None = None,
    ) -> None:
        self.key = key
        self.function = function
        self.shared = shared
        self._results = results
        self._load = load
        self._stored = load
        self._value = value
        self.nbytes = 0 if load is not None else value.nbytes if type(value) is Member else size_bytes(value)
        results.total_bytes += self.nbytes

    @property
    def value(self) -> Any:
        """The value; read from where it is stored when it is first asked for."""
        if self._load is not None:
            self._value = self._load()
            self._load = None
            self._count()
        return self._value

    def take_part(self, name: str, key: str) -> Result:
        """Return the result that is an attribute of this one, which is not loaded for it."""
        part = self._results.take(key, self.function, getattr(self.peek(), name), self.shared)
        if self._stored is not None and part._stored is None:
            part._stored = partial(_part, self._stored, name)  # to let go of it needs no file of its own
        return part

    def peek(self) -> Any:
        """Return the value without keeping it in memory, where it is stored."""
        return self._value if self._load is None else self._load()

    def unload(self, overflow: Overflow) -> None:
        """Let go of the value, which is read again when somebody asks for it; where no file can hold it, it stays."""
        if self._load is None:
            self._stored = self._stored or overflow.write(self)
            if self._stored is not None:
                self._load = self._stored
                self._value = _NOT_LOADED
                self._results.total_bytes -= self.nbytes
                self.nbytes = 0

    def _count(self) -> None:
        self.nbytes = size_bytes(self._value)
        self._results.total_bytes += self.nbytes

    def __del__(self) -> None:
        results = self._results
        results.total_bytes -= self.nbytes
        results.live.gone(self.key)


class Store(Protocol):
    """Keeps results by key."""

    @property
    def remembers(self) -> bool:
        """Whether it holds results of an earlier process, so that a job may be found whose inputs are not there."""

    def find(self, key: str, function: JobFunction[..., Any], *, shared: bool) -> Callable[[], Any] | None:
        """Return what reads the value with this key, or None where it is not kept."""

    def found(self, result: Result) -> None:
        """Take note of a result that was found here, and that somebody holds now."""

    def was_computed(self, key: str) -> bool:
        """Whether the value was computed once and is not kept: nobody needed it any more."""

    def put(self, result: Result) -> None:
        """Take note of a result that has just been computed."""

    def claim(self, key: str) -> None:
        """Tell that a job which other runs are likely to want will be computed here; wait while another process
        computes it. It may be found afterwards."""

    def release(self, key: str) -> None:
        """Tell that such a job has been settled, or will not be; harmless where it was not claimed."""

    def keep(self, result: Result) -> None:
        """Keep a result for good: somebody outside of the work plane has read it."""

    def tick(self, live: Mapping[str, Result]) -> None:
        """A moment between two jobs, with all results that somebody holds: time to write, if it is time."""

    def close(self, live: Mapping[str, Result]) -> None:
        """Write what there is to write; nothing is asked or told any more. Closing twice is harmless."""


@final
class Results:
    """All results that handles of one plane hold.

    Attributes
    ----------
    total_bytes
        Of their tensors and arrays, each result counted once.
    live
        By key.
    overflow
        Where results go that memory has no room for; None to keep them in memory whatever they take.
    memory_bytes
        What they may take.
    """

    def __init__(self, store: Store | None = None, overflow: Overflow | None = None, memory_bytes: float = inf) -> None:
        self.total_bytes = 0
        self.memory_bytes = memory_bytes
        self.overflow = overflow
        self.live: Held[str, Result] = Held()
        self.store = store
        self._thin: list[weakref.ref[Stack]] = []  # stacks that few need any more

    def take(self, key: str, function: JobFunction[..., Any], value: Any, shared: bool) -> Result:
        """Take a value that has just been computed; where the key is known already, its result is returned."""
        known: Result | None = self.live.get(key)
        if known is not None:
            return known
        if type(value) is Member and value.stack is not None:
            value.stack.watch(self._thin)
        result = Result(key, function, self, shared, value)
        self.live.add(key, result)
        if self.store is not None:
            self.store.put(result)
        return result

    def make_room(self) -> None:
        """Let go of stacks that few need any more; where values take too much memory, write some to files, those that
        were computed longest ago first."""
        while self._thin:
            stack = self._thin.pop()()
            if stack is not None:
                stack.dissolve()
        if self.total_bytes <= self.memory_bytes or self.overflow is None:
            return
        for result in self.live.held():
            if self.total_bytes <= ROOM * self.memory_bytes:
                break
            if result.nbytes:
                result.unload(self.overflow)

    def find(self, key: str, function: JobFunction[..., Any], *, shared: bool) -> Result | None:
        """Return the result with this key, if somebody holds it or it is stored."""
        result: Result | None = self.live.get(key)
        # A store that remembers nothing of an earlier process has at most what runs have in common.
        if result is None and self.store is not None and (shared or self.store.remembers):
            load = self.store.find(key, function, shared=shared)
            if load is not None:
                if type(load) is Loaded:  # it counts at once, and has a file of its own where memory is short
                    result = Result(key, function, self, shared, load.value)
                else:
                    result = Result(key, function, self, shared, load=load)
                self.live.add(key, result)
                self.store.found(result)
        return result

    def part(self, whole: Result, key: str, name: str) -> Result:
        """Return the result that is an attribute of another."""
        part = whole.take_part(name, key)
        self.make_room()  # parts are asked for between flushes too: by thousands of devices at one time
        return part

    def read(self, result: Result) -> Any:
        """Return a value to somebody outside of the work plane, whose decisions or tables may hang on it."""
        value = result.value
        if not result.nbytes:  # numbers, which every store keeps anyway
            return value
        value = plain(value)
        if self.store is not None:
            self.store.keep(result)
        self.make_room()
        return value


def _part(load: Load, name: str) -> Any:
    return getattr(load(), name)


def size_bytes(value: Any) -> int:
    """Bytes of the tensors and arrays in a value: in containers and dataclasses too, everything else counts
    nothing."""
    if isinstance(value, _WEIGHTLESS):
        return 0
    if isinstance(value, dict):
        return sum(map(size_bytes, value.values()))
    if isinstance(value, _SEQUENCES):
        return sum(map(size_bytes, value))
    try:
        nbytes = getattr(value, "nbytes", None)
    except RuntimeError:  # of a sparse tensor: the numbers that are not zero
        nbytes = value._nnz() * value.element_size()
    if type(nbytes) is int:
        return nbytes
    kind: Any = type(value)
    return sum(size_bytes(getattr(value, name)) for name in _fields(kind))


_WEIGHTLESS = (float, int, str, type)
_SEQUENCES = (list, tuple)


@lru_cache(maxsize=256)
def _fields(kind: type[object]) -> tuple[str, ...]:
    """The fields of a dataclass; of anything else, none."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()
