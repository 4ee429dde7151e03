"""Readers of recorded traces and generators of artificial ones."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from os import PathLike, fspath

from .errors import UserError
from .signals import Signal


class TraceError(UserError, ValueError):
    """A trace file that cannot be read; says where. ``line`` counts from 1; 0 means the file as a whole."""

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
    """Samples: ``values[i]`` holds from ``times_s[i]`` on; the first time is 0, times increase."""

    times_s: tuple[float, ...]
    values: tuple[float, ...]

    def signal(self, period_s: float | None = None) -> Signal:
        """The signal; its last value holds, or everything repeats every ``period_s`` seconds."""
        return Signal.steps(self.times_s, self.values, period_s)


def read_csv(
    path: str | PathLike[str], *, time: str, value: str, time_unit: float = 1.0, value_unit: float = 1.0
) -> Trace:
    """Read two named columns of a CSV file with a header line.

    Raises
    ------
    TraceError
        With file and line.
    """
    name = fspath(path)
    samples: list[tuple[int, float, float]] = []
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        for column in (time, value):
            if column not in header:
                raise TraceError(name, 1, f"no column {column!r}; there is {', '.join(header)}")
        at, of = header.index(time), header.index(value)
        for row in rows:
            if row:
                try:
                    samples.append((rows.line_num, float(row[at]), float(row[of])))
                except (ValueError, IndexError):
                    raise TraceError(name, rows.line_num, f"expected numbers in {time!r} and {value!r}") from None
    return _trace(name, samples, time_unit, value_unit)


def _trace(name: str, samples: list[tuple[int, float, float]], time_unit: float, value_unit: float) -> Trace:
    """Times from the first sample on; samples with the same time stamp become their mean."""
    if not samples:
        raise TraceError(name, 0, "holds no samples")
    first = samples[0][1]
    times: list[float] = []
    groups: list[list[float]] = []
    for line, time, value in samples:
        if not (math.isfinite(time) and math.isfinite(value) and value >= 0.0):
            raise TraceError(name, line, f"expected a finite time and a value of at least 0, found {time}, {value}")
        time_s = (time - first) * time_unit
        if times and time_s < times[-1]:
            raise TraceError(name, line, f"time goes back to {time}")
        if times and time_s <= times[-1]:
            groups[-1].append(value)
        else:
            times.append(time_s)
            groups.append([value])
    return Trace(tuple(times), tuple(math.fsum(group) / len(group) * value_unit for group in groups))
