"""A sweep on disk as one tidy frame: a row a point and learner, the values that were varied as columns."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import summary, survival
from analysis.episodes import RecoveryRule, observations
from analysis.formatting import NOT_MEASURED, between, quantity
from analysis.metrics import METRICS, check_metrics
from analysis.rendering import terminal_table
from analysis.run import Run
from analysis.worlds import WORLD
from edgesim.tables import UserError

RECORD = "sweep.json"
"""What a sweep folder is known by."""

SHOWN = ("accuracy", "recovery_mean_s", "both_ways_bytes")
"""Metrics that :meth:`Sweep.to_text` shows, unless told otherwise."""

POINTS_SHOWN = 40
"""Rows of a table in the terminal; the files have all."""

_APART = "\x1f"  # between a point and a learner in one label: no name holds it
_TAKEN = {"point", "learner", "oracle", "seed", "seeds", "finished", "until_s"}


class Sweep:
    """The points of a sweep. Those that are done count; a sweep that goes on, or was stopped, has what it has.

    Metrics are those of docs/metrics.md. The limit of restricted means is common to all points, so that they can be
    set against each other.

    Parameters
    ----------
    folder
        The sweep's folder.
    rule
        When a device counts as recovered.

    Attributes
    ----------
    folder, rule
        As given.
    name
        The scenario's.
    """

    def __init__(self, folder: Path | str, rule: RecoveryRule | None = None) -> None:
        self.folder = Path(folder)
        self.rule = rule
        path = self.folder / RECORD
        if not path.is_file():
            raise UserError(f"{folder} is not the folder of a sweep: it holds no {RECORD}")
        self._record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        self.name: str = self._record["name"]

    def __repr__(self) -> str:
        return f"<Sweep {self.name}: {len(self.runs)} of {len(self.points)} points done>"

    @property
    def keys(self) -> list[str]:
        """What was varied, as paths into the scenario."""
        return list(self._record["keys"])

    @cached_property
    def points(self) -> pd.DataFrame:
        """A row a point: ``point, status`` (done, failed, waiting), ``error, folder`` and the values that it sets.

        A value is in the column of its key, as it was written; where that is a quantity with a unit, ``<key>_si`` is
        the number in SI units. A key that means something else in the tables is called ``scenario.<key>``.
        """
        rows = []
        for point in self._record["points"]:
            folder = self.folder / "points" / point["name"]
            known = {"point": point["name"], "status": self._status(point, folder), "error": point["error"]}
            rows.append({**known, "folder": str(folder), **self._settings(point)})
        columns = ["point", "status", "error", "folder", *self._setting_columns]
        frame = pd.DataFrame(rows, columns=columns, dtype="object").astype(dict.fromkeys(columns[:4], "str"))
        return frame.assign(**{name: _column_of(frame[name]) for name in self._setting_columns})

    @property
    def failed(self) -> dict[str, str]:
        """The points that failed, and why."""
        rows = self.points[self.points["status"] == "failed"]
        return dict(zip(rows["point"].tolist(), rows["error"].tolist(), strict=True))

    @cached_property
    def runs(self) -> dict[str, Run]:
        """The runs of the points that are done."""
        rows = self.points[self.points["status"] == "done"]
        return {
            name: Run([folder], self.rule)
            for name, folder in zip(rows["point"].tolist(), rows["folder"].tolist(), strict=True)
        }

    def summary(self, *, intervals: bool = True) -> pd.DataFrame:
        """Return a row a point and learner: the values that were varied, then the columns of ``Run.summary()``."""
        parts = []
        for name, run in self.runs.items():
            worlds = run.worlds.groupby("learner", sort=False).agg(seeds=("seed", "nunique"), oracle=("oracle", "any"))
            parts.append(worlds.reset_index().assign(point=name))
        return self._told(parts, summary.wide(self._estimates, intervals=intervals), ["point", "learner"])

    def by_seed(self) -> pd.DataFrame:
        """Return a row a point, learner and seed: the values that were varied, then every metric of that world."""
        parts = [run.worlds[[*WORLD, "oracle"]].assign(point=name) for name, run in self.runs.items()]
        return self._told(parts, self._seed_metrics, ["point", "learner", "seed"])

    def save(self, folder: Path | str | None = None) -> list[Path]:
        """Write ``results`` and ``results-by-seed`` as CSV and Parquet, by default into the sweep's folder."""
        target = Path(folder) if folder is not None else self.folder
        written = []
        for name, frame in (("results", self.summary()), ("results-by-seed", self.by_seed())):
            written += [target / f"{name}.csv", target / f"{name}.parquet"]
            for column in self._setting_columns:
                if frame[column].dtype == object:
                    frame[column] = [_written(cell) or None for cell in frame[column]]
            frame.to_csv(written[-2], index=False, lineterminator="\n")
            frame.to_parquet(written[-1], compression="zstd", index=False)
        return written

    def to_text(self, width: int = 120, metrics: Sequence[str] = SHOWN) -> str:
        """Tables for a terminal: one a metric, a row a point, a column a learner.

        Raises
        ------
        UserError
            A metric is not known.
        """
        check_metrics(metrics)
        if not self.runs:
            return "no point is done\n"
        frame = self.summary()
        measured = [name for name in metrics if frame[name].notna().any()]
        lines: list[str] = []
        for name in measured:
            lines += [METRICS[name].title, "", *self._pivot(frame, name, width), ""]
        if len(self.runs) > POINTS_SHOWN:
            lines.append(f"{len(self.runs) - POINTS_SHOWN} more points are in the files")
        if frame["seeds"].max() > 1:
            lines.append("95 % intervals over seeds, in the unit above; none where seeds hardly differ")
        if frame[measured].isna().to_numpy().any():
            lines.append(f"{NOT_MEASURED}: not measured")
        if len(measured) < len(metrics):
            missing = (METRICS[name].title for name in metrics if name not in measured)
            lines.append(f"not measured at any point: {', '.join(missing)}")
        if frame["oracle"].any():
            lines.append("*: told the true instant of every drift (oracle)")
        return "\n".join(lines).rstrip() + "\n"

    @cached_property
    def _setting_columns(self) -> list[str]:
        in_si = {key for point in self._record["points"] for key in point["settings_si"]}
        return [name for key in self.keys for name in (_column(key), *([f"{key}_si"] if key in in_si else []))]

    def _settings(self, point: dict[str, Any]) -> dict[str, Any]:
        written = {_column(key): value for key, value in point["settings"].items()}
        return written | {f"{key}_si": value for key, value in point["settings_si"].items()}

    def _status(self, point: dict[str, Any], folder: Path) -> str:
        """What the record says; what is done after it was written, the run itself says."""
        manifest = folder / "manifest.json"
        if point["status"] == "waiting" and manifest.is_file():
            told: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
            return "done" if told["status"] == "done" else "waiting"
        return str(point["status"])

    @cached_property
    def _episodes(self) -> pd.DataFrame:
        """The episodes of all points; a learner is called by point and label."""
        parts = [
            run.episodes.assign(learner=name + _APART + run.episodes["learner"]) for name, run in self.runs.items()
        ]
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def _seed_metrics(self) -> pd.DataFrame:
        parts = []
        for name, run in self.runs.items():
            metrics = run.seed_metrics.reset_index()
            parts.append(metrics.assign(learner=name + _APART + metrics["learner"]).set_index(WORLD))
        found = pd.concat(parts)
        for measure in summary.TIMED:
            seen = observations(self._episodes, measure)
            limit_s = survival.common_limit_s(seen)
            means = {key: survival.restricted_mean(rows, limit_s).value for key, rows in seen.groupby(WORLD)}
            found[f"{measure}_mean_s"] = pd.Series(means, dtype="float64").reindex(found.index)
        return found

    @cached_property
    def _estimates(self) -> pd.DataFrame:
        return summary.estimates(self._seed_metrics, self._episodes)

    def _told(self, parts: list[pd.DataFrame], metrics: pd.DataFrame, by: list[str]) -> pd.DataFrame:
        """Put what was varied before the metrics of each row."""
        worlds = pd.concat(parts, ignore_index=True)
        keys = [worlds["point"] + _APART + worlds["learner"], *(worlds[name] for name in by[2:])]
        index = pd.MultiIndex.from_arrays(keys) if len(keys) > 1 else pd.Index(keys[0])
        own = worlds.merge(self.points[["point", *self._setting_columns]], on="point", how="left")
        first = [by[0], *self._setting_columns, *by[1:], *(c for c in ("seeds", "oracle") if c in own and c not in by)]
        return pd.concat([own[first], metrics.reindex(index).reset_index(drop=True)], axis=1)

    def _pivot(self, frame: pd.DataFrame, metric: str, width: int) -> list[str]:
        unit = METRICS[metric].unit
        learners = list(dict.fromkeys(zip(frame["learner"].tolist(), frame["oracle"].tolist(), strict=True)))
        columns = [_column(key) for key in self.keys]
        values = self.points.set_index("point")[columns].astype("object")
        shown = list(self.runs)[:POINTS_SHOWN]
        labels = [[_written(cell) for cell in row] for row in values.loc[shown].to_numpy().tolist()]
        widths = [max(len(text) for text in column) for column in zip(self.keys, *labels, strict=True)]
        cells = frame.set_index(["point", "learner"])[[metric, f"{metric}_low", f"{metric}_high"]]
        rows = {}
        for name, label in zip(shown, labels, strict=True):
            row = []
            for learner, _ in learners:
                if (name, learner) not in cells.index:
                    row.append(("", ""))
                    continue
                value, low, high = cells.loc[(name, learner)].tolist()
                row.append((quantity(value, unit), between(low, high, unit, like=value, named=False)))
            rows[_aligned(label, widths) or name] = row
        head = [f"{learner}*" if oracle else learner for learner, oracle in learners]
        return terminal_table(head, rows, width, _aligned(self.keys, widths))


def load_sweep(folder: Path | str, rule: RecoveryRule | None = None) -> Sweep:
    """Load a sweep's folder: finished, going on or stopped.

    Raises
    ------
    UserError
        It is no such folder.
    """
    return Sweep(folder, rule)


def _column_of(values: pd.Series[Any]) -> pd.Series[Any]:
    """Make a column numeric if it holds nothing but numbers; else its values stay as they were written."""
    known = [value for value in values.tolist() if _written(value)]
    if len(known) == len(values) and all(type(value) in (int, float) for value in known):
        return pd.to_numeric(values)
    in_si = str(values.name).endswith("_si")
    return values.astype("float64") if in_si else values


def _column(key: str) -> str:
    return f"scenario.{key}" if key in _TAKEN else key


def _written(cell: object) -> str:
    """Write a value as a scenario says it; nothing where the point does not set it."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
