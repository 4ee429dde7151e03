"""Weights by way of files in memory: the same bits, written once, and nothing left of runs and workers that died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from edgesim.errors import WorkFailure
from edgesim.jobs import InlineExecutor, Label, ProcessExecutor, Returned, WorkPlane, job, shared
from edgesim.jobs.shared import NoRoom, SharedFolder, SharedWeights, TensorFile, mapped
from edgesim.jobs.wire import SHARED_BYTES, pack_outcomes, unpack_outcomes
from edgesim.models import State

LABEL = Label("fedavg", "camera-3", 12.5, "camera-3/train/7")
LARGE = SHARED_BYTES // 4  # of 32-bit numbers

pytestmark = pytest.mark.skipif(not os.access(shared.IN_MEMORY, os.W_OK), reason="there are no files in memory here")


@pytest.fixture(scope="module")
def executor() -> Iterator[ProcessExecutor]:
    executor = ProcessExecutor(2)
    yield executor
    executor.close()


@job
def draw(*, count: int, seed: int) -> State:
    generator = torch.Generator().manual_seed(seed)
    return {
        "large": torch.rand(3, count, generator=generator),
        "turned": torch.rand(count, 3, generator=generator).T,
        "half": torch.rand(2 * count, generator=generator).bfloat16(),
        "whole": torch.arange(count),
        "small": torch.rand(5, generator=generator),
        "number": torch.tensor(7),
    }


@job
def twice(state: State, *, mark: int = 0) -> State:
    for tensor in state.values():
        tensor.mul_(2)  # what a job must not do, and what nobody else sees
    return {name: tensor + mark for name, tensor in state.items()}


@job
def maps(state: State, *, mark: int) -> int:
    with open("/proc/self/maps") as lines:
        return sum("edgesim-weights-" in line for line in lines)


@job
def die(state: State) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@job
def linger(state: State, *, mark: int) -> State:
    time.sleep(0.5)
    return state


@job
def fail(state: State) -> int:
    raise ZeroDivisionError("no such number")


def files(executor: ProcessExecutor) -> list[str]:
    assert executor.weights_folder is not None
    return sorted(path.name for path in executor.weights_folder.iterdir() if path.name != shared.LOCK)


def bits(plane: WorkPlane) -> list[State]:
    start = plane.submit(draw, count=LARGE, seed=3, label=LABEL)
    once = [plane.submit(twice, start, mark=mark, label=LABEL) for mark in range(3)]
    again = [plane.submit(twice, state, mark=1, label=LABEL) for state in once]
    return [handle.value() for handle in (*once, *again)]


def same(one: State, other: State) -> bool:
    return all(torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one)


def test_bits_are_the_same_by_way_of_memory_and_inside_of_messages(
    executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_memory = bits(WorkPlane(executor))
    assert executor.weights_folder is not None
    monkeypatch.setattr("edgesim.jobs.processes.weights_folder", lambda prefix: None)
    plain = ProcessExecutor(1)
    try:
        assert plain.weights_folder is None
        inside = bits(WorkPlane(plain))
    finally:
        plain.close()
    assert all(same(one, other) for one, other in zip(by_memory, inside, strict=True))
    assert torch.equal(by_memory[0]["whole"] + 1, by_memory[1]["whole"])


def test_weights_are_mapped_and_written_once_for_all_jobs_that_read_them(
    executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    add = TensorFile.add
    monkeypatch.setattr(TensorFile, "add", lambda self, tensor: (written.append(tensor.nbytes), add(self, tensor))[1])
    plane = WorkPlane(executor)
    start = plane.submit(draw, count=LARGE, seed=3, label=LABEL)
    handles = [plane.submit(maps, start, mark=mark, label=LABEL) for mark in range(8)]
    assert {handle.value() for handle in handles} == {1}
    assert len(written) == 4  # large, turned, half, whole


def test_no_file_is_left_when_all_has_been_computed(executor: ProcessExecutor) -> None:
    bits(WorkPlane(executor))
    assert files(executor) == []


def test_no_file_is_left_of_a_worker_that_died_or_a_job_that_raised(executor: ProcessExecutor) -> None:
    plane = WorkPlane(executor)
    start = plane.submit(draw, count=LARGE, seed=3, label=LABEL)
    for function in (die, fail):
        handle = plane.submit(function, start, label=LABEL)
        with pytest.raises(WorkFailure):
            handle.value()
    assert files(executor) == []
    assert plane.submit(maps, start, mark=1, label=LABEL).value() == 1


def test_no_file_is_left_of_batches_that_nobody_waits_for_any_more(executor: ProcessExecutor) -> None:
    plane = WorkPlane(InlineExecutor())
    state = plane.submit(draw, count=LARGE, seed=3, label=LABEL).value()
    from edgesim.jobs import Call, Calls

    for ticket in range(3):
        executor.start(ticket, Calls(linger, "sequential", {"mark": ticket}, (Call((state,), None),)))
    assert files(executor)
    executor.abandon()
    for _ in range(100):
        if not files(executor):
            break
        time.sleep(0.1)
    assert files(executor) == []
    assert bits(WorkPlane(executor))  # it goes on


def test_without_room_weights_go_inside_of_messages(executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = bits(WorkPlane(executor))
    monkeypatch.setattr(shared, "LEAST_FREE_BYTES", 2**62)
    assert all(same(one, other) for one, other in zip(bits(WorkPlane(executor)), expected, strict=True))
    assert files(executor) == []
    assert shared.weights_folder("edgesim-test-") is None


def test_a_disk_that_gets_full_leaves_no_file(tmp_path: Path) -> None:
    class Full:
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            raise OSError(28, "No space left on device")

    for step in ("write", "close"):
        file = TensorFile(tmp_path / step)
        if step == "close":
            file.add(torch.ones(3))
            file.close()
        file._file = Full()
        with pytest.raises(NoRoom):
            file.add(torch.ones(3)) if step == "write" else file.close()
        assert not (tmp_path / step).exists()


def test_outcomes_are_in_memory_of_their_own_each(tmp_path: Path) -> None:
    values = [torch.rand(3, LARGE), torch.rand(LARGE)]
    file = TensorFile(tmp_path / "outcomes")
    packed = pack_outcomes([Returned(value) for value in values], file.add)
    file.close()
    assert len(packed) < 1000
    outcomes = unpack_outcomes(packed, lambda name: mapped(tmp_path / name))
    for outcome, value in zip(outcomes, values, strict=True):
        assert isinstance(outcome, Returned)
        assert torch.equal(outcome.value, value)
        assert outcome.value.untyped_storage().nbytes() == value.nbytes


def test_a_mapped_file_is_nobody_elses_and_outlives_its_name(tmp_path: Path) -> None:
    file = TensorFile(tmp_path / "one")
    place = [file.add(torch.ones(count, dtype=torch.uint8)) for count in (3, 5)]
    file.close()
    assert place == [("one", 0), ("one", shared.ALIGNMENT)]
    first, second = mapped(tmp_path / "one"), mapped(tmp_path / "one")
    first[0] = 9
    assert second[0] == 1
    file.remove()
    assert second[shared.ALIGNMENT] == 1


def test_weights_that_nobody_needs_are_kept_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "IDLE_BYTES", 1000)
    weights = SharedWeights(tmp_path)
    parcels = []
    for _ in range(4):
        parcel = weights.begin()
        parcel.put(torch.ones(100))
        parcel.send()
        parcels.append(parcel)
    assert len(list(tmp_path.iterdir())) == 4  # all are needed
    for parcel in parcels:
        parcel.end()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls-3", "calls-4"]
    weights.clear()
    assert not list(tmp_path.iterdir())


def test_the_next_run_removes_what_a_killed_one_has_left(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from edgesim.jobs.shared import SharedFolder\n"
        "folder = SharedFolder('edgesim-test-', Path(sys.argv[1]))\n"
        "(folder.path / 'weights').touch()\n"
        "print(folder.path, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    told = subprocess.run([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=paths)
    orphan = Path(told.stdout.strip())
    assert (orphan / "weights").exists()
    (tmp_path / "edgesim-test-of-somebody-else").mkdir()
    alive = SharedFolder("edgesim-test-", tmp_path)
    assert not orphan.exists()
    SharedFolder("edgesim-test-", tmp_path).remove()
    assert alive.path.exists()
    alive.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["edgesim-test-of-somebody-else"]
