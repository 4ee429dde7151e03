"""A run on disk as tables in memory: ``load`` one folder, ``load_many`` and merge what belongs together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import accuracy, spans, summary
from analysis.episodes import RecoveryRule, episodes
from analysis.worlds import WORLD, per_row
from edgesim.tables import TABLES, UserError, read_manifest, read_table

_RECORDED_AT = {
    "transfers": "end_s",
    "computations": "end_s",
    "deployments": "time_s",
    "selections": "time_s",
    "drifts": "time_s",
    "accuracy": "time_s",
    "detections": "time_s",
    "memory": "time_s",
    "availability": "time_s",
    "battery": "time_s",
    "serving": "end_s",
}
"""Tables whose rows are recorded when they happen, and the column that says when."""

_FINGERPRINTS = {"weights", "data_fingerprint"}
"""What a manifest has of files that have no entry in its ``files``."""


class Run:
    """The tables of one run, or of several runs of one scenario that differ in seeds or learners.

    Tables are read when first asked for. A run that is going on, or was killed, has its rows up to the frontier: a
    world ends in all tables where its accuracy does.

    Parameters
    ----------
    folders
        Run folders whose (learner, seed) worlds are distinct.
    rule
        When a device counts as recovered.

    Attributes
    ----------
    folders
        As given.
    manifests
        Their manifests, in the same order.
    rule
        As given.
    label
        The scenario's name; ``load_many`` makes labels distinct.
    """

    def __init__(self, folders: Sequence[Path | str], rule: RecoveryRule | None = None) -> None:
        self.folders = tuple(Path(folder) for folder in folders)
        self.manifests = tuple(read_manifest(folder) for folder in self.folders)
        self.rule = rule or RecoveryRule()
        self.label = self.name

    def __repr__(self) -> str:
        return f"<Run {self.label}: {len(self.learners)} learners, seeds {', '.join(map(str, self.seeds))}>"

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest (of the first folder)."""
        return self.manifests[0]

    @property
    def name(self) -> str:
        """The scenario's name."""
        name: str = self.manifest["scenario"]["name"]
        return name

    @property
    def horizon_s(self) -> float:
        """How long the scenario lasts."""
        return float(self.manifest["horizon_s"])

    @property
    def timing_only(self) -> bool:
        """Whether nothing was trained: accuracies are missing."""
        return any(bool(manifest["timing_only"]) for manifest in self.manifests)

    @property
    def has_test_samples(self) -> bool:
        """Whether there was anything to evaluate models on."""
        return all(_has_test_samples(manifest) for manifest in self.manifests)

    @property
    def finished(self) -> bool:
        """Whether every world reached the horizon."""
        return bool(self.worlds["finished"].all())

    @property
    def learners(self) -> list[str]:
        """The learners' labels, in the order of the run."""
        return list(dict.fromkeys(self.worlds["learner"]))

    @property
    def seeds(self) -> list[int]:
        """The seeds, in the order of the run."""
        return [int(seed) for seed in dict.fromkeys(self.worlds["seed"])]

    @property
    def oracles(self) -> list[str]:
        """The learners that are told the true instant of a drift."""
        return list(dict.fromkeys(self.worlds.loc[self.worlds["oracle"], "learner"]))

    @property
    def rivals(self) -> list[str]:
        """The learners that may be compared with one another: all but oracles, or all where there are only oracles."""
        return [learner for learner in self.learners if learner not in self.oracles] or self.learners

    @property
    def params(self) -> dict[str, dict[str, Any]]:
        """What the manifests say of each learner."""
        return {label: facts for manifest in self.manifests for label, facts in manifest["learners"].items()}

    @cached_property
    def worlds(self) -> pd.DataFrame:
        """A row a (learner, seed) world that was begun: see :mod:`analysis.worlds`."""
        rows = [
            row
            for manifest, folder in zip(self.manifests, self.folders, strict=True)
            for row in _worlds(manifest, folder)
        ]
        frame = pd.DataFrame(rows, columns=[*WORLD, "oracle", "until_s", "finished"])
        return frame.astype(
            {"learner": "str", "seed": "int64", "oracle": "bool", "until_s": "float64", "finished": "bool"}
        )

    @cached_property
    def transfers(self) -> pd.DataFrame:
        """The table ``transfers`` (docs/tables.md)."""
        return self._read("transfers")

    @cached_property
    def computations(self) -> pd.DataFrame:
        """The table ``computations``."""
        return self._read("computations")

    @cached_property
    def deployments(self) -> pd.DataFrame:
        """The table ``deployments``."""
        return self._read("deployments")

    @cached_property
    def selections(self) -> pd.DataFrame:
        """The table ``selections``."""
        return self._read("selections")

    @cached_property
    def drifts(self) -> pd.DataFrame:
        """The table ``drifts``."""
        return self._read("drifts")

    @cached_property
    def accuracy(self) -> pd.DataFrame:
        """The table ``accuracy``."""
        return self._read("accuracy")

    @cached_property
    def detections(self) -> pd.DataFrame:
        """The table ``detections``."""
        return self._read("detections")

    @cached_property
    def memory(self) -> pd.DataFrame:
        """The table ``memory``."""
        return self._read("memory")

    @cached_property
    def availability(self) -> pd.DataFrame:
        """The table ``availability``."""
        return self._read("availability")

    @cached_property
    def energy(self) -> pd.DataFrame:
        """The table ``energy``."""
        return self._read("energy")

    @cached_property
    def battery(self) -> pd.DataFrame:
        """The table ``battery``."""
        return self._read("battery")

    @cached_property
    def serving(self) -> pd.DataFrame:
        """The table ``serving``."""
        return self._read("serving")

    @cached_property
    def environment(self) -> pd.DataFrame:
        """The table ``environment``."""
        return self._read("environment")

    @cached_property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """All tables by name, each read when it is first asked for."""
        return _Tables(self)

    @cached_property
    def spans(self) -> pd.DataFrame:
        """Accuracy of the current view as spans with served time (:func:`analysis.accuracy.served_spans`)."""
        current = spans.accuracy_spans(self.accuracy, self.worlds)
        empty = spans.empty_spans(self.availability, self.worlds)
        absent = spans.absent_spans(self.availability, self.worlds)
        return accuracy.served_spans(current, self.disconnected, empty, absent)

    @cached_property
    def disconnected(self) -> pd.DataFrame:
        """When devices had no connection to the cloud (:func:`analysis.spans.disconnected_spans`)."""
        groups = self.manifest["scenario"]["devices"]
        gateways = {group["name"]: group["gateway"] for group in groups if group.get("gateway") is not None}
        above = spans.links_above(self.availability, gateways)
        return spans.disconnected_spans(self.availability, self.environment, self.worlds, above)

    @cached_property
    def episodes(self) -> pd.DataFrame:
        """What followed each drift on each device (:func:`analysis.episodes.episodes`)."""
        return episodes(self.tables, self.worlds, self.rule)

    @cached_property
    def fleet(self) -> pd.DataFrame:
        """Mean accuracy over devices as a step function of time (:func:`analysis.accuracy.fleet`)."""
        return accuracy.fleet(self.spans, self.worlds)

    @cached_property
    def seed_metrics(self) -> pd.DataFrame:
        """Every metric (docs/metrics.md) of every (learner, seed) world."""
        return summary.seed_metrics(self.tables, self.worlds, self.episodes, self.spans)

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """Every metric of every learner over the seeds, tidy: ``learner, metric, value, low, high, seeds``."""
        return summary.estimates(self.seed_metrics, self.episodes)

    def summary(self, *, intervals: bool = True) -> pd.DataFrame:
        """Return a row a learner: every metric, and with ``intervals`` its 95 % interval over seeds beside it.

        Returns
        -------
        DataFrame
            Indexed by learner. First ``seeds`` (how many), ``oracle``, ``finished`` and ``until_s`` (the earliest
            frontier, where a run was killed), then each metric of docs/metrics.md, followed by ``<metric>_low`` and
            ``<metric>_high``. NaN is not measured, infinite is not reached; one seed has no interval.
        """
        worlds = self.worlds.groupby("learner", sort=False).agg(
            seeds=("seed", "nunique"),
            oracle=("oracle", "any"),
            finished=("finished", "all"),
            until_s=("until_s", "min"),
        )
        return worlds.join(summary.wide(self.estimates, intervals=intervals))

    def _read(self, name: str) -> pd.DataFrame:
        frames = [read_table(folder, name) for folder in self.folders]
        rows = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
        if self.finished or name not in _RECORDED_AT:
            return rows
        late = rows[_RECORDED_AT[name]].to_numpy() > per_row(rows, self.worlds, "until_s")
        return rows[~late].reset_index(drop=True) if late.any() else rows


class _Tables(Mapping[str, pd.DataFrame]):
    """The tables of a run by name."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in TABLES:
            raise KeyError(name)
        frame: pd.DataFrame = getattr(self._run, name)
        return frame

    def __iter__(self) -> Iterator[str]:
        return iter(TABLES)

    def __len__(self) -> int:
        return len(TABLES)


def load(run_dir: Path | str, rule: RecoveryRule | None = None) -> Run:
    """Load a run folder: finished, going on or killed.

    Raises
    ------
    UserError
        There is no such folder, or it is not a run folder.
    """
    return Run([run_dir], rule)


def load_many(run_dirs: Sequence[Path | str], rule: RecoveryRule | None = None) -> list[Run]:
    """Load run folders, merging those of one scenario that differ only in seeds or learners.

    Runs of different scenarios stay apart, as do runs that hold the same (learner, seed) world twice. Their labels
    are the scenarios' names; where two would be the same, the folders' names are added.

    Raises
    ------
    UserError
        One of them is not a run folder, or none is given.
    """
    if not run_dirs:
        raise UserError("no run folders: give at least one")
    runs: list[Run] = []
    for folder in dict.fromkeys(Path(run_dir) for run_dir in run_dirs):
        run = Run([folder], rule)
        for place, other in enumerate(runs):
            if _belong_together(run, other):
                runs[place] = Run([*other.folders, folder], rule)
                break
        else:
            runs.append(run)
    names = [run.name for run in runs]
    for run in runs:
        if names.count(run.name) > 1:
            run.label = f"{run.name} ({', '.join(folder.name for folder in run.folders)})"
    return runs


def _belong_together(one: Run, other: Run) -> bool:
    same_learners = all(one.params[label] == other.params[label] for label in one.params.keys() & other.params.keys())
    distinct = not set(_keys(one.worlds)) & set(_keys(other.worlds))
    alike = _environment(one.manifest) == _environment(other.manifest)
    return same_learners and distinct and alike and all(_same_contents(one.manifest, m) for m in other.manifests)


def _environment(manifest: dict[str, Any]) -> str:
    """Everything that two runs must share to be compared seed by seed."""
    scenario = {name: part for name, part in manifest["scenario"].items() if name not in ("learners", "seed", "work")}
    return json.dumps([scenario, manifest["timing_only"]], sort_keys=True)


def _same_contents(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the files that both runs read held the same; what only one manifest tells is not compared."""
    files, others = one.get("files", {}), other.get("files", {})
    same = all(files[name] == others[name] for name in files.keys() & others.keys())
    return same and all(one[key] == other[key] for key in _FINGERPRINTS & one.keys() & other.keys())


def _has_test_samples(manifest: dict[str, Any]) -> bool:
    return bool(manifest["scenario"].get("data", {}).get("test_samples") != 0)


def _worlds(manifest: dict[str, Any], folder: Path) -> list[tuple[str, int, bool, float, bool]]:
    known = {(world["learner"], world["seed"]): world["frontier_s"] for world in manifest["worlds"]}
    done = manifest["status"] == "done"
    evaluates = not manifest["timing_only"] and _has_test_samples(manifest)
    seen = {} if done else _frontiers(folder, evaluates=evaluates)
    horizon_s = float(manifest["horizon_s"])
    rows = []
    for seed in manifest["seeds"]:
        for label, facts in manifest["learners"].items():
            until_s = horizon_s if done else known.get((label, seed), seen.get((label, seed)))
            if until_s is not None:  # a world that was never begun is no world
                rows.append((label, seed, facts["oracle"], float(until_s), until_s >= horizon_s))
    return rows


def _frontiers(folder: Path, *, evaluates: bool) -> dict[tuple[str, int], float]:
    """Up to when each world of an unfinished run is known.

    Rows are in order of recording, so all before the last one are there. What was salvaged from a run that failed may
    lack accuracies that were still to be computed: then it is known up to the first of those.
    """
    frames = []
    for name, column in _RECORDED_AT.items():
        rows = read_table(folder, name, [*WORLD, column])
        frames.append(rows.rename(columns={column: "time_s"}))
    latest = pd.concat(frames, ignore_index=True).dropna().groupby(WORLD)["time_s"].max()
    if evaluates:
        rows = read_table(folder, "accuracy", [*WORLD, "time_s", "correct"])
        uncomputed = rows[rows["correct"].isna()].groupby(WORLD)["time_s"].min()
        latest = latest.combine(uncomputed, min, fill_value=float("inf"))
    known = latest.reset_index()
    return dict(zip(_keys(known), known["time_s"].tolist(), strict=True))


def _keys(worlds: pd.DataFrame) -> list[tuple[str, int]]:
    return list(zip(worlds["learner"].tolist(), worlds["seed"].tolist(), strict=True))
