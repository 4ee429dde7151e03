"""Names results by what they follow from: a job's key is the hash of its code, its environment and its inputs' keys.

Keys are worked out when somebody asks, never by submitting: a timing-only run hashes nothing.
"""

from __future__ import annotations

import hashlib
import json
import platform
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, Protocol

SEQUENTIAL = "sequential"
"""The path of a job that runs alone, in contrast to one that is computed in one batch with others of its shape."""


class Keyed(Protocol):
    """Anything that can be a parameter of a job because a text says exactly what it is, e.g. an ``Architecture``."""

    @property
    def key(self) -> str:
        """Text that differs between values that differ."""


class ResultKey(str):
    """The key of another job's result, among a job's inputs."""

    __slots__ = ()


@cache
def environment(threads_per_job: int) -> str:
    """Everything outside a job that its bits may depend on: versions, threads, what the CPU can do."""
    versions = {name: version(name) for name in ("edgesim", "numpy", "torch", "torchvision")}
    return json.dumps({**versions, "threads": threads_per_job, "cpu": cpu_capability()})


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
    digester = hashlib.blake2b(digest_size=16)
    feed = digester.update
    _feed(feed, ["edgesim job", name, digest, surroundings, path, seed], "")
    for number, value in enumerate(inputs):
        _feed(feed, value, f"input {number}")
    for key in sorted(params):
        _feed(feed, key, "")
        _feed(feed, params[key], f"parameter {key!r}")
    return digester.hexdigest()


def _feed(feed: Callable[[bytes], object], value: Any, where: str) -> None:
    """Feed a canonical, prefix-free encoding of ``value`` (constants, ``Keyed``): a type, a length, the content."""
    if value is None or value is True or value is False:
        feed(b"N" if value is None else b"T" if value else b"F")
    elif isinstance(value, str):
        text = value.encode()
        feed(b"%c%d:" % (b"r" if type(value) is ResultKey else b"s", len(text)) + text)
    elif isinstance(value, int):
        feed(b"i%d;" % value)
    elif isinstance(value, float):
        feed(b"f" + struct.pack("<d", value))
    elif isinstance(value, bytes):
        feed(b"b%d:" % len(value) + value)
    elif isinstance(value, list | tuple):
        feed(b"l%d:" % len(value))
        for item in value:
            _feed(feed, item, where)
    elif isinstance(value, dict):
        feed(b"d%d:" % len(value))
        for key in sorted(value):
            _feed(feed, key, where)
            _feed(feed, value[key], where)
    else:
        kind = type(value)
        if hasattr(kind, "part") and hasattr(kind, "value"):
            raise TypeError(f"{where} holds a handle: handles are inputs of their own, given by position")
        if not hasattr(value, "key"):
            raise TypeError(f"{where} is a {kind.__name__}: a job takes handles, views and plain constants")
        feed(b"k")
        _feed(feed, [f"{kind.__module__}.{kind.__qualname__}", value.key], where)
