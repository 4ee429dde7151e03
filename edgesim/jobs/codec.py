"""Values of jobs as safetensors records and back: tensors, arrays, numbers, texts, containers and dataclasses of them.

Nothing is pickled and nothing is imported by a name that a file gives: a dataclass is made only where the job function
declares, in its return annotation, that it returns one. What is none of these is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from .function import JobFunction
from .members import Member

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

Tensors = Callable[[str], Any]
"""Gives the tensor with a name in a record."""


class NotStorable(TypeError):
    """A value, or a part of it, is of a type that records do not hold."""


class Packing:
    """One record while it is put together: values by key, and their tensors."""

    def __init__(self) -> None:
        self.structures: dict[str, Any] = {}
        self.nbytes = 0  # of the tensors so far
        self._tensors: dict[str, Tensor] = {}
        self._storages: set[int] = set()

    def __len__(self) -> int:
        return len(self.structures)

    def add(self, key: str, value: Any, function: JobFunction[..., Any]) -> None:
        """Add a value that ``function`` returned, or a part of it.

        Raises
        ------
        NotStorable
            It is not added.
        """
        self.structures[key] = self._structure(value, types_of(function))

    def record(self, notes: Mapping[str, Any]) -> bytes:
        """The record, with ``notes`` that JSON can hold beside the values."""
        from safetensors.torch import save

        metadata = {"values": _json(self.structures), **{name: _json(note) for name, note in notes.items()}}
        record: bytes = save(self._tensors, metadata)
        return record

    def _structure(self, value: Any, types: Mapping[str, type]) -> Any:
        kind: Any = type(value)
        if value is None or kind in (bool, int, float, str):
            return value  # JSON as Python writes it keeps floats to the bit, infinities and NaN
        if kind is list:
            return [self._structure(item, types) for item in value]
        if kind is tuple:
            return {"tuple": [self._structure(item, types) for item in value]}
        if kind is dict or kind is Member:
            return {"dict": [[self._structure(k, types), self._structure(v, types)] for k, v in value.items()]}
        if kind is bytes:
            return {"bytes": value.hex()}
        name, places = _parts(kind)
        if name in types:
            return {"class": name, "fields": [self._structure(getattr(value, place), types) for place in places]}
        return self._numbers(value)

    def _numbers(self, value: Any) -> Any:
        import numpy as np
        import torch

        if isinstance(value, torch.Tensor) and value.layout is torch.strided and _is_held(value.dtype):
            return {"tensor": self._keep(value)}
        if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf" and _is_torchs(value.dtype):
            name = self._keep(torch.from_numpy(np.array(value)))
            return {"array" if isinstance(value, np.ndarray) else "scalar": name}
        raise NotStorable(f"a {_name(type(value))}")

    def _keep(self, tensor: Tensor) -> str:
        """Keep a tensor and return its name. A record takes no two tensors on one storage: the second is copied."""
        plain = tensor.detach().cpu().contiguous()
        if plain.untyped_storage().data_ptr() in self._storages:
            plain = plain.clone()
        self._storages.add(plain.untyped_storage().data_ptr())
        name = str(len(self._tensors))
        self._tensors[name] = plain
        self.nbytes += plain.nbytes
        return name


@cache
def _is_held(dtype: torch.dtype) -> bool:
    """Whether records hold numbers of a type, with the version of safetensors that there is."""
    import torch
    from safetensors.torch import load, save

    try:
        return bool(load(save({"": torch.empty(0, dtype=dtype)}))[""].dtype == dtype)
    except Exception:  # of PyTorch or of safetensors, of whatever class
        return False


@cache
def _is_torchs(dtype: np.dtype[Any]) -> bool:
    """Whether PyTorch has a type of numbers, in their order of bytes: not long doubles."""
    import numpy as np
    import torch

    try:
        torch.from_numpy(np.empty(0, dtype))
    except (TypeError, ValueError):
        return False
    return True


def unpacked(structure: Any, function: JobFunction[..., Any], tensors: Tensors) -> Any:
    """Return the value of a structure.

    Raises
    ------
    NotStorable
        It holds a dataclass that ``function`` does not declare.
    """
    return _value(structure, types_of(function), tensors)


def read_record(record: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return a record's notes, the values' structures among them, and its tensors by name."""
    length = int.from_bytes(record[:8], "little")  # safetensors: the length of a JSON header, the header, the tensors
    header = json.loads(record[8 : 8 + length])
    notes: dict[str, str] = header.pop("__metadata__")
    if not header:
        return notes, {}
    from safetensors.torch import load

    tensors: dict[str, Tensor] = load(record)
    return notes, tensors


def open_record(path: Path) -> Any:
    """Open a record that is a file of its own: ``metadata()`` has its notes, ``get_tensor(name)`` reads a tensor."""
    from safetensors import safe_open

    return safe_open(path, framework="pt")


def _value(structure: Any, types: Mapping[str, type], tensors: Tensors) -> Any:
    match structure:
        case list():
            return [_value(item, types, tensors) for item in structure]
        case {"tuple": items}:
            return tuple(_value(item, types, tensors) for item in items)
        case {"dict": pairs}:
            return {_value(key, types, tensors): _value(item, types, tensors) for key, item in pairs}
        case {"bytes": text}:
            return bytes.fromhex(text)
        case {"class": name, "fields": values}:
            if name not in types:
                raise NotStorable(f"a {name}, which the job does not return")
            return types[name](*(_value(item, types, tensors) for item in values))
        case {"tensor": name}:
            return tensors(name)
        case {"array": name}:
            return tensors(name).numpy()
        case {"scalar": name}:
            return tensors(name).numpy()[()]
    return structure


@cache
def types_of(function: JobFunction[..., Any]) -> Mapping[str, type]:
    """The dataclasses that a job function's return annotation mentions, and those in their fields, by name."""
    found: dict[str, type] = {}
    returned = function.__wrapped__.__annotations__.get("return")

    def holder() -> None:
        """Has the annotation that is to be read; others may name what is imported for type checkers only."""

    holder.__annotations__ = {"return": returned}
    try:
        hint = get_type_hints(holder, function.__wrapped__.__globals__)["return"]
    except NameError:
        return found
    waiting = [hint]
    while waiting:
        hint = waiting.pop()
        if isinstance(hint, type) and is_dataclass(hint) and _name(hint) not in found:
            if all(field.init for field in fields(hint)):
                found[_name(hint)] = hint
                waiting += _hints(hint)
        else:
            waiting += get_args(hint)
    return found


def _hints(kind: type) -> Iterator[Any]:
    try:
        yield from get_type_hints(kind).values()
    except NameError:
        return


@cache
def _parts(kind: type) -> tuple[str, tuple[str, ...]]:
    """The name of a type, and of its fields, where it is a dataclass."""
    return _name(kind), tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
