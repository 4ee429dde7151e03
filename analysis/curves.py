"""Curves over time that figures and reports draw: the mean accuracy of many devices, bytes sent so far."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import pandas as pd

from analysis.run import Run
from analysis.worlds import Floats

MOMENTS = 1200
"""At how many moments curves are drawn where they change more often than that."""

DEVICES = 2000
"""Of how many devices (over all seeds) a mean and a band are drawn; of more, so many are chosen evenly."""

_CELLS = 4_000_000
"""Devices times moments for which a band is computed; beyond it fewer moments are."""

_Key = TypeVar("_Key")


def moments(spans: pd.DataFrame, horizon_s: float, devices: int, most: int = MOMENTS) -> Floats:
    """Return the moments at which a mean changes, or evenly spaced ones where those are too many."""
    times_s = np.unique(np.concatenate([[0.0, horizon_s], spans["start_s"].to_numpy(), spans["end_s"].to_numpy()]))
    limit = min(most, max(50, _CELLS // max(devices, 1)))
    return times_s if len(times_s) <= limit else np.linspace(0.0, horizon_s, limit)


def device_keys(spans: pd.DataFrame) -> list[tuple[int, str]]:
    """Return the (seed, device) pairs of some spans, in order of appearance."""
    pairs = spans[["seed", "device"]].drop_duplicates()
    return list(zip(pairs["seed"].tolist(), pairs["device"].tolist(), strict=True))


def evenly(keys: list[_Key], limit: int) -> list[_Key]:
    """Return all keys, or that many of them, evenly spaced in their order."""
    if len(keys) <= limit:
        return keys
    return [keys[place] for place in np.linspace(0, len(keys) - 1, limit).astype(int)]


def devices_at(spans: pd.DataFrame, keys: list[tuple[int, str]], times_s: Floats) -> Floats:
    """Return the accuracy of each (seed, device) at each moment: (device, time); NaN where not measured or unserved."""
    served = spans[spans["served_s"] > 0]
    rows_of = served.groupby(["seed", "device"], sort=False).indices
    start_s, end_s, accuracy = (served[name].to_numpy() for name in ("start_s", "end_s", "accuracy"))
    values = np.full((len(keys), len(times_s)), np.nan)
    for row, key in enumerate(keys):
        own = rows_of.get(key)
        if own is None:
            continue
        place = np.searchsorted(start_s[own], times_s, side="right") - 1
        inside = (place >= 0) & (times_s < end_s[own][place])
        values[row, inside] = accuracy[own][place[inside]]
    return values


def mean_and_band(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the mean over devices at each moment and the middle 80 % of them; NaN where none was measured."""
    mean, low, high = np.full((3, values.shape[1]), np.nan)
    known = ~np.isnan(values).all(axis=0)
    if known.any():
        mean[known] = np.nanmean(values[:, known], axis=0)
        low[known], high[known] = np.nanpercentile(values[:, known], [10, 90], axis=0)
    return mean, low, high


def sent_until(
    run: Run, learner: str, times_s: Floats, *, direction: str | None = None, seed: int | None = None
) -> Floats:
    """Return the bytes that a learner has sent by each moment, of all its seeds together or of one.

    A transfer counts when it ends, or at the end of the run if it was still open; requests count evenly over their
    stretch.
    """
    sent, asked = (_of(table, learner, seed) for table in (run.transfers, run.serving))
    if direction is not None:
        sent = sent[sent["direction"] == direction]
    ended_s = sent["end_s"].fillna(run.horizon_s).to_numpy()
    order = np.argsort(ended_s, kind="stable")
    so_far = np.concatenate([[0.0], np.cumsum(sent["sent_bytes"].to_numpy()[order])])
    total: Floats = so_far[np.searchsorted(ended_s[order], times_s, side="right")]
    for way in ("up", "down"):
        busy = asked[asked[f"{way}_bytes"] > 0]
        if direction in (None, way) and len(busy):
            total = total + _evenly_spent(busy, f"{way}_bytes", times_s)
    return total


def _of(table: pd.DataFrame, learner: str, seed: int | None) -> pd.DataFrame:
    chosen = table["learner"] == learner
    return table[chosen if seed is None else chosen & (table["seed"] == seed)]


def _evenly_spent(stretches: pd.DataFrame, column: str, times_s: Floats) -> Floats:
    """How much of ``column`` was spent by each moment, if each stretch spends it at an even rate."""
    start_s, end_s = stretches["start_s"].to_numpy(), stretches["end_s"].to_numpy()
    rates = stretches[column].to_numpy(np.float64) / (end_s - start_s)
    edges_s, place = np.unique(np.concatenate([start_s, end_s]), return_inverse=True)
    rate = np.cumsum(np.bincount(place, weights=np.concatenate([rates, -rates])))
    spent = np.concatenate([[0.0], np.cumsum(rate[:-1] * np.diff(edges_s))])
    return np.asarray(np.interp(times_s, edges_s, spent), np.float64)
