"""The cells of ``papers.yaml``, their tasks (a point and a seed each), and the run folders that tasks leave."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

import analysis
from edgesim.errors import UserError

BENCHMARKS = Path(__file__).parents[1]
SCENARIOS = BENCHMARKS.parent / "scenarios" / "papers"
MODELS = "paper_models"
"""The module beside ``papers.py`` with networks of its own."""

Cell = Mapping[str, Any]
"""What ``papers.yaml`` says of a cell."""

CELLS: Mapping[str, Cell] = YAML(typ="safe").load(BENCHMARKS / "papers.yaml")["cells"]


@dataclass(frozen=True)
class Task:
    """One cell at one point and seed."""

    cell: str
    point: str
    seed: int
    full: bool

    def folder(self, root: Path) -> Path:
        """Its run folder."""
        name = self.point.replace(" %", "pct") or "all"
        return root / ("full" if self.full else "small") / self.cell / name / f"seed-{self.seed}"

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
        told = f"edgesim run scenarios/papers/{scenario_of(self.cell).name} --seeds {self.seed} {sets}".rstrip()
        is_code = any(change.startswith("model=") and f"{MODELS}:" in change for change in changes)
        return f"PYTHONPATH=benchmarks {told} --allow-code" if is_code else told


def scenario_of(cell: str, cells: Mapping[str, Cell] = CELLS) -> Path:
    """The scenario that a cell changes."""
    return SCENARIOS / f"{cells[cell].get('scenario', cell)}.yaml"


def points_of(cell: Cell) -> list[str]:
    """The names of a cell's points; one without a name where nothing is varied."""
    return [str(point) for point in cell.get("points", {"": None})]


def tasks(cells: Sequence[str], seeds: Sequence[int], full: bool) -> Iterator[Task]:
    """All tasks, seed by seed, so that every cell has something early."""
    for seed in seeds:
        for cell in cells:
            for point in points_of(CELLS[cell]):
                yield Task(cell, point, seed, full)


def is_done(folder: Path) -> bool:
    """Whether a run finished there."""
    manifest = folder / "manifest.json"
    return manifest.is_file() and json.loads(manifest.read_text(encoding="utf-8")).get("status") == "done"


def loaded(root: Path, name: str, cell: Cell, full: bool) -> dict[str, analysis.Run]:
    """The finished runs of a cell: a run over seeds for each point.

    Raises
    ------
    UserError
        Seeds of one point were run with different scenarios or parameters.
    """
    found = {}
    for point in points_of(cell):
        folder = Task(name, point, 0, full).folder(root).parent
        done = sorted(seed for seed in folder.glob("seed-*") if is_done(seed))
        if done:
            first, *others = analysis.load_many(done)
            if others:
                old = ", ".join(str(folder) for run in others for folder in run.folders)
                raise UserError(f"not run with the scenario and parameters of {first.folders[0]}: {old}; run them anew")
            found[point] = first
    return found
