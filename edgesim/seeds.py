"""Named random streams: a stream is a seed and a name, never a position in somebody else's draws."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


_POOL_BYTES = 16
"""Of NumPy's ``SeedSequence``: a seed that is shorter is filled up with zeros before a spawn key follows it."""


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """A NumPy generator for the stream called ``name`` under ``seed``.

    The same seed and name give the same draws in every process and in any order of creation; different names
    give independent streams (``SeedSequence`` with the hashed name as its spawn key; given as the words that NumPy
    would make of the two, which takes it a third of the time).

    >>> bool(stream(0, "drift", "camera-3").random() == stream(0, "drift", "camera-3").random())
    True
    """
    import numpy as np

    digest = hashlib.blake2b("\x1f".join([str(part) for part in name]).encode(), digest_size=16).digest()
    length = max(_POOL_BYTES, -(-seed.bit_length() // 32) * 4)
    words = np.frombuffer(seed.to_bytes(length, "little") + digest, "<u4").astype(np.uint32, copy=False)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def stream_seed(seed: int, *name: str | int) -> int:
    """A 63-bit integer seed for the stream called ``name``: what a job's generator is made from.

    >>> stream_seed(0, "train", "camera-3", 7) == stream_seed(0, "train", "camera-3", 7)
    True
    """
    text = f"{seed}\x1f{name[0]}\x1f{name[1]}\x1f{name[2]}" if len(name) == 3 else "\x1f".join(map(str, (seed, *name)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


class Numbers:
    """A stream of uniform numbers that costs 70 bytes and a microsecond: a million devices have one each.

    SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).

    Parameters
    ----------
    seed
        Of the stream, at least 0: see :func:`stream_seed`.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed

    def uniform(self) -> float:
        """The next number, at least 0 and less than 1."""
        self._state = state = (self._state + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        return ((state ^ (state >> 31)) >> 11) * 2.0**-53

    def exponential(self, mean: float) -> float:
        """The next number, exponentially distributed around ``mean``."""
        return -mean * math.log1p(-self.uniform())
