"""Where wall time goes: the parts add up, and a run tells them."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edgesim.cli import app
from edgesim.simulation import run
from edgesim.stopwatch import PARTS, Stopwatch
from edgesim.testing import tiny_scenario


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_time_is_counted_once_however_deeply_it_is_nested() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    clock.now_s += 1
    with watch.on("world"):
        clock.now_s += 2
        with watch.on("plane"):
            clock.now_s += 4
            with watch.on("training"):
                clock.now_s += 8
            clock.now_s += 16
        clock.now_s += 32
    clock.now_s += 64
    spent_s = watch.spent_s()
    assert list(spent_s) == list(PARTS)
    assert {part: seconds for part, seconds in spent_s.items() if seconds} == {
        "start": 65,
        "world": 34,
        "plane": 20,
        "training": 8,
    }


def test_what_fails_inside_ends_there() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    with contextlib.suppress(ZeroDivisionError), watch.on("io"):
        clock.now_s += 1
        raise ZeroDivisionError
    clock.now_s += 2
    assert (watch.spent_s()["io"], watch.spent_s()["start"], watch.now) == (1, 2, "start")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scenario = tiny_scenario(learners={"fedavg": {"trigger": {"every": "2 min"}, "deadline": "1 min"}})
    return run(scenario, out=tmp_path_factory.mktemp("profiled") / "run")


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return found


def test_what_workers_do_is_told_by_parts_of_its_own(folder: Path, tmp_path: Path) -> None:
    assert manifest(folder)["profile"]["workers_s"] == {}
    wide = {"name": "mlp", "hidden": [512, 512]}  # not fused: evaluations go to workers as well
    scenario = tiny_scenario(learners={"on_device": {"trigger": {"every": "2 min"}}}, model=wide)
    far = run(scenario, out=tmp_path / "run", executor="processes", workers=2, cache=False)
    workers_s = manifest(far)["profile"]["workers_s"]
    assert {"training", "evaluation"} <= workers_s.keys() <= set(PARTS)
    assert min(workers_s.values()) > 0
    told = CliRunner().invoke(app, ["profile", str(far)]).output
    assert f"in worker processes, all together: training {workers_s['training']:.3f} s, evaluation" in told


def test_the_parts_of_a_run_add_up_to_its_wall_time(folder: Path) -> None:
    told = manifest(folder)
    spent_s = told["profile"]["spent_s"]
    assert sum(spent_s.values()) == pytest.approx(told["wall_s"], abs=0.05)
    assert all(spent_s[part] > 0 for part in PARTS if part != "waiting")
    assert spent_s["waiting"] < 0.05 * told["wall_s"]  # to claim what runs have in common takes a moment
    assert told["profile"]["peak_rss_bytes"] > 50e6


def test_the_jobs_of_a_run_are_counted(folder: Path) -> None:
    told = manifest(folder)
    work = told["work"]
    assert work["done"] == told["jobs"] == work["run"] + work["found"]
    assert 0 < work["batches"] <= work["run"]
    assert 0 <= work["fused_batches"] <= work["fused_jobs"] <= work["run"]


def test_edgesim_profile_shows_it(folder: Path) -> None:
    outcome = CliRunner().invoke(app, ["profile", str(folder)])
    assert outcome.exit_code == 0, outcome.output
    lines = outcome.output.splitlines()
    assert lines[0].endswith("s of wall time (done)")
    assert [line.split()[0] for line in lines[2 : 2 + len(PARTS)]] == list(PARTS)
    assert f"{manifest(folder)['jobs']} jobs settled" in outcome.output
    assert "most memory of the run's process" in outcome.output
    assert re.search(r"^\d+ results from the cache, \d+ kept in it$", outcome.output, re.MULTILINE)


def test_a_run_without_a_profile_says_so(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"status": "running"}', encoding="utf-8")
    outcome = CliRunner().invoke(app, ["profile", str(tmp_path)])
    assert (outcome.exit_code, "holds no profile" in outcome.output) == (2, True)


def test_a_timing_only_run_spends_nothing_on_jobs(tmp_path: Path) -> None:
    folder = run(tiny_scenario(learners={"fedavg": {}}), out=tmp_path / "run", timing_only=True)
    told = manifest(folder)
    assert all(told["profile"]["spent_s"][part] == 0 for part in ("training", "evaluation", "aggregation", "waiting"))
    assert told["work"] == {}
    assert "jobs settled" not in CliRunner().invoke(app, ["profile", str(folder)]).output
