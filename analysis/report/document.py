"""The numbers behind one scenario's charts, as one document for the page's script: means, costs, and what to tell."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from analysis import accuracy, curves, palette
from analysis.comparison import COSTS, ScenarioComparison
from analysis.episodes import observations
from analysis.formatting import NOT_MEASURED, between, quantity
from analysis.metrics import METRICS, axis_title
from analysis.report import surroundings, usage
from analysis.report.devices import Drill
from analysis.report.thinning import number, numbers, packed, steps, thinned, times, to_the_end
from analysis.run import Run
from analysis.survival import curve
from analysis.worlds import Floats

POINTS = 400
"""Most points of a curve over time; longer ones are thinned, their extremes kept."""


def document(part: ScenarioComparison) -> dict[str, Any]:
    """Return everything that the charts of one scenario draw."""
    run, drill = part.run, Drill(part.run)
    modules = usage.of(run, drill.devices)
    shown = _Curves(run)
    found = {
        "label": run.label,
        "horizon": run.horizon_s,
        "timingOnly": run.timing_only,
        "seeds": run.seeds,
        "learners": learners(run),
        "fleet": {"all": shown.fleet(None), **{str(seed): shown.fleet(seed) for seed in run.seeds}},
        "bytes": {"all": shown.sent(None), **{str(seed): shown.sent(seed) for seed in run.seeds}},
        "recovery": _recovery(run),
        "costs": _costs(part),
        "environment": {str(seed): surroundings.of_seed(run, seed, drill.devices) for seed in run.seeds},
        "devices": drill.devices,
        "drill": drill.worlds(),
        "usage": modules.worlds,
    }
    return found | {"notes": [*shown.notes, *surroundings.notes(run), *drill.notes, *modules.notes]}


def learners(run: Run) -> list[dict[str, Any]]:
    """Return the learners in their order: name, colour on light and on dark ground, and what is to be said of it."""
    colour = palette.colours(run.learners)
    ends_s = run.worlds.groupby("learner")["until_s"].min()
    return [
        {
            "name": name,
            "colour": colour[name],
            "onDark": palette.on_dark(colour[name]),
            "oracle": name in run.oracles,
            "until": number(float(ends_s[name])),
        }
        for name in run.learners
    ]


class _Curves:
    """Means over the fleet; takes down what had to be left out."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._sampled = self._long = False

    @cached_property
    def _pooled(self) -> pd.DataFrame:
        """Mean accuracy over the devices of all seeds: as if they were one world."""
        if len(self._run.seeds) <= 1:
            return self._run.fleet
        worlds = self._run.worlds.assign(seed=0).drop_duplicates(["learner", "seed"])
        return accuracy.fleet(self._run.spans.assign(seed=0), worlds)

    @property
    def notes(self) -> list[str]:
        """What the reader has to know of the curves."""
        told = []
        if self._long:
            told.append(
                f"Curves of more than {POINTS} points are thinned: of each stretch the first, the least, the greatest "
                "and the last value are drawn, so that no peak and no dip is lost."
            )
        if self._sampled:
            told.append(f"Bands are those of {curves.DEVICES:,} evenly chosen devices; means are those of all.")
        return told

    def fleet(self, seed: int | None) -> dict[str, dict[str, Any]]:
        """Mean accuracy over devices by learner, of one seed or of all; of all with the middle 80 % of the devices."""
        rows = self._pooled if seed is None else self._run.fleet[self._run.fleet["seed"] == seed]
        found = {}
        for learner, own in rows.groupby("learner", sort=False):
            times_s, mean = self._short(*to_the_end(*steps(own["time_s"], own["accuracy"].round(9))))
            entry: dict[str, Any] = packed(times_s, mean)
            if seed is None or len(self._run.seeds) == 1:
                entry |= self._band(str(learner), times_s)
            found[str(learner)] = entry
        return found

    def sent(self, seed: int | None) -> dict[str, dict[str, Any]]:
        """Bytes sent so far by learner, of one seed or the mean over all."""
        run, found = self._run, {}
        for learner in run.learners:
            mine = run.worlds["learner"] == learner
            worlds = run.worlds[mine if seed is None else mine & (run.worlds["seed"] == seed)]
            if worlds.empty:
                continue
            until_s = float(worlds["until_s"].max())
            times_s, exact = self._moments(learner, seed, until_s)
            total = curves.sent_until(run, learner, times_s, seed=seed) / len(worlds)
            found[learner] = packed(times_s, total) | {"steps": exact}
        return found

    def _moments(self, learner: str, seed: int | None, until_s: float) -> tuple[Floats, bool]:
        """When bytes are told: whenever they change, or at even moments (they only rise: nothing hides between)."""
        sent, asked = self._run.transfers, self._run.serving
        mine = sent["learner"] == learner
        ended_s = sent.loc[mine if seed is None else mine & (sent["seed"] == seed), "end_s"].dropna().to_numpy()
        times_s = np.unique(np.concatenate([[0.0, until_s], ended_s[ended_s <= until_s]]))
        requests = asked.loc[asked["learner"] == learner, ["up_bytes", "down_bytes"]].to_numpy().any()
        exact = len(times_s) <= POINTS and not requests
        return (times_s if exact else np.linspace(0.0, until_s, POINTS)), bool(exact)

    def _band(self, learner: str, times_s: Floats) -> dict[str, Any]:
        own = self._run.spans[self._run.spans["learner"] == learner]
        every = curves.device_keys(own)
        drawn = curves.evenly(every, curves.DEVICES)
        self._sampled |= len(drawn) < len(every)
        if len(drawn) < 2:
            return {}
        _, low, high = curves.mean_and_band(curves.devices_at(own, drawn, times_s))
        return {"low": numbers(low), "high": numbers(high)}

    def _short(self, times_s: Floats, values: Floats) -> tuple[Floats, Floats]:
        self._long |= len(times_s) > POINTS
        return thinned(times_s, values, POINTS)


def _recovery(run: Run) -> dict[str, dict[str, Any]]:
    """Kaplan-Meier curves of recovery by learner, with their bands and where watching ended."""
    seen, found = observations(run.episodes, "recovery"), {}
    for learner in run.learners:
        own = seen[seen["learner"] == learner]
        if own.empty:
            continue
        table = curve(own)
        kept_s, _ = thinned(table["time_s"].to_numpy(), table["survival"].to_numpy(), POINTS)
        drawn = table[np.isin(table["time_s"], kept_s)]
        lost_s = curves.evenly(np.unique(own.loc[~own["observed"], "duration_s"]).tolist(), POINTS // 4)
        place = np.searchsorted(table["time_s"], lost_s, side="right") - 1
        found[learner] = {
            **packed(drawn["time_s"], drawn["survival"]),
            "low": numbers(drawn["low"]),
            "high": numbers(drawn["high"]),
            "band": str(drawn["band"].iloc[0]),
            "lost": {"t": times(lost_s), "v": numbers(table["survival"].to_numpy()[place])},
            "episodes": len(own),
        }
    return found


def _costs(part: ScenarioComparison) -> list[dict[str, Any]]:
    """Accuracy against each cost, a point a learner with its intervals, and which learners no other one beats."""
    found = []
    for name in COSTS:
        points = [_point(part, learner, name) for learner in part.run.learners]
        front = part.pareto.index[part.pareto[name]] if len(part.pareto) else pd.Index([])
        known = {point["learner"] for point in points if point["x"] is not None and point["y"] is not None}
        found.append(
            {
                "name": name,
                "title": axis_title(METRICS[name]),
                "unit": METRICS[name].unit,
                "points": [point for point in points if point["learner"] in known],
                "front": [str(learner) for learner in front],
                "missing": [learner for learner in part.run.learners if learner not in known],
            }
        )
    return found


def _point(part: ScenarioComparison, learner: str, cost: str) -> dict[str, Any]:
    x, y = part.estimate(learner, cost), part.estimate(learner, "accuracy")
    told = [f"{quantity(y.value, 'ratio')} accurate", quantity(x.value, METRICS[cost].unit)]
    for place, (found, unit) in enumerate(((y, "ratio"), (x, METRICS[cost].unit))):
        bounds = between(found.low, found.high, METRICS["accuracy"].unit if unit == "ratio" else METRICS[cost].unit)
        told[place] += f" ({bounds})" if bounds else ""
    finite = np.isfinite([x.value, y.value])
    return {
        "learner": learner,
        "x": number(x.value) if finite[0] else None,
        "y": number(y.value) if finite[1] else None,
        "xs": [number(x.low), number(x.high)] if x.has_bounds else None,
        "ys": [number(y.low), number(y.high)] if y.has_bounds else None,
        "text": ", ".join(told) if told[0] != NOT_MEASURED else NOT_MEASURED,
    }
