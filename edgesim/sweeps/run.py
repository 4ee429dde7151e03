"""Running what a sweep has to do: each point into its folder, failures kept, the record in ``sweep.json``."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ..errors import CannotResume, RunningElsewhere, UserError
from ..jobs import Choice
from ..jobs.choice import available_cores
from ..resuming import resume
from ..run_folder import LOCK, remove
from ..scenario import Scenario
from ..simulation import choice, run
from .plan import RECORD, TRACEBACK, Plan, Planned, read_told
from .workers import LOCAL, WorkersDied, outcomes

FORMAT = 1
"""Version of the layout of ``sweep.json``."""

_DIED = "its process ended without a word: killed, out of memory, or crashed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a point ended; ``error`` says why it failed, ``wall_s`` how long it took (0 where that is not known)."""

    name: str
    status: Literal["done", "failed"]
    error: str = ""
    wall_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Computing:
    """Where the jobs of all points are computed; changes no table.

    Attributes
    ----------
    executor, ray_address
        As in :func:`edgesim.simulation.run`.
    workers
        Of each point; by default the cores of this machine are divided among the points that run at the same time.
    """

    executor: str | None = None
    workers: int | None = None
    ray_address: str | None = None

    def check(self, plan: Plan) -> None:
        """Raise ``UserError`` where a point of a plan cannot be computed like this."""
        for planned in plan.points:
            self._choice(planned)

    def share(self, planned: Planned, at_a_time: int) -> Computing:
        """The same for a point that runs beside others."""
        chosen = self._choice(planned)
        if at_a_time == 1 or chosen.executor == "inline" or chosen.workers is not None or chosen.ray_address:
            return self
        return replace(self, workers=max(1, available_cores() // at_a_time))

    def _choice(self, planned: Planned) -> Choice:
        return choice(planned.ready.scenario).but(self.executor, self.workers, self.ray_address)


def run_plan(
    plan: Plan,
    *,
    jobs: int = 1,
    backend: str = LOCAL,
    cache: bool = True,
    computing: Computing = Computing(),
) -> Iterator[Outcome]:
    """Run the points that are to be run; yield how each ended, as they end.

    Parameters
    ----------
    plan
        From :func:`~edgesim.sweeps.plan.make_plan`.
    jobs
        How many points at a time, each in a process of its own; with 1, in this process.
    backend
        Whose processes: a name that joblib knows.
    cache
        Share pretraining among the points and with other runs, in the user's cache.
    computing
        Where jobs are computed.

    Raises
    ------
    UserError
        Jobs cannot be computed like that, or another process is running a sweep in the folder.
    """
    from filelock import FileLock, Timeout

    computing.check(plan)
    plan.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(plan.folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"{plan.folder}: another sweep is running there") from None
    with lock:
        record = _Record(plan)
        record.write()
        try:
            for outcome in _all(plan, jobs, backend, cache, computing):
                record.take(outcome)
                yield outcome
        finally:
            record.write()


@dataclass(frozen=True, slots=True)
class _Task:
    """What a worker process is told."""

    name: str
    folder: Path
    scenario: Scenario
    seeds: tuple[int, ...]
    timing_only: bool
    allow_code: bool
    cache: bool
    computing: Computing
    from_folder: str
    """Where the sweep is run: paths are relative to it. A process that served an earlier sweep may be elsewhere."""


def _play(task: _Task) -> Outcome:
    """Run one point; called in a worker process."""
    try:
        if os.path.isdir(task.from_folder):  # not where a cluster's node has no such folder
            os.chdir(task.from_folder)
        _run_or_resume(task)
    except RunningElsewhere as error:  # the folder is not ours to write into
        return Outcome(task.name, "failed", str(error))
    except (Exception, SystemExit) as error:  # a point that fails must not end the others
        task.folder.mkdir(parents=True, exist_ok=True)
        (task.folder / TRACEBACK).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return Outcome(task.name, "failed", text, _wall_s(task.folder))
    return Outcome(task.name, "done", wall_s=_wall_s(task.folder))


def _run_or_resume(task: _Task) -> None:
    how: dict[str, Any] = {"allow_code": task.allow_code, "cache": task.cache, **asdict(task.computing)}
    if task.folder.exists():  # it was begun
        try:
            resume(task.folder, **how)
        except CannotResume:  # begun on another kind of CPU, or so early that there is nothing to go on with
            remove(task.folder)
        else:
            (task.folder / TRACEBACK).unlink(missing_ok=True)
            return
    run(task.scenario, seeds=task.seeds, out=task.folder, timing_only=task.timing_only, **how)


def _all(plan: Plan, jobs: int, backend: str, cache: bool, computing: Computing) -> Iterator[Outcome]:
    """Run all points, after what is in their folders and of no use has been removed."""
    tasks = []
    at_a_time = min(jobs, len(plan.todo)) if backend == LOCAL else 1
    for planned in plan.todo:
        try:
            if planned.folder.exists() and planned.standing != "begun":
                remove(planned.folder)
        except RunningElsewhere as error:
            yield Outcome(planned.name, "failed", str(error))
        else:
            tasks.append(_task(plan, planned, cache, computing.share(planned, at_a_time)))
    yield from _played(tasks, jobs, backend)


def _played(tasks: Sequence[_Task], jobs: int, backend: str) -> Iterator[Outcome]:
    """Run points. Where a process dies, what was in its hands is tried again alone, then given up."""
    waiting = {task.name: task for task in tasks}
    while waiting:
        try:
            for outcome in outcomes(_play, list(waiting.values()), jobs, backend=backend):
                del waiting[outcome.name]
                yield outcome
        except WorkersDied:
            begun = [task for task in waiting.values() if task.folder.exists()]
            if not begun:
                raise
            for task in begun:
                del waiting[task.name]
                yield _settled(task, backend)


def _settled(task: _Task, backend: str) -> Outcome:
    """Tell how a point ended that was running when a process died; if that is not known, go on with it, alone."""
    if _manifest(task.folder).get("status") == "done":
        return Outcome(task.name, "done", wall_s=_wall_s(task.folder))
    try:
        (outcome,) = outcomes(_play, [task], 2, backend=backend)  # two jobs: not in this process
    except WorkersDied:
        return Outcome(task.name, "failed", _DIED)
    return outcome


def _task(plan: Plan, planned: Planned, cache: bool, computing: Computing) -> _Task:
    ready = planned.ready
    return _Task(
        planned.name,
        planned.folder.absolute(),
        ready.scenario,
        ready.seeds,
        plan.timing_only,
        plan.allow_code,
        cache,
        computing,
        from_folder=os.getcwd(),
    )


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    return (read_told(path) if path.is_file() else None) or {}


def _wall_s(folder: Path) -> float:
    return float(_manifest(folder).get("wall_s", 0.0))


@dataclass(slots=True)
class _Record:
    """``sweep.json``: which points there are, what each sets, and how it ended."""

    plan: Plan
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    ended: dict[str, Outcome] = field(default_factory=dict)

    def take(self, outcome: Outcome) -> None:
        """Note how a point ended. A failure is written at once; that a point is done, its own manifest says."""
        self.ended[outcome.name] = outcome
        if outcome.status == "failed":
            self.write()

    def write(self) -> None:
        """Write the file, atomically."""
        document = {
            "format": FORMAT,
            "name": self.plan.name,
            "keys": list(self.plan.keys),
            "started": self.started,
            "points": [self._entry(planned) for planned in self.plan.points],
        }
        temporary = self.plan.folder / f".{RECORD}"
        temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(temporary, self.plan.folder / RECORD)

    def _entry(self, planned: Planned) -> dict[str, Any]:
        outcome = self.ended.get(planned.name)
        status = outcome.status if outcome else "done" if planned.standing == "done" else "waiting"
        return {
            "name": planned.name,
            "settings": {setting.key: setting.value for setting in planned.point.settings},
            "settings_si": planned.values_si(),
            "status": status,
            "error": outcome.error if outcome else "",
        }
