"""Figures over time: accuracy of the fleet and of each device, bytes sent."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figure_style import (
    FONT,
    NOT_MEASURED,
    SMALL,
    Runs,
    amounts,
    canvas,
    colours,
    dress,
    legend_above,
    mark_drifts,
    note,
    one_scenario,
    percent,
    time_unit,
    widths,
)
from analysis.run import Run
from analysis.worlds import Floats
from edgesim.tables import UserError

_MOMENTS = 1200
"""At how many moments curves are drawn where they change more often than that."""

_DEVICES = 2000
"""Of how many devices (over all seeds) a mean and a band are drawn; of more, so many are chosen evenly."""

_ROWS = 200
"""Of how many devices a heat map has rows."""

_Key = TypeVar("_Key")

_CELLS = 4_000_000
"""Devices times moments for which a band is computed; beyond it fewer moments are."""


def plot_accuracy(runs: Runs, ax: Axes | None = None, *, band: bool = True) -> Figure:
    """Draw the mean accuracy over devices against time, with the middle 80 % of the devices as a band.

    Several seeds are averaged; the band then spans the devices of all seeds. Drifts are dashed lines.
    """
    run = one_scenario(runs)
    figure, ax = canvas(ax)
    unit_s, unit = time_unit(run.horizon_s)
    colour, width = colours(run.learners), widths(run.learners)
    thinned = False
    for learner in run.learners:
        own = run.spans[run.spans["learner"] == learner]
        pairs = own[["seed", "device"]].drop_duplicates()
        every = list(zip(pairs["seed"].tolist(), pairs["device"].tolist(), strict=True))
        drawn = _thinned(every, _DEVICES)
        thinned |= len(drawn) < len(every)
        times_s = _moments(own, run.horizon_s, len(drawn))
        values = _devices_at(own, drawn, times_s)
        known = ~np.isnan(values).all(axis=0)
        if not known.any():
            continue
        mean = np.full(len(times_s), np.nan)
        mean[known] = np.nanmean(values[:, known], axis=0)
        label = f"{learner} *" if learner in run.oracles else learner
        ax.step(
            times_s / unit_s, mean, where="post", color=colour[learner], linewidth=width[learner], label=label, zorder=3
        )
        if band and len(values) > 1:
            low, high = np.full((2, len(times_s)), np.nan)
            low[known], high[known] = np.nanpercentile(values[:, known], [10, 90], axis=0)
            ax.fill_between(times_s / unit_s, low, high, step="post", color=colour[learner], alpha=0.12, linewidth=0.6)
    mark_drifts(ax, run.drifts, unit_s)
    ax.set_xlim(0, run.horizon_s / unit_s)
    ax.set_ylim(top=1.0)
    percent(ax)
    middle = "; band: middle 80 % of the devices" if band else ""
    dress(ax, "Accuracy over time", f"time ({unit})", "accuracy")
    legend_above(ax)
    some = f"{_DEVICES:,} evenly chosen " if thinned else ""
    note(ax, f"mean over {some}devices{_of_seeds(run)}{middle}")
    return figure


def plot_bytes(runs: Runs, ax: Axes | None = None, *, direction: str | None = None) -> Figure:
    """Draw the bytes sent so far against time: all of them, or one direction (``up``, ``down``, ``peer``).

    A transfer counts when it ends, or at the end of the run if it was still open; requests count evenly over their
    stretch. Several seeds are averaged.
    """
    run = one_scenario(runs)
    figure, ax = canvas(ax)
    unit_s, unit = time_unit(run.horizon_s)
    colour, width = colours(run.learners), widths(run.learners)
    times_s = np.linspace(0.0, run.horizon_s, _MOMENTS + 1)
    for learner in run.learners:
        seeds = run.worlds.loc[run.worlds["learner"] == learner, "seed"].nunique()
        total = _sent_until(run, learner, direction, times_s) / seeds
        ax.plot(times_s / unit_s, total, color=colour[learner], linewidth=width[learner], label=learner)
    mark_drifts(ax, run.drifts, unit_s)
    ax.set_xlim(0, run.horizon_s / unit_s)
    ax.set_ylim(bottom=0)
    amounts(ax, "bytes")
    way = {None: "all directions", "up": "to the cloud", "down": "to devices", "peer": "between devices"}[direction]
    dress(ax, f"Bytes sent, {way}", f"time ({unit})", "bytes so far")
    legend_above(ax)
    if len(run.seeds) > 1:
        note(ax, f"mean over {len(run.seeds)} seeds")
    return figure


def plot_devices(runs: Runs, ax: Axes | None = None, *, learner: str | None = None, seed: int | None = None) -> Figure:
    """Draw the accuracy of each device over time as a heat map, a row a device, for one learner and seed.

    By default the last learner and the first seed of the run. Of more than 200 devices 200 are drawn, evenly chosen. A
    device's drifts are black ticks in its row; grey is not measured.
    """
    run = one_scenario(runs)
    learner, seed = chosen_world(run, learner, seed)
    own = run.spans[(run.spans["learner"] == learner) & (run.spans["seed"] == seed)]
    drifts = run.drifts[(run.drifts["learner"] == learner) & (run.drifts["seed"] == seed) & run.drifts["opens_episode"]]
    devices = _thinned(list(dict.fromkeys([*own["device"], *drifts["device"]])), _ROWS)
    drifts = drifts[drifts["device"].isin(devices)]
    figure, ax = canvas(ax, (8.0, min(9.0, 1.8 + 0.24 * max(len(devices), 4))))
    unit_s, unit = time_unit(run.horizon_s)
    edges_s = np.linspace(0.0, run.horizon_s, _MOMENTS // 2 + 1)
    values = _devices_at(own, [(seed, device) for device in devices], edges_s[:-1])
    ax.set_facecolor(NOT_MEASURED)
    if devices and not np.isnan(values).all():
        mesh = ax.pcolormesh(
            edges_s / unit_s,
            np.arange(len(devices) + 1) - 0.5,
            values,
            cmap="cividis",
            vmin=np.nanmin(values),
            vmax=1.0,
        )
        bar = figure.colorbar(mesh, ax=ax, pad=0.02)
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
        bar.set_label("accuracy", fontsize=FONT)
        bar.ax.tick_params(labelsize=SMALL)
    rows = {device: row for row, device in enumerate(devices)}
    place = [rows[device] for device in drifts["device"]]
    ax.vlines(drifts["time_s"] / unit_s, np.array(place) - 0.5, np.array(place) + 0.5, color="black", linewidth=1.6)
    step = max(1, len(devices) // 30)
    dress(ax, f"Accuracy of each device: {learner}, seed {seed}", f"time ({unit})", "")
    ax.grid(visible=False)
    ax.set_yticks(range(0, len(devices), step), devices[::step], fontsize=SMALL)
    ax.set_ylim(max(len(devices), 1) - 0.5, -0.5)
    ax.set_xlim(0, run.horizon_s / unit_s)
    return figure


def chosen_world(run: Run, learner: str | None, seed: int | None) -> tuple[str, int]:
    """Return the world to draw: by default the last learner's first one.

    Raises
    ------
    UserError
        The run has no such world.
    """
    worlds = run.worlds
    if learner is not None:
        worlds = worlds[worlds["learner"] == learner]
    if seed is not None:
        worlds = worlds[worlds["seed"] == seed]
    if run.worlds.empty:
        raise UserError(f"{run.label} has nothing to draw yet: no world was begun")
    if worlds.empty:
        asked = ", ".join([*([learner] if learner else []), *([f"seed {seed}"] if seed is not None else [])])
        raise UserError(f"{run.label} has no world {asked}; it has {', '.join(run.learners)} and seeds {run.seeds}")
    last = worlds[worlds["learner"] == worlds["learner"].iloc[-1]].iloc[0]
    return str(last["learner"]), int(last["seed"])


def _moments(spans: pd.DataFrame, horizon_s: float, devices: int) -> Floats:
    """The moments at which a mean changes, or evenly spaced ones where those are too many."""
    times_s = np.unique(np.concatenate([[0.0, horizon_s], spans["start_s"].to_numpy(), spans["end_s"].to_numpy()]))
    limit = min(_MOMENTS, max(50, _CELLS // max(devices, 1)))
    return times_s if len(times_s) <= limit else np.linspace(0.0, horizon_s, limit)


def _thinned(keys: list[_Key], limit: int) -> list[_Key]:
    """All keys, or that many of them, evenly spaced in their order."""
    if len(keys) <= limit:
        return keys
    return [keys[place] for place in np.linspace(0, len(keys) - 1, limit).astype(int)]


def _devices_at(spans: pd.DataFrame, keys: list[tuple[int, str]], times_s: Floats) -> Floats:
    """The accuracy of each (seed, device) at each moment: (device, time); NaN where not measured or unserved."""
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


def _sent_until(run: Run, learner: str, direction: str | None, times_s: Floats) -> Floats:
    sent = run.transfers[run.transfers["learner"] == learner]
    if direction is not None:
        sent = sent[sent["direction"] == direction]
    ended_s = sent["end_s"].fillna(run.horizon_s).to_numpy()
    order = np.argsort(ended_s, kind="stable")
    so_far = np.concatenate([[0.0], np.cumsum(sent["sent_bytes"].to_numpy()[order])])
    total: Floats = so_far[np.searchsorted(ended_s[order], times_s, side="right")]
    asked = run.serving[run.serving["learner"] == learner]
    for way in ("up", "down"):
        if direction not in (None, way) or not asked[f"{way}_bytes"].any():
            continue
        rates = asked[f"{way}_bytes"] / (asked["end_s"] - asked["start_s"])
        edges = pd.concat([asked["start_s"], asked["end_s"]]).to_numpy()
        steps = pd.concat([rates, -rates]).to_numpy()
        total = total + np.array([np.sum(np.maximum(t - edges, 0.0) * steps) for t in times_s])
    return total


def _of_seeds(run: Run) -> str:
    return f" and {len(run.seeds)} seeds" if len(run.seeds) > 1 else ""
