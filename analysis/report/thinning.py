"""Series for a page: exact while they are short, thinned with their extremes kept where they are long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.worlds import Floats

TIME_DIGITS = 3
"""Times are written to the millisecond."""

MOST_RUNS = 3
"""Of how many runs of devices the names are told."""

DIGITS = 5
"""Significant digits of everything else."""


def steps(times_s: npt.ArrayLike, values: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Drop what does not change a step function: repeated values, and all but the last value of an instant."""
    t, v = np.asarray(times_s, np.float64), np.asarray(values, np.float64)
    last = np.append(t[1:] > t[:-1], True)[: len(t)]
    t, v = t[last], v[last]
    changes = np.ones(len(t), bool)
    changes[1:] = ~((v[1:] == v[:-1]) | (np.isnan(v[1:]) & np.isnan(v[:-1])))
    return t[changes], v[changes]


def to_the_end(times_s: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Let a series that ends with a missing value end with its last known one: it holds until there."""
    if len(values) > 1 and np.isnan(values[-1]):
        values = np.append(values[:-1], values[-2])
    return times_s, values


def thinned(times_s: Floats, values: Floats, most: int) -> tuple[Floats, Floats]:
    """Return at most about ``most`` points: of each of equally many points their first, least, greatest and last.

    What is left out lies between the extremes of its neighbours, so no peak and no dip is lost.
    """
    if len(times_s) <= most:
        return times_s, values
    keep = set()
    for part in np.array_split(np.arange(len(times_s)), max(1, most // 4)):
        keep |= {int(part[0]), int(part[-1])}
        own = values[part]
        if not np.isnan(own).all():
            keep |= {int(part[np.nanargmin(own)]), int(part[np.nanargmax(own)])}
        if np.isnan(own).any():
            keep.add(int(part[np.isnan(own).argmax()]))
    chosen = np.array(sorted(keep))
    return times_s[chosen], values[chosen]


def packed(times_s: npt.ArrayLike, values: npt.ArrayLike) -> dict[str, list[Any]]:
    """Return a series as the page reads it: ``t`` in seconds, ``v``; what is missing is ``null``."""
    return {"t": times(times_s), "v": numbers(values)}


def times(values: npt.ArrayLike) -> list[float | int]:
    """Return times in seconds, to the millisecond."""
    return [_short(float(value)) for value in np.round(np.asarray(values, np.float64), TIME_DIGITS)]


def numbers(values: npt.ArrayLike) -> list[float | int | str | None]:
    """Return numbers with few digits; missing is ``None``, infinite the text ``inf``."""
    return [number(value) for value in np.asarray(values, np.float64).tolist()]


def number(value: float) -> float | int | str | None:
    """Return one number with few digits; missing is ``None``, infinite the text ``inf``: JSON has neither.

    >>> number(0.93125), number(1234567.0), number(float("nan")), number(float("inf"))
    (0.93125, 1234600, None, 'inf')
    """
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return _short(float(f"{value:.{DIGITS}g}"))


def _short(value: float) -> float | int:
    return int(value) if value == int(value) else value


def span_of_names(names: Sequence[str]) -> str:
    """Name several devices shortly: those that are numbered one after the other together.

    >>> span_of_names(["hub-0", "hub-1", "hub-2"]), span_of_names(["a", "x-1", "x-2"])
    ('hub-0 to hub-2 (3)', 'a, x-1 to x-2 (3)')
    >>> span_of_names(["a", "b", "c", "d"]), span_of_names(["a"])
    ('a, b, ... (4)', 'a')
    """
    runs: list[tuple[str, str]] = []  # the first and the last of each
    for name in names:
        if runs and name == _next(runs[-1][1]):
            runs[-1] = (runs[-1][0], name)
        else:
            runs.append((name, name))
    told = [first if first == last else f"{first} to {last}" for first, last in runs]
    shown = told if len(told) <= MOST_RUNS else [*told[: MOST_RUNS - 1], "..."]
    return ", ".join(shown) + (f" ({len(names)})" if len(names) > 1 else "")


def _next(name: str) -> str | None:
    stem, dash, number = name.rpartition("-")
    return f"{stem}{dash}{int(number) + 1}" if number.isdigit() else None
