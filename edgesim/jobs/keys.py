"""Names results by what they follow from: a job's key is the hash of its code, its environment and its
inputs' keys.

Keys are worked out when somebody asks, never by submitting: a timing-only run hashes nothing.
"""

from __future__ import annotations

import hashlib
import json
import platform
import struct
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any, Protocol, final

SEQUENTIAL = "sequential"
"""The path of a job that runs alone, in contrast to one that is computed in one batch with others of its
shape."""


class Keyed(Protocol):
    """Anything that can be a parameter of a job because a text says exactly what it is, e.g. an
    ``Architecture``."""

    @property
    def key(self) -> str:
        """Text that differs between values that differ."""


class ResultKey(str):
    """The key of another job's result, among a job's inputs."""

    __slots__ = ()


@cache
def environment(threads_per_job: int, device: str = "cpu") -> str:
    """Everything outside a job that its bits may depend on: versions, threads, what the CPU can do, and which device of
    PyTorch's computes."""
    versions = {name: version(name) for name in ("edgesim", "numpy", "torch", "torchvision")}
    return json.dumps({**versions, "threads": threads_per_job, "cpu": cpu_capability(), "device": device})


def cpu_capability() -> str:
    """The CPU's architecture and the instruction set that torch uses on it, e.g. ``x86_64 AVX2``."""
    import torch

    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def job_key(
    name: str,
    digest: str,
    surroundings: str,
    inputs: Sequence[object],
    params: Mapping[str, object],
    seed: int | None,
    path: str = SEQUENTIAL,
) -> str:
    """Hash what a job's result follows from.

    Parameters
    ----------
    name, digest
        The function and its code.
    surroundings
        See :func:`environment`.
    inputs
        Results of other jobs as ``ResultKey``, views and the like with their ``key``, constants as they are.
    params
        By name; constants, or anything with a ``key``.
    seed
        None where the function draws nothing.
    path
        How it is computed.

    Returns
    -------
    str
        32 hexadecimal digits.

    Raises
    ------
    TypeError
        An input or a parameter is of a type whose value no text says exactly.
    """
    hasher = hashlib.blake2b(_head(name, digest, surroundings, path, _Parameters(params)), digest_size=16)
    parts: list[bytes] = []
    _encode(parts, seed, "")
    for number, given in enumerate(inputs):
        _encode(parts, given, f"input {number}")
    hasher.update(b"".join(parts))
    return hasher.hexdigest()


@final
class _Parameters:
    """Parameters, equal to others only where their encodings are: a round's jobs have the same."""

    __slots__ = ("_fingerprint", "named")

    def __init__(self, named: Mapping[str, object]) -> None:
        self.named = named
        self._fingerprint = tuple([(name, type(value), _distinct(value)) for name, value in named.items()])

    def __hash__(self) -> int:
        return hash(self._fingerprint)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Parameters) and self._fingerprint == other._fingerprint


def _distinct(value: Any) -> object:
    """Something hashable that differs where encodings do, which 0.0 and -0.0 do not; itself alone where that is hard
    to say."""
    if value is None or isinstance(value, str | int | bytes):
        return value
    if type(value) is float:
        return value.hex()
    if isinstance(value, list | tuple | dict) or _is_handle(type(value)):
        return object()
    key = getattr(value, "key", None)
    return key if isinstance(key, str) else object()


@lru_cache(maxsize=256)
def _head(name: str, digest: str, surroundings: str, path: str, params: _Parameters) -> bytes:
    """The encoding of all that jobs of one kind have in common."""
    parts: list[bytes] = []
    for value in ("edgesim job", name, digest, surroundings, path):
        _encode(parts, value, "")
    for key in sorted(params.named):
        _encode(parts, key, "")
        _encode(parts, params.named[key], f"parameter {key!r}")
    return b"".join(parts)


def _encode(parts: list[bytes], value: Any, where: str) -> None:
    """Append a canonical, prefix-free encoding of ``value`` (constants, ``Keyed``): a type, a length, the
    content."""
    if type(value) is str:
        text = value.encode()
        parts += (b"s%d:" % len(text), text)
    elif value is None or value is True or value is False:
        parts.append(b"N" if value is None else b"T" if value else b"F")
    elif isinstance(value, int):
        parts.append(b"i%d;" % value)
    elif isinstance(value, float):
        parts.append(b"f" + struct.pack("<d", value))
    elif isinstance(value, str):
        text = value.encode()
        parts += (b"%c%d:" % (b"r" if type(value) is ResultKey else b"s", len(text)), text)
    elif isinstance(value, bytes):
        parts += (b"b%d:" % len(value), value)
    elif isinstance(value, list | tuple):
        parts.append(b"l%d:" % len(value))
        for item in value:
            _encode(parts, item, where)
    elif isinstance(value, dict):
        parts.append(b"d%d:" % len(value))
        for key in sorted(value):
            _encode(parts, key, where)
            _encode(parts, value[key], where)
    else:
        kind = type(value)
        if _is_handle(kind):
            raise TypeError(f"{where} holds a handle: handles are inputs of their own, given by position")
        key = getattr(value, "key", None)
        if not isinstance(key, str):
            raise TypeError(f"{where} is a {kind.__name__}: a job takes handles, views and plain constants")
        parts.append(b"k")
        _encode(parts, f"{kind.__module__}.{kind.__qualname__}", where)
        _encode(parts, key, where)


def _is_handle(kind: type) -> bool:
    return hasattr(kind, "part") and hasattr(kind, "value")
