"""Who uses which modules of a modular model, as a map."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.curves import evenly
from analysis.figure_style import FONT, NOT_MEASURED, SMALL, Runs, canvas, dress, note, one_scenario
from analysis.figures_time import chosen_world
from analysis.formatting import quantity
from analysis.modules import load_entropy, selected_at
from analysis.worlds import Floats
from edgesim.tables import UserError

_ROWS = 60
"""Of how many devices a map has rows; of more, so many are chosen evenly."""


def plot_modules(
    runs: Runs, ax: Axes | None = None, *, learner: str | None = None, seed: int | None = None, time_s: float = math.inf
) -> Figure:
    """Draw which modules each device holds (dots) and what share of its samples each gets (colour), at a moment.

    By default the last learner with modules, its first seed, at the end. Grey is not measured; below are the layers'
    load entropies, from 0 (one module gets everything) to 1.

    Raises
    ------
    UserError
        The run has no such world, or it tells nothing of modules.
    """
    run = one_scenario(runs)
    if learner is None and len(run.selections):
        learner = next(name for name in reversed(run.learners) if name in set(run.selections["learner"]))
    learner, seed = chosen_world(run, learner, seed)
    own = run.selections[(run.selections["learner"] == learner) & (run.selections["seed"] == seed)]
    rows = selected_at(own, time_s)
    if rows.empty:
        raise UserError(f"{run.label}: {learner} has no modules to draw, or none were selected by then (seed {seed})")
    chosen = set(rows["device"])
    order = dict.fromkeys([*run.availability["device"], *rows["device"]])
    devices = evenly([device for device in order if device in chosen], _ROWS)
    rows = rows[rows["device"].isin(devices)]
    sizes = (rows.groupby("layer")["module"].max() + 1).tolist()
    starts = np.concatenate([[0], np.cumsum(np.array(sizes) + 1)])  # an empty column between layers
    share: Floats = np.full((len(devices), starts[-1] - 1), np.nan)
    place = {device: row for row, device in enumerate(devices)}
    y = rows["device"].map(place).to_numpy()
    x = starts[rows["layer"].to_numpy()] + rows["module"].to_numpy()
    share[y, x] = rows["share"]
    figure, ax = canvas(
        ax, (max(6.5, min(14.0, 3.0 + 0.22 * share.shape[1])), min(12.0, 2.2 + 0.26 * max(len(devices), 4)))
    )
    for layer, size in enumerate(sizes):
        ax.axvspan(starts[layer] - 0.5, starts[layer] + size - 0.5, color=NOT_MEASURED, linewidth=0)
    if not np.isnan(share).all():
        mesh = ax.pcolormesh(
            np.arange(share.shape[1] + 1) - 0.5, np.arange(len(devices) + 1) - 0.5, share, cmap="cividis", vmin=0
        )
        bar = figure.colorbar(mesh, ax=ax, pad=0.02)
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
        bar.set_label("share of its samples", fontsize=FONT)
        bar.ax.tick_params(labelsize=SMALL)
    held = rows["held"].to_numpy(bool)
    ax.plot(x[held], y[held], "o", markersize=4, color="white", markeredgecolor="black", markeredgewidth=0.8)
    when = "at the end" if math.isinf(time_s) else f"at {quantity(time_s, 's')}"
    dress(ax, f"Modules of each device {when}: {learner}, seed {seed}", "layer, its modules in order", "")
    ax.grid(visible=False)
    ax.set_xticks([starts[n] + (size - 1) / 2 for n, size in enumerate(sizes)], [str(n) for n in range(len(sizes))])
    step = max(1, len(devices) // 30)
    ax.set_yticks(range(0, len(devices), step), devices[::step], fontsize=SMALL)
    ax.set_ylim(len(devices) - 0.5, -0.5)
    ax.set_xlim(-0.7, share.shape[1] - 0.3)
    spread = [quantity(float(value), "ratio") for value in load_entropy(own, time_s)["entropy"]]
    note(ax, f"dots: held; evenness of the load, layer by layer: {', '.join(spread)}")
    return figure
