"""What a sweep has to do: every point checked, with its folder, and whether it has been done before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import Problem, ScenarioError, UserError
from ..learner import installed_params
from ..placing import placed, placement_of
from ..run_folder import JOURNAL, LOCK, differences
from ..scenario import Override, Scenario, load_each
from ..simulation import Ready, prepare
from .points import Point

RECORD = "sweep.json"
"""What a sweep folder is known by."""

TRACEBACK = "traceback.txt"
"""Where a point that failed keeps its traceback, in its run folder."""

_NO_SWEEP_YET = {LOCK, f".{RECORD}"}
"""What a sweep folder may hold without a record: its process died at once."""

_NO_RUN_YET = {"scenario.yaml", ".manifest.json", LOCK, TRACEBACK}
"""What a run folder may hold without a manifest: its process died at once, or the run could not begin."""

Standing = Literal["new", "done", "begun", "unfinished", "outdated"]


@dataclass(frozen=True, slots=True)
class Planned:
    """One point of a sweep.

    Attributes
    ----------
    name
        Of the point and its folder.
    point
        What it sets.
    folder
        Its run folder.
    ready
        The run, checked.
    standing
        What is in the folder: nothing, this very run, done or begun, another run that did not finish, or one that did.
    """

    name: str
    point: Point
    folder: Path
    ready: Ready
    standing: Standing

    @property
    def worlds(self) -> int:
        """How many (learner, seed) worlds it simulates."""
        return len(self.ready.seeds) * len(self.ready.cast)

    def values_si(self) -> dict[str, float]:
        """What it sets in SI units, where that is a number written with a unit: 125000.0 for ``1 Mbit/s``."""
        plain = self.ready.scenario.model_dump(mode="json", by_alias=True)
        found = {}
        for setting in self.point.settings:
            value = _at(plain, setting.key.split("."))
            if isinstance(setting.value, str) and isinstance(value, int | float) and not isinstance(value, bool):
                found[setting.key] = float(value)
        return found


@dataclass(frozen=True, slots=True)
class Plan:
    """A sweep that may begin."""

    folder: Path
    name: str
    points: tuple[Planned, ...]
    timing_only: bool
    allow_code: bool

    @property
    def todo(self) -> tuple[Planned, ...]:
        """The points to run."""
        return tuple(planned for planned in self.points if planned.standing != "done")

    @property
    def keys(self) -> tuple[str, ...]:
        """What is varied."""
        return tuple(dict.fromkeys(setting.key for planned in self.points for setting in planned.point.settings))


def make_plan(
    scenario: Path | str,
    points: Mapping[str, Point],
    *,
    overrides: Sequence[str] = (),
    learners: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    out: Path | str | None = None,
    redo: bool = False,
    timing_only: bool = False,
    allow_code: bool = False,
    device: str | None = None,
) -> Plan:
    """Check every point and look at what has been done; writes nothing.

    Parameters
    ----------
    scenario
        A scenario file.
    points
        By name, from :func:`~edgesim.sweeps.points.combine`.
    overrides
        Set at every point first.
    learners, seeds, timing_only, allow_code
        As in :func:`edgesim.simulation.run`.
    out
        The sweep's folder; by default ``runs/NAME-sweep``.
    redo
        Run points anew that were finished under another scenario, other seeds or other versions.
    device
        What jobs compute on, by default as the scenario says: it belongs to what a point is a run of.

    Raises
    ------
    ScenarioError
        Everything that is wrong at any of the points.
    UserError
        A key is set twice; the learners are not as they should be; there is no such device; the folder is something
        else, or holds finished points that were run differently (unless ``redo``).
    """
    for override in overrides:
        key = override.partition("=")[0].strip()
        if any(setting.key == key for point in points.values() for setting in point.settings):
            raise UserError(f"--set {override}: {key} is varied by the sweep as well")
    scenarios = _loaded(scenario, points, overrides)
    names = {found.name for found in scenarios.values()}
    name = names.pop() if len(names) == 1 else Path(scenario).stem
    folder = Path("runs") / f"{name}-sweep" if out is None else Path(out)
    if folder.exists() and not (folder / RECORD).is_file() and not _is_unborn(folder):
        raise UserError(f"{folder} is there already and holds no sweep: choose another --out, or remove it")
    planned = []
    outdated: dict[str, int] = {}
    for point_name, point in points.items():
        ready = prepare(
            scenarios[point_name], learners=learners, seeds=seeds, timing_only=timing_only, allow_code=allow_code
        )
        if not timing_only:
            ready = replace(ready, scenario=placed(ready.scenario, device))
        place = folder / "points" / point_name
        standing, unlike = _standing(place, ready, timing_only=timing_only)
        if standing != "done" and not timing_only:
            placement_of(ready.scenario)
        planned.append(Planned(point_name, point, place, ready, standing))
        for difference in unlike:
            outdated[difference] = outdated.get(difference, 0) + 1
    count = sum(item.standing == "outdated" for item in planned)
    if count and not redo:
        raise UserError(_refusal(folder, count, list(outdated)))
    return Plan(folder, name, tuple(planned), timing_only, allow_code)


def _loaded(file: Path | str, points: Mapping[str, Point], overrides: Sequence[str]) -> dict[str, Scenario]:
    """Load the scenario at every point; raises with the problems of all of them, each once."""
    first = [Override(text) for text in overrides]
    variants = [[*first, *(setting.override for setting in point.settings)] for point in points.values()]
    scenarios: dict[str, Scenario] = {}
    problems: dict[Problem, list[str]] = {}
    loaded = load_each(file, variants, learner_params=installed_params())
    for name, result in zip(points, loaded, strict=True):
        if isinstance(result, Scenario):
            scenarios[name] = result
        else:
            for problem in result.problems:
                problems.setdefault(problem, []).append(name)
    if problems:
        written = {str(override) for variant in variants for override in variant}
        raise ScenarioError(
            tuple(
                problem if problem.file in written or len(names) == len(points) else _located(problem, names)
                for problem, names in problems.items()
            )
        )
    return scenarios


def _located(problem: Problem, names: Sequence[str]) -> Problem:
    """Say at which points: where the file itself is at fault, but not at every one."""
    where = f"at the point {names[0]}" if len(names) == 1 else f"at {len(names)} points, such as {names[0]}"
    return replace(problem, message=f"{problem.message} ({where})")


def _standing(folder: Path, ready: Ready, *, timing_only: bool) -> tuple[Standing, list[str]]:
    """Look at a point's folder; with what differs where it holds another finished run.

    Raises
    ------
    UserError
        It holds something that is no run.
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        if not folder.exists():
            return "new", []
        if folder.is_dir() and {entry.name for entry in folder.iterdir()} <= _NO_RUN_YET:
            return "unfinished", []
        raise UserError(f"{folder} is there already and is no run folder: remove it, or choose another --out")
    told = read_told(manifest)
    if told is None:
        return "unfinished", []
    found = differences(told, ready.scenario, ready.seeds, ready.facts, timing_only=timing_only)
    if told.get("status") != "done":
        return "unfinished" if found or not (folder / JOURNAL).is_dir() else "begun", []
    return ("outdated", found) if found else ("done", [])


def _is_unborn(folder: Path) -> bool:
    return folder.is_dir() and {entry.name for entry in folder.iterdir()} <= _NO_SWEEP_YET


def read_told(manifest: Path) -> dict[str, Any] | None:
    """What a point's manifest says; None where that is cut off, as after a loss of power."""
    try:
        told = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _refusal(folder: Path, count: int, differences: Sequence[str]) -> str:
    points = "a finished point that was" if count == 1 else f"{count} finished points that were"
    shown = "; ".join(differences[:3]) + (f"; and {len(differences) - 3} more" if len(differences) > 3 else "")
    return f"{folder} holds {points} run differently ({shown}): choose another --out, or --redo to run again"


def _at(data: Any, path: Sequence[str]) -> object:
    """What stands at a path in plain data, a constant signal as its value; nothing where the path leads nowhere."""
    for part in path:
        if isinstance(data, list):
            named = {str(item.get("name")): item for item in data if isinstance(item, dict)}
            data = data[int(part)] if part.isdigit() and int(part) < len(data) else named.get(part)
        else:
            data = data.get(part) if isinstance(data, dict) else None
    return data["value"] if isinstance(data, dict) and set(data) == {"value"} else data
