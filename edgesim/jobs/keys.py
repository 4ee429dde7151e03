"""Names results by what they follow from: a job's key is the hash of its code, its environment and its
inputs' keys.

Keys are worked out when somebody asks, never by submitting: a timing-only run hashes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import struct
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any, Protocol

from ..loaded_code import COMPUTE

SEQUENTIAL = "sequential"
"""The path of a job that runs alone, in contrast to one that is computed in one batch with others of its
shape."""


_VARIABLES = ("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Variables of the environment by which MKL and oneDNN compute with other instructions than the CPU's best, and so to
other bits."""


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
    versions = {name: version(name) for name in ("edgesim", *COMPUTE)}
    return json.dumps({**versions, "threads": threads_per_job, "cpu": cpu_capability(), "device": device})


def cpu_capability() -> str:
    """The CPU's architecture and the instruction set that torch uses on it, e.g. ``x86_64 AVX2``, and what holds the
    libraries below it to another, e.g. ``x86_64 AVX2 MKL_CBWR=COMPATIBLE``."""
    import torch

    held_to = [f" {name}={os.environ[name]}" for name in _VARIABLES if os.environ.get(name)]
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}{''.join(held_to)}"


def key_head(
    name: str, digest: str, surroundings: str, params: Mapping[str, object], path: str = SEQUENTIAL
) -> hashlib.blake2b:
    """Hash what jobs of one kind have in common; :func:`job_key` goes on from there.

    Parameters
    ----------
    name, digest
        The function and its code.
    surroundings
        See :func:`environment`.
    params
        By name; constants, or anything with a ``key``.
    path
        How it is computed.

    Raises
    ------
    TypeError
        A parameter is of a type whose value no text says exactly.
    """
    parts: list[bytes] = []
    for value in ("edgesim job", name, digest, surroundings, path):
        _encode(parts, value, "")
    for key in sorted(params):
        _encode(parts, key, "")
        _encode(parts, params[key], f"parameter {key!r}")
    return hashlib.blake2b(b"".join(parts), digest_size=16)


def job_key(head: hashlib.blake2b, inputs: Sequence[object], seed: int | None) -> str:
    """Hash what a job's result follows from.

    Parameters
    ----------
    head
        What it has in common with others: see :func:`key_head`. Not changed.
    inputs
        Results of other jobs as ``ResultKey``, views and the like with their ``key``, constants as they are.
    seed
        None where the function draws nothing.

    Returns
    -------
    str
        32 hexadecimal digits.

    Raises
    ------
    TypeError
        An input is of a type whose value no text says exactly.
    """
    parts = [b"N" if seed is None else b"i%d;" % seed]
    for number, given in enumerate(inputs):
        _encode(parts, given, number)
    hasher = head.copy()
    hasher.update(b"".join(parts))
    return hasher.hexdigest()


_CONSTANTS = (str, int, float, bytes, list, tuple, dict, type(None))


def _encode(parts: list[bytes], value: Any, where: str | int) -> None:
    """Append a canonical, prefix-free encoding of ``value`` (constants, ``Keyed``): a type, a length, the content.
    ``where`` is for messages: words, or the number of an input."""
    kind: Any = type(value)
    if kind is ResultKey:
        text = value.encode()
        parts.append(b"r%d:%b" % (len(text), text))
    elif not isinstance(value, _CONSTANTS):
        if is_handle(kind):
            raise TypeError(f"{_told(where)} holds a handle: handles are inputs of their own, given by position")
        key = getattr(value, "key", None)
        if not isinstance(key, str):
            raise TypeError(f"{_told(where)} is a {kind.__name__}: a job takes handles, views and plain constants")
        text = key.encode()
        parts.append(b"%bs%d:%b" % (_type_of_key(kind), len(text), text))
    elif isinstance(value, str):
        text = value.encode()
        parts.append(b"s%d:%b" % (len(text), text))
    elif value is None or value is True or value is False:
        parts.append(b"N" if value is None else b"T" if value else b"F")
    elif isinstance(value, int):
        parts.append(b"i%d;" % value)
    elif isinstance(value, float):
        parts.append(b"f" + struct.pack("<d", value))
    elif isinstance(value, bytes):
        parts += (b"b%d:" % len(value), value)
    elif isinstance(value, list | tuple):
        parts.append(b"l%d:" % len(value))
        for item in value:
            _encode(parts, item, where)
    else:
        parts.append(b"d%d:" % len(value))
        for key in sorted(value):
            _encode(parts, key, where)
            _encode(parts, value[key], where)


def _told(where: str | int) -> str:
    return f"input {where}" if isinstance(where, int) else where


@lru_cache(maxsize=256)
def _type_of_key(kind: type[object]) -> bytes:
    parts = [b"k"]
    _encode(parts, f"{kind.__module__}.{kind.__qualname__}", "")
    return b"".join(parts)


@lru_cache(maxsize=256)
def is_handle(kind: type[object]) -> bool:
    """Whether values of a type are handles."""
    return hasattr(kind, "part") and hasattr(kind, "value")
