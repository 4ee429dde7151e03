"""A run that is killed leaves what it had computed readable."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from dying_runs import interruptible

import analysis
from edgesim.tables import read_tables
from edgesim.testing import tiny_scenario

RUN = """
import sys, edgesim
from edgesim.testing import tiny_scenario
edgesim.run(tiny_scenario(horizon="10 h", learners={"on_device": {"trigger": {"every": "20 s"}}}), out=sys.argv[1])
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start a run that takes minutes, and wait until it has written something."""
    assert tiny_scenario().horizon < 36_000
    command = [sys.executable, "-c", RUN, str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=interruptible)
    deadline = time.monotonic() + 60
    while not list(folder.glob("parts/*/0*/accuracy.arrow")):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "nothing was written"
        time.sleep(0.05)
    return process


def test_a_killed_run_is_readable_up_to_its_frontier(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start(folder)
    process.kill()
    process.wait()
    assert json.loads((folder / "manifest.json").read_text())["status"] == "running"
    accuracy = read_tables(folder)["accuracy"]
    assert len(accuracy) > 0
    assert accuracy["accuracy"].notna().all()
    assert accuracy["time_s"].is_monotonic_increasing
    summary = analysis.load(folder).summary()
    assert summary.index.tolist() == ["on_device"]


def test_ctrl_c_says_so_in_the_manifest_and_keeps_the_rows(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start(folder)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) != 0
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"
    assert len(read_tables(folder)["deployments"]) > 0
