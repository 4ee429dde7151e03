"""The worlds of a run and sums over them: what every metric is indexed by.

``worlds`` is a frame with a row a (learner, seed) world, in the order of the run, with the columns
``learner``, ``seed``, ``oracle``, ``until_s`` (up to which virtual time its tables are complete: the horizon,
or the frontier of a run that was killed) and ``finished``. Every metric of a world is a Series over all of
them: a learner that never sent a byte sent 0 bytes; what was not measured is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

WORLD = ["learner", "seed"]
"""The columns that name a world."""

DEVICE = ["learner", "seed", "device"]
"""The columns that name a device of a world."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]


def index(worlds: pd.DataFrame) -> pd.MultiIndex:
    """Return the (learner, seed) index that every metric of ``worlds`` has."""
    return _index(tuple(worlds["learner"].tolist()), tuple(worlds["seed"].tolist()))


@lru_cache(maxsize=16)
def _index(learners: tuple[str, ...], seeds: tuple[int, ...]) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([pd.Index(learners, dtype="str"), pd.Index(seeds, dtype="int64")], names=WORLD)


def codes(rows: pd.DataFrame, worlds: pd.DataFrame) -> Ints:
    """Return the position in ``worlds`` of each row's world, -1 where it is not among them."""
    learner, learners = pd.factorize(rows["learner"])
    seed, seeds = pd.factorize(rows["seed"])
    place = {
        key: place for place, key in enumerate(zip(worlds["learner"].tolist(), worlds["seed"].tolist(), strict=True))
    }
    known = [[place.get((name, number), -1) for number in seeds.tolist()] for name in learners.tolist()]
    return np.array(known, np.intp)[learner, seed] if len(rows) else np.empty(0, np.intp)


def per_row(rows: pd.DataFrame, worlds: pd.DataFrame, column: str) -> Floats:
    """Return what ``worlds`` holds in ``column``, for each row; NaN where its world is not among them."""
    values = np.append(worlds[column].to_numpy(np.float64), np.nan)
    return values[codes(rows, worlds)]


def total(rows: pd.DataFrame, worlds: pd.DataFrame, values: str | npt.ArrayLike | None = None) -> pd.Series[float]:
    """Sum a column (or an array with an entry a row; by default 1: count the rows) within each world.

    A world without rows has 0. A missing value makes its world's sum missing: a part of a sum is not the sum.
    """
    world = codes(rows, worlds)
    if values is None:
        weights = np.ones(len(rows))
    else:
        weights = np.asarray(rows[values] if isinstance(values, str) else values, np.float64)
    known = world >= 0
    sums = np.bincount(world[known], weights=weights[known], minlength=len(worlds))
    return pd.Series(sums, index(worlds), dtype="float64")


def largest(rows: pd.DataFrame, worlds: pd.DataFrame, column: str) -> pd.Series[float]:
    """Return the largest value of a column within each world, missing ones left out; NaN if there is none."""
    best = np.full(len(worlds) + 1, -np.inf)
    values = rows[column].to_numpy(np.float64)
    measured = ~np.isnan(values)
    np.maximum.at(best, codes(rows, worlds)[measured], values[measured])
    return pd.Series(np.where(np.isfinite(best), best, np.nan)[: len(worlds)], index(worlds))


def ratio(part: pd.Series[float], whole: pd.Series[float]) -> pd.Series[float]:
    """Divide, giving NaN (not measured) where there is nothing to divide by."""
    return part / whole.where(whole != 0)


def shared_groups(one: pd.DataFrame, other: pd.DataFrame, by: Sequence[str]) -> tuple[Ints, Ints]:
    """Number the groups of two frames alike: the same values in ``by`` have the same number in both."""
    code = groups(pd.concat([one[list(by)], other[list(by)]], ignore_index=True), by)
    return code[: len(one)], code[len(one) :]


def groups(rows: pd.DataFrame, by: Sequence[str]) -> Ints:
    """Number the groups of rows that agree in the columns ``by``, from 0."""
    code = np.zeros(len(rows), np.intp)
    for name in by:
        part, values = pd.factorize(rows[name])
        code = code * max(len(values), 1) + part
        code = pd.factorize(code)[0]  # keeps the numbers small, whatever the columns hold
    return code
