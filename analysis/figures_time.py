"""Figures over time: accuracy of the fleet and of each device, bytes sent."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.curves import DEVICES, MOMENTS, device_keys, devices_at, evenly, mean_and_band, moments, sent_until
from analysis.figure_style import (
    FONT,
    NOT_MEASURED,
    SMALL,
    Runs,
    amounts,
    canvas,
    dress,
    legend_above,
    mark_drifts,
    note,
    one_scenario,
    percent,
    time_unit,
    widths,
)
from analysis.palette import colours
from analysis.run import Run
from edgesim.tables import UserError

_ROWS = 200
"""Of how many devices a heat map has rows."""


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
        every = device_keys(own)
        drawn = evenly(every, DEVICES)
        thinned |= len(drawn) < len(every)
        times_s = moments(own, run.horizon_s, len(drawn))
        mean, low, high = mean_and_band(devices_at(own, drawn, times_s))
        if np.isnan(mean).all():
            continue
        label = f"{learner} *" if learner in run.oracles else learner
        ax.step(
            times_s / unit_s, mean, where="post", color=colour[learner], linewidth=width[learner], label=label, zorder=3
        )
        if band and len(drawn) > 1:
            ax.fill_between(times_s / unit_s, low, high, step="post", color=colour[learner], alpha=0.12, linewidth=0.6)
    mark_drifts(ax, run.drifts, unit_s)
    ax.set_xlim(0, run.horizon_s / unit_s)
    ax.set_ylim(top=1.0)
    percent(ax)
    middle = "; band: middle 80 % of the devices" if band else ""
    dress(ax, "Accuracy over time", f"time ({unit})", "accuracy")
    legend_above(ax)
    some = f"{DEVICES:,} evenly chosen " if thinned else ""
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
    times_s = np.linspace(0.0, run.horizon_s, MOMENTS + 1)
    for learner in run.learners:
        seeds = run.worlds.loc[run.worlds["learner"] == learner, "seed"].nunique()
        total = sent_until(run, learner, times_s, direction=direction) / seeds
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
    devices = evenly(list(dict.fromkeys([*own["device"], *drifts["device"]])), _ROWS)
    drifts = drifts[drifts["device"].isin(devices)]
    figure, ax = canvas(ax, (8.0, min(9.0, 1.8 + 0.24 * max(len(devices), 4))))
    unit_s, unit = time_unit(run.horizon_s)
    edges_s = np.linspace(0.0, run.horizon_s, MOMENTS // 2 + 1)
    values = devices_at(own, [(seed, device) for device in devices], edges_s[:-1])
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


def _of_seeds(run: Run) -> str:
    return f" and {len(run.seeds)} seeds" if len(run.seeds) > 1 else ""
