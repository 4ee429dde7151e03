"""Random numbers by address: the draw for (seed, sample, feature) never depends on what else is drawn.

Counter-based: the address is hashed (the finaliser of SplitMix64: Steele, Lea & Flood, OOPSLA 2014), and the
hash is the draw. So a sample's noise has the same bits alone, in any batch and in any process, without a
generator a sample.
"""

from __future__ import annotations

from functools import cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_LEVELS = 2**16


def hashed_words(seed: int, indices: npt.NDArray[np.int64], words: int) -> npt.NDArray[np.uint64]:  # (sample, word)
    """64 random bits for every (seed, index, word), the same whatever other indices are asked for."""
    start = _mix(np.array([seed % 2**64], dtype=np.uint64))
    keys = _mix(indices.astype(np.uint64) ^ start)  # (sample,)
    counters = np.arange(1, words + 1, dtype=np.uint64) * _GOLDEN
    return _mix(keys[:, None] + counters)


def normals(seed: int, indices: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.float32]:
    """Standard normal draws, (sample, feature), by address.

    16 bits a draw, looked up among the 65,536 equally likely quantiles of the normal distribution: exact in
    distribution up to that grid, cut off at 4.3 standard deviations, and free of transcendental functions, the
    last bit of which may depend on the length of the array.
    """
    words = hashed_words(seed, indices, -(-size // 4))
    levels = words.astype("<u8", copy=False).view("<u2")[:, :size]  # four draws a word
    drawn: npt.NDArray[np.float32] = _normal_quantiles()[levels]
    return drawn


def uniforms(seed: int, size: int) -> npt.NDArray[np.float64]:
    """Uniform draws in [-1, 1), one a feature, by address."""
    words = hashed_words(seed, np.arange(size, dtype=np.int64), 1)[:, 0]
    return (words >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1.0


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    mixed = values + _GOLDEN  # wraps around at 2**64, as it should
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MULTIPLIERS[0]
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MULTIPLIERS[1]
    return mixed ^ (mixed >> np.uint64(31))


@cache
def _normal_quantiles() -> npt.NDArray[np.float32]:
    quantile = NormalDist().inv_cdf
    upper = [quantile((level + 0.5) / _LEVELS) for level in range(_LEVELS // 2, _LEVELS)]
    table = np.array([-value for value in reversed(upper)] + upper, dtype=np.float32)
    table.setflags(write=False)
    return table
