"""The user's cache: pretraining is done once, whoever asks for it, and never wrongly."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import edgesim
from edgesim.cli import app
from edgesim.errors import WorkFailure
from edgesim.jobs import InlineExecutor, InlinePlane, Label, Overflow, WorkPlane, job
from edgesim.jobs.arithmetic import Trained
from edgesim.jobs.cache import VARIABLE, Cache, Shelves, cache_folder
from edgesim.jobs.journal import Journal
from edgesim.simulation import run
from edgesim.testing import tiny_scenario

SHARED = Label("fedavg", "cloud", 0.0, "pretrained", "pretrain", shared=True)
OWN = SHARED._replace(shared=False)
RUNS: list[int] = []


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    RUNS.clear()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@job
def pretrain(size: int) -> Trained:
    RUNS.append(size)
    return Trained({"w": torch.full((size,), 0.1)}, 0.5, 1)


def plane(cache: Cache) -> InlinePlane:  # type: ignore[valid-type]  # a function that is read as a class
    return InlinePlane(store=Shelves(None, cache))


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return found


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "tables").iterdir())}


# Results


def test_what_is_shared_is_computed_once_by_any_number_of_runs(folder: Path) -> None:
    for _ in range(3):
        state = plane(Cache(folder)).submit(pretrain, 7, label=SHARED).part("state")
        assert torch.equal(state.value()["w"], torch.full((7,), 0.1))
    assert RUNS == [7]


def test_what_is_not_shared_stays_in_its_run(folder: Path) -> None:
    for _ in range(2):
        plane(Cache(folder)).submit(pretrain, 7, label=OWN).part("state").value()
    assert RUNS == [7, 7]
    assert not folder.exists()


def test_what_learners_have_in_common_is_held_where_a_run_that_goes_on_finds_it(tmp_path: Path) -> None:
    begun = InlinePlane(store=Shelves(Journal(tmp_path), None))
    pretrained = begun.submit(pretrain, 7, label=SHARED)
    begun.flush()
    begun.close()
    assert pretrained.done
    journal = Journal(tmp_path)
    going_on = InlinePlane(store=Shelves(journal, None))
    for _ in range(2):
        of_a_learner = going_on.submit(pretrain, 7, label=SHARED)
        going_on.flush()
        assert of_a_learner.done
        del of_a_learner
        going_on.flush()
        journal.sync(going_on._results.live)
    going_on.close()
    assert RUNS == [7]


def test_what_is_found_takes_no_more_memory_than_there_is(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        cache, overflow = Cache(folder), Overflow(tmp_path)
        going = WorkPlane(InlineExecutor(), store=Shelves(None, cache), memory_bytes=100_000, overflow=overflow)
        handles = [going.submit(pretrain, 1000 + number, label=SHARED) for number in range(100)]
        going.flush()
        assert going.held_bytes <= 100_000
        assert overflow.written >= 75
        assert [len(handle.value().state["w"]) for handle in handles] == list(range(1000, 1100))
        assert going.held_bytes <= 100_000
        going.close()
    assert cache.hits == 100


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_result_is_computed_again(folder: Path, damage: str) -> None:
    plane(Cache(folder)).submit(pretrain, 7, label=SHARED).part("state").value()
    (path,) = folder.glob("*/*.record")
    data = bytearray(path.read_bytes())
    data[-30] ^= 1
    path.write_bytes({"flipped": bytes(data), "cut": data[:40], "empty": b""}[damage])
    state = plane(Cache(folder)).submit(pretrain, 7, label=SHARED).part("state").value()
    assert torch.equal(state["w"], torch.full((7,), 0.1))
    assert RUNS == [7, 7]
    plane(Cache(folder)).submit(pretrain, 7, label=SHARED).part("state").value()
    assert RUNS == [7, 7]  # it is whole again


def test_over_its_size_what_was_used_longest_ago_goes(folder: Path) -> None:
    cache = Cache(folder, max_bytes=30_000)
    for number in range(10):
        plane(cache).submit(pretrain, 1000 + number, label=SHARED).part("state").value()
        for path, _ in cache.files():  # a file system may not tell apart what happens within milliseconds
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - 10**9))
        plane(Cache(folder)).submit(pretrain, 1000, label=SHARED).part("state").value()  # used all the time
    assert sum(stat.st_size for _, stat in cache.files()) <= 30_000
    assert [1000 + number for number in range(10)] == RUNS
    plane(Cache(folder)).submit(pretrain, 1001, label=SHARED).part("state").value()
    assert RUNS[-1] == 1001


def test_where_nothing_can_be_written_runs_go_on_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file" / "cache")
    state = plane(cache).submit(pretrain, 7, label=SHARED).part("state")
    assert torch.equal(state.value()["w"], torch.full((7,), 0.1))
    assert "Not a directory" in cache.problem


@pytest.mark.parametrize("forbidden", [("unlink", "mkdir"), ("read_bytes", "exists", "mkdir")])
def test_where_a_cache_may_only_be_read_or_not_even_entered_runs_go_on_without(
    folder: Path, monkeypatch: pytest.MonkeyPatch, forbidden: tuple[str, ...]
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError("Permission denied")

    plane(Cache(folder)).submit(pretrain, 7, label=SHARED).part("state").value()
    (path,) = folder.glob("*/*.record")
    path.write_bytes(b"damaged" * 10)
    cache = Cache(folder)
    with monkeypatch.context() as patch:
        for name in forbidden:
            patch.setattr(Path, name, refused)
        state = plane(cache).submit(pretrain, 7, label=SHARED).part("state")
        assert torch.equal(state.value()["w"], torch.full((7,), 0.1))
    assert RUNS == [7, 7]
    assert cache.kept == 0


def _fill(folder: str, size: int) -> None:
    for _ in range(20):
        cache = Cache(Path(folder))
        state = plane(cache).submit(pretrain, size, label=SHARED).part("state").value()
        assert torch.equal(state["w"], torch.full((size,), 0.1))
        for path, _stat in cache.files():
            path.unlink(missing_ok=True)


def test_two_processes_may_write_and_remove_the_same_results_at_once(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fill, args=(str(folder), 2000)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert not list(folder.glob("*/.*"))  # no half-written file is left


def _killed_while_writing(folder: Path, size: int) -> Path:
    """A process that is killed before its file has its name; returns what it left."""
    code = f"""
import os, pathlib
from edgesim.jobs import cache
cache.os.replace = lambda source, target: os._exit(9)
path = pathlib.Path({str(folder)!r}, "ab", "abc.record")
path.parent.mkdir(parents=True, exist_ok=True)
cache._write(path, bytes({size}))
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    (left,) = folder.glob("ab/.*")
    return left


def test_what_a_killed_process_was_writing_counts_and_goes_after_a_day(folder: Path) -> None:
    left = _killed_while_writing(folder, 20_000)
    assert [path for path, _ in Cache(folder).partial_files()] == [left]
    cache = Cache(folder, max_bytes=40_000)
    for size in (2000, 2001, 2002):
        plane(cache).submit(pretrain, size, label=SHARED).part("state").value()
    assert [len(cache.files()), left.exists()] == [1, True]  # the others made room
    os.utime(left, (time.time() - 25 * 3600,) * 2)
    cache = Cache(folder, max_bytes=40_000)
    for size in (3000, 3001):
        plane(cache).submit(pretrain, size, label=SHARED).part("state").value()
    assert [len(cache.files()), left.exists()] == [3, False]


def test_a_cache_that_is_cleared_while_a_result_is_written_is_written_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(folder)
    with monkeypatch.context() as patch:
        replace = os.replace
        patch.setattr(os, "replace", lambda *paths: (Cache(folder).clear(), replace(*paths)))
        plane(cache).submit(pretrain, 7, label=SHARED).part("state").value()
    assert (cache.problem, cache.kept) == ("", 0)
    plane(cache).submit(pretrain, 8, label=SHARED).part("state").value()
    assert cache.kept > 0


@job
def pretrain_for_long(size: int, told: str) -> Trained:
    Path(told).joinpath(str(os.getpid())).touch()
    time.sleep(1.5)
    return pretrain(size)


def _want(folder: str, told: str, ready: Any) -> None:
    ready.wait()
    state = plane(Cache(Path(folder))).submit(pretrain_for_long, 7, told, label=SHARED).part("state").value()
    assert torch.equal(state["w"], torch.full((7,), 0.1))


def test_of_processes_that_want_the_same_at_once_one_computes_and_the_others_wait(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "told").mkdir()
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(3)
    processes = [context.Process(target=_want, args=(str(folder), str(tmp_path / "told"), ready)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(list((tmp_path / "told").iterdir())) == 1
    assert not list(folder.glob("*/*.claim"))


def test_a_claim_goes_with_its_process_and_with_a_job_that_fails(tmp_path: Path, folder: Path) -> None:
    code = f"""
import os, pathlib
from edgesim.jobs.cache import Cache
Cache(pathlib.Path({str(folder)!r})).claim("abc")
os._exit(9)  # as if it was killed
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert list(folder.glob("*/abc.claim"))
    cache = Cache(folder)
    cache.claim("abc")  # would wait for ever
    cache.release("abc")
    own = plane(cache)
    with pytest.raises(WorkFailure, match="ZeroDivisionError"):
        own.submit(fail, label=SHARED).value()
    assert not list(folder.glob("*/*.claim"))


@job
def fail() -> Trained:
    raise ZeroDivisionError


def test_who_has_claimed_one_thing_waits_for_no_other(folder: Path) -> None:
    one, other = Cache(folder), Cache(folder)
    one.claim("a")
    other.claim("b")
    one.claim("b")  # would wait for ever, as the next one waits for this
    other.claim("a")
    for cache in (one, other):
        cache.close()
    assert not list(folder.glob("*/*.claim"))


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, "")
    assert cache_folder() is None
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "edgesim"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "edgesim"


# Runs


LEARNERS = {"on_device": {"trigger": {"every": "5 min"}}, "no_adaptation": {}}


def test_learners_of_one_seed_share_pretraining_even_without_a_cache(tmp_path: Path) -> None:
    folder = run(tiny_scenario(learners=LEARNERS), seeds=[0, 1], out=tmp_path / "run", cache=False)
    told = manifest(folder)
    assert "cache" not in told
    assert told["work"]["found"] >= 2 * 2  # initial weights and pretraining, of the second learner under each seed


def test_a_second_run_finds_its_pretraining_and_its_tables_are_the_same(tmp_path: Path) -> None:
    scenario = tiny_scenario(learners=LEARNERS)
    first = run(scenario, out=tmp_path / "first")
    second = run(scenario, out=tmp_path / "second")
    without = run(scenario, out=tmp_path / "without", cache=False)
    assert tables(first) == tables(second) == tables(without)
    assert (manifest(first)["cache"]["hits"], manifest(first)["cache"]["kept"] > 0) == (0, True)
    assert (manifest(second)["cache"]["hits"] > 0, manifest(second)["cache"]["kept"]) == (True, 0)
    assert manifest(second)["work"]["run"] < manifest(without)["work"]["run"]


@pytest.mark.parametrize("at_a_time", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_points_of_a_sweep_pretrain_once(at_a_time: int, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(tiny_scenario(learners={"no_adaptation": {}}).to_yaml(), encoding="utf-8")
    sweep = edgesim.sweep(
        file, grid={"devices.0.uplink": ["1 Mbit/s", "2 Mbit/s"]}, jobs=at_a_time, out=tmp_path / "sweep"
    )
    kept = [manifest(point)["cache"]["kept"] for point in sorted((sweep / "points").iterdir())]
    assert sorted(count > 0 for count in kept) == [False, True]


# The command


def test_edgesim_cache_tells_and_clears(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def command(*arguments: str) -> tuple[int, str]:
        outcome = CliRunner().invoke(app, ["cache", *arguments])
        return outcome.exit_code, outcome.output

    assert command("info") == (0, f"{folder}\n0 results, 0 B of at most 2.15 GB\n")
    plane(Cache(folder)).submit(pretrain, 10_000, label=SHARED).part("state").value()
    assert "\n1 results, 40.2 kB" in command("info")[1]
    _killed_while_writing(folder, 20_000)
    assert "\n1 results, 60.2 kB of at most 2.15 GB\nof these 20 kB in files" in command("info")[1]
    code, text = command("clear")
    assert (code, text.startswith("removed 1 results, 60.2 kB")) == (0, True)
    assert list(folder.iterdir()) == []
    monkeypatch.setenv(VARIABLE, "")
    assert command("info") == (0, "there is no cache: EDGESIM_CACHE is empty\n")
    assert command("clear")[0] == 2
