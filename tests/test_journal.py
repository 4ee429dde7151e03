"""The journal: what it keeps, what it drops, and what damage does to it."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import pickle
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgesim.jobs import Handle, InlinePlane, Label, WorkPlane, job
from edgesim.jobs import journal as journal_module
from edgesim.jobs.arithmetic import Evaluation, Trained
from edgesim.jobs.codec import NotStorable, Packing, read_record, unpacked
from edgesim.jobs.journal import Journal
from edgesim.jobs.journal_files import JournalFiles

LABEL = Label("fedavg", "camera-3", 12.5, "camera-3/train/7", "train")
RUNS: list[object] = []
OPENED: list[Journal] = []


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    RUNS.clear()
    yield
    RUNS.clear()
    for journal in OPENED:
        journal._files.close()  # as when a process dies: nothing more is written
    OPENED.clear()


def opened(folder: Path, **options: Any) -> Journal:
    journal = Journal(folder, **options)
    OPENED.append(journal)
    return journal


@dataclass(frozen=True)
class Inner:
    weights: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Outer:
    inner: Inner
    scores: tuple[float, ...]


@job
def anything(*, mark: int = 0) -> Outer | Evaluation:
    raise NotImplementedError


@job
def start(size: int) -> Trained:
    RUNS.append("start")
    return Trained({"w": torch.zeros(size)}, 0.5, 1)


@job
def step(state: dict[str, torch.Tensor], *, by: float) -> Trained:
    RUNS.append(by)
    return Trained({"w": state["w"] + by}, by, 1)


@job
def total(state: dict[str, torch.Tensor], *, mark: int = 0) -> float:
    RUNS.append(("total", mark))
    return float(state["w"].sum())


@job
def spectrum() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.fft.fft(torch.ones(4, dtype=torch.float64)), torch.eye(3).to_sparse()


@job
def strange(*, mark: int = 0) -> set[int]:
    RUNS.append("strange")
    return {mark}


class Clock:
    """Wall time that moves only when a test moves it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def there_and_back(value: Any) -> Any:
    packing = Packing()
    packing.add("key", value, anything)
    notes, tensors = read_record(packing.record({}))
    return unpacked(json.loads(notes["values"])["key"], anything, tensors.__getitem__)


# Values


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(plain)
def test_plain_values_come_back_as_they_were(value: object) -> None:
    back = there_and_back(value)
    assert back == value
    assert repr(back) == repr(value)  # -0.0 is not 0.0, True is not 1, a tuple is no list


def test_numbers_that_are_none_come_back() -> None:
    infinite, missing = there_and_back([-math.inf, math.nan])
    assert infinite == -math.inf
    assert math.isnan(missing)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6, dtype=torch.float32).reshape(2, 3).t(),
        torch.tensor(7),
        torch.tensor([True, False]),
        torch.randn(3, generator=torch.Generator().manual_seed(0)).bfloat16(),
        torch.zeros(0, 4),
    ],
    ids=["transposed", "no dimension", "flags", "bfloat16", "empty"],
)
def test_tensors_come_back_to_the_bit(tensor: torch.Tensor) -> None:
    back = there_and_back({"w": tensor, "again": tensor})
    for name in ("w", "again"):
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)


def test_arrays_and_their_scalars_come_back() -> None:
    array, scalar = there_and_back((np.arange(3, dtype=np.int16), np.float32(0.1)))
    assert (array.tolist(), array.dtype, scalar, type(scalar)) == ([0, 1, 2], np.int16, np.float32(0.1), np.float32)


def test_dataclasses_that_a_job_declares_come_back_and_no_others_do() -> None:
    value = Outer(Inner({"w": torch.ones(2)}), (1.0, 2.0))
    back = there_and_back(value)
    assert isinstance(back, Outer)
    assert torch.equal(back.inner.weights["w"], torch.ones(2))
    with pytest.raises(NotStorable, match="Trained"):
        there_and_back(Trained({}, 0.0, 0))
    with pytest.raises(NotStorable, match="set"):
        there_and_back({1})


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(2, dtype=torch.complex128),
        torch.eye(3).to_sparse(),
        np.ones(2, ">f4"),
        np.ones(2, np.clongdouble).real,
        1j,
    ],
    ids=["complex", "sparse", "other bytes first", "long double", "complex number"],
)
def test_what_no_record_can_hold_is_refused(value: object, tmp_path: Path) -> None:
    with pytest.raises(NotStorable):
        there_and_back({"all": value})
    journal = opened(tmp_path)
    plane = InlinePlane(store=journal)
    handle = plane.submit(spectrum, label=LABEL)
    plane.flush()
    journal.sync(plane._results.live)
    assert journal.refused == {"test_journal:spectrum"}
    assert handle.value()[1].sum() == 3


def test_a_file_cannot_name_a_class_that_the_job_does_not_return() -> None:
    with pytest.raises(NotStorable, match="os:system"):
        unpacked({"class": "os:system", "fields": ["true"]}, anything, {}.__getitem__)


# What a plane finds again


def chain(plane: WorkPlane, length: int) -> tuple[Handle, list[Handle]]:
    """A model that is trained ``length`` times, and what is measured of each."""
    state = plane.submit(start, 100, label=LABEL).part("state")
    measured = []
    for number in range(length):
        state = plane.submit(step, state, by=1.0 + number, label=LABEL).part("state")
        measured.append(plane.submit(total, state, label=LABEL))
    return state, measured


def killed(folder: Path, length: int = 5, **options: Any) -> None:
    """A process that runs a chain, brings it to disk, and dies."""
    journal = opened(folder, **options)
    plane = InlinePlane(store=journal)
    state, measured = chain(plane, length)
    plane.flush()
    journal.sync(plane._results.live)
    assert measured[-1].done
    assert state.done
    RUNS.clear()


def test_a_replay_computes_nothing_that_was_computed(tmp_path: Path) -> None:
    killed(tmp_path)
    plane = InlinePlane(store=opened(tmp_path))
    state, measured = chain(plane, 5)
    assert [handle.value() for handle in measured] == [100.0, 300.0, 600.0, 1000.0, 1500.0]
    assert torch.equal(state.value()["w"], torch.full((100,), 15.0))
    assert RUNS == []
    assert (plane.ran, plane.found, plane.done) == (0, 11, 11)


def test_a_replay_goes_on_where_the_dead_process_was(tmp_path: Path) -> None:
    killed(tmp_path)
    plane = InlinePlane(store=opened(tmp_path))
    state, measured = chain(plane, 7)
    assert measured[-1].value() == 2800.0
    assert RUNS == [6.0, ("total", 0), 7.0, ("total", 0)]
    assert state.done


def test_weights_that_nobody_held_are_not_on_disk_and_are_computed_again_if_somebody_asks(tmp_path: Path) -> None:
    killed(tmp_path)
    (file,) = tmp_path.glob("frontier-*")
    assert file.stat().st_size < 2 * 4 * 100  # one model of five
    plane = InlinePlane(store=opened(tmp_path))
    first = plane.submit(step, plane.submit(start, 100, label=LABEL).part("state"), by=1.0, label=LABEL).part("state")
    plane.flush()
    assert (RUNS, first.done) == ([], False)  # asleep: so far nobody needs it
    other = plane.submit(total, first, mark=1, label=LABEL)
    assert other.value() == 100.0
    assert RUNS == ["start", 1.0, ("total", 1)]
    assert torch.equal(first.value()["w"], torch.ones(100))
    assert plane.done == 3


def test_what_is_asked_for_by_control_flow_stays_on_disk_though_nobody_holds_it(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    plane = InlinePlane(store=journal)
    whole = plane.submit(start, 100, label=LABEL)
    decision = whole.part("state").value()["w"].sum().item()
    del whole
    journal.close(plane._results.live)
    RUNS.clear()
    again = InlinePlane(store=opened(tmp_path)).submit(start, 100, label=LABEL).part("state")
    assert again.value()["w"].sum().item() == decision
    assert RUNS == []


def test_files_of_weights_that_nobody_holds_go(tmp_path: Path) -> None:
    clock = Clock()
    journal = opened(tmp_path, clock=clock)
    plane = InlinePlane(store=journal)
    state = plane.submit(start, 1000, label=LABEL).part("state")
    for number in range(50):
        state = plane.submit(step, state, by=float(number), label=LABEL).part("state")
        clock.now_s += 10.0  # time for a sync after each job
        plane.flush()
    assert len(list(tmp_path.glob("frontier-*"))) == 1
    journal.close(plane._results.live)
    fresh = InlinePlane(store=opened(tmp_path))
    assert len(list(tmp_path.glob("frontier-*"))) == 1
    assert fresh.done == 0


def test_over_its_size_the_journal_is_compacted_but_what_is_held_stays(tmp_path: Path) -> None:
    clock = Clock()
    journal = opened(tmp_path, max_bytes=20_000, clock=clock)
    plane = InlinePlane(store=journal)
    held: dict[int, Handle] = {}
    for number in range(60):  # each file of four models soon holds one that is held to the end
        clock.now_s += 10.0
        for place in range(4):
            one = plane.submit(start, 250, label=LABEL).part("state")
            key = number if place == 0 and number % 12 == 0 else -1 - place
            held[key] = plane.submit(step, one, by=number + place / 4, label=LABEL).part("state")
        plane.flush()
    size = sum(path.stat().st_size for path in tmp_path.glob("frontier-*"))
    assert size <= 20_000
    journal.close(plane._results.live)
    RUNS.clear()
    again = InlinePlane(store=opened(tmp_path))
    for number in range(0, 60, 12):
        one = again.submit(start, 250, label=LABEL).part("state")
        state = again.submit(step, one, by=float(number), label=LABEL).part("state")
        assert torch.equal(state.value()["w"], held[number].value()["w"])
    assert 0.0 not in RUNS


def test_many_weights_go_into_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "FRONTIER_FILE_BYTES", 1000)
    journal = opened(tmp_path)
    plane = InlinePlane(store=journal)
    one = plane.submit(start, 100, label=LABEL).part("state")
    held = [plane.submit(step, one, by=float(number), label=LABEL).part("state") for number in range(9)]
    plane.flush()
    journal.close(plane._results.live)
    assert len(list(tmp_path.glob("frontier-*"))) == 4  # ten models of 400 bytes, three a file
    RUNS.clear()
    again = InlinePlane(store=opened(tmp_path))
    one = again.submit(start, 100, label=LABEL).part("state")
    for number, handle in enumerate(held):
        state = again.submit(step, one, by=float(number), label=LABEL).part("state")
        assert torch.equal(state.value()["w"], handle.value()["w"])
    assert RUNS == []


def test_between_syncs_numbers_are_written_and_weights_wait(tmp_path: Path) -> None:
    clock = Clock()
    journal = opened(tmp_path, clock=clock)
    plane = InlinePlane(store=journal)
    state, measured = chain(plane, 1)
    clock.now_s = 0.5
    plane.flush()
    assert (tmp_path / "values").exists()
    assert not list(tmp_path.glob("frontier-*"))
    assert state.done
    assert measured[0].done


def test_values_that_no_record_holds_are_computed_again(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    plane = InlinePlane(store=journal)
    handle = plane.submit(strange, mark=3, label=LABEL)
    assert handle.value() == {3}
    journal.close(plane._results.live)
    assert journal.refused == {"test_journal:strange"}
    again = InlinePlane(store=opened(tmp_path)).submit(strange, mark=3, label=LABEL)
    assert again.value() == {3}
    assert RUNS == ["strange", "strange"]


def test_nothing_in_a_journal_is_pickled(tmp_path: Path) -> None:
    killed(tmp_path)
    for path in tmp_path.iterdir():
        for start_at in re.finditer(rb"\x80[\x02-\x05]", data := path.read_bytes()):
            with pytest.raises(Exception, match=r"."):
                pickle.loads(data[start_at.start() :])  # raises: no pickle begins there


# Writing that fails


class Failing:
    """Lets the writing of a file of weights fail in the middle, from the write ``at`` on, as often as ``times``."""

    def __init__(self, patch: pytest.MonkeyPatch, error: BaseException, at: int, times: int = 1) -> None:
        self.count = 0
        whole = JournalFiles.write

        def write(files: JournalFiles, name: str, record: bytes, *, durable: bool) -> None:
            self.count += 1
            if at <= self.count < at + times:
                (files.folder / name).write_bytes(record[: len(record) // 2])
                raise error
            whole(files, name, record, durable=durable)

        patch.setattr(JournalFiles, "write", write)


FAILURES = [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")]


@pytest.mark.parametrize("times", [1, 2], ids=["once", "when closing too"])
@pytest.mark.parametrize("error", FAILURES, ids=["Ctrl-C", "a full disk"])
def test_a_sync_that_fails_loses_nothing_that_was_computed_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, times: int
) -> None:
    def play(plane: WorkPlane, clock: Clock) -> float:
        state = plane.submit(start, 100, label=LABEL).part("state")
        for number in range(30):
            state = plane.submit(step, state, by=float(number), label=LABEL).part("state")
            clock.now_s += 1000.0  # time for a sync after each job
            plane.flush()
        value: float = state.value()["w"].sum().item()
        return value

    with monkeypatch.context() as patch:
        Failing(patch, error, at=21, times=times)
        clock = Clock()
        plane = InlinePlane(store=opened(tmp_path, clock=clock))
        with pytest.raises(type(error)):
            play(plane, clock)
        with contextlib.suppress(type(error)):
            plane.close()
    before = len(RUNS)
    clock = Clock()
    assert play(InlinePlane(store=opened(tmp_path, clock=clock)), clock) == 100.0 * sum(range(30))
    assert len(RUNS) - before == 31 - before + (times - 1)  # where nothing more could be written, the last one again


@pytest.mark.parametrize("error", FAILURES, ids=["Ctrl-C", "a full disk"])
@pytest.mark.parametrize("at", [10, 22, 23, 24, 25, 30, 55])
def test_compacting_that_fails_loses_nothing_that_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, at: int
) -> None:
    def play(plane: WorkPlane, clock: Clock) -> dict[int, Handle]:
        held: dict[int, Handle] = {}
        first = plane.submit(start, 250, label=LABEL).part("state")
        for number in range(60):
            clock.now_s += 1000.0
            for place in range(4):
                key = number if place == 0 and number % 3 == 0 else -1 - place
                held[key] = plane.submit(step, first, by=number + place / 4, label=LABEL).part("state")
            plane.flush()
        return held

    with monkeypatch.context() as patch:
        Failing(patch, error, at)
        clock = Clock()
        plane = InlinePlane(store=opened(tmp_path, max_bytes=20_000, clock=clock))
        with pytest.raises(type(error)):
            play(plane, clock)
        plane.close()
    clock = Clock()
    held = play(InlinePlane(store=opened(tmp_path, max_bytes=20_000, clock=clock)), clock)
    for number in range(0, 60, 3):
        assert float(held[number].value()["w"][0]) == float(number)
    held_before = [by for by in RUNS if by != "start" and by in range(0, 60, 3)]
    assert sorted(held_before) == list(map(float, range(0, 60, 3)))  # each of them once


def test_half_of_a_file_takes_up_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: BinaryIO, durable: bool) -> None:
        raise FAILURES[1]

    files = JournalFiles(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("edgesim.jobs.journal_files._flush", full)
        with pytest.raises(OSError, match="No space left"):
            files.write("frontier-000001.safetensors", bytes(10_000), durable=False)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    files.close()


# Damage


@pytest.mark.parametrize("name", ["values", "frontier-000001.safetensors"])
def test_a_flipped_bit_is_found_told_and_computed_again(tmp_path: Path, name: str) -> None:
    killed(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[-20] ^= 0b100
    (tmp_path / name).write_bytes(data)
    journal = opened(tmp_path)
    (damage,) = journal.damage
    assert name in damage
    assert "checksum is wrong" in damage
    plane = InlinePlane(store=journal)
    state, measured = chain(plane, 5)
    assert measured[-1].value() == 1500.0
    assert torch.equal(state.value()["w"], torch.full((100,), 15.0))
    assert RUNS


@pytest.mark.parametrize("name", ["values", "frontier-000001.safetensors"])
def test_a_file_cut_off_is_found_told_and_computed_again(tmp_path: Path, name: str) -> None:
    killed(tmp_path)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    journal = opened(tmp_path)
    (damage,) = journal.damage
    assert "cut off" in damage
    _, measured = chain(InlinePlane(store=journal), 5)
    assert measured[-1].value() == 1500.0


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    killed(tmp_path)
    (tmp_path / "frontier-000001.safetensors").unlink()
    (damage,) = opened(tmp_path).damage
    assert damage.endswith("is missing")


def test_a_file_that_is_longer_than_its_record_is_told_and_computed_again(tmp_path: Path) -> None:
    killed(tmp_path)
    with (tmp_path / "frontier-000001.safetensors").open("ab") as file:
        file.write(b"more")
    journal = opened(tmp_path)
    (damage,) = journal.damage
    assert "longer than its record" in damage
    state, _ = chain(InlinePlane(store=journal), 5)
    assert torch.equal(state.value()["w"], torch.full((100,), 15.0))


def test_an_index_that_is_gone_is_told(tmp_path: Path) -> None:
    killed(tmp_path)
    (tmp_path / "index").unlink()
    (damage,) = opened(tmp_path).damage
    assert damage.endswith("index is missing")


def test_weights_whose_line_was_never_written_take_up_no_space(tmp_path: Path) -> None:
    killed(tmp_path)
    (tmp_path / "frontier-000009.safetensors").write_bytes(b"the process died before its line was in the index")
    assert opened(tmp_path).damage == ()
    assert not (tmp_path / "frontier-000009.safetensors").exists()


def test_every_byte_of_the_index_may_be_the_last_one(tmp_path: Path) -> None:
    killed(tmp_path / "whole")
    index = (tmp_path / "whole" / "index").read_bytes()
    for length in range(0, len(index), 7):
        cut = shutil.copytree(tmp_path / "whole", tmp_path / f"cut-{length}")
        (cut / "index").write_bytes(index[:length])
        journal = opened(cut)
        assert journal.damage == ()  # a line that was being written is no damage
        _, measured = chain(InlinePlane(store=journal), 5)
        assert measured[-1].value() == 1500.0


def test_a_damaged_line_of_the_index_is_told_and_the_others_count(tmp_path: Path) -> None:
    killed(tmp_path)
    index = bytearray((tmp_path / "index").read_bytes())
    index[5] ^= 1
    (tmp_path / "index").write_bytes(index)
    journal = opened(tmp_path)
    (damage,) = journal.damage
    assert "line 1 is damaged" in damage
    _, measured = chain(InlinePlane(store=journal), 5)
    assert [handle.value() for handle in measured] == [100.0, 300.0, 600.0, 1000.0, 1500.0]


def test_a_damaged_journal_can_be_gone_on_with_and_opened_again(tmp_path: Path) -> None:
    killed(tmp_path)
    with (tmp_path / "index").open("ab") as index:
        index.write(b"+ values 17")  # torn
    for length in (6, 7, 8):
        journal = opened(tmp_path)
        plane = InlinePlane(store=journal)
        RUNS.clear()
        _, measured = chain(plane, length)
        assert measured[-1].value() == 100.0 * length * (length + 1) / 2
        assert [by for by in RUNS if isinstance(by, float)] == [float(length)]
        journal.close(plane._results.live)
