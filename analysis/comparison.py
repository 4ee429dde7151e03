"""Learners side by side: estimates, paired differences against a baseline, ranks, Pareto fronts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from analysis import rendering, summary
from analysis.intervals import Interval, paired_difference, verdict
from analysis.metrics import HEADLINE, METRICS, Metric, check_metrics
from analysis.run import Run, load_many
from analysis.sentences import sentences
from edgesim.tables import UserError

RATIO_MARGIN = 0.01
"""One point: how far apart two ratios may be and still be called tied."""

SHARE_MARGIN = 0.01
"""One per cent of the baseline's number, for everything else."""

USUAL_BASELINE = "no_adaptation"

COSTS = ("both_ways_bytes", "recovery_mean_s", "energy_j", "device_compute_s")
"""What accuracy is set against in Pareto fronts."""


def compare(
    run_dirs: Sequence[Path | str | Run], *, baseline: str | None = None, metrics: Sequence[str] | None = None
) -> Comparison:
    """Compare the learners of one or several run folders.

    Parameters
    ----------
    run_dirs
        Run folders (or loaded runs). Those of one scenario are merged, different scenarios are told apart.
    baseline
        The learner whose number is subtracted; by default ``no_adaptation``, or else the first one that is no oracle.
    metrics
        Which metrics tables show (the tidy frame has all); by default those of ``analysis.metrics.HEADLINE``.

    Raises
    ------
    UserError
        A folder is no run folder, or a learner or metric is not known.
    """
    loaded = [run for run in run_dirs if isinstance(run, Run)]
    folders = [run for run in run_dirs if not isinstance(run, Run)]
    runs = loaded + (load_many(folders) if folders or not loaded else [])
    shown = tuple(metrics) if metrics is not None else HEADLINE
    check_metrics(shown)
    parts = tuple(ScenarioComparison(run, _baseline(run, baseline)) for run in runs)
    return Comparison(parts, shown)


_COLUMNS = [
    *("scenario", "learner", "oracle", "metric", "unit", "better"),
    *("value", "low", "high", "seeds"),
    *("baseline", "difference", "difference_low", "difference_high", "verdict"),
]


@dataclass(frozen=True)
class ScenarioComparison:
    """The learners of one scenario. ``baseline`` is empty where the run has no learners."""

    run: Run
    baseline: str

    @cached_property
    def table(self) -> pd.DataFrame:
        """Everything, tidy, a row a learner and metric.

        Columns: ``scenario, learner, oracle, metric, unit, better, value, low, high, seeds``, and against the
        baseline ``baseline, difference, difference_low, difference_high, verdict`` (``better``, ``worse``, ``tied``,
        ``undecided``, ``one seed``, ``not measured``, or ``baseline``); ``rank`` counts from 1, the best, at the seeds
        that all rivals have; oracles have none. Medians have no paired difference: see the restricted mean beside each.
        """
        rows = [self._row(learner, metric) for learner in self.run.learners for metric in METRICS.values()]
        found = pd.DataFrame(rows, columns=_COLUMNS)
        keys = zip(found["learner"].tolist(), found["metric"].tolist(), strict=True)
        levels = [self.common[key].value if key[0] in self.run.rivals else math.nan for key in keys]
        level = pd.Series(levels, found.index, dtype="float64")
        goodness = level.where(found["better"] != "lower", -level).where(found["better"] != "")
        return found.assign(rank=goodness.groupby(found["metric"]).rank(ascending=False, method="min"))

    def estimate(self, learner: str, metric: str) -> Interval:
        """Return a learner's number with its interval."""
        return self._estimates[learner, metric]

    @cached_property
    def common_seeds(self) -> list[int]:
        """The seeds that all rivals have.

        One at which a rival's accuracy is missing does not count, if it was measured at another.
        """
        measured = self.run.seed_metrics["accuracy"].unstack("learner")
        there = self.run.worlds.assign(there=True).pivot(index="seed", columns="learner", values="there").notna()
        there &= measured.notna() | measured.isna().all()
        shared = there.index[there[self.run.rivals].all(axis="columns")]
        return [seed for seed in self.run.seeds if seed in shared]

    @cached_property
    def common(self) -> dict[tuple[str, str], Interval]:
        """The estimates by learner and metric at the seeds that all rivals have; at all where they share none."""
        run, seeds = self.run, self.common_seeds
        if seeds in ([], run.seeds):
            return self._estimates
        metrics = run.seed_metrics[run.seed_metrics.index.get_level_values("seed").isin(seeds)]
        return _by_key(summary.estimates(metrics, run.episodes[run.episodes["seed"].isin(seeds)]))

    @cached_property
    def pareto(self) -> pd.DataFrame:
        """Which learners no other one beats in both accuracy and a cost: a row a learner, a column a cost.

        By the estimates at the seeds that all rivals have, not by their intervals. All false in a column that was not
        measured. Oracles are bounds and take no part, unless there is nothing else.
        """
        fronts = {cost: self.front(cost) for cost in COSTS}
        learners = pd.Index(self.run.learners, name="learner")
        return pd.DataFrame(
            {cost: [learner in front for learner in learners] for cost, front in fronts.items()}, learners
        )

    def front(self, cost: str) -> list[str]:
        """The learners that no other one beats in both accuracy and one cost."""
        rivals = self.run.rivals
        values = {name: [self.common[learner, name].value for learner in rivals] for name in ("accuracy", cost)}
        return pareto_front(pd.DataFrame(values, rivals), "accuracy", cost)

    def difference(
        self, learner: str, other: str, metric: str, *, seeds: Sequence[int] | None = None
    ) -> tuple[Interval, str]:
        """Return (learner - other) with its paired interval, and what it supports: ``better``, ``tied``, ...

        At all seeds of both, or at those given.
        """
        by_seed = self._by_seed[metric]
        if seeds is not None:
            by_seed = by_seed[by_seed.index.isin(seeds)]
        found = paired_difference(by_seed, learner, other)
        return found, judged(found, METRICS[metric], float(by_seed[other].mean()))

    def against_baseline(self, learner: str, metric: str) -> tuple[Interval, str]:
        """Return :meth:`difference` from the baseline; NaN for the baseline itself and for medians."""
        nothing = Interval(math.nan, math.nan, math.nan, 0)
        if learner == self.baseline:
            return nothing, "baseline"
        if METRICS[metric].over == "median":
            return nothing, ""
        return self.difference(learner, self.baseline, metric)

    @cached_property
    def _estimates(self) -> dict[tuple[str, str], Interval]:
        return _by_key(self.run.estimates)

    @cached_property
    def _by_seed(self) -> dict[str, pd.DataFrame]:
        """What is paired, by metric: a row a seed, a column a learner."""
        seeds, episodes = self.run.seed_metrics, self.run.episodes
        names = [name for name, metric in METRICS.items() if metric.over != "median"]
        return {name: summary.paired_values(seeds, episodes, name).unstack("learner") for name in names}

    def _row(self, learner: str, metric: Metric) -> tuple[object, ...]:
        found = self.estimate(learner, metric.name)
        against, text = self.against_baseline(learner, metric.name)
        return (
            *(self.run.label, learner, learner in self.run.oracles, metric.name, metric.unit, metric.better),
            *(found.value, found.low, found.high, found.seeds),
            *(self.baseline, against.value, against.low, against.high, text),
        )


@dataclass(frozen=True)
class Comparison:
    """The comparisons of all scenarios, and how to show them."""

    scenarios: tuple[ScenarioComparison, ...]
    metrics: tuple[str, ...]

    @cached_property
    def table(self) -> pd.DataFrame:
        """The tidy frames of all scenarios in one."""
        return pd.concat([part.table for part in self.scenarios], ignore_index=True)

    def sentences(self) -> list[str]:
        """Say what the numbers support, in sentences, with intervals; see :mod:`analysis.sentences`."""
        return [sentence for part in self.scenarios for sentence in sentences(part, named=len(self.scenarios) > 1)]

    def to_text(self, width: int = 120) -> str:
        """A table a scenario for a terminal ``width`` characters wide, then notes and sentences."""
        return rendering.text(self, width)

    def to_csv(self) -> str:
        """The tidy frame: numbers in SI units, empty where missing, ``inf`` where not reached."""
        text: str = self.table.to_csv(index=False, lineterminator="\n")
        return text

    def to_json(self) -> str:
        """Records of the tidy frame and the sentences, as JSON: missing is ``null``, not reached ``"inf"``."""
        return rendering.json_text(self)

    def to_markdown(self) -> str:
        """A table a scenario and the sentences, in Markdown."""
        return rendering.markdown(self)

    def to_latex(self) -> str:
        """A table a scenario in LaTeX, for the package ``booktabs``."""
        return rendering.latex(self)


def judged(difference: Interval, metric: Metric, reference: float) -> str:
    """Say what a difference from ``reference`` supports: ``better``, ``tied``, ...

    ``higher`` or ``lower`` where neither is better.
    """
    margin = RATIO_MARGIN if metric.unit == "ratio" else SHARE_MARGIN * abs(reference)
    text: str = verdict(difference, margin)
    if text in ("higher", "lower") and metric.better:
        text = "better" if text == metric.better else "worse"
    return text


def pareto_front(values: pd.DataFrame, maximise: str, minimise: str) -> list[str]:
    """Return the rows that no other row beats: at least as good in both columns and better in one.

    Rows in which either was not measured take no part.
    """
    known = values[[maximise, minimise]].dropna()
    front = []
    for name, gain, cost in zip(known.index, known[maximise], known[minimise], strict=True):
        no_worse = (known[maximise] >= gain) & (known[minimise] <= cost)
        better = (known[maximise] > gain) | (known[minimise] < cost)
        if not (no_worse & better).any():
            front.append(str(name))
    return front


def _by_key(estimates: pd.DataFrame) -> dict[tuple[str, str], Interval]:
    """Tidy estimates by learner and metric."""
    keys = zip(estimates["learner"].tolist(), estimates["metric"].tolist(), strict=True)
    cells = zip(*(estimates[name].tolist() for name in ("value", "low", "high", "seeds")), strict=True)
    return {key: Interval(*row) for key, row in zip(keys, cells, strict=True)}


def _baseline(run: Run, wanted: str | None) -> str:
    if wanted is None:
        return USUAL_BASELINE if USUAL_BASELINE in run.learners else next(iter(run.rivals), "")
    if wanted not in run.learners:
        raise UserError(f"{run.label} has no learner {wanted!r}; it has {', '.join(run.learners)}")
    return wanted
