"""A running sum that loses no digits: a pair of doubles, ``high + low``, good for 32 digits.

A virtual clock that runs for weeks meets transfers that last milliseconds; a sum of capacities that changes a
million times must not drift. (Knuth's two-sum: The Art of Computer Programming, vol. 2, 4.2.2, theorem B.)
"""

from __future__ import annotations


def plus(high: float, low: float, term: float) -> tuple[float, float]:
    """``high + low + term`` as a new pair.

    Examples
    --------
    >>> plus(*plus(1e16, 0.0, 1.0), -1e16)
    (1.0, 0.0)
    """
    total = high + term
    back = total - high
    low += (high - (total - back)) + (term - back)
    high = total + low
    return high, low - (high - total)
