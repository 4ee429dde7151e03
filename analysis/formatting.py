"""Numbers as people read them. Not measured is a dash, not reached says so."""

from __future__ import annotations

import math

from analysis.metrics import Unit

NOT_MEASURED = "-"
NOT_REACHED = "not reached"

# From which size on a number is written in which unit, and that unit's size.
_STEPS: dict[str, tuple[tuple[float, float, str], ...]] = {
    "s": ((0.0, 1e-3, "ms"), (1.0, 1.0, "s"), (120.0, 60.0, "min"), (7200.0, 3600.0, "h"), (172800.0, 86400.0, "d")),
    "bytes": ((0.0, 1.0, "B"), (1e3, 1e3, "kB"), (1e6, 1e6, "MB"), (1e9, 1e9, "GB"), (1e12, 1e12, "TB")),
    "J": ((0.0, 1e-3, "mJ"), (1.0, 1.0, "J"), (1e3, 1e3, "kJ"), (1e6, 1e6, "MJ"), (1e9, 1e9, "GJ")),
    "FLOP": (
        (0.0, 1.0, "FLOP"),
        (1e6, 1e6, "MFLOP"),
        (1e9, 1e9, "GFLOP"),
        (1e12, 1e12, "TFLOP"),
        (1e15, 1e15, "PFLOP"),
    ),
    "ratio": ((0.0, 0.01, "%"),),
    "points": ((0.0, 0.01, "points"),),
    "count": ((0.0, 1.0, ""),),
    "1/h": ((0.0, 1.0, "/h"),),
}


def quantity(value: float, unit: Unit) -> str:
    """Write a number with its unit, three digits long.

    >>> quantity(0.9312, "ratio"), quantity(93.0, "s"), quantity(3.2e6, "bytes"), quantity(0.000412, "1/h")
    ('93.1 %', '93 s', '3.2 MB', '0.000412 /h')
    """
    if math.isnan(value):
        return NOT_MEASURED
    if math.isinf(value):
        return NOT_REACHED
    scale, name = _scale(value, unit)
    return f"{_digits(value / scale, unit)} {name}".rstrip()


def between(low: float, high: float, unit: Unit, *, like: float = math.nan, named: bool = True) -> str:
    """Write an interval, in the unit in which ``like`` is written (by default its larger bound).

    Empty where there is none, or none to be seen (the bounds are written alike). An infinite upper bound is "or more".

    >>> between(0.9, 0.95, "ratio"), between(40.0, math.inf, "s"), between(40.0, 200.0, "s", like=50.0, named=False)
    ('90.0 to 95.0 %', '40 s or more', '40 to 200')
    """
    if math.isnan(low) or math.isnan(high) or math.isinf(low):
        return ""
    if not math.isfinite(like):
        like = high if math.isfinite(high) else low
    scale, name = _scale(like, unit)
    suffix = f" {name}" if named and name else ""
    if math.isinf(high):
        return f"{_digits(low / scale, unit)}{suffix} or more"
    lower, upper = _digits(low / scale, unit), _digits(high / scale, unit)
    return f"{lower} to {upper}{suffix}" if lower != upper else ""


def difference(value: float, unit: Unit) -> str:
    """Write a signed difference; of two ratios in points.

    >>> difference(0.021, "ratio"), difference(-3e6, "bytes")
    ('+2.1 points', '-3 MB')
    """
    if not math.isfinite(value):
        return NOT_MEASURED
    scale, name = _scale(value, _of_difference(unit))
    return f"{'+' if value >= 0 else '-'}{_digits(abs(value) / scale, unit)} {name}".rstrip()


def difference_between(low: float, high: float, unit: Unit, like: float) -> str:
    """Write the interval of the difference ``like``, in its unit, the bounds signed.

    >>> difference_between(-0.004, 0.031, "ratio", 0.01)
    '-0.4 to +3.1'
    """
    scale, _ = _scale(like, _of_difference(unit))
    return " to ".join(f"{'+' if bound >= 0 else '-'}{_digits(abs(bound) / scale, unit)}" for bound in (low, high))


def _of_difference(unit: Unit) -> str:
    return "points" if unit == "ratio" else unit


def _scale(value: float, unit: str) -> tuple[float, str]:
    steps = _STEPS[unit]
    if value == 0:
        return next(((scale, name) for _, scale, name in steps if scale == 1.0), steps[0][1:])
    return [(scale, name) for start, scale, name in steps if abs(value) >= start * 0.9995][-1]


def _digits(value: float, unit: str) -> str:
    if unit == "ratio":
        return f"{value:.1f}"
    if unit == "count" and value == round(value):
        return f"{value:.0f}"
    places = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    most = 12 if unit in ("1/h", "count") else 3  # they have no smaller unit to be written in
    text = f"{value:.{min(places, most)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
