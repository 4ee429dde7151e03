"""How sure: 95 % intervals over seeds, paired differences, and what may be said of them.

The unit of replication is the seed: the devices of one run share models and are not independent. Intervals
are Student t over seeds at every number of seeds (a percentile bootstrap of 3 seeds covers about 75 %).
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

CONFIDENCE = 0.95
Verdict = Literal["higher", "lower", "tied", "undecided", "one seed", "not measured"]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval over ``seeds`` measured seeds; no interval is ``low = high = nan``.

    ``value`` may be infinite (a median that was not reached) or NaN (not measured).
    """

    value: float
    low: float
    high: float
    seeds: int

    @property
    def has_bounds(self) -> bool:
        """Whether there is an interval: with one seed there is none."""
        return not (math.isnan(self.low) or math.isnan(self.high))


def student_quantile(seeds: int) -> float:
    """Return the 97.5 % quantile of Student's t for so many seeds (at least 2)."""
    return float(special.stdtrit(seeds - 1, 0.5 + CONFIDENCE / 2))


def mean_interval(values: npt.ArrayLike) -> Interval:
    """Mean of one number a seed, with the 95 % Student t interval.

    Seeds at which it was not measured (NaN) are left out; ``seeds`` says how many remain. An infinite number
    (a time that did not come) makes the mean infinite and leaves no interval.

    >>> mean_interval([1.0, 2.0, 3.0]).low.__round__(4)
    -0.4841
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    n = len(known)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(known.mean())
    if n == 1 or not math.isfinite(mean):
        return Interval(mean, math.nan, math.nan, n)
    half = student_quantile(n) * float(known.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def paired_difference(by_seed: pd.DataFrame, learner: Hashable, baseline: Hashable) -> Interval:
    """Mean over seeds of (learner - baseline) with its paired 95 % interval.

    ``by_seed`` has a row a seed and a column a learner. Both live in the same environment at a seed (common random
    numbers), so only seeds of both count.
    """
    difference = by_seed[learner] - by_seed[baseline]
    return mean_interval(difference.to_numpy(np.float64))


def verdict(difference: Interval, margin: float) -> Verdict:
    """Say what a paired difference supports.

    ``higher`` or ``lower``: its 95 % interval excludes 0. Otherwise ``tied`` if it is at most ``margin`` away
    from 0, and ``undecided`` if not. With one seed there is no interval and nothing to say, with none nothing
    is measured.
    """
    if difference.seeds == 0 or math.isnan(difference.value):
        return "not measured"
    if difference.seeds == 1:
        return "one seed"
    if not difference.has_bounds:
        return "undecided"
    if difference.low > 0:
        return "higher"
    if difference.high < 0:
        return "lower"
    return "tied" if abs(difference.value) <= margin else "undecided"
