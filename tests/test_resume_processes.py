"""Real processes that are killed or stopped with Ctrl-C, and go on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dying_runs import (
    PATIENCE_S,
    die,
    interruptible,
    manifest,
    sync_all_the_time,
    tables,
    wait_until,
)
from typer.testing import CliRunner

from edgesim.cli import app
from edgesim.resuming import resume
from edgesim.simulation import run
from edgesim.testing import tiny_scenario


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    sync_all_the_time(monkeypatch)


LONG: dict[str, Any] = {"horizon": "3 h", "learners": {"on_device": {"trigger": {"every": "20 s"}}}}
"""Takes a second at least, once its first weights are in the journal."""

OFTEN = """
import sys, edgesim
from edgesim.jobs import journal
from edgesim.testing import tiny_scenario
journal.SECONDS_PER_SYNC = 0.0  # as soon as it has anything
"""

RUN = OFTEN + f"edgesim.run(tiny_scenario(**{LONG!r}), out=sys.argv[1], cache=False)"
GO_ON = OFTEN + "from edgesim.cli import main; main()"


FOLDER_FIRST = """
import sys
from edgesim.run_folder import RunFolder
from edgesim.simulation import run
from edgesim.testing import tiny_scenario

original = RunFolder.create

def create(*arguments, **options):
    folder = original(*arguments, **options)
    print(sorted(path.name for path in folder.path.iterdir()), "torch" in sys.modules)
    raise SystemExit

RunFolder.create = staticmethod(create)
run(tiny_scenario(), out=sys.argv[1])
"""


def test_the_folder_with_the_scenario_is_there_before_torch_is_imported(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FOLDER_FIRST, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['.lock', 'manifest.json', 'scenario.yaml'] False"


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start a run that takes several seconds, and wait until weights are in its journal."""
    process = subprocess.Popen([sys.executable, "-c", RUN, str(folder)], stderr=subprocess.DEVNULL)
    wait_until(process, lambda: list(folder.glob("journal/frontier-*")))
    return process


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tables of the long run that nothing happened to."""
    return tables(run(tiny_scenario(**LONG), out=tmp_path_factory.mktemp("long") / "run", cache=False))


def test_a_process_killed_by_the_system_goes_on_where_it_was(tmp_path: Path, long_run: dict[str, bytes]) -> None:
    folder = tmp_path / "run"
    process = start(folder)
    process.kill()
    process.wait()
    assert manifest(folder)["status"] == "running"
    resume(folder)
    assert tables(folder) == long_run


FAR = (
    OFTEN
    + """
scenario = tiny_scenario(**eval(sys.argv[2]))
edgesim.run(scenario, out=sys.argv[1], executor="processes", workers=2, cache=False)
"""
)


@pytest.mark.slow
def test_a_process_killed_while_its_workers_compute_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    changes = {
        "horizon": "25 min",
        "learners": {"on_device": {"trigger": {"every": "20 s"}}},
        "model": {"name": "mlp", "hidden": [8], "dropout": 0.1},  # computed one by one, in workers
    }
    process = subprocess.Popen([sys.executable, "-c", FAR, str(folder), repr(changes)], stderr=subprocess.DEVNULL)
    wait_until(process, lambda: list(folder.glob("journal/frontier-*")))
    process.kill()
    process.wait()
    resume(folder, executor="processes", workers=2)
    work = manifest(folder)["work"]
    assert work["run"] < work["done"]  # the journal had something
    reference = run(tiny_scenario(**changes), out=tmp_path / "reference", cache=False)
    assert tables(folder) == tables(reference)


def test_ctrl_c_while_a_run_goes_on_stops_it_and_it_goes_on_again(tmp_path: Path, long_run: dict[str, bytes]) -> None:
    folder = tmp_path / "run"
    process = start(folder)
    process.kill()
    process.wait()
    before = set(folder.glob("journal/frontier-*"))
    command = [sys.executable, "-c", GO_ON, "run", "--quiet", "--resume", str(folder)]
    again = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible)
    wait_until(again, lambda: set(folder.glob("journal/frontier-*")) - before)  # it has computed something of its own
    os.kill(again.pid, signal.SIGINT)
    _, told = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 130
    assert f"`edgesim run --resume {folder}` goes on" in told.replace("\n", " ")
    assert (manifest(folder)["status"], manifest(folder)["resumed"]) == ("interrupted", 1)
    resume(folder)
    assert tables(folder) == long_run


def test_ctrl_c_before_a_run_that_goes_on_has_begun_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    die(folder, 30)

    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("edgesim.resuming.simulate", stopped)
        outcome = CliRunner().invoke(app, ["run", "--resume", str(folder)])
    assert outcome.exit_code == 130
    assert "holds what was computed before" in outcome.output


def test_ctrl_c_stops_cleanly_and_tells_how_to_go_on(tmp_path: Path) -> None:
    edgesim_new = CliRunner().invoke(app, ["new", str(tmp_path / "shop.yaml")])
    assert edgesim_new.exit_code == 0
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "edgesim.cli", "run", str(tmp_path / "shop.yaml"), "--out", str(folder)]
    command += ["--seeds", "0-50"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible)
    wait_until(process, lambda: list(folder.glob("parts/*/0*/accuracy.arrow")))
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert f"`edgesim run --resume {folder}` goes on" in told.replace("\n", " ")
    assert manifest(folder)["status"] == "interrupted"
    assert (folder / "journal" / "index").stat().st_size > 0
