"""Times and sizes for people, without loading what analysis needs."""

from __future__ import annotations

# From which time on, in which unit of which size.
_UNITS = ((7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (1.0, 1.0, "s"), (0.0, 1e-3, "ms"))

_BYTES = ("B", "kB", "MB", "GB", "TB", "PB")


def time_text(time_s: float) -> str:
    """Write a time with about three digits.

    >>> time_text(754.0), time_text(0.5), time_text(1800.0), time_text(0.0)
    ('12.6 min', '500 ms', '30 min', '0 s')
    """
    size, name = next((size, name) for start, size, name in _UNITS if time_s >= start) if time_s else (1.0, "s")
    number = time_s / size
    text = f"{number:.{0 if number >= 100 else 1 if number >= 10 else 2}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {name}"


def bytes_text(number: float) -> str:
    """Write a number of bytes with about three digits.

    >>> bytes_text(0), bytes_text(999), bytes_text(19520), bytes_text(3.2e6), bytes_text(1.25e12)
    ('0 B', '999 B', '19.5 kB', '3.2 MB', '1.25 TB')
    """
    unit = 0
    while number >= 999.5 and unit < len(_BYTES) - 1:
        number, unit = number / 1000, unit + 1
    text = f"{number:.{0 if unit == 0 or number >= 100 else 1 if number >= 10 else 2}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {_BYTES[unit]}"
