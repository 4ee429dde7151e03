"""What every trace file becomes, and the error that says where a file is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from ..errors import UserError
from ..signals import Signal, rotated

if TYPE_CHECKING:
    import numpy as np

UNITS = {
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "min": 60.0,
    "h": 3600.0,
    "bit/s": 0.125,
    "kbit/s": 125.0,
    "Mbit/s": 125_000.0,
    "Gbit/s": 125_000_000.0,
    "B/s": 1.0,
    "kB/s": 1e3,
    "MB/s": 1e6,
}
"""Sizes of units in seconds, or in bytes per second."""


class TraceError(UserError, ValueError):
    """A trace file that cannot be read; says where.

    Parameters
    ----------
    path
        The file.
    line
        Counts from 1; 0 means the file as a whole.
    message
        What was found and what would be right.
    """

    def __init__(self, path: str, line: int, message: str) -> None:
        super().__init__(path, line, message)
        self.path = path
        self.line = line
        self.message = message

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Trace:
    """Samples of a quantity over time.

    Attributes
    ----------
    times_s
        Increasing, the first one 0.
    values
        ``values[i]`` holds from ``times_s[i]`` on.
    duration_s
        Until when the last value holds, more than the last time.
    """

    times_s: tuple[float, ...]
    values: tuple[float, ...]
    duration_s: float
    _loop: Signal = field(init=False, repr=False, compare=False)  # made once: devices that share a trace share it

    def __post_init__(self) -> None:
        object.__setattr__(self, "_loop", self.signal(self.duration_s))

    @property
    def mean(self) -> float:
        """The time-weighted mean over ``duration_s``."""
        return self._loop.integral(0.0, self.duration_s) / self.duration_s

    def signal(self, period_s: float | None = None) -> Signal:
        """The trace once; then its last value holds, or everything repeats every ``period_s`` seconds."""
        return Signal.steps(self.times_s, self.values, period_s)

    def looped(self, *, scale: float = 1.0, offset_s: float = 0.0) -> Signal:
        """The trace again and again, every value times ``scale``, read from ``offset_s`` on; its knots are shared."""
        return rotated(self._loop, offset_s).scaled(scale)

    def looped_from_anywhere(self, rng: np.random.Generator, *, scale: float = 1.0) -> Signal:
        """The trace again and again, read from a random moment on: devices that share it are not in step."""
        return self.looped(scale=scale, offset_s=float(rng.uniform(0.0, self.duration_s)))


def unit_size(unit: float | str) -> float:
    """The size of a unit: itself, or what :data:`UNITS` says of its name.

    Raises
    ------
    ValueError
        An unknown name, or a size that is not positive and finite.
    """
    if isinstance(unit, str):
        if unit not in UNITS:
            raise ValueError(f"unknown unit {unit!r}; known are {', '.join(UNITS)}")
        return UNITS[unit]
    if not 0.0 < unit < math.inf:
        raise ValueError(f"the size of a unit is positive and finite, found {unit!r}")
    return unit


def trace_of(
    path: str, samples: Sequence[tuple[int, float, float]], time_unit: float | str, value_unit: float | str
) -> Trace:
    """Make a trace of ``(line, time, value)`` samples in file order.

    Time starts at the first sample. Samples with the same time stamp (clocks of 1 s resolution) become their mean.
    The last sample holds as long as the median of the others.
    """
    time_size, value_size = unit_size(time_unit), unit_size(value_unit)
    if not samples:
        raise TraceError(path, 0, "holds no samples")
    times: list[float] = []
    groups: list[list[float]] = []
    for line, time, value in samples:
        if not (math.isfinite(time) and math.isfinite(value) and value >= 0.0):
            message = f"expected a finite time and a finite value of at least 0, found {time!r} and {value!r}"
            raise TraceError(path, line, message)
        time_s = (time - samples[0][1]) * time_size
        if times and time_s < times[-1]:
            raise TraceError(path, line, f"time goes back to {time!r}")
        if times and time_s == times[-1]:
            groups[-1].append(value)
        else:
            times.append(time_s)
            groups.append([value])
    gaps = [later - earlier for earlier, later in pairwise(times)]
    values = tuple(math.fsum(group) / len(group) * value_size for group in groups)
    return Trace(tuple(times), values, times[-1] + (median(gaps) if gaps else 1.0))
