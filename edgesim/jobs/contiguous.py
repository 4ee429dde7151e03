"""Values in the one layout that files and other processes give them back in.

In which order a tensor's numbers lie in memory decides in which order they are summed, and so the last bits of what is
computed of it. They must not depend on where a value has been.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from .members import Member

_AS_THEY_ARE = frozenset({float, int, bool, str, bytes, type(None), Member})
"""Types without tensors, and the members of stacks, which lie in order."""


def contiguous(value: Any) -> Any:
    """The value, in which tensors and arrays that do not lie in the order of their indices are replaced by copies that
    do. The value itself, where all do; what it was made of is not changed."""
    return value if _lies_in_order(value) else _in_order(value)


def _lies_in_order(value: Any) -> bool:
    kind: Any = type(value)
    if kind in _AS_THEY_ARE:
        return True
    if kind is torch.Tensor:  # to ask an instance takes ten times as long
        return _tensor(value) is value
    if kind is dict:
        return all(map(_lies_in_order, value.values()))
    if names := _fields(kind):
        return all(_lies_in_order(getattr(value, name)) for name in names)
    return _in_order(value) is value


def _in_order(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return _tensor(value)
    if isinstance(value, np.ndarray):
        return value if value.flags.c_contiguous else value.copy(order="C")
    changed = {place: new for place, item in _items(value) if (new := contiguous(item)) is not item}
    return _changed(value, changed) if changed else value


def _tensor(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.layout is not torch.strided:
        return tensor
    if tensor.is_conj() or tensor.is_neg():  # a view that its readers work out
        tensor = tensor.resolve_conj().resolve_neg()
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    """The parts of a container or a dataclass, each by its place there."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    else:
        kind: Any = type(value)
        for name in _fields(kind):
            yield name, getattr(value, name)


def _changed(value: Any, changed: dict[Any, Any]) -> Any:
    if isinstance(value, tuple):
        items = [changed.get(place, item) for place, item in enumerate(value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    value = copy.copy(value)
    for place, item in changed.items():
        if isinstance(value, dict | list):
            value[place] = item
        else:
            object.__setattr__(value, place, item)  # a frozen dataclass, of which this is a copy
    return value


@lru_cache(maxsize=256)
def _fields(kind: type[object]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()
