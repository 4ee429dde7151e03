"""Sweeps: what is checked before anything runs, what is run again and what is not, and how failures are kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dying_runs import wait_until
from filelock import FileLock

from edgesim import sweeps
from edgesim.errors import ScenarioError, UserError
from edgesim.learner import Learner, LearnerParams
from edgesim.progress import Progress
from edgesim.run_folder import RunFolder
from edgesim.simulation import prepare
from edgesim.simulation import run as simulate
from edgesim.sweeps import Plan, combine, make_plan, read_grid, sweep
from edgesim.sweeps import run as running
from edgesim.tables import TableWriter

SCENARIO = """\
edgesim: 1
name: mini
horizon: 5 min
data:
  source: digits
  proxy: { share: 20 %, classes: [0, 1, 2, 3] }
  test_samples: 20
  partition: { kind: iid, samples: 20 }
  arrival: { rate: 0.25 /s }
model: { name: mlp, hidden: [4] }
pretrain: { epochs: 1 }
devices:
  - { name: hub, count: 2, compute: 200 MFLOP/s, memory: 64 MiB, uplink: 1 Mbit/s, downlink: 1 Mbit/s }
cloud: { compute: 100 GFLOP/s, memory: 8 GiB, ingress: 1 Gbit/s, egress: 1 Gbit/s }
drifts:
  - { name: new, kind: label, at: 100 s, add_classes: [4] }
learners:
  no_adaptation: {}
  on_device: { epochs: 1, trigger: { every: 1 min } }
"""


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mini.yaml"
    file.write_text(SCENARIO)
    return file


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for the simulation: keeps the folders' names; a scenario that is called broken fails, one
    that is called leaving ends its process."""
    called: list[str] = []

    def run(scenario: Any, *, seeds: Any, out: Path, timing_only: bool, allow_code: bool, **how: Any) -> Path:
        called.append(out.name)
        ready = prepare(scenario, seeds=seeds, timing_only=timing_only, allow_code=allow_code)
        folder = RunFolder.create(out, ready.scenario, ready.seeds, ready.facts, timing_only=timing_only)
        with folder.running():
            if scenario.name == "broken":
                raise ZeroDivisionError("no luck")
            if scenario.name == "leaving":
                sys.exit(0)
            TableWriter(out).close()
        return out

    monkeypatch.setattr(running, "run", run)
    return called


def _plan(scenario: Path, *axes: str, **options: Any) -> Plan:
    return make_plan(scenario, combine([read_grid(axis) for axis in axes]), **options)


def _record(folder: Path) -> dict[str, dict[str, Any]]:
    told = json.loads((folder / "sweep.json").read_text())
    return {point["name"]: point for point in told["points"]}


# -- what is checked -----------------------------------------------------------------------------------------------


def test_all_mistakes_are_told_at_once_and_nothing_is_written(scenario: Path, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as raised:
        _plan(scenario, "devices.0.uplink=1 Mbits,5 Mbit/s", "learners.on_device.epoch=1,2", "horizon=1 min,5 min")
    assert sorted(str(problem).partition("; ")[0] for problem in raised.value.problems) == [
        "--grid devices.0.uplink=1 Mbits: devices.0.uplink: unknown unit 'Mbits' in '1 Mbits'",
        "--grid learners.on_device.epoch=1: learners.on_device.epoch: unknown key",
        "--grid learners.on_device.epoch=2: learners.on_device.epoch: unknown key",
        f"{scenario}:16:35: drifts.0.at: 100 s is not before the horizon (1 min): it would never happen (at 4 points, "
        "such as devices.0.uplink=1-Mbits,learners.on_device.epoch=1,horizon=1-min)",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["mini.yaml"]


def test_a_mistake_of_the_file_itself_is_told_once(scenario: Path) -> None:
    scenario.write_text(SCENARIO.replace("horizon: 5 min", "horizon: 5"))
    with pytest.raises(ScenarioError) as raised:
        _plan(scenario, "seed=1,2,3")
    (problem,) = raised.value.problems
    assert (problem.line, "point" in problem.message) == (3, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overrides": ["seed=3"]}, "seed is varied by the sweep as well"),
        ({"learners": ["nobody"]}, "no learner is called 'nobody'"),
        ({"seeds": []}, "no seeds"),
    ],
)
def test_other_mistakes_are_told_before_anything_runs(scenario: Path, options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _plan(scenario, "seed=1,2", **options)


def test_a_folder_that_holds_something_else_is_left_alone(scenario: Path, tmp_path: Path, runs: list[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(UserError, match="holds no sweep"):
        _plan(scenario, "seed=1,2", out="mine")
    folder = sweep(scenario, grid={"seed": [1]}, out="other")
    (folder / "points" / "seed=2").mkdir()
    (folder / "points" / "seed=2" / "thesis.tex").touch()
    with pytest.raises(UserError, match="is no run folder"):
        _plan(scenario, "seed=1,2", out="other")


# -- what is run ---------------------------------------------------------------------------------------------------


def test_each_point_is_a_run_folder_of_its_own_with_its_scenario(scenario: Path, runs: list[str]) -> None:
    folder = sweep(scenario, grid={"devices.hub.uplink": ["1 Mbit/s", "5 Mbit/s"], "seed": [4]}, overrides=["name=m"])
    assert folder == Path("runs/m-sweep")
    assert runs == ["devices.hub.uplink=1-Mbit-s,seed=4", "devices.hub.uplink=5-Mbit-s,seed=4"]
    manifest = json.loads((folder / "points" / runs[1] / "manifest.json").read_text())
    assert manifest["seeds"] == [4]
    assert manifest["scenario"]["devices"][0]["uplink"] == "5 Mbit/s"
    point = _record(folder)[runs[1]]
    assert point["status"] == "done"
    assert point["settings"] == {"devices.hub.uplink": "5 Mbit/s", "seed": 4}
    assert point["settings_si"] == {"devices.hub.uplink": 625_000.0}


def test_what_is_done_is_not_done_again(scenario: Path, runs: list[str]) -> None:
    for values in ([1, 2], [1, 2], [1, 2, 3]):
        sweep(scenario, grid={"cloud.compute": [f"{value} GFLOP/s" for value in values]})
    assert runs == [f"cloud.compute={value}-GFLOP-s" for value in (1, 2, 3)]


def test_what_failed_is_kept_and_the_rest_is_done(scenario: Path, runs: list[str]) -> None:
    outcomes: list[sweeps.Outcome] = []
    folder = sweep(scenario, grid={"name": ["good", "broken", "fine"]}, on_outcome=outcomes.append)
    assert [(outcome.name, outcome.status) for outcome in outcomes] == [
        ("name=good", "done"),
        ("name=broken", "failed"),
        ("name=fine", "done"),
    ]
    assert {name: point["status"] for name, point in _record(folder).items()} == {
        "name=good": "done",
        "name=broken": "failed",
        "name=fine": "done",
    }
    assert _record(folder)["name=broken"]["error"] == "ZeroDivisionError: no luck"
    kept = folder / "points" / "name=broken"
    assert "no luck" in (kept / "traceback.txt").read_text()
    assert json.loads((kept / "manifest.json").read_text())["status"] == "failed"


def test_a_point_that_would_end_the_process_does_not_end_the_others(scenario: Path, runs: list[str]) -> None:
    folder = sweep(scenario, grid={"name": ["leaving", "fine"]})
    assert [point["status"] for point in _record(folder).values()] == ["failed", "done"]
    assert _record(folder)["name=leaving"]["error"] == "SystemExit: 0"


def test_what_failed_or_was_interrupted_is_tried_again(scenario: Path, runs: list[str]) -> None:
    folder = sweep(scenario, grid={"name": ["good", "broken"]})
    for name, status in (("name=good", "running"), ("name=broken", "failed")):
        manifest = folder / "points" / name / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"done"', f'"{status}"'))
    (folder / "points" / "name=good" / "manifest.json").unlink()  # killed as it began
    (folder / "points" / "name=good" / "traceback.txt").touch()
    for entry in (folder / "points" / "name=good" / "tables").iterdir():
        entry.unlink()
    (folder / "points" / "name=good" / "tables").rmdir()
    del runs[:]
    sweep(scenario, grid={"name": ["good", "broken"]})
    assert runs == ["name=good", "name=broken"]


@pytest.mark.parametrize("left", [[".lock"], [".lock", ".sweep.json"]])
def test_a_sweep_that_died_at_once_is_begun_again_in_its_folder(
    scenario: Path, runs: list[str], tmp_path: Path, left: list[str]
) -> None:
    (tmp_path / "sweep").mkdir()
    for name in left:
        (tmp_path / "sweep" / name).touch()
    sweep(scenario, grid={"name": ["good"]}, out=tmp_path / "sweep")
    assert runs == ["name=good"]


@pytest.mark.parametrize("text", ["", '{"status": "do', "[]"])
def test_a_point_whose_manifest_is_cut_off_is_begun_anew(scenario: Path, runs: list[str], text: str) -> None:
    folder = sweep(scenario, grid={"name": ["good", "fine"]})
    (folder / "points" / "name=good" / "manifest.json").write_text(text)
    del runs[:]
    sweep(scenario, grid={"name": ["good", "fine"]})
    assert runs == ["name=good"]
    assert {point["status"] for point in _record(folder).values()} == {"done"}


def test_a_point_that_was_killed_goes_on_where_it_was(scenario: Path, tmp_path: Path) -> None:
    whole = sweep(scenario, grid={"seed": [0, 1]}, out=tmp_path / "whole")
    point = tmp_path / "sweep" / "points" / "seed=1"
    (planned,) = (found for found in _plan(scenario, "seed=0,1").points if found.name == "seed=1")

    def stop(progress: Progress) -> None:
        if progress.done_jobs:
            raise KeyboardInterrupt

    sweep(scenario, grid={"seed": [0]}, out=tmp_path / "sweep")
    with pytest.raises(KeyboardInterrupt):
        simulate(planned.ready.scenario, seeds=planned.ready.seeds, out=point, on_progress=stop)
    assert (point / "journal").is_dir()
    sweep(scenario, grid={"seed": [0, 1]}, out=tmp_path / "sweep")
    assert json.loads((point / "manifest.json").read_text())["resumed"] == 1
    for table in (whole / "points" / "seed=1" / "tables").iterdir():
        assert (point / "tables" / table.name).read_bytes() == table.read_bytes()


def _stopped(scenario: Path, out: Path, seed: int) -> Path:
    """Stop a point of a sweep in the middle; returns its folder, in which a journal is."""
    sweep(scenario, grid={"seed": [9]}, out=out)
    (planned,) = _plan(scenario, f"seed={seed}", out=out).points

    def stop(progress: Progress) -> None:
        if progress.done_jobs:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(planned.ready.scenario, seeds=planned.ready.seeds, out=planned.folder, on_progress=stop)
    assert (planned.folder / "journal" / "values").is_file()
    return planned.folder


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _ended(scenario: Path, seeds: list[int], out: Path) -> dict[str, tuple[str, str]]:
    outcomes: list[sweeps.Outcome] = []
    sweep(scenario, grid={"seed": seeds}, out=out, on_outcome=outcomes.append)
    return {outcome.name: (outcome.status, outcome.error) for outcome in outcomes}


@pytest.mark.parametrize("standing", ["begun", "another"])
def test_a_point_that_another_process_runs_is_left_as_it_is_and_told(
    scenario: Path, tmp_path: Path, standing: str
) -> None:
    point = _stopped(scenario, tmp_path / "sweep", 1)
    if standing == "another":  # one that would begin anew
        scenario.write_text(SCENARIO.replace("count: 2", "count: 1"))
    before = _contents(point)
    with FileLock(point / ".lock"):
        ended = _ended(scenario, [1, 2], tmp_path / "sweep")
        assert ended["seed=1"] == ("failed", f"{point}: another process is running it")
        assert ended["seed=2"] == ("done", "")
        assert _contents(point) == before
    assert _ended(scenario, [1, 2], tmp_path / "sweep") == {"seed=1": ("done", "")}
    assert ("resumed" in json.loads((point / "manifest.json").read_text())) == (standing == "begun")


def test_a_point_that_cannot_be_gone_on_with_for_now_keeps_its_journal(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(scenario: object) -> None:
        raise UserError("data.npz is cut off")

    point = _stopped(scenario, tmp_path / "sweep", 1)
    before = _contents(point / "journal")
    with monkeypatch.context() as patch:
        patch.setattr("edgesim.world.load_data", unreadable)
        assert _ended(scenario, [1], tmp_path / "sweep") == {"seed=1": ("failed", "data.npz is cut off")}
    assert _contents(point / "journal") == before
    assert (point / "traceback.txt").is_file()
    assert _ended(scenario, [1], tmp_path / "sweep") == {"seed=1": ("done", "")}
    assert json.loads((point / "manifest.json").read_text())["resumed"] == 2
    assert not (point / "traceback.txt").exists()


def test_a_point_that_was_begun_on_another_kind_of_cpu_begins_anew(scenario: Path, tmp_path: Path) -> None:
    point = _stopped(scenario, tmp_path / "sweep", 1)
    told = json.loads((point / "manifest.json").read_text())
    (point / "manifest.json").write_text(json.dumps({**told, "cpu_capability": "abacus"}))
    assert _ended(scenario, [1], tmp_path / "sweep") == {"seed=1": ("done", "")}
    assert "resumed" not in json.loads((point / "manifest.json").read_text())


SWEEP = """
import sys
from edgesim.sweeps import sweep

if __name__ == "__main__":
    grid = {"devices.0.latency": ["1 ms", "2 ms"]}
    sweep("mini.yaml", grid=grid, jobs=2, seeds=[0, 1, 2], out=sys.argv[1])
"""


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on_where_its_points_were(scenario: Path, tmp_path: Path) -> None:
    (tmp_path / "sweeping.py").write_text(SWEEP)
    out = tmp_path / "sweep"
    command = [sys.executable, "sweeping.py", str(out)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        wait_until(process, lambda: list(out.glob("points/*/parts/*/sealed.json")))  # a world is over
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its workers too
        process.wait()
    assert any(json.loads(path.read_text())["status"] == "running" for path in out.glob("points/*/manifest.json"))
    grid = {"devices.0.latency": ["1 ms", "2 ms"]}
    again, whole = (sweep(scenario, grid=grid, seeds=[0, 1, 2], out=folder) for folder in (out, "whole"))
    assert {point["status"] for point in _record(again).values()} == {"done"}
    assert any("resumed" in json.loads(path.read_text()) for path in again.glob("points/*/manifest.json"))
    for table in (whole / "points").rglob("*.parquet"):
        assert (again / "points" / table.relative_to(whole / "points")).read_bytes() == table.read_bytes()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace("horizon: 5 min", "horizon: 6 min"), 'scenario.horizon: "5 min" -> "6 min"'),
        (
            lambda text: text.replace("epochs: 1, trigger", "epochs: 2, trigger"),
            "learners.on_device.params.epochs: 1 -> 2",
        ),
    ],
)
def test_finished_points_of_another_scenario_are_replaced_only_when_asked(
    scenario: Path, runs: list[str], change: Callable[[str], str], told: str
) -> None:
    sweep(scenario, grid={"seed": [1, 2]})
    scenario.write_text(change(SCENARIO))
    with pytest.raises(UserError) as raised:
        sweep(scenario, grid={"seed": [1, 2]})
    assert "holds 2 finished points that were run differently" in str(raised.value)
    assert told in str(raised.value)
    assert len(runs) == 2
    sweep(scenario, grid={"seed": [1, 2]}, redo=True)
    assert len(runs) == 4


def test_other_seeds_and_other_versions_are_another_run(scenario: Path, runs: list[str]) -> None:
    folder = sweep(scenario, grid={"name": ["a"]}, seeds=[0, 1])
    with pytest.raises(UserError, match=r"seeds: \[0, 1\] -> \[0, 1, 2\]"):
        sweep(scenario, grid={"name": ["a"]}, seeds=[0, 1, 2])
    manifest = folder / "points" / "name=a" / "manifest.json"
    told = json.loads(manifest.read_text())
    told["versions"]["torch"] = "1.0"
    manifest.write_text(json.dumps(told))
    with pytest.raises(UserError, match=r'versions.torch: "1.0" -> '):
        sweep(scenario, grid={"name": ["a"]}, seeds=[0, 1])


def test_points_of_another_grid_stay_in_the_folder_and_out_of_the_record(scenario: Path, runs: list[str]) -> None:
    folder = sweep(scenario, grid={"seed": [1, 2]})
    sweep(scenario, grid={"seed": [2, 3]})
    assert list(_record(folder)) == ["seed=2", "seed=3"]
    assert sorted(path.name for path in (folder / "points").iterdir()) == ["seed=1", "seed=2", "seed=3"]


def test_two_sweeps_never_run_in_one_folder(scenario: Path, runs: list[str]) -> None:
    folder = sweep(scenario, grid={"seed": [1]})
    with FileLock(folder / ".lock"), pytest.raises(UserError, match="another sweep is running there"):
        sweep(scenario, grid={"seed": [1, 2]})


def test_ctrl_c_leaves_a_record_that_the_next_call_goes_on_from(
    scenario: Path, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = running.run

    def stopped(scenario: Any, *, out: Path, **options: Any) -> Path:
        if out.name == "seed=2":
            raise KeyboardInterrupt
        return run(scenario, out=out, **options)

    monkeypatch.setattr(running, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        sweep(scenario, grid={"seed": [1, 2, 3]})
    statuses = {name: point["status"] for name, point in _record(Path("runs/mini-sweep")).items()}
    assert statuses == {"seed=1": "done", "seed=2": "waiting", "seed=3": "waiting"}
    monkeypatch.setattr(running, "run", run)
    sweep(scenario, grid={"seed": [1, 2, 3]})
    assert runs == ["seed=1", "seed=2", "seed=3"]


# -- where jobs are computed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "options", "workers"),
    [
        ("{ executor: processes }", {"jobs": 3}, 4),  # of 13 cores
        ("{ executor: processes }", {"jobs": 20}, 3),  # no more than the four points run at a time
        ("{ executor: processes }", {"jobs": 1}, None),  # all cores are one point's
        ("{ executor: processes, workers: 5 }", {"jobs": 3}, None),  # as the scenario says
        ("{ executor: processes }", {"jobs": 3, "workers": 6}, 6),
        ("{ executor: inline }", {"jobs": 3}, None),
        ("{ executor: inline }", {"jobs": 3, "executor": "processes"}, 4),
        ("{ executor: inline }", {"jobs": 3, "executor": "ray"}, 4),
        ("{ executor: inline }", {"jobs": 3, "executor": "ray", "ray_address": "auto"}, None),
    ],
)
def test_points_that_run_at_the_same_time_share_the_cores(
    scenario: Path, monkeypatch: pytest.MonkeyPatch, written: str, options: dict[str, Any], workers: int | None
) -> None:
    told: list[dict[str, Any]] = []
    scenario.write_text(SCENARIO + f"work: {written}\n")
    monkeypatch.setattr(running, "available_cores", lambda: 13)
    monkeypatch.setattr(running, "outcomes", lambda work, tasks, jobs, backend: map(work, tasks))
    monkeypatch.setattr(running, "run", lambda scenario, **how: told.append(how))
    sweep(scenario, grid={"seed": [1, 2, 3, 4]}, **options)
    assert [how["workers"] for how in told] == [workers] * 4
    assert {how["executor"] for how in told} == {options.get("executor")}


@pytest.mark.slow
def test_points_in_processes_that_compute_in_processes_have_the_same_tables(scenario: Path, tmp_path: Path) -> None:
    inline, spread = (
        sweep(scenario, grid={"seed": [1, 2]}, out=tmp_path / str(jobs), jobs=jobs, executor=executor, cache=False)
        for jobs, executor in ((1, "inline"), (2, "processes"))
    )
    told = json.loads((spread / "points" / "seed=1" / "manifest.json").read_text())
    assert told["computing"]["executor"] == "processes"
    for table in (inline / "points").rglob("*.parquet"):
        assert (spread / "points" / table.relative_to(inline / "points")).read_bytes() == table.read_bytes()


# -- processes -----------------------------------------------------------------------------------------------------


class Dies(Learner):
    """Ends its process without a word, if asked to."""

    class Params(LearnerParams):
        die: bool = False

    def run(self, world: Any) -> Iterator[Any]:
        if self.params.die:  # type: ignore[attr-defined]  # the params are those above
            os._exit(13)
        yield world.sleep(1.0)


@pytest.mark.slow
def test_processes_give_the_same_tables_and_one_that_dies_takes_no_other_with_it(scenario: Path) -> None:
    scenario.write_text(SCENARIO + f"  mine: {{ learner: '{__name__}:Dies' }}\n")
    points = [{"point": f"threads-{n}", "work.threads_per_job": n} for n in (1, 2)]
    points += [{"point": "dies", "learners.mine.die": True}]
    folder = sweep(scenario, points=points, jobs=2, seeds=[0, 1], allow_code=True)
    record = _record(folder)
    assert {name: point["status"] for name, point in record.items()} == {
        "threads-1": "done",
        "threads-2": "done",
        "dies": "failed",
    }
    assert "its process ended without a word" in record["dies"]["error"]
    for n in (1, 2):
        alone = simulate(
            folder / "points" / f"threads-{n}" / "scenario.yaml", seeds=[0, 1], out=f"n{n}", allow_code=True
        )
        for table in sorted((alone / "tables").iterdir()):
            assert (folder / "points" / f"threads-{n}" / "tables" / table.name).read_bytes() == table.read_bytes()


def test_processes_that_stay_for_the_next_sweep_follow_to_where_that_one_is_run(
    scenario: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [{"point": f"threads-{n}", "work.threads_per_job": n} for n in (1, 2)]
    sweep(scenario, points=points, jobs=2)
    elsewhere = scenario.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    folder = sweep(scenario, points=points, jobs=2)
    assert (elsewhere / folder).is_dir()
    assert not folder.is_absolute()
    for point in points:
        assert (folder / "points" / str(point["point"]) / "tables").is_dir()
