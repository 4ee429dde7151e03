"""The cells of ``papers.yaml``, their tasks (a point, learner and seed each), and the run folders that tasks leave."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

import analysis
from edgesim.errors import UserError

BENCHMARKS = Path(__file__).parents[1]
SCENARIOS = BENCHMARKS.parent / "scenarios" / "papers"
DATA = "EDGESIM_DATA"
"""The environment variable that names the folder of the small form's data."""
MODELS = "paper_models"
"""The module beside ``papers.py`` with networks of its own."""

Cell = Mapping[str, Any]
"""What ``papers.yaml`` says of a cell."""

CELLS: Mapping[str, Cell] = YAML(typ="safe").load(BENCHMARKS / "papers.yaml")["cells"]


@dataclass(frozen=True)
class Task:
    """One world: a learner of one cell at one point and seed."""

    cell: str
    point: str
    learner: str
    seed: int
    full: bool

    def folder(self, root: Path) -> Path:
        """Its run folder."""
        return _folder(root, self.cell, self.point, self.full) / f"seed-{self.seed}" / self.learner

    def is_done(self, root: Path) -> bool:
        """Whether that world has been played to its end, in its own run folder or in one with others."""
        return (self.learner, self.seed) in _finished_worlds(_folder(root, self.cell, self.point, self.full))

    def overrides(self, cells: Mapping[str, Cell] = CELLS) -> list[str]:
        """What it changes in the scenario, as for ``--set``."""
        cell = cells[self.cell]
        settings = {**cell.get("both", {}), **({} if self.full else cell["small"])}
        settings |= {str(point): changes for point, changes in cell.get("points", {}).items()}.get(self.point, {})
        return [f"{key}={json.dumps(value)}" for key, value in settings.items()]

    def command(self) -> str:
        """What one would type to run it alone."""
        changes = self.overrides()
        sets = " ".join(f"--set {json.dumps(override)}" for override in changes)
        file = f"scenarios/papers/{scenario_of(self.cell).name}"
        told = f"edgesim run {file} --seeds {self.seed} --learner {self.learner} {sets}".rstrip()
        is_code = any(change.startswith("model=") and f"{MODELS}:" in change for change in changes)
        return f"PYTHONPATH=benchmarks {told} --allow-code" if is_code else told


def seeds_from(text: str) -> range:
    """The seeds that a text such as ``0-2`` or ``3`` names."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def scenario_of(cell: str, cells: Mapping[str, Cell] = CELLS) -> Path:
    """The scenario that a cell changes."""
    return SCENARIOS / f"{cells[cell].get('scenario', cell)}.yaml"


def points_of(cell: Cell) -> list[str]:
    """The names of a cell's points; one without a name where nothing is varied."""
    return [str(point) for point in cell.get("points", {"": None})]


def learners_of(name: str, cell: Cell) -> list[str]:
    """The labels of a cell's learners: those that it names, else all of its scenario, in order."""
    if "learners" in cell:
        return list(cell["learners"])
    return list(YAML(typ="safe").load(scenario_of(name, {name: cell}))["learners"])


def tasks(cells: Sequence[str], seeds: Sequence[int], full: bool) -> Iterator[Task]:
    """All tasks, cell by cell. A learner's seeds come together: two at a time have not the same pretraining to do."""
    for cell in cells:
        for point in points_of(CELLS[cell]):
            for learner in learners_of(cell, CELLS[cell]):
                for seed in seeds:
                    yield Task(cell, point, learner, seed, full)


def loaded(root: Path, name: str, cell: Cell, full: bool) -> dict[str, analysis.Run]:
    """What is there of a cell: a run over learners and seeds for each point, of the seeds that all learners have done.

    Raises
    ------
    UserError
        Seeds of one point were run with different scenarios or parameters.
    """
    found = {}
    for point in points_of(cell):
        of_worlds = _finished_worlds(_folder(root, name, point, full))
        order = learners_of(name, cell) if of_worlds else []
        seeds = sorted({seed for _, seed in of_worlds})
        whole = [seed for seed in seeds if all((learner, seed) in of_worlds for learner in order)]
        folders = dict.fromkeys(of_worlds[learner, seed] for learner in order for seed in whole)
        if folders:
            first, *others = analysis.load_many(list(folders))
            if others:
                old = ", ".join(str(folder) for run in others for folder in run.folders)
                raise UserError(f"not run with the scenario and parameters of {first.folders[0]}: {old}; run them anew")
            found[point] = first
    return found


def finished_runs(folder: Path) -> dict[Path, Mapping[str, Any]]:
    """The run folders below a folder that are done, and their manifests."""
    found = {}
    for path, folders, files in os.walk(folder):
        folders.sort()
        if "manifest.json" in files:
            folders.clear()  # what is in a run folder may go while it is looked at
            manifest: Mapping[str, Any] = json.loads(Path(path, "manifest.json").read_text(encoding="utf-8"))
            if manifest.get("status") == "done":
                found[Path(path)] = manifest
    return found


def same_run(root: Path, identity: Mapping[str, Any]) -> Path | None:
    """A finished run below ``root`` of the same identity (see `edgesim.run_folder.identity`), whichever its cell."""
    wanted = _anywhere(identity)
    runs = finished_runs(root).items()
    return next((run for run, manifest in runs if _anywhere({key: manifest[key] for key in identity}) == wanted), None)


def _anywhere(identity: Mapping[str, Any]) -> str:
    """An identity as text, without where this machine has the data: kept runs have it neither."""
    text = json.dumps(identity, sort_keys=True)
    return text.replace(os.environ[DATA], f"${{{DATA}}}") if DATA in os.environ else text


def _finished_worlds(folder: Path) -> dict[tuple[str, int], Path]:
    """The finished worlds of a cell at one point, by learner and seed, and the run folder that each is in."""
    return {
        (learner, seed): run
        for run, manifest in finished_runs(folder).items()
        for learner in manifest["learners"]
        for seed in manifest["seeds"]
    }


def _folder(root: Path, cell: str, point: str, full: bool) -> Path:
    """Where a cell's runs at one point are."""
    return root / ("full" if full else "small") / cell / (point.replace(" %", "pct") or "all")
