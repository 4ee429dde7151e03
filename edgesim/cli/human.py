"""Numbers for people: times, sizes and energies in the unit that suits them."""

from __future__ import annotations

import math
from collections.abc import Iterable

_SCALES: dict[str, tuple[tuple[float, str], ...]] = {
    "s": ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms")),
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "J": ((1e6, "MJ"), (1e3, "kJ"), (1.0, "J"), (1e-3, "mJ")),
    "FLOP": ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1.0, "FLOP")),
    "ratio": ((0.01, "%"),),
    "count": ((1.0, ""),),
}


def scale(unit: str, values: Iterable[float]) -> tuple[float, str]:
    """Return the size and the name of the unit that suits all of ``values``, which are in ``unit``.

    >>> scale("bytes", [12_000, 3_400_000])
    (1000000.0, 'MB')
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    scales = _SCALES[unit]
    if not largest:
        return next((item for item in scales if item[0] == 1.0), scales[-1])
    return next((item for item in scales if largest >= 2 * item[0]), scales[-1])


def decimals(values: Iterable[float]) -> int:
    """Return how many decimals give about three digits.

    >>> decimals([3.14159, 12.0])
    1
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return 0 if largest >= 100 else 1 if largest >= 10 else 2


def time_text(time_s: float) -> str:
    """Write a time with about three digits.

    >>> time_text(754.0), time_text(0.5), time_text(1800)
    ('12.6 min', '500 ms', '30 min')
    """
    size, name = scale("s", [time_s])
    number = f"{time_s / size:.{decimals([time_s / size])}f}"
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {name}"
