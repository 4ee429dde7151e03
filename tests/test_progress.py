"""Watching a run: what is reported is what comes out, and watching changes nothing."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import analysis
import edgesim
import edgesim.progress
from edgesim.cli.human import bytes_text
from edgesim.cli.watching import Dashboard
from edgesim.progress import Progress, Reporter, Tally
from edgesim.scenario import Scenario
from edgesim.tables import TABLES, TableWriter, WorldTables
from edgesim.testing import tiny_scenario


def two(**changes: Any) -> Scenario:
    """A scenario under two learners that send and train."""
    from edgesim.learner import installed_params

    learners = {
        "on_device": {"trigger": {"every": "3 min"}, "epochs": 1},
        "ecavg": {"every": "3 min", "deadline": "1 min", "edge_epochs": 1, "server_epochs": 1},
    }
    document = {**tiny_scenario(**changes).to_document(), "learners": learners}
    return Scenario.model_validate(document, context={"learner_models": installed_params()})


@pytest.fixture(scope="module")
def reports() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, reports: list[Progress]) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edgesim.progress, "SECONDS_PER_REPORT", 0.0)
        return edgesim.run(
            two(), seeds=[0, 1], out=tmp_path_factory.mktemp("runs") / "watched", on_progress=reports.append
        )


# -- reports -------------------------------------------------------------------------------------------------------


def test_watching_changes_no_byte_of_the_tables(watched: Path, tmp_path: Path) -> None:
    alone = edgesim.run(two(), seeds=[0, 1], out=tmp_path / "alone")
    for name in TABLES:
        file = Path("tables") / f"{name}.parquet"
        assert (watched / file).read_bytes() == (alone / file).read_bytes(), name


def test_the_last_report_of_a_world_tells_its_accuracy_and_bytes(watched: Path, reports: list[Progress]) -> None:
    run = analysis.load(watched)
    for number, ((learner, seed), metrics) in enumerate(run.seed_metrics.iterrows()):
        last = [report for report in reports if (report.learner, report.seed) == (learner, seed)][-1]
        assert (last.world, last.worlds) == (number, 4)
        assert last.frontier_s == last.virtual_s == last.horizon_s
        assert last.accuracy == pytest.approx(metrics["accuracy"])
        assert last.latest_accuracy == pytest.approx(metrics["horizon_accuracy"])
        assert last.up_bytes == metrics["up_bytes"]
        assert last.down_bytes == metrics["down_bytes"]
    assert metrics["up_bytes"] > 0


def test_reports_come_while_jobs_are_computed_and_only_ever_go_forward(watched: Path, reports: list[Progress]) -> None:
    for world in range(4):
        own = [report for report in reports if report.world == world]
        assert len({report.done_jobs for report in own}) > 10
        assert len({report.frontier_s for report in own}) > 3
        for before, after in itertools.pairwise(own):
            assert before.virtual_s <= after.virtual_s
            assert before.frontier_s <= after.frontier_s
            assert before.done_jobs <= after.done_jobs
            assert before.up_bytes <= after.up_bytes
        assert all(report.frontier_s <= report.virtual_s for report in own)


def test_a_timing_only_run_reports_bytes_and_no_accuracy(tmp_path: Path) -> None:
    reports: list[Progress] = []
    edgesim.run(two(), out=tmp_path / "run", timing_only=True, on_progress=reports.append)
    assert reports[-1].up_bytes > 0
    assert math.isnan(reports[-1].accuracy)
    assert reports[-1].pending_jobs == 0


# -- what is tallied -----------------------------------------------------------------------------------------------


class Promise:
    """A value that is there once it is kept."""

    def __init__(self, correct: int) -> None:
        self.correct = correct
        self.done = False

    def value(self) -> int:
        assert self.done, "asked for what is not there"
        return self.correct


@pytest.fixture
def tables(tmp_path: Path) -> WorldTables:
    return TableWriter(tmp_path).world("a", False, 0)


def test_accuracies_count_from_when_to_when_they_hold(tables: WorldTables) -> None:
    tally = Tally(tables)
    add = tables.adder("accuracy", read=lambda correct: (correct, correct / 100, 0.0))
    promises = [Promise(80), Promise(40), Promise(60), Promise(0)]
    add("x", 0.0, "start", "current", "device", "m", 100, promises[0])
    add("x", 0.0, "start", "previous-1", "device", "m", 100, Promise(7))
    add("y", 10.0, "start", "current", "device", "m", 100, promises[1])
    add("x", 20.0, "drift", "current", "device", "m", 100, promises[2])
    add("y", 30.0, "drift", "current", "device", "m", 100, promises[3])
    tally.update()
    assert math.isnan(tally.accuracy(0.0))
    promises[2].done = True  # what is behind one that is not there waits
    tally.update()
    assert math.isnan(tally.latest_accuracy)
    promises[0].done = promises[1].done = True
    tally.update()
    assert tally.known_s == 20.0
    assert tally.latest_accuracy == pytest.approx(0.5)
    assert tally.accuracy(20.0) == pytest.approx((0.8 * 20 + 0.4 * 10) / 30)
    promises[3].done = True
    tally.update()
    assert tally.accuracy(40.0) == pytest.approx((0.8 * 20 + 0.6 * 20 + 0.4 * 20 + 0.0 * 10) / 70)


def test_bytes_are_those_of_transfers_and_of_requests(tables: WorldTables) -> None:
    tally = Tally(tables)
    blank = {
        column.name: None if column.nullable else {"text": "", "flag": False}.get(column.dtype, 0)
        for column in TABLES["transfers"].columns
    }
    for direction, sent in (("up", 10.0), ("up", 5.0), ("down", 3.0), ("peer", 1.0)):
        tables.add("transfers", **{**blank, "direction": direction, "sent_bytes": sent})
    served = tables.adder("serving")
    served("x", 0.0, 1.0, "cloud", 2.0, 2.0, 0.0, 0.0, 0.1, 0.1, 0.1, 0.1, 100.0, 200.0)
    assert tally.sent_bytes == {"up": 115.0, "down": 203.0, "peer": 1.0}


def test_at_the_first_instant_the_mean_over_time_is_that_of_the_devices(tables: WorldTables) -> None:
    tally = Tally(tables)
    add = tables.adder("accuracy", read=lambda correct: (correct, correct / 100, 0.0))
    for device, correct in (("x", 80), ("y", 60)):
        promise = Promise(correct)
        promise.done = True
        add(device, 0.0, "start", "current", "device", "m", 100, promise)
    tally.update()
    assert tally.accuracy(0.0) == pytest.approx(0.7)


# -- when it is reported -------------------------------------------------------------------------------------------


class Clock:
    """Wall time that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Stub:
    """What a reporter looks at, of a world and of a plane."""

    label, seed, now, horizon_s, pending, done = "a", 0, 5.0, 10.0, 1, 2


def test_nothing_is_reported_before_there_is_a_world_and_then_only_so_often(
    tables: WorldTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    clock.now = 100.0
    monkeypatch.setattr("edgesim.progress.time.monotonic", clock)
    told: list[Progress] = []
    reporter = Reporter(told.append, worlds=3)
    reporter.tick()
    reporter.open(tables)
    reporter.tick()
    assert told == []
    reporter.begin(Stub(), Stub())  # type: ignore[arg-type]  # stand-ins with what is looked at
    for clock.now in (100.0, 100.05, 100.09, 100.11, 100.2, 100.22):
        reporter.tick()
    assert len(told) == 3  # at 100.00, 100.11 and 100.22
    reporter.report()  # asked for, it does not wait
    assert len(told) == 4
    assert (told[-1].learner, told[-1].world, told[-1].worlds) == ("a", 0, 3)
    reporter.open(tables)
    clock.now = 200.0
    reporter.tick()
    assert len(told) == 4  # the next world is not there yet


# -- the dashboard -------------------------------------------------------------------------------------------------

REPORT = Progress(
    learner="ecavg",
    seed=3,
    world=0,
    worlds=4,
    virtual_s=1000.0,
    frontier_s=900.0,
    horizon_s=1800.0,
    pending_jobs=7,
    done_jobs=12,
    accuracy=0.8712,
    latest_accuracy=0.9,
    up_bytes=3_100_000.0,
    down_bytes=19_520.0,
)


SNAPSHOT = """\
quickstart: 1 of 4 simulations finished in 7 s
┏━━━━━━━━━━━━━━┳━━━━━━┳━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━┳━━━━━━┳━━━━━━━━━┓
┃ learner      ┃ done ┃ seed ┃ computed to               ┃ accuracy ┃  so far ┃      up ┃    down ┃ jobs ┃   speed ┃
┡━━━━━━━━━━━━━━╇━━━━━━╇━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━╇━━━━━━╇━━━━━━━━━┩
│ ecavg        │  1/2 │    3 │ ━━━━━━━━━━━━━━━━ 30 min   │   90.0 % │  87.1 % │  3.1 MB │ 19.5 kB │    - │  1,800x │
│ oracle_one * │  0/2 │    3 │ ━╸               3 min    │   50.0 % │  50.0 % │     0 B │     0 B │  999 │     90x │
└──────────────┴──────┴──────┴───────────────────────────┴──────────┴─────────┴─────────┴─────────┴──────┴─────────┘
accuracy: the devices' latest, and their mean over time so far; speed: simulated over real time
*: told the true instant of every drift (oracle)
"""


def _drawn(dashboard: Dashboard) -> list[str]:
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(dashboard.table())
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_the_dashboard_has_a_row_a_learner() -> None:
    clock = Clock()
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Dashboard(console, "quickstart", {"ecavg": False, "oracle_one": True}, 2, clock) as dashboard:
        waiting = _drawn(dashboard)
        clock.now = 2.0
        dashboard(REPORT)
        clock.now = 3.0
        dashboard(Progress(**{**_fields(REPORT), "frontier_s": 1800.0, "virtual_s": 1800.0, "pending_jobs": 0}))
        clock.now = 5.0
        dashboard(Progress("oracle_one", 3, 1, 4, 1800.0, 0.0, 1800.0, 1234, 12))
        clock.now = 7.0
        dashboard(Progress("oracle_one", 3, 1, 4, 1800.0, 180.0, 1800.0, 999, 500, 0.5, 0.5, 0.0, 0.0))
        running = _drawn(dashboard)
    assert waiting[0] == "quickstart: 0 of 4 simulations finished in 0 s"
    assert sum("waiting" in line for line in waiting) == 2
    assert running == SNAPSHOT.splitlines()


def _fields(report: Progress) -> dict[str, Any]:
    return {name: getattr(report, name) for name in Progress.__dataclass_fields__}


def test_the_dashboard_invents_nothing() -> None:
    clock = Clock()
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Dashboard(console, "timed", {"ecavg": False}, 1, clock) as dashboard:
        dashboard(Progress("ecavg", 3, 0, 1, 10.0, 0.0, 1800.0, 0, 0))  # no accuracy, no wall time yet
        cells = [cell.strip() for cell in _drawn(dashboard)[4].split("│")]
    assert cells[1:4] == ["ecavg", "0/1", "3"]
    assert cells[5:] == ["-", "-", "0 B", "0 B", "0", "-", ""]


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (120, ["learner", "done", "seed", "computed to", "accuracy", "so far", "up", "down", "jobs", "speed"]),
        (80, ["learner", "done", "computed to", "accuracy", "up"]),
        (60, ["learner", "computed to", "accuracy"]),
    ],
)
def test_a_narrow_terminal_does_without_columns_but_cuts_none(width: int, columns: list[str]) -> None:
    console = Console(record=True, file=io.StringIO(), force_terminal=True, width=width)
    clock = Clock()
    dashboard = Dashboard(console, "quickstart", {"ecavg": False, "no_adaptation": True}, 1, clock)
    clock.now = 1e-4
    dashboard(REPORT)
    console.print(dashboard.table())
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert [cell.strip() for cell in lines[2].strip("┃").split("┃")] == columns
    assert any("no_adaptation *" in line for line in lines)
    assert "…" not in "".join(lines[:-2])


def test_the_dashboard_stays_when_the_run_is_over_and_when_it_is_stopped() -> None:
    for stopped, finished in ((False, "1 of 1"), (True, "0 of 1")):
        written = io.StringIO()
        console = Console(file=written, force_terminal=True, width=120, legacy_windows=False)
        dashboard = Dashboard(console, "mini", {"ecavg": False}, 1)
        with contextlib.suppress(KeyboardInterrupt), dashboard:
            dashboard(REPORT)
            if stopped:
                raise KeyboardInterrupt
        assert dashboard.last == REPORT
        assert f"mini: {finished} simulations finished" in written.getvalue()


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0 B"), (999.4, "999 B"), (999.6, "1 kB"), (1e3, "1 kB"), (123_456.0, "123 kB"), (5e18, "5000 PB")],
)
def test_bytes_are_written_for_people(number: float, text: str) -> None:
    assert bytes_text(number) == text
