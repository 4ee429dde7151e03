"""Runs that die, for tests: a scenario of two learners, and processes that end at a chosen moment."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import edgesim
from edgesim.jobs import journal as journal_module
from edgesim.jobs.journal import Journal
from edgesim.jobs.results import Result
from edgesim.simulation import run
from edgesim.testing import tiny_scenario

LEARNERS = {
    "on_device": {"trigger": {"every": "2 min"}},
    "fedavg": {"trigger": {"every": "2 min"}, "deadline": "50 s"},
}
SEEDS = (0, 1)

PATIENCE_S = 300.0
"""Wall time after which a process is given up: machines may be busy with other things."""


class Died(BaseException):
    """Ends a process in a test, as SIGKILL would: nothing is written any more."""


class Mortal:
    """Lets journals sync all the time, counts their looks at the clock, and dies at one of them."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int | None = None) -> None:
        self.count = 0
        original = Journal.tick

        def tick(journal: Journal, live: Mapping[str, Result]) -> None:
            original(journal, live)
            self.count += 1
            if self.count == at:
                raise Died

        patch.setattr(Journal, "tick", tick)
        if at is not None:
            patch.setattr(Journal, "close", lambda journal, live: journal._files.close())


def interruptible() -> None:
    """For ``preexec_fn``: a process heeds Ctrl-C even if its parent was started in the background, and does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_until(process: subprocess.Popen[Any], happened: Callable[[], object]) -> None:
    """Wait until something has happened while a process runs; kill the process where that does not come."""
    deadline = time.monotonic() + PATIENCE_S
    try:
        while not happened():
            assert process.poll() is None, "the process ended before it could be stopped"
            assert time.monotonic() < deadline, "nothing was written"
            time.sleep(0.02)
    except BaseException:
        process.kill()
        process.wait()
        raise


def sync_all_the_time(patch: pytest.MonkeyPatch) -> None:
    """For runs that take less than a second altogether, of processes that die, not machines."""
    patch.setattr(journal_module, "SECONDS_PER_SYNC", 0.0)
    patch.setattr(journal_module, "SYNC_SHARE", float("inf"))
    patch.setattr(journal_module, "SECONDS_PER_FSYNC", float("inf"))


@dataclass(frozen=True)
class Whole:
    """A run that nothing happened to: its tables, and how often its journal was told of jobs."""

    tables: dict[str, bytes]
    ticks: int


def scenario() -> edgesim.Scenario:
    return tiny_scenario(horizon="13 min", learners=LEARNERS)


def run_all(folder: Path, which: edgesim.Scenario | None = None) -> Path:
    return run(which or scenario(), seeds=SEEDS, out=folder, cache=False)  # as many jobs each time


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "tables").iterdir())}


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return found


def die(folder: Path, at: int, which: edgesim.Scenario | None = None) -> None:
    """Run until the journal has been told of ``at`` jobs, and die."""
    with pytest.MonkeyPatch.context() as patch:
        Mortal(patch, at)
        with pytest.raises(Died):
            run_all(folder, which)


def run_whole(folder: Path) -> Whole:
    """Run to the end, and look at what came of it."""
    with pytest.MonkeyPatch.context() as patch:
        mortal = Mortal(patch)
        run_all(folder)
    return Whole(tables(folder), mortal.count)
