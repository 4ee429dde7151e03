"""When jobs are computed and parts are written while a world is played."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgesim import Event, Learner, World, stage
from edgesim.jobs.work_plane import WorkPlane
from edgesim.run_folder import RunFolder
from edgesim.simulation import simulate
from edgesim.tables import WorldTables
from edgesim.testing import run_tiny, tiny_scenario
from edgesim.world import Model, Offline


class Trains(Learner):
    """Trains over and over; of most models nobody wants anything once the next is there."""

    def run(self, world: World) -> Generator[Event, Any, None]:
        device, model = world.devices[0], world.initial
        for number in range(40):
            trained = yield device.train(world.initial, epochs=1)
            if number % 4 == 0:
                model = trained
            if number % 10 == 0:
                yield device.deploy(model)


def played(monkeypatch: pytest.MonkeyPatch, seconds_a_look: float) -> tuple[list[int], int, int]:
    """How many jobs waited at each flush, how many were settled in the end, and how many parts were asked for."""
    waiting: list[int] = []
    settled: list[int] = []
    cuts: list[float | None] = []
    flush, cut, look = WorkPlane.flush, WorldTables.cut, itertools.count()

    def watched_flush(plane: WorkPlane) -> None:
        if plane.pending:
            waiting.append(plane.pending)
        flush(plane)
        settled.append(plane.ran)

    def watched_cut(tables: WorldTables, now_s: float | None = None) -> None:
        cuts.append(now_s)
        cut(tables, now_s)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "JOBS_PER_FLUSH", 8)
        patch.setattr(stage, "EVENTS_PER_LOOK", 4)
        patch.setattr(stage, "time", SimpleNamespace(monotonic=lambda: next(look) * seconds_a_look))
        patch.setattr(WorkPlane, "flush", watched_flush)
        patch.setattr(WorldTables, "cut", watched_cut)
        run_tiny(Trains(Trains.Params()))
    return waiting, settled[-1], len(cuts)


def test_which_jobs_are_computed_does_not_depend_on_the_clock_and_when_parts_are_written_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_a_fast_machine, on_a_slow_one = played(monkeypatch, 0.0), played(monkeypatch, 10.0)
    assert len(on_a_fast_machine[0]) > 3
    assert on_a_fast_machine[:2] == on_a_slow_one[:2]
    assert on_a_fast_machine[2] < on_a_slow_one[2]


class Watched(Trains):
    """Remembers its world, without keeping it."""

    world: weakref.ref[World]

    def run(self, world: World) -> Generator[Event, Any, None]:
        self.world = weakref.ref(world)
        yield from super().run(world)


def test_of_a_run_that_is_over_nothing_stays_in_memory() -> None:
    learner = Watched(None)
    run_tiny(learner)
    assert learner.world() is None


class Looks(Trains):
    """Looks whether the world before it is still there."""

    def __init__(self, before: Watched) -> None:
        super().__init__(None)
        self.before = before
        self.was_gone = False

    def prepare(self, offline: Offline) -> Model:
        self.was_gone = self.before.world() is None
        return super().prepare(offline)


def test_a_world_that_is_over_goes_before_the_next_one_comes(tmp_path: Path) -> None:
    first = Watched(None)
    second = Looks(first)
    scenario = tiny_scenario()
    facts: dict[str, dict[str, Any]] = {"first": {}, "second": {}}
    folder = RunFolder.create(tmp_path / "run", scenario, [0], facts, timing_only=True)
    simulate(folder, scenario, [0], {"first": first, "second": second}, timing_only=True)
    assert second.was_gone
