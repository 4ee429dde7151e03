"""What the environment did at a seed, whatever the learners did: signals, who was reachable, drifts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.curves import evenly
from analysis.report.thinning import packed, span_of_names, steps, thinned, times
from analysis.run import Run
from analysis.worlds import Floats

RESOURCES = {"uplink": "bytes", "downlink": "bytes", "memory": "bytes", "compute": "FLOP"}
"""Signals of a device, and what they are amounts of."""

SIGNALS = 12
"""Most different signals that are drawn one by one; of more, the least, the median and the greatest."""

POINTS = 400
"""Most points of a signal; longer ones are thinned, their extremes kept."""

DEVICES = 2000
"""Of how many devices signals are looked at; of more, so many are chosen evenly."""

_OWN_POINTS = 60_000
"""Most points of single devices' signals, all together."""

_MOMENTS = 300
"""Moments at which a median over many signals is drawn."""


def of_seed(run: Run, seed: int, devices: Sequence[str]) -> dict[str, Any]:
    """Return what one seed's environment offered; reachability and drifts by device of ``devices``."""
    signals = signals_of(run, seed, devices)
    return {
        "signals": {name: _drawn(signals[name], run.horizon_s) for name in RESOURCES},
        "own": {name: _own(signals[name], devices, len(run.seeds)) for name in RESOURCES},
        "drifts": drift_rows(run, seed).to_dict(orient="records"),
        "struck": _struck(run, seed, devices),
        "away": _away(run, seed, devices),
    }


def notes(run: Run) -> list[str]:
    """What the reader has to know of the environment's charts."""
    nodes = run.environment["device"].nunique()
    return [f"Signals are those of {DEVICES:,} evenly chosen devices of {nodes:,}."] if nodes > DEVICES else []


def first_world(table: pd.DataFrame, run: Run, seed: int) -> pd.DataFrame:
    """Return the rows of a seed's first learner: exogenous rows are the same for every learner."""
    worlds = run.worlds[run.worlds["seed"] == seed].sort_values("until_s", ascending=False, kind="stable")
    learner = worlds["learner"].iloc[0]  # of an unfinished run the one that came furthest
    found: pd.DataFrame = table[(table["learner"] == learner) & (table["seed"] == seed)]
    return found


def signals_of(run: Run, seed: int, always: Sequence[str] = ()) -> dict[str, dict[str, tuple[Floats, Floats]]]:
    """Return the signals of each device: resource -> device -> (times, values).

    Of more than ``DEVICES`` devices so many are chosen evenly, and those in ``always``.
    """
    rows = first_world(run.environment, run, seed)
    nodes = rows["device"].drop_duplicates().tolist()
    if len(nodes) > DEVICES:
        rows = rows[rows["device"].isin([*evenly(nodes, DEVICES), *always])]
    found: dict[str, dict[str, tuple[Floats, Floats]]] = {name: {} for name in RESOURCES}
    for (resource, device), own in rows.groupby(["resource", "device"], sort=False):
        if resource in found:
            found[str(resource)][str(device)] = steps(own["time_s"], own["value"])
    return found


def drift_rows(run: Run, seed: int) -> pd.DataFrame:
    """Return a row a drift and moment: ``time, name, kind, devices, detail``."""
    rows = first_world(run.drifts, run, seed)
    rows = rows[rows["opens_episode"]]
    if rows.empty:
        return pd.DataFrame(columns=["time", "name", "kind", "devices", "detail"])
    kind = rows["kind"].where(~rows["undo"], rows["kind"] + " (goes again)")
    detail = rows["detail"].where(
        rows["steps"] == 1, rows["detail"] + " (in " + rows["steps"].astype("str") + " steps)"
    )
    grouped = rows.assign(kind=kind, detail=detail, time=rows["time_s"].round(3)).groupby(["time", "name", "kind"])
    found = grouped.agg(devices=("device", "nunique"), detail=("detail", _some)).reset_index()
    return found.sort_values("time", kind="stable")


def _some(details: pd.Series[str]) -> str:
    different = [text for text in dict.fromkeys(details) if text]
    return "; ".join(different[:3]) + (f"; ... ({len(different)})" if len(different) > 3 else "")


def alike(signals: dict[str, tuple[Floats, Floats]]) -> list[tuple[list[str], Floats, Floats]]:
    """Return the different signals, each with the devices that have it."""
    found: dict[bytes, tuple[list[str], Floats, Floats]] = {}
    for device, (times_s, values) in signals.items():
        found.setdefault(times_s.tobytes() + values.tobytes(), ([], times_s, values))[0].append(device)
    return list(found.values())


def _drawn(signals: dict[str, tuple[Floats, Floats]], horizon_s: float) -> list[dict[str, Any]]:
    different = alike(signals)
    if len(different) > SIGNALS:
        return _quantiles(list(signals.values()), horizon_s)
    return [
        {"name": span_of_names(names), "devices": names, **packed(*thinned(times_s, values, POINTS))}
        for names, times_s, values in different
    ]


def _own(signals: dict[str, tuple[Floats, Floats]], devices: Sequence[str], seeds: int) -> dict[str, dict[str, Any]]:
    """Return the signals of single devices, where they are too different to be drawn one by one together."""
    if len(alike(signals)) <= SIGNALS:
        return {}
    most = max(24, _OWN_POINTS // (len(RESOURCES) * seeds * max(1, len(devices))))
    return {device: packed(*thinned(*signals[device], most)) for device in devices if device in signals}


def _quantiles(signals: list[tuple[Floats, Floats]], horizon_s: float) -> list[dict[str, Any]]:
    """The least, the median and the greatest of many signals."""
    edges_s = np.unique(np.concatenate([t for t, _ in signals]))
    moments_s = edges_s if len(edges_s) <= _MOMENTS else np.linspace(0.0, horizon_s, _MOMENTS)
    values = np.array([v[np.maximum(np.searchsorted(t, moments_s, side="right") - 1, 0)] for t, v in signals])
    return [
        {"name": f"{name} of {len(signals)} devices", "devices": [], **packed(moments_s, line)}
        for name, line in (
            ("greatest", values.max(axis=0)),
            ("median", np.median(values, axis=0)),
            ("least", values.min(axis=0)),
        )
    ]


def _struck(run: Run, seed: int, devices: Sequence[str]) -> list[list[Any]]:
    """Which device each drift struck when: ``[device's place, time, name]``."""
    rows = first_world(run.drifts, run, seed)
    rows = rows[rows["opens_episode"] & rows["device"].isin(devices)]
    place = {device: number for number, device in enumerate(devices)}
    every = list(zip(rows["device"], times(rows["time_s"]), rows["name"], strict=True))
    return [[place[device], time_s, name] for device, time_s, name in evenly(every, 2000)]


def _away(run: Run, seed: int, devices: Sequence[str]) -> list[list[Any]]:
    """When each device was offline for an outside reason: ``[device's place, from, to]``; dead batteries are not."""
    rows = first_world(run.availability, run, seed)
    place = {device: number for number, device in enumerate(devices)}
    found: list[list[Any]] = []
    for device in dict.fromkeys(name for name in rows["device"] if name in place):
        own = rows[rows["device"] == device]
        from_s, to_s = times(own["time_s"]), times(np.append(own["time_s"].to_numpy()[1:], run.horizon_s))
        away = ((own["state"] == "offline") & (own["cause"] != "battery")).tolist()
        found += [[place[device], start, end] for start, end, out in zip(from_s, to_s, away, strict=True) if out]
    return evenly(found, 3000)
