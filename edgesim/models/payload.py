"""How many bytes weights take on the wire: the exact length of the safetensors file, from shapes alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

from ..errors import UserError
from .architecture import Architecture

# In the order of safetensors' own Dtype: a file holds the last of these first, then goes by name.
_BITS = {
    **{"BOOL": 8, "U8": 8, "I8": 8},
    **{"I16": 16, "U16": 16, "F16": 16, "BF16": 16},
    **{"I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64},
}
_RANK = {dtype: rank for rank, dtype in enumerate(_BITS)}
_FLOATS = frozenset({"F16", "BF16", "F32", "F64"})


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor without its numbers: name, dtype as safetensors writes it (``F32``, ``I64``, ...), shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of the numbers themselves."""
        return prod(self.shape) * _BITS[self.dtype] // 8


def _floats_as(dtype: str) -> Callable[[TensorSpec], tuple[TensorSpec, ...]]:
    def stored(tensor: TensorSpec) -> tuple[TensorSpec, ...]:
        return (replace(tensor, dtype=dtype) if tensor.dtype in _FLOATS else tensor,)

    return stored


CODECS: Mapping[str, Callable[[TensorSpec], tuple[TensorSpec, ...]]] = {
    "fp32": _floats_as("F32"),
    "fp16": _floats_as("F16"),
}
"""By name: which tensors stand in the file for one tensor of the model. Never a function of the numbers."""


def payload_bytes(tensors: Iterable[TensorSpec], codec: str = "fp32") -> int:
    """Length in bytes of the safetensors file that holds ``tensors``.

    Parameters
    ----------
    tensors
        Any part of a model's :func:`layout`.
    codec
        ``fp32`` or ``fp16``; integers keep their type.

    Raises
    ------
    UserError
        There is no such codec.

    Notes
    -----
    8 bytes of header length, the header as compact JSON padded to a multiple of 8, the numbers
    (https://github.com/huggingface/safetensors, "Format").
    """
    if codec not in CODECS:
        raise UserError(f"codec: there is no codec {codec!r}; known: {', '.join(CODECS)}")
    stored = [part for tensor in tensors for part in CODECS[codec](tensor)]
    stored.sort(key=lambda tensor: (-_RANK[tensor.dtype], tensor.name))
    header: dict[str, object] = {}
    end = 0
    for tensor in stored:
        start, end = end, end + tensor.size_bytes
        header[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return 8 + -(-len(text) // 8) * 8 + end


@lru_cache(maxsize=1024)
def layout(architecture: Architecture) -> tuple[TensorSpec, ...]:
    """The tensors of a network's state, in the order of ``state_dict()``, tied ones once."""
    from .building import build, named_tensors

    return tuple(
        TensorSpec(name, _dtype(tensor.dtype), tuple(tensor.shape))
        for name, tensor in named_tensors(build(architecture))
    )


@lru_cache(maxsize=1024)
def weight_bytes(architecture: Architecture, codec: str = "fp32") -> int:
    """Length in bytes of the safetensors file with all weights and persistent buffers of a network.

    Examples
    --------
    >>> weight_bytes(Architecture.of("mlp", {"hidden": [64]}, input_shape=(1, 8, 8), classes=10))
    19520
    """
    return payload_bytes(layout(architecture), codec)


def _dtype(dtype: object) -> str:
    short = {"float": "F", "int": "I", "uint": "U", "bfloat": "BF"}
    name = str(dtype).removeprefix("torch.")
    letters = name.rstrip("0123456789")
    return "BOOL" if name == "bool" else short.get(letters, letters) + name[len(letters) :]
