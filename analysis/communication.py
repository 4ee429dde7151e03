"""What was sent: metrics on the ``transfers`` and ``serving`` tables, in bytes.

Counted are the bytes that left the sender: of a delivered transfer all (*useful*), of one that was cut those
sent until then (*wasted*), of one still open at the end those sent so far (*in flight*). Inference requests
to the cloud and their answers count like transfers, with the kind ``requests``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.worlds import DEVICE, Flags, index, per_row, total

FATES = {"delivered": "useful", "cut": "wasted", "in_flight": "in flight"}


def traffic(transfers: pd.DataFrame, serving: pd.DataFrame) -> pd.DataFrame:
    """Return all bytes in one tidy frame: ``learner, seed, device, direction, kind, fate, bytes``, summed."""
    sent = transfers[[*DEVICE, "direction", "kind"]].assign(
        fate=transfers["status"].map(FATES), bytes=transfers["sent_bytes"]
    )
    asked = [
        serving[DEVICE].assign(direction=way, kind="requests", fate="useful", bytes=serving[f"{way}_bytes"])
        for way in ("up", "down")
    ]
    keys = [*DEVICE, "direction", "kind", "fate"]
    rows = pd.concat([sent, *asked]).groupby(keys, sort=False)["bytes"].sum().reset_index()
    return rows.loc[rows["bytes"] > 0].reset_index(drop=True)


def sent_bytes(
    transfers: pd.DataFrame,
    serving: pd.DataFrame,
    worlds: pd.DataFrame,
    *,
    direction: str | None = None,
    kind: str | None = None,
    fate: str | None = None,
) -> pd.Series[float]:
    """Sum the bytes of a direction (``up``, ``down``, ``peer``), a kind, a fate, or all of them.

    Kinds are those of ``transfers`` and ``requests``; fates are ``useful``, ``wasted`` and ``in flight``.
    """
    chosen: Flags = np.ones(len(transfers), bool)
    if direction is not None:
        chosen &= (transfers["direction"] == direction).to_numpy(bool)
    if kind is not None:
        chosen &= (transfers["kind"] == kind).to_numpy(bool)
    if fate is not None:
        chosen &= (transfers["status"].map(FATES) == fate).to_numpy(bool)
    result = total(transfers[chosen], worlds, "sent_bytes")
    if kind in (None, "requests") and fate in (None, "useful"):
        for way in ("up", "down"):
            if direction in (None, way):
                result = result + total(serving, worlds, f"{way}_bytes")
    return result


def both_ways_bytes(up: pd.Series[float], down: pd.Series[float], peer: pd.Series[float]) -> pd.Series[float]:
    """All bytes over any link: the convention that counts an exchange of a model as two transfers."""
    return up + down + peer


def one_way_bytes(up: pd.Series[float], down: pd.Series[float], peer: pd.Series[float]) -> pd.Series[float]:
    """The dearer of the two directions (and what devices sent each other): an exchange counts once.

    Papers differ in which convention they use and seldom say so; where models go both ways the ratios between
    learners are the same in both.
    """
    return pd.Series(np.maximum(up, down), up.index) + peer


def bytes_to_target(
    transfers: pd.DataFrame,
    serving: pd.DataFrame,
    worlds: pd.DataFrame,
    seconds: pd.Series[float],
    since_s: float = 0.0,
) -> pd.Series[float]:
    """Bytes, all directions, from ``since_s`` until the target accuracy was reached.

    Parameters
    ----------
    seconds
        From :func:`analysis.accuracy.time_to_target`, with the same ``since_s``.

    Returns
    -------
    Series
        A number a world: what had been delivered or cut by then; of a stretch of requests the part of its
        time. Infinite where the target was not reached, NaN where accuracy was not measured.
    """
    limits = worlds.assign(limit_s=(seconds.reindex(index(worlds)) + since_s).to_numpy())
    by_then = (transfers["end_s"] > since_s) & (transfers["end_s"] <= per_row(transfers, limits, "limit_s"))
    result = total(transfers[by_then], worlds, "sent_bytes")
    if len(serving):
        limit_s = per_row(serving, limits, "limit_s")
        start_s, end_s = serving["start_s"].to_numpy(np.float64), serving["end_s"].to_numpy(np.float64)
        overlap_s = np.minimum(end_s, limit_s) - np.maximum(start_s, since_s)
        share = np.maximum(overlap_s, 0.0) / (end_s - start_s)
        result = result + total(serving, worlds, (serving["up_bytes"] + serving["down_bytes"]) * share)
    return result.where(np.isfinite(seconds), seconds)
