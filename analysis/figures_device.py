"""One device from inside: its jobs and transfers, accuracy, memory and bandwidth on one time axis."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figure_style import (
    DOWN,
    IN_VAIN,
    PEER,
    SMALL,
    UP,
    Runs,
    amounts,
    canvas,
    dress,
    mark_drifts,
    note,
    one_scenario,
    percent,
    time_unit,
)
from analysis.figures_time import chosen_world
from analysis.formatting import quantity
from analysis.palette import colours
from analysis.run import Run
from edgesim.tables import UserError

_LANES = ("jobs", "up", "down", "peer")
_LANE_COLOURS = {"jobs": "#009e73", "up": UP, "down": DOWN, "peer": PEER}


def plot_device(
    runs: Runs,
    ax: Axes | None = None,
    *,
    device: str | None = None,
    learner: str | None = None,
    seed: int | None = None,
) -> Figure:
    """Draw a device's jobs and transfers, and below them its accuracy, memory and bandwidth, on one time axis.

    By default the first device of the last learner's first world. Jobs and transfers that came to nothing are black;
    time offline is shaded. Given axes are replaced by the four panels.

    Raises
    ------
    UserError
        The run has no such world or device.
    """
    run = one_scenario(runs)
    learner, seed = chosen_world(run, learner, seed)
    own = _Own(run, learner, seed, device)
    figure, ax = canvas(ax, (9.0, 7.5))
    place = ax.get_subplotspec()
    assert place is not None
    ax.remove()
    panels = place.subgridspec(4, 1, height_ratios=[2.0, 1.3, 1.3, 1.3], hspace=0.2)
    top = figure.add_subplot(panels[0])
    others = [figure.add_subplot(panels[row], sharex=top) for row in (1, 2, 3)]
    unit_s, unit = time_unit(run.horizon_s)
    _lanes(top, own, unit_s, run.horizon_s)
    _accuracy(others[0], own, unit_s, colours(run.learners)[learner])
    _memory(others[1], own, unit_s, run.horizon_s)
    _bandwidth(others[2], own, unit_s, run.horizon_s)
    drifts = own.rows(run.drifts)
    for panel in (top, *others):
        mark_drifts(panel, drifts, unit_s, names=panel is others[0])
        for start_s, end_s in _offline(own.rows(run.availability), run.horizon_s):
            panel.axvspan(start_s / unit_s, end_s / unit_s, color="#cccccc", alpha=0.5, linewidth=0, zorder=0)
        panel.label_outer()
    top.set_xlim(0, run.horizon_s / unit_s)
    top.set_title(f"{own.device}: {learner}, seed {seed}", loc="left", fontweight="bold")
    others[-1].set_xlabel(f"time ({unit})")
    figure.align_ylabels([top, *others])
    note(others[-1], "black: jobs and transfers that came to nothing; grey: offline")
    return figure


class _Own:
    """The rows of one device in one world."""

    def __init__(self, run: Run, learner: str, seed: int, device: str | None) -> None:
        self.run, self.learner, self.seed = run, learner, seed
        self.device = ""
        names = list(dict.fromkeys([*self.rows(run.accuracy)["device"], *self.rows(run.availability)["device"]]))
        if device is None and names:
            device = names[0]
        if device not in names:
            asked = f"no device {device!r}; it has " if names else "no devices"
            raise UserError(f"{run.label} has {asked}{', '.join(names[:20])}")
        self.device = str(device)

    def rows(self, table: pd.DataFrame, column: str = "device") -> pd.DataFrame:
        chosen = (table["learner"] == self.learner) & (table["seed"] == self.seed)
        if self.device:
            chosen &= table[column] == self.device
        return table[chosen]


def _lanes(ax: Axes, own: _Own, unit_s: float, horizon_s: float) -> None:
    jobs = own.rows(own.run.computations, "node")
    jobs = jobs[jobs["status"] != "offline"].assign(lane="jobs")
    sent = own.rows(own.run.transfers)
    received = own.rows(own.run.transfers, "peer")
    moves = pd.concat([sent.assign(lane=sent["direction"]), received.assign(lane="peer")])
    columns = ["lane", "start_s", "end_s", "status"]
    bars = pd.concat([jobs[columns], moves[columns]], ignore_index=True)
    bars["end_s"] = bars["end_s"].fillna(horizon_s)
    lanes = [lane for lane in _LANES if lane != "peer" or (bars["lane"] == "peer").any()]
    for row, lane in enumerate(lanes):
        part = bars[bars["lane"] == lane]
        good = part["status"].isin(["done", "delivered", "running", "in_flight"])
        for chosen, colour in ((good, _LANE_COLOURS[lane]), (~good, IN_VAIN)):
            rows = part[chosen]
            widths = np.maximum(rows["end_s"] - rows["start_s"], horizon_s / 300)  # still to be seen
            spans = list(zip(rows["start_s"] / unit_s, widths / unit_s, strict=True))
            ax.broken_barh(spans, (row - 0.36, 0.72), facecolors=colour, alpha=0.85)
    ax.set_yticks(range(len(lanes)), lanes)
    ax.set_ylim(len(lanes) - 0.4, -0.6)
    dress(ax, "", "", "")
    ax.grid(visible=False)


def _accuracy(ax: Axes, own: _Own, unit_s: float, colour: str) -> None:
    spans = own.rows(own.run.spans)
    if len(spans):
        times = np.append(spans["start_s"], spans["end_s"].iloc[-1]) / unit_s
        value = spans["accuracy"].where(spans["served_s"] > 0)
        ax.step(times, np.append(value, value.iloc[-1]), where="post", color=colour, linewidth=2)
    percent(ax)
    dress(ax, "", "", "accuracy")


def _memory(ax: Axes, own: _Own, unit_s: float, horizon_s: float) -> None:
    signal = _signal(own, "memory")
    if len(signal):
        times, values = _steps(signal["time_s"], signal["value"], horizon_s)
        ax.step(times / unit_s, values, where="post", color="#7f7f7f", linewidth=1.2, label="available")
    rows = own.rows(own.run.memory)
    times, values = _steps(
        np.append(0.0, rows["time_s"].to_numpy()), np.append(0.0, rows["used_bytes"].to_numpy()), horizon_s
    )
    ax.fill_between(times / unit_s, values, step="post", color="#009e73", alpha=0.8, linewidth=0, label="held by jobs")
    refused = rows[rows["event"].isin(["refused", "killed"])]
    if len(refused):
        ax.plot(refused["time_s"] / unit_s, refused["needed_bytes"], "x", color=IN_VAIN, label="refused or killed")
    ax.set_ylim(bottom=0)
    amounts(ax, "bytes")
    dress(ax, "", "", "memory")
    _legend(ax)


def _bandwidth(ax: Axes, own: _Own, unit_s: float, horizon_s: float) -> None:
    for resource, colour, width in (("uplink", UP, 3.4), ("downlink", DOWN, 1.6)):  # both visible where equal
        signal = _signal(own, resource)
        if len(signal):
            times, values = _steps(signal["time_s"], signal["value"], horizon_s)
            ax.step(times / unit_s, values, where="post", color=colour, linewidth=width, label=resource)
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(lambda value, _: f"{quantity(float(value), 'bytes')}/s")
    dress(ax, "", "", "bandwidth")
    _legend(ax)


def _signal(own: _Own, resource: str) -> pd.DataFrame:
    rows = own.rows(own.run.environment)
    return rows[rows["resource"] == resource].sort_values("time_s")


def _steps(
    times: pd.Series | np.ndarray, values: pd.Series | np.ndarray, horizon_s: float
) -> tuple[np.ndarray, np.ndarray]:
    return np.append(times, horizon_s), np.append(values, np.asarray(values)[-1])


def _offline(availability: pd.DataFrame, horizon_s: float) -> list[tuple[float, float]]:
    times_s = np.append(availability["time_s"].to_numpy(), horizon_s)
    away = availability["state"].to_numpy() == "offline"
    return [(times_s[row], times_s[row + 1]) for row in np.flatnonzero(away)]


def _legend(ax: Axes) -> None:
    if ax.get_legend_handles_labels()[0]:
        ax.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 0.97),
            ncols=3,
            fontsize=SMALL,
            frameon=False,
            handlelength=1.4,
            borderaxespad=0.1,
        )
