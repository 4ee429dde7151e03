"""Named random streams: a stream is a seed and a name, never a position in somebody else's draws."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def _words(name: tuple[str | int, ...]) -> tuple[int, ...]:
    digest = hashlib.blake2b("\x1f".join(str(part) for part in name).encode(), digest_size=16).digest()
    return tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """A NumPy generator for the stream called ``name`` under ``seed``.

    The same seed and name give the same draws in every process and in any order of creation; different names
    give independent streams (``SeedSequence`` with the hashed name as its spawn key).

    >>> bool(stream(0, "drift", "camera-3").random() == stream(0, "drift", "camera-3").random())
    True
    """
    import numpy as np

    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=_words(name))))


def stream_seed(seed: int, *name: str | int) -> int:
    """A 63-bit integer seed for the stream called ``name``: what a job's generator is made from.

    >>> stream_seed(0, "train", "camera-3", 7) == stream_seed(0, "train", "camera-3", 7)
    True
    """
    text = "\x1f".join(str(part) for part in (seed, *name))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
