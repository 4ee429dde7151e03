"""Two runs side by side: what was asked differently, and what came out differently."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import formatting, summary
from analysis.comparison import judged
from analysis.intervals import Interval, paired_difference
from analysis.metrics import HEADLINE, METRICS, check_metrics
from analysis.rendering import plain
from analysis.run import Run, load
from analysis.worlds import WORLD
from edgesim.tables import TABLES

SHOWN = tuple(f"{name[:-2]}_mean_s" if METRICS[name].over == "median" else name for name in HEADLINE)
"""Metrics that a table shows, unless told otherwise: medians have no paired difference."""

NOT_THERE = "not there"
"""Stands for a key that only one of two documents has."""

_SETTINGS = ("status", "seeds", "timing_only", "threads_per_job", "cpu_capability", "device")
_COLUMNS = [
    *("learner", "metric", "unit", "better", "old", "new"),
    *("difference", "low", "high", "pairs", "verdict"),
]


@dataclass(frozen=True, slots=True)
class Change:
    """A key whose value differs; None where one side does not have it."""

    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.path}: {_written(self.old)} -> {_written(self.new)}"


def diff(old: Path | str, new: Path | str) -> Difference:
    """Compare two run folders.

    Raises
    ------
    UserError
        One of them is no run folder.
    """
    return Difference(load(old), load(new))


@dataclass(frozen=True)
class Difference:
    """What differs from one run to another."""

    old: Run
    new: Run

    @cached_property
    def scenario(self) -> list[Change]:
        """The keys of the resolved scenario that differ; an item of a list is called by its name where it has one."""
        return list(changes(self.old.manifest["scenario"], self.new.manifest["scenario"]))

    @cached_property
    def versions(self) -> list[Change]:
        """The packages whose versions differ."""
        return list(changes(self.old.manifest.get("versions", {}), self.new.manifest.get("versions", {})))

    @cached_property
    def settings(self) -> list[Change]:
        """What else about the runs differs: how they ended, their seeds, the learners run, threads, the CPU."""
        sides = []
        for run in (self.old, self.new):
            told = {key: run.manifest.get(key) for key in _SETTINGS}
            sides.append({**told, "learners": list(run.manifest["learners"])})
        return list(changes(sides[0], sides[1]))

    @cached_property
    def tables(self) -> dict[str, bool] | None:
        """Whether each table that either run has is the same to the byte; None where a run was not finished."""
        folders = [run.folders[0] for run in (self.old, self.new)]
        if any((folder / "parts").exists() or not (folder / "tables").is_dir() for folder in folders):
            return None
        same = {}
        for name in TABLES:
            files = [folder / "tables" / f"{name}.parquet" for folder in folders]
            there = [file for file in files if file.is_file()]  # a run of an older edgesim may lack a table
            if there:
                same[name] = len(there) == 2 and files[0].read_bytes() == files[1].read_bytes()
        return same

    @property
    def learners(self) -> list[str]:
        """Those of both runs."""
        return [label for label in self.old.learners if label in self.new.learners]

    @property
    def seeds(self) -> list[int]:
        """Those of both runs, for any learner: see :meth:`seeds_of`."""
        return [seed for seed in self.old.seeds if any(seed in self.seeds_of(learner) for learner in self.learners)]

    def seeds_of(self, learner: str) -> list[int]:
        """Those at which both runs have this learner: one that was stopped lacks some."""
        theirs = [run.worlds.loc[run.worlds["learner"] == learner, "seed"].tolist() for run in (self.old, self.new)]
        return [seed for seed in theirs[0] if seed in theirs[1]]

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Every metric of every learner of both runs, tidy.

        Columns: ``learner, metric, unit, better, old, new`` and ``difference`` (new - old). Where both runs have a
        learner at the same seeds only those count: the difference is the mean of the paired ones, ``pairs`` says how
        many, and from two on ``low`` and ``high`` are its 95 % interval. ``verdict`` is what the pairs support:
        ``same`` (equal at every seed), ``better``, ``worse``, ``higher``, ``lower``, ``tied``, ``undecided``,
        ``one seed``; or ``not paired`` (no seed in common, or a median), ``measured once``, ``not measured``.
        Restricted means of both runs have one limit.
        """
        rows = [self._row(learner, name) for learner in self.learners for name in METRICS]
        return pd.DataFrame(rows, columns=_COLUMNS)

    @property
    def changed(self) -> pd.DataFrame:
        """The rows of ``metrics`` that differ."""
        return self.metrics[~self.metrics["verdict"].isin(["same", "not measured"])]

    def to_json(self) -> str:
        """Everything, as JSON: missing is ``null``, not reached ``"inf"``."""
        records = [{key: plain(cell) for key, cell in row.items()} for row in self.metrics.to_dict(orient="records")]
        document = {
            "old": str(self.old.folders[0]),
            "new": str(self.new.folders[0]),
            **{
                part: [{"path": change.path, "old": change.old, "new": change.new} for change in found]
                for part, found in (
                    ("scenario", self.scenario),
                    ("settings", self.settings),
                    ("versions", self.versions),
                )
            },
            "same_tables": self.tables,
            "metrics": records,
        }
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_text(self, metrics: Sequence[str] | None = None) -> str:
        """What differs, for a terminal; of the metrics, those of ``SHOWN`` unless others are named.

        Raises
        ------
        UserError
            A metric is not known.
        """
        check_metrics(metrics or ())
        lines = [f"{self.old.folders[0]} -> {self.new.folders[0]}", ""]
        for title, found in (
            ("the scenario", self.scenario),
            ("the run", self.settings),
            ("versions", self.versions),
        ):
            lines += [f"{title}: {'no difference' if not found else ''}".rstrip(), *(f"  {change}" for change in found)]
        return "\n".join([*lines, self._tables_line(), "", *self._metric_lines(metrics)]) + "\n"

    def _tables_line(self) -> str:
        if self.tables is None:
            return "tables: not compared, since a run was not finished"
        differ = [name for name, same in self.tables.items() if not same]
        if not differ:
            return "tables: all the same to the byte"
        return f"tables: {len(differ)} of {len(self.tables)} differ: {', '.join(differ)}"

    def _metric_lines(self, metrics: Sequence[str] | None) -> list[str]:
        if not self.learners:
            return ["no learner is in both runs"]
        changed = self.changed
        if changed.empty:
            return ["metrics: no difference"]
        shown = changed[changed["metric"].isin(metrics or SHOWN)]
        rows = [["learner", "metric", "old", "new", "difference", "95 % interval", ""]]
        for row in shown.to_dict(orient="records"):
            metric, value = METRICS[row["metric"]], row["difference"]
            low, high, unit = row["low"], row["high"], metric.unit
            numbers = [formatting.quantity(row[side], unit) for side in ("old", "new")]
            bounds = "" if math.isnan(low) else formatting.difference_between(low, high, unit, value)
            told = [*numbers, formatting.difference(value, unit), bounds, row["verdict"]]
            rows.append([row["learner"], metric.title, *told])
        lines = _columns(rows) if len(rows) > 1 else ["none of the metrics shown differs"]
        lines += ["", *self._seed_lines()]
        hidden = len(changed) - len(shown)
        if hidden:
            lines.append(f"{hidden} more numbers differ: --metric NAME shows others, --format json all")
        unchanged = [label for label in self.learners if label not in set(changed["learner"])]
        if unchanged:
            lines.append(f"no difference in any metric: {', '.join(unchanged)}")
        return lines

    def _seed_lines(self) -> list[str]:
        of_learners = {label: self.seeds_of(label) for label in self.learners}
        if all(seeds == self.seeds for seeds in of_learners.values()):
            return [_paired_at(self.seeds)]
        return [f"{label}: {_paired_at(seeds)}" for label, seeds in of_learners.items()]

    def _row(self, learner: str, name: str) -> tuple[object, ...]:
        metric = METRICS[name]
        keys = [f"{side}{learner}" for side in ("old ", "new ")]
        old, new = (self._estimates[key, name] for key in keys)
        found, verdict = Interval(new - old, math.nan, math.nan, 0), "not paired"
        if metric.over != "median":
            paired = paired_difference(self._paired[name].unstack("learner"), keys[1], keys[0])
            if paired.seeds:
                found = paired
                verdict = judged(found, metric, float(self._paired[name].xs(keys[0], level="learner").mean()))
        values = self._seed_metrics[name] if metric.over == "median" else self._paired[name]
        if math.isnan(old) or math.isnan(new):
            verdict = "not measured" if math.isnan(old) and math.isnan(new) else "measured once"
        elif self.seeds_of(learner) and old == new and _same(values, *keys):
            found = Interval(0.0, found.low, found.high, found.seeds)
            verdict = "same"
        return (
            *(learner, name, metric.unit, metric.better, old, new),
            *(found.value, found.low, found.high, found.seeds, verdict),
        )

    @cached_property
    def _episodes(self) -> pd.DataFrame:
        parts = [run.episodes.assign(learner=side + run.episodes["learner"]) for side, run in self._sides]
        return self._at_common_seeds(pd.concat(parts, ignore_index=True))

    @cached_property
    def _seed_metrics(self) -> pd.DataFrame:
        """Every metric of every world of both runs; learners are called ``old NAME`` and ``new NAME``."""
        parts = []
        for side, run in self._sides:
            frame = run.seed_metrics.reset_index()
            parts.append(frame.assign(learner=side + frame["learner"]))
        return self._at_common_seeds(pd.concat(parts, ignore_index=True)).set_index(WORLD)

    def _at_common_seeds(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Leave out what a learner did at other seeds than those of both runs, if there are such."""
        kept = pd.Series(True, rows.index)
        for learner in self.learners:
            if seeds := self.seeds_of(learner):
                kept &= ~rows["learner"].isin([side + learner for side, _ in self._sides]) | rows["seed"].isin(seeds)
        return rows[kept]

    @cached_property
    def _estimates(self) -> dict[tuple[str, str], float]:
        table = summary.estimates(self._seed_metrics, self._episodes)
        keys = zip(table["learner"].tolist(), table["metric"].tolist(), strict=True)
        return dict(zip(keys, table["value"].tolist(), strict=True))

    @cached_property
    def _paired(self) -> dict[str, pd.Series[float]]:
        names = [name for name, metric in METRICS.items() if metric.over != "median"]
        return {name: summary.paired_values(self._seed_metrics, self._episodes, name) for name in names}

    @property
    def _sides(self) -> tuple[tuple[str, Run], ...]:
        return ("old ", self.old), ("new ", self.new)


def changes(old: Any, new: Any, path: str = "") -> Iterator[Change]:
    """Yield the values in which two documents differ, by their dotted paths, as ``--set`` takes them.

    >>> [str(change) for change in changes({"a": [{"name": "x", "b": 1}]}, {"a": [{"name": "x", "b": 2}], "c": 3})]
    ['a.x.b: 1 -> 2', 'c: not there -> 3']
    """
    one, other = by_name(old), by_name(new)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys([*one, *other]):
            yield from changes(one.get(key), other.get(key), f"{path}.{key}" if path else str(key))
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield Change(path, old, new)


def by_name(value: Any) -> Any:
    """Turn a list of mappings into a mapping: from their names where all have one of their own, else from numbers."""
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        names = [item.get("name") for item in value]
        distinct = len(set(names)) == len(names) and all(isinstance(name, str) for name in names)
        return dict(zip(names if distinct else map(str, range(len(value))), value, strict=True))
    return value


def _same(values: pd.Series[float], one: str, other: str) -> bool:
    """Whether a metric is equal at every seed of both, which are the same."""
    first, second = (values.xs(key, level="learner") for key in (one, other))
    return bool(first.sort_index().equals(second.sort_index()))


def _paired_at(seeds: Sequence[int]) -> str:
    if not seeds:
        return "no seed in common: nothing is paired"
    at = f"at the {len(seeds)} seeds" if len(seeds) > 1 else f"at the seed {seeds[0]}"
    return f"{at} that both runs have, paired"


def _written(value: Any) -> str:
    if value is None:
        return NOT_THERE
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:2], widths, strict=False)]
        right = [cell.rjust(width) for cell, width in zip(row[2:6], widths[2:6], strict=True)]
        lines.append("  ".join([*left, *right, row[6]]).rstrip())
    return lines
