"""``edgesim sweep``: what it shows, what it leaves behind, how it ends."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner
from written_runs import WrittenRun

from edgesim.cli import app
from edgesim.cli.sweeping import Display
from edgesim.run_folder import identity
from edgesim.simulation import prepare
from edgesim.sweeps import Outcome, combine, make_plan, read_grid
from edgesim.sweeps import run as running

QUICKSTART = Path(__file__).parent.parent / "scenarios" / "quickstart.yaml"


@pytest.fixture
def edgesim_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run ``edgesim ARGUMENTS...`` in a folder of its own, with a stand-in for the simulation."""

    def run(scenario: Any, *, seeds: Any, out: Path, timing_only: bool, **how: Any) -> Path:
        if scenario.name == "stopped":
            raise KeyboardInterrupt
        if scenario.name.startswith("broken"):
            raise ZeroDivisionError("no luck\nat all")
        written = WrittenRun(out, learners={"ecavg": True}, seeds=seeds, name=scenario.name)
        for seed in seeds:
            written["ecavg", seed].accuracy("d", 0.0, 70)
        ready = prepare(scenario, seeds=seeds)
        written.manifest |= identity(ready.scenario, seeds, ready.facts, timing_only=timing_only)
        return written.close()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "run", run)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


SWEEP = ("sweep", QUICKSTART, "--learner", "ecavg", "--seeds", "0-1")


def test_a_sweep_ends_in_a_table_and_in_files(edgesim_command: Callable[..., Any]) -> None:
    result = edgesim_command(
        *SWEEP, "--grid", "devices.hub.uplink=1 Mbit/s,5 Mbit/s", "--grid", "training.batch_size=8"
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "accuracy",
        "",
        "devices.hub.uplink  training.batch_size   ecavg",
        "1 Mbit/s            8                    70.0 %",
        "5 Mbit/s            8                    70.0 %",
        "",
        "both ways",
        "",
        "devices.hub.uplink  training.batch_size  ecavg",
        "1 Mbit/s            8                      0 B",
        "5 Mbit/s            8                      0 B",
        "",
        "95 % intervals over seeds, in the unit above; none where seeds hardly differ",
        "not measured at any point: mean recovery",
        "",
        "written: runs/quickstart-sweep/results.csv and results.parquet",
        "written: runs/quickstart-sweep/results-by-seed.csv and results-by-seed.parquet",
        "run folders: runs/quickstart-sweep/points",
    ]
    lines = result.stderr.splitlines()
    assert lines[0] == "quickstart: 2 points, 4 simulations (a learner and a seed each)"
    assert lines[1].startswith("1 of 2  devices.hub.uplink=1-Mbit-s,training.batch_size=8: done in ")
    frame = pd.read_csv("runs/quickstart-sweep/results.csv")
    assert frame["devices.hub.uplink_si"].tolist() == [125_000.0, 625_000.0]


@pytest.mark.slow
def test_the_same_command_again_only_shows_what_is_there(edgesim_command: Callable[..., Any]) -> None:
    first = edgesim_command(*SWEEP, "--grid", "seed=1,2")
    again = edgesim_command(*SWEEP, "--grid", "seed=1,2")
    assert again.exit_code == 0
    assert again.stdout == first.stdout
    assert again.stderr == "quickstart: 2 points, 4 simulations (a learner and a seed each), all done before\n"
    more = edgesim_command(*SWEEP, "--grid", "seed=1,2,3")
    assert "3 points, 6 simulations (a learner and a seed each), 2 done before\n3 of 3  seed=3: done" in more.stderr


def test_failed_points_are_listed_by_reason_and_the_exit_code_is_1(edgesim_command: Callable[..., Any]) -> None:
    result = edgesim_command(*SWEEP, "--grid", "name=broken,fine,broken-too")
    assert result.exit_code == 1
    assert "fine" in result.stdout
    lines = result.stderr.splitlines()
    assert lines[1:4:2] == [
        "1 of 3  name=broken: failed: ZeroDivisionError: no luck",
        "3 of 3  name=broken-too: failed: ZeroDivisionError: no luck",
    ]
    assert lines[4:] == [
        "2 points failed; the same command tries again:",
        "  ZeroDivisionError: no luck",
        "  at all",
        "    runs/quickstart-sweep/points/name=broken",
        "    runs/quickstart-sweep/points/name=broken-too",
    ]


def test_ctrl_c_tells_how_to_go_on(edgesim_command: Callable[..., Any]) -> None:
    result = edgesim_command(*SWEEP, "--grid", "name=fine,stopped,more")
    assert result.exit_code == 130
    assert "stopped; 1 of 3 points are done. The same command goes on" in result.stderr


def test_mistakes_exit_with_2_and_run_nothing(edgesim_command: Callable[..., Any], tmp_path: Path) -> None:
    for options, message in [
        ((), "nothing to vary"),
        (("--grid", "seed=-1,x"), "--grid seed=x: seed: "),
        (("--grid", "seed=1", "--metric", "speed"), "no metric 'speed'"),
        (("--points", "none.csv"), "none.csv: No such file"),
        (("--grid", "seed=1", "--jobs", "0"), "--jobs"),
    ]:
        result = edgesim_command(*SWEEP, *options)
        assert (result.exit_code, result.stdout) == (2, ""), options
        assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_where_training_is_computed_is_chosen_as_for_a_run(
    edgesim_command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[dict[str, Any]] = []
    run = running.run
    monkeypatch.setattr(running, "run", lambda scenario, **how: (chosen.append(how), run(scenario, **how))[1])
    options = ("--executor", "ray", "--workers", "3", "--ray-address", "auto", "--device", "cpu")
    result = edgesim_command(*SWEEP, "--grid", "seed=1", *options)
    assert result.exit_code == 0, result.output
    (how,) = chosen
    assert (how["executor"], how["workers"], how["ray_address"]) == ("ray", 3, "auto")
    for wrong, message in [
        (("--executor", "proceses"), "there is no executor 'proceses'"),
        (("--workers", "2"), "--workers: an inline executor has none"),
        (("--device", "abacus"), "--device: there is no device 'abacus'"),
        (("--set", "work.device=cuda:99"), "work.device"),
    ]:
        result = edgesim_command(*SWEEP, "--grid", "seed=1,2", "--out", "other", *wrong)
        assert (result.exit_code, message in result.stderr) == (2, True), result.output
        assert not Path("other").exists()
    assert len(chosen) == 1


def test_points_come_from_a_file_too_and_quiet_prints_the_folder_only(
    edgesim_command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "points.csv").write_text("point,devices.hub.uplink\nslow,1 Mbit/s\nfast,1 Gbit/s\n")
    result = edgesim_command(*SWEEP, "--points", "points.csv", "--out", "here", "--quiet")
    assert (result.stdout, result.stderr) == ("here\n", "")
    assert sorted(path.name for path in (tmp_path / "here" / "points").iterdir()) == ["fast", "slow"]


def test_in_a_terminal_a_bar_counts_the_simulations_that_are_finished(tmp_path: Path) -> None:
    plan = make_plan(QUICKSTART, combine([read_grid("seed=1,2")]), learners=["ecavg", "on_device"], out=tmp_path / "s")
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120, legacy_windows=False)
    with Display(console, plan, 2) as display:
        run = WrittenRun(plan.points[0].folder)
        run.manifest["worlds"] = [{}]
        run.kill()
        run._write_manifest()
        display.take(Outcome("seed=2", "done", wall_s=3.0))
    shown = written.getvalue()
    assert "2 points, 4 simulations (a learner and a seed each), 2 at a time" in shown
    assert "1 of 2  seed=2: done in 3 s" in shown
    assert "1/4" in shown
