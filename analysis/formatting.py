"""Numbers as people read them. Not measured is a dash, not reached says so."""

from __future__ import annotations

import math

from analysis.metrics import Unit

NOT_MEASURED = "-"
NOT_REACHED = "not reached"

_STEPS: dict[str, tuple[tuple[float, str], ...]] = {
    "s": ((1e-3, "ms"), (1.0, "s"), (60.0, "min"), (3600.0, "h"), (86400.0, "d")),
    "bytes": ((1.0, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB"), (1e15, "PB")),
    "J": ((1e-3, "mJ"), (1.0, "J"), (1e3, "kJ"), (1e6, "MJ"), (1e9, "GJ")),
    "FLOP": ((1.0, "FLOP"), (1e6, "MFLOP"), (1e9, "GFLOP"), (1e12, "TFLOP"), (1e15, "PFLOP"), (1e18, "EFLOP")),
    "ratio": ((0.01, "%"),),
    "points": ((0.01, "points"),),
    "count": ((1.0, ""),),
}


def quantity(value: float, unit: Unit) -> str:
    """Write a number with its unit, three digits long.

    >>> quantity(0.9312, "ratio"), quantity(93.0, "s"), quantity(3.2e6, "bytes"), quantity(2.0, "count")
    ('93.1 %', '1.55 min', '3.2 MB', '2')
    """
    if math.isnan(value):
        return NOT_MEASURED
    if math.isinf(value):
        return NOT_REACHED
    scale, name = _scale(value, unit)
    return f"{_digits(value / scale, unit)} {name}".rstrip()


def between(low: float, high: float, unit: Unit) -> str:
    """Write an interval in one unit, the larger bound's; empty where there is none.

    >>> between(0.9, 0.95, "ratio"), between(40.0, math.inf, "s"), between(math.nan, math.nan, "s")
    ('90 to 95 %', '40 s to not reached', '')
    """
    if math.isnan(low) or math.isnan(high):
        return ""
    if math.isinf(low) or math.isinf(high):
        return f"{quantity(low, unit)} to {quantity(high, unit)}"
    scale, name = _scale(max(abs(low), abs(high)), unit)
    return f"{_digits(low / scale, unit)} to {_digits(high / scale, unit)} {name}".rstrip()


def difference(value: float, unit: Unit) -> str:
    """Write a signed difference; of two ratios in points.

    >>> difference(0.021, "ratio"), difference(-3e6, "bytes")
    ('+2.1 points', '-3 MB')
    """
    if math.isnan(value) or math.isinf(value):
        return NOT_MEASURED
    scale, name = _scale(value, "points" if unit == "ratio" else unit)
    return f"{'+' if value >= 0 else '-'}{_digits(abs(value) / scale, unit)} {name}".rstrip()


def difference_between(low: float, high: float, unit: Unit) -> str:
    """Write the interval of a difference, bounds signed: the unit stands beside the difference itself.

    >>> difference_between(-0.004, 0.031, "ratio")
    '-0.4 to +3.1'
    """
    scale, _ = _scale(max(abs(low), abs(high)), "points" if unit == "ratio" else unit)
    return " to ".join(f"{'+' if bound >= 0 else '-'}{_digits(abs(bound) / scale, unit)}" for bound in (low, high))


def _scale(value: float, unit: str) -> tuple[float, str]:
    steps = _STEPS[unit]
    if value == 0:
        return next(((scale, name) for scale, name in steps if scale == 1.0), steps[0])
    fitting = [step for step in steps if abs(value) >= step[0] * 0.9995]
    return fitting[-1] if fitting else steps[0]


def _digits(value: float, unit: str) -> str:
    if unit in ("ratio", "points"):
        text = f"{value:.1f}"
    elif unit == "count" and value == round(value):
        return f"{value:.0f}"
    else:
        places = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
        text = f"{value:.{min(places, 3)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
