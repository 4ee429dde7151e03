"""Objects that somebody else keeps alive, by key: like a ``WeakValueDictionary``, at a third of its cost.

An object that goes tells the mapping so itself (``gone``, in its ``__del__``), so no callback has to know its key.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, TypeVar, final
from weakref import ref

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@final
class Held(Mapping[K, V]):
    """A mapping that keeps none of its values alive. Values must call ``gone`` when they go."""

    __slots__ = ("_refs",)

    def __init__(self) -> None:
        self._refs: dict[K, ref[V]] = {}

    def __getitem__(self, key: K) -> V:
        value = self._refs[key]()
        if value is None:
            raise KeyError(key)
        return value

    def get(self, key: K, default: Any = None) -> Any:
        """The value, or ``default`` where nobody holds it."""
        reference = self._refs.get(key)
        if reference is None:
            return default
        value = reference()
        return default if value is None else value

    def __contains__(self, key: object) -> bool:
        return key in self._refs

    def __iter__(self) -> Iterator[K]:
        return iter(list(self._refs))

    def __len__(self) -> int:
        return len(self._refs)

    def held(self) -> list[V]:
        """All values, in the order in which they were added."""
        return [value for reference in list(self._refs.values()) if (value := reference()) is not None]

    def add(self, key: K, value: V) -> None:
        """Add a value, or replace the one of that key."""
        self._refs[key] = ref(value)

    def gone(self, key: K) -> None:
        """The value of this key goes, or is to be here no more; harmless where it is not here."""
        self._refs.pop(key, None)
