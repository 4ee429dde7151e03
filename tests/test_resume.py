"""Runs that die: what is left, and that going on ends as if nothing had happened."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from dying_runs import (
    LEARNERS,
    SEEDS,
    Died,
    Mortal,
    Whole,
    die,
    manifest,
    run_all,
    run_whole,
    scenario,
    sync_all_the_time,
    tables,
)
from filelock import FileLock
from typer.testing import CliRunner

import edgesim
from edgesim import run_folder
from edgesim.cli import app
from edgesim.errors import DiskFull, LearnerFailure, UserError
from edgesim.jobs import executors
from edgesim.jobs import journal as journal_module
from edgesim.jobs.overflow import PREFIX
from edgesim.resuming import resume
from edgesim.run_folder import RunFolder
from edgesim.simulation import run
from edgesim.tables import read_tables
from edgesim.testing import tiny_scenario


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    sync_all_the_time(monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return run_whole(tmp_path_factory.mktemp("whole") / "run")


# Going on


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_a_run_that_died_ends_with_the_tables_of_one_that_did_not(share: float, tmp_path: Path, whole: Whole) -> None:
    folder = tmp_path / "run"
    at = 1 + int(share * whole.ticks)
    die(folder, at)
    assert not (folder / "tables").exists()
    with pytest.MonkeyPatch.context() as patch:
        mortal = Mortal(patch)
        assert resume(folder) == folder
    assert tables(folder) == whole.tables
    told = manifest(folder)
    assert (told["status"], told["resumed"], len(told["worlds"])) == ("done", 1, len(LEARNERS) * len(SEEDS))
    assert mortal.count <= whole.ticks - at + 1  # the batch in whose hands it died, at most, is done twice


def test_a_run_may_die_again_and_again(tmp_path: Path, whole: Whole) -> None:
    folder = tmp_path / "run"
    die(folder, whole.ticks // 4)
    (folder / f"{PREFIX}of-a-dead-process").mkdir()
    deaths = 0
    while manifest(folder)["status"] != "done":
        with pytest.MonkeyPatch.context() as patch:
            Mortal(patch, at=whole.ticks // 4)
            try:
                resume(folder)
            except Died:
                deaths += 1
    assert deaths > 1
    assert tables(folder) == whole.tables
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "scenario.yaml", "tables"]


def test_a_run_without_a_journal_starts_anew(tmp_path: Path, whole: Whole) -> None:
    folder = tmp_path / "run"
    with pytest.raises(LearnerFailure):
        run(scenario(), seeds=SEEDS, out=folder, journal_bytes=0, on_progress=_break)
    assert not (folder / "journal").exists()
    resume(folder)
    assert tables(folder) == whole.tables


def _break(report: edgesim.Progress) -> None:
    if report.done_jobs > 20:
        raise ZeroDivisionError("a display that fails")


def test_a_finished_run_keeps_no_journal_and_is_left_as_it_is(tmp_path: Path) -> None:
    folder = run_all(tmp_path / "run")
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "scenario.yaml", "tables"]
    outcome = CliRunner().invoke(app, ["run", "--resume", str(folder), "--quiet"])
    assert outcome.exit_code == 0
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")} == before


def test_a_damaged_journal_is_told_and_the_tables_are_those_of_a_whole_one(tmp_path: Path, whole: Whole) -> None:
    folder = tmp_path / "run"
    die(folder, int(0.75 * whole.ticks))
    values = folder / "journal" / "values"
    data = bytearray(values.read_bytes())
    for place in range(100, len(data), 5_000):
        data[place] ^= 1
    values.write_bytes(data)
    outcome = CliRunner().invoke(app, ["run", "--resume", str(folder)])
    assert outcome.exit_code == 0, outcome.output
    assert "what it had lost was computed again" in outcome.output
    assert "checksum is wrong" in manifest(folder)["journal_damage"][0]
    assert tables(folder) == whole.tables


# Refusals


def test_another_scenario_is_refused_with_the_difference(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    die(folder, 30)
    other = tiny_scenario(horizon="14 min", learners=LEARNERS)
    with pytest.raises(UserError, match=r'scenario\.horizon: "13 min" -> "14 min"'):
        resume(folder, scenario=other, seeds=SEEDS)
    with pytest.raises(UserError, match=r"seeds\.1: 1 -> 2"):
        resume(folder, scenario=scenario(), seeds=(0, 2))
    with pytest.raises(UserError, match="its learners and seeds are those"):
        resume(folder, seeds=(0, 1))


def test_a_scenario_that_was_edited_in_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    die(folder, 30)
    text = (folder / "scenario.yaml").read_text(encoding="utf-8")
    assert "count: 2" in text
    (folder / "scenario.yaml").write_text(text.replace("count: 2", "count: 3", 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"devices\.0\.count: 2 -> 3"):
        resume(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"versions": {"edgesim": "0.0.9"}}, r'versions\.edgesim: "0\.0\.9" -> "'),
        ({"cpu_capability": "abacus"}, "another kind of CPU: abacus -> "),
        ({"format": 0}, "written by another version of edgesim"),
    ],
)
def test_another_version_or_cpu_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    folder = tmp_path / "run"
    die(folder, 30)
    told = manifest(folder)
    for key, value in change.items():
        told[key] = {**told[key], **value} if isinstance(value, dict) else value
    (folder / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(UserError, match=words):
        resume(folder)
    assert manifest(folder) == told


def test_a_run_does_not_go_on_with_other_data_or_recordings(tmp_path: Path) -> None:
    def write(seed: int, speed: str) -> None:
        rng = np.random.default_rng(seed)
        np.savez(tmp_path / "data.npz", x=rng.random((400, 6), np.float32), y=rng.integers(0, 4, 400))
        (tmp_path / "speed.csv").write_text(f"time,value\n0,{speed}\n60,2e6\n", encoding="utf-8")

    def refuse(words: str) -> None:
        with pytest.raises(UserError, match=words):
            resume(folder)

    write(0, "1e6")
    data = {"source": "npz", "path": str(tmp_path / "data.npz"), "proxy": {"share": "20 %"}, "test_share": "30 %"}
    data |= {"partition": {"kind": "iid", "samples": 20}, "test_samples": 20}
    uplink = {"csv": str(tmp_path / "speed.csv"), "value_unit": "B/s"}
    device = {"name": "one", "count": 2, "compute": "1 GFLOP/s", "memory": "1 GiB", "uplink": uplink}
    device |= {"downlink": "1 Mbit/s"}
    folder = tmp_path / "run"
    die(folder, 20, tiny_scenario(data=data, devices=[device], drifts=[], learners=LEARNERS))
    write(1, "1e6")
    refuse("begun with other data")
    write(0, "3e6")
    refuse(r"files\..*speed\.csv")
    write(0, "1e6")
    assert resume(folder) == folder


def test_a_run_that_died_before_it_had_a_manifest_may_begin_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "scenario.yaml").write_text("somebody's own", encoding="utf-8")
    with pytest.raises(UserError, match="not empty"):
        run(tiny_scenario(), learners=["no_adaptation"], out=folder)
    (folder / ".lock").touch()
    run(tiny_scenario(), learners=["no_adaptation"], out=folder)
    assert manifest(folder)["status"] == "done"


def test_a_folder_that_another_process_runs_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    die(folder, 30)
    with FileLock(folder / ".lock"):
        outcome = CliRunner().invoke(app, ["run", "--resume", str(folder)])
    assert outcome.exit_code == 2
    assert "another process is running it" in outcome.output
    assert resume(folder) == folder


def test_what_is_no_run_folder_is_refused(tmp_path: Path) -> None:
    for arguments, words in (
        (["--resume", str(tmp_path)], "holds no manifest.json"),
        (["--resume", str(tmp_path / "nowhere")], "there is no run folder"),
        (["--resume", str(tmp_path), "--timing-only"], "takes no --out, --timing-only"),
        ([], "give a scenario file"),
    ):
        outcome = CliRunner().invoke(app, ["run", *arguments])
        assert (outcome.exit_code, words in outcome.output) == (2, True), outcome.output


# A full disk


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_and_the_run_goes_on_once_there_is_space(
    tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    append = journal_module.JournalFiles.append
    written = 0

    def append_until_full(self: Any, name: str, record: bytes, *, durable: bool) -> Any:
        nonlocal written
        written += 1
        if written == 30:
            self._open["values"].close()
            self._open["values"] = open("/dev/full", "ab")  # noqa: SIM115 - the system itself says that there is no space
        return append(self, name, record, durable=durable)

    with monkeypatch.context() as patch:
        patch.setattr(journal_module.JournalFiles, "append", append_until_full)
        with pytest.raises(DiskFull, match="No space left on device"):
            run_all(folder)
    told = manifest(folder)
    assert told["status"] == "failed"
    assert "what was recorded so far stays" in told["error"]
    assert len(read_tables(folder)["deployments"]) > 0
    resume(folder)
    assert tables(folder) == whole.tables


def test_a_disk_that_is_full_at_the_first_or_last_word_of_a_run_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"

    def full_at(status: str) -> Any:
        def replace(source: Path, target: Path) -> None:
            if json.loads(source.read_text())["status"] == status:
                raise OSError(errno.ENOSPC, "No space left on device")
            source.rename(target)

        return SimpleNamespace(**{**vars(os), "replace": replace})

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "os", full_at("running"))
        with pytest.raises(DiskFull, match="No space left on device"):
            run(tiny_scenario(), learners=["no_adaptation"], out=folder, timing_only=True)
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "os", full_at("done"))
        with pytest.raises(DiskFull, match="No space left on device"):
            run(tiny_scenario(), learners=["no_adaptation"], out=folder, timing_only=True)
    resume(folder)
    assert manifest(folder)["status"] == "done"


def test_a_full_disk_does_not_hide_a_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.create(tmp_path / "run", tiny_scenario(), [0], {}, timing_only=True)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "os", SimpleNamespace(**{**vars(os), "replace": full}))
        with pytest.raises(KeyboardInterrupt), folder.running():
            raise KeyboardInterrupt


# Failures


def test_a_job_that_raises_is_named_and_what_was_computed_is_not_lost(
    tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(scenario().to_yaml(), encoding="utf-8")
    folder = tmp_path / "run"
    computed = 0
    original = executors.run

    def run_until_it_breaks(calls: executors.Calls, *rest: Any) -> list[executors.Outcome]:
        nonlocal computed
        computed += 1
        if computed < 40:
            return original(calls, *rest)
        return [executors.Raised(ZeroDivisionError("no luck")) for _ in calls.each]

    with monkeypatch.context() as patch:
        patch.setattr(executors, "run", run_until_it_breaks)
        outcome = CliRunner().invoke(app, ["run", str(file), "--seeds", "0-1", "--out", str(folder)])
    assert outcome.exit_code == 1
    told = " ".join(outcome.output.split())
    assert re.search(r"learner '\w+', (near|far)-\d, at [\d.]+ s, job [\w/-]+: ZeroDivisionError: no luck", told), told
    assert f"`edgesim run --resume {folder}` goes on from there" in told
    assert manifest(folder)["status"] == "failed"
    assert len(read_tables(folder)["deployments"]) > 0
    with pytest.MonkeyPatch.context() as patch:
        mortal = Mortal(patch)
        resume(folder)
    assert tables(folder) == whole.tables
    assert mortal.count < whole.ticks
    assert "error" not in manifest(folder)
