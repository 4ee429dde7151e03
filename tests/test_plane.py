"""The work plane: what runs, when, how often, and what is left in memory."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from edgesim.errors import NeedsValues, WorkFailure
from edgesim.jobs import (
    CPU,
    Calls,
    Handle,
    InlineExecutor,
    InlinePlane,
    Label,
    Outcome,
    Overflow,
    TimingPlane,
    WorkPlane,
    job,
)
from edgesim.jobs.arithmetic import Evaluation, Trained, average, evaluate, initialise, train
from edgesim.jobs.executors import ViewCache
from edgesim.jobs.function import require_finite
from edgesim.models import Architecture

MLP = Architecture.of("mlp", {"hidden": [8]}, input_shape=(4,), classes=2)
LABEL = Label("fedavg", "camera-3", 12.5, "camera-3/train/7")

RUNS: list[object] = []
"""What jobs of these tests were run with, in order; a job may not look at it."""


@pytest.fixture(autouse=True)
def _forget_runs() -> Iterator[None]:
    RUNS.clear()
    yield
    RUNS.clear()


@job
def add(*numbers: float, more: float = 0.0) -> float:
    RUNS.append((numbers, more))
    return sum(numbers) + more


@job
def draw(*, seed: int) -> float:
    RUNS.append(seed)
    return float(np.random.default_rng(seed).random())


@job
def fail(*numbers: float) -> float:
    raise ZeroDivisionError("no such number")


@job
def zeros(size: int, *after: object) -> Trained:
    RUNS.append(size)
    return Trained({"w": torch.zeros(size)}, 0.5, 1)


@job
def threads(*, mark: int) -> int:
    return torch.get_num_threads()


@job
def total(samples: tuple[torch.Tensor, torch.Tensor], *, factor: float = 1.0) -> float:
    x, y = samples
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    return factor * float(x.sum())


class Spec:
    """A view for tests: numbers 0, 1, 2, ... as samples."""

    def __init__(self, count: int, key: str | None = None) -> None:
        self.count = count
        self.key = key or f"numbers/{count}"
        self.made = 0

    def materialise(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        self.made += 1
        return np.arange(self.count, dtype=np.float32)[:, None], np.zeros(self.count, np.int64)


class Hungry:
    """An executor that takes many calls at a time and finishes them in the wrong order."""

    threads_per_job = 1
    placement = CPU
    workers = 2

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.widths: list[int] = []
        self.worker_s: dict[int, float] = {}
        self._inline = InlineExecutor()
        self._finished: list[tuple[int, list[Outcome]]] = []
        self._started: list[tuple[int, Calls]] = []

    def start(self, ticket: int, calls: Calls) -> None:
        self._started.append((ticket, calls))

    def finish(self) -> tuple[int, list[Outcome]]:
        if not self._finished:
            self.widths.append(len(self._started))
            for ticket, calls in self._started:
                self._inline.start(ticket, calls)
                self._finished.append(self._inline.finish())
            self._started.clear()
        return self._finished.pop()

    def abandon(self) -> None:
        self._started.clear()
        self._finished.clear()

    def close(self) -> None:
        self._inline.close()


# What runs, and when


def test_importing_the_work_plane_imports_no_torch() -> None:
    code = "import sys, edgesim.jobs; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_nothing_runs_until_a_value_is_wanted() -> None:
    plane = InlinePlane()
    one = plane.submit(add, 1, label=LABEL)
    two = plane.submit(add, one, more=1.0, label=LABEL)
    assert (RUNS, plane.pending, plane.done, two.done) == ([], 2, 0, False)
    assert two.value() == 2.0
    assert (len(RUNS), plane.pending, plane.done, one.done) == (2, 0, 2, True)


def test_a_job_that_nobody_wants_never_runs() -> None:
    plane = InlinePlane()
    unwanted = plane.submit(add, 1, label=LABEL)
    also_unwanted = plane.submit(add, unwanted, label=LABEL)
    wanted = plane.submit(add, 5, label=LABEL)
    del unwanted, also_unwanted
    assert plane.pending == 1
    plane.flush()
    assert wanted.value() == 5
    assert RUNS == [((5,), 0.0)]


def test_a_job_that_only_a_wanted_job_needs_does_run() -> None:
    plane = InlinePlane()
    last = plane.submit(add, plane.submit(add, 1, label=LABEL), label=LABEL)
    assert last.value() == 1
    assert plane.ran == 2


def test_asking_for_one_value_runs_everything_that_is_pending() -> None:
    plane = InlinePlane()
    handles = [plane.submit(add, number, label=LABEL) for number in range(5)]
    handles[0].value()
    assert all(handle.done for handle in handles)


def test_look_ahead_is_bounded_by_the_number_of_pending_jobs() -> None:
    plane = InlinePlane(max_pending=10)
    handles = []
    for number in range(35):
        handles.append(plane.submit(add, number, label=LABEL))
        assert plane.pending < 10
    assert (plane.done, plane.pending) == (30, 5)


def test_over_the_memory_budget_there_is_no_look_ahead() -> None:
    plane = InlinePlane(memory_bytes=1000)
    small = plane.submit(zeros, 10, label=LABEL)
    plane.flush()
    ahead = plane.submit(zeros, 1000, label=LABEL)
    assert not ahead.done
    plane.flush()
    assert plane.held_bytes == 4 * 1010
    at_once = plane.submit(zeros, 5, label=LABEL)
    assert at_once.done
    del ahead
    later = plane.submit(zeros, 6, label=LABEL)
    assert (small.done, later.done) == (True, False)


def test_whatever_the_look_ahead_the_results_are_the_same() -> None:
    def results(plane: WorkPlane) -> list[float]:
        handles: list[Handle] = []
        for seed in range(20):
            noise = plane.submit(draw, seed=seed, label=LABEL)
            handles.append(plane.submit(add, noise, *handles[-2:], label=LABEL))
        return [handle.value() for handle in handles]

    reference = results(InlinePlane())
    for plane in (
        InlinePlane(max_pending=1),
        InlinePlane(memory_bytes=0),
        WorkPlane(Hungry(3)),
        WorkPlane(Hungry(100), max_pending=7),
    ):
        assert results(plane) == reference


def test_an_executor_gets_as_many_ready_jobs_as_it_likes_and_no_others() -> None:
    executor = Hungry(4)
    plane = WorkPlane(executor)
    first = [plane.submit(add, number, label=LABEL) for number in range(6)]
    second = plane.submit(add, *first, label=LABEL)
    assert second.value() == 15
    assert executor.widths == [4, 2, 1]


# Equal jobs


def test_equal_jobs_run_once_as_long_as_somebody_holds_the_result() -> None:
    plane = InlinePlane()
    first = plane.submit(draw, seed=7, label=LABEL)
    value = first.value()
    again = plane.submit(draw, seed=7, label=Label("eclm", "cloud", 0.0, "pretrained"))
    assert again.value() == value
    assert (plane.ran, plane.done, RUNS) == (1, 2, [7])
    del first, again
    plane.submit(draw, seed=7, label=LABEL).value()
    assert plane.ran == 2


@pytest.mark.parametrize("width", [1, 10])
def test_equal_jobs_that_wait_together_run_once(width: int) -> None:
    plane = WorkPlane(Hungry(width))
    handles = [plane.submit(draw, seed=seed, label=LABEL) for seed in (1, 2, 1, 1)]
    values = [handle.value() for handle in handles]
    assert values[0] == values[2] == values[3] != values[1]
    assert plane.ran == 2


def test_a_seed_means_nothing_to_a_job_that_draws_nothing() -> None:
    plane = InlinePlane()
    handles = [plane.submit(add, 1, seed=seed, label=LABEL) for seed in (1, 2)]
    assert [handle.value() for handle in handles] == [1, 1]
    assert plane.ran == 1


# Memory


def test_a_value_is_freed_when_nobody_holds_it_and_its_consumers_ran() -> None:
    plane = InlinePlane()
    source = plane.submit(zeros, 1000, label=LABEL)
    consumer = plane.submit(zeros, 1, source, label=LABEL)
    tensor = weakref.ref(source.value().state["w"])
    waiting = plane.submit(zeros, 2, source, label=LABEL)
    del source
    assert tensor() is not None  # a job still waits for it
    assert waiting.value().steps == 1
    assert consumer.done
    assert tensor() is None
    assert plane.held_bytes == 4 * 3


def test_a_part_keeps_only_itself_alive() -> None:
    plane = InlinePlane()
    whole = plane.submit(zeros, 1000, label=LABEL)
    loss, state = whole.part("loss"), whole.part("state")
    del whole
    assert loss.value() == 0.5
    tensor = weakref.ref(state.value()["w"])
    assert RUNS == [1000]
    del state
    assert tensor() is None
    assert plane.held_bytes == 0


def test_parts_are_results_of_their_own() -> None:
    plane = InlinePlane()
    whole = plane.submit(zeros, 3, label=LABEL)
    before = whole.part("state")
    whole.value()
    after = whole.part("state")
    assert before.key == after.key != whole.key
    assert before.value() is after.value()
    again = plane.submit(zeros, 3, label=LABEL).part("state")
    assert again.value() is before.value()
    assert plane.ran == 1
    with pytest.raises(ValueError, match="only a whole value has parts"):
        before.part("w")


def test_a_part_that_does_not_exist_is_a_named_failure() -> None:
    part = InlinePlane().submit(zeros, 3, label=LABEL).part("lost")
    with pytest.raises(WorkFailure, match="'lost'"):
        part.value()


def test_a_chain_of_ten_thousand_jobs_runs_and_leaves_nothing_behind() -> None:
    plane = InlinePlane(max_pending=100_000)
    handle = plane.submit(zeros, 1, label=LABEL)
    for number in range(10_000):
        handle = plane.submit(zeros, number % 7, handle, label=LABEL)
    assert len(handle.key) == 32
    gc.disable()  # what is freed here is freed at once, not when the collector comes by
    try:
        handle.value()
        assert plane.ran == 10_001
        assert plane.held_bytes == 4 * (9_999 % 7)
        kept = weakref.ref(handle)
        del handle
        assert kept() is None
        assert plane.held_bytes == 0
    finally:
        gc.enable()


def test_an_unwanted_chain_of_ten_thousand_jobs_vanishes() -> None:
    plane = InlinePlane(max_pending=100_000)
    handle = plane.submit(add, 0, label=LABEL)
    for _ in range(10_000):
        handle = plane.submit(add, handle, label=LABEL)
    del handle
    assert plane.pending == 0


def test_values_that_memory_has_no_room_for_are_kept_in_files(tmp_path: Path) -> None:
    overflow = Overflow(tmp_path)
    plane = WorkPlane(InlineExecutor(), memory_bytes=100_000, overflow=overflow)
    handles = [plane.submit(counted, number, label=LABEL) for number in range(100)]
    plane.flush()
    assert plane.held_bytes <= 100_000
    assert overflow.written >= 75
    total = plane.submit(sum_of_losses, *handles[::7], label=LABEL)
    assert total.value() == sum(range(0, 100, 7))
    for number, handle in enumerate(handles):
        value = handle.value()
        assert (float(value.state["w"][-1]), value.loss, value.steps) == (number, number, 1)
    plane.flush()
    assert overflow.folder is not None
    files = list(overflow.folder.iterdir())
    del handles[:50], handle, value
    assert len(list(overflow.folder.iterdir())) <= len(files) - 49
    plane.close()
    assert not list(tmp_path.iterdir())


def test_parts_that_are_asked_for_later_do_not_bring_everything_back_into_memory(tmp_path: Path) -> None:
    overflow = Overflow(tmp_path)
    plane = WorkPlane(InlineExecutor(), memory_bytes=100_000, overflow=overflow)
    wholes = [plane.submit(counted, number, label=LABEL) for number in range(100)]
    plane.flush()
    written = overflow.written
    parts = []
    for whole in wholes:
        parts.append(whole.part("state"))
        assert plane.held_bytes <= 100_000
    assert overflow.written - written <= 50  # those that were in memory; the others are in files already
    del wholes, whole
    for number, part in enumerate(parts):
        assert float(part.value()["w"][-1]) == number
        assert plane.held_bytes <= 100_000
    del parts, part
    assert overflow.folder is not None
    assert not list(overflow.folder.iterdir())


@job
def counted(number: int) -> Trained:
    return Trained({"w": torch.full((1000,), float(number))}, float(number), 1)


@job
def sum_of_losses(*trained: Trained) -> float:
    assert all(float(one.state["w"][0]) == one.loss for one in trained)
    return sum(one.loss for one in trained)


def test_a_result_that_comes_again_while_a_part_of_it_is_held_has_a_file_of_its_own(tmp_path: Path) -> None:
    plane = WorkPlane(InlineExecutor(), memory_bytes=100, overflow=Overflow(tmp_path))
    whole = plane.submit(counted, 1, label=LABEL)
    plane.flush()
    part = whole.part("state")
    del whole
    again = plane.submit(counted, 1, label=LABEL)
    plane.flush()
    del part
    assert again.value().loss == 1.0


def test_a_value_in_a_file_goes_with_the_plane_and_one_in_memory_stays(tmp_path: Path) -> None:
    plane = WorkPlane(InlineExecutor(), memory_bytes=10_000, overflow=Overflow(tmp_path))
    handles = [plane.submit(counted, number, label=LABEL) for number in range(5)]
    plane.flush()
    plane.close()
    assert handles[-1].value().loss == 4.0
    with pytest.raises(RuntimeError, match="the plane is closed"):
        handles[0].value()


def test_a_value_that_no_file_can_hold_stays_in_memory(tmp_path: Path) -> None:
    plane = WorkPlane(InlineExecutor(), memory_bytes=10, overflow=Overflow(tmp_path))
    handle = plane.submit(strange, label=LABEL)
    plane.flush()
    assert plane.held_bytes == 400
    assert next(iter(handle.value())) == torch.Size([100])


@job
def strange() -> dict[torch.Size, torch.Tensor]:
    return {torch.Size([100]): torch.zeros(100)}


# Failures


def test_a_failing_job_names_learner_node_time_job_and_reason() -> None:
    plane = InlinePlane()
    handle = plane.submit(fail, label=LABEL)
    with pytest.raises(WorkFailure) as caught:
        handle.value()
    assert caught.value.args == (
        "fedavg",
        "camera-3",
        12.5,
        "camera-3/train/7",
        "ZeroDivisionError: no such number",
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@job(finite=True)
def decision(*, number: float) -> tuple[tuple[float, ...], ...]:
    return ((0.5, number),)


@job
def leave() -> int:
    sys.exit("enough")


def test_a_job_that_wants_to_end_the_process_is_a_failure_of_its_own() -> None:
    with pytest.raises(WorkFailure, match=r"camera-3, at 12.5 s, job camera-3/train/7: Exited: it called sys.exit"):
        InlinePlane().submit(leave, label=LABEL).value()


def test_a_value_that_control_flow_needs_finite_is_a_named_failure_where_it_is_not() -> None:
    plane = InlinePlane()
    assert plane.submit(decision, number=1.0, label=LABEL).value() == ((0.5, 1.0),)
    for number in (float("nan"), float("inf")):
        with pytest.raises(WorkFailure, match=rf"camera-3, at 12.5 s, job camera-3/train/7: .* returned {number}"):
            plane.submit(decision, number=number, label=LABEL).value()


@pytest.mark.parametrize("number", [float("nan"), -float("inf")])
def test_finite_means_every_number_in_a_value(number: float) -> None:
    good = torch.ones(2), np.arange(3), np.float32(1.0), {"a": [Evaluation(1, 1.0, 1)]}, "nan", None, {2.0}
    require_finite(good)
    evaluation = Evaluation(1, number, 1)
    for bad in (
        np.array([1.0, number]),
        np.float32(number),
        evaluation,
        {1: [evaluation]},
        complex(0, number),
        {number},
    ):
        with pytest.raises(ValueError, match="finite number"):
            require_finite((good, bad))


def test_a_failure_reaches_what_needs_it_and_nothing_else() -> None:
    plane = InlinePlane()
    before, broken = plane.submit(add, 1, label=LABEL), plane.submit(fail, label=LABEL)
    needs_it = plane.submit(add, broken, label=Label("fedavg", "cloud", 20.0, "average"))
    after = plane.submit(add, 2, label=LABEL)
    with pytest.raises(WorkFailure):
        plane.flush()
    assert before.done
    assert after.value() == 2
    for handle in (needs_it, broken, broken.part("state")):
        with pytest.raises(WorkFailure) as caught:
            handle.value()
        assert caught.value.job == "camera-3/train/7"
    assert plane.pending == 0


def test_one_failure_among_many_calls_leaves_the_others_results() -> None:
    plane = WorkPlane(Hungry(10))
    good, broken, fine = (plane.submit(f, 1, label=LABEL) for f in (add, fail, draw_or_add))
    with pytest.raises(WorkFailure):
        plane.flush()
    assert (good.done, broken.done, fine.done) == (True, False, True)


@job
def draw_or_add(number: float) -> float:
    return number + 1


def test_a_constant_that_no_text_says_exactly_is_a_named_failure() -> None:
    plane = InlinePlane()
    for value, words in ((object(), "is a object"), ({1, 2}, "is a set"), (np.zeros(2), "is a ndarray")):
        with pytest.raises(WorkFailure, match=f"input 0 {words}"):
            plane.submit(add, value, label=LABEL).value()
    inner = plane.submit(add, 1, label=LABEL)
    with pytest.raises(WorkFailure, match="'more' holds a handle"):
        plane.submit(add, more=inner, label=LABEL).value()


@pytest.mark.parametrize("plane", [InlinePlane(), TimingPlane()], ids=["computing", "timing-only"])
def test_a_call_that_cannot_be_made_is_refused_at_once(plane: WorkPlane | TimingPlane) -> None:
    with pytest.raises(TypeError, match="no parameter 'mor'; it has: more"):
        plane.submit(add, 1, mor=2.0, label=LABEL)
    with pytest.raises(TypeError, match="needs the parameter 'architecture'"):
        plane.submit(evaluate, {}, label=LABEL)
    with pytest.raises(TypeError, match="takes 1 to 1 inputs, not 2"):
        plane.submit(total, 1, 2, label=LABEL)
    with pytest.raises(TypeError, match="mark it with"):
        plane.submit(len, [1], label=LABEL)


def test_ctrl_c_leaves_the_job_pending() -> None:
    class Interrupted(InlineExecutor):  # type: ignore[misc]  # a double that stops before it starts
        stop = True

        def finish(self) -> tuple[int, list[Outcome]]:
            if self.stop:
                raise KeyboardInterrupt
            return super().finish()

    executor = Interrupted()
    plane = WorkPlane(executor)
    handle = plane.submit(add, 1, label=LABEL)
    with pytest.raises(KeyboardInterrupt):
        plane.flush()
    assert plane.pending == 1
    executor.stop = False
    assert handle.value() == 1


def test_asking_for_values_from_within_the_plane_is_refused() -> None:
    plane = InlinePlane(on_done=lambda label: plane.flush())
    handle = plane.submit(add, 1, label=LABEL)
    with pytest.raises(RuntimeError, match="while the plane was running"):
        handle.value()


# Surroundings


@job
def listed(given: list[object], *, numbers: list[int]) -> list[object]:
    return [*given, *numbers]


@pytest.mark.parametrize("max_pending", [1, 100])
def test_a_list_that_is_changed_after_submitting_is_to_the_job_what_it_was(max_pending: int) -> None:
    plane = WorkPlane(InlineExecutor(), max_pending=max_pending)
    inner: list[int] = [1]
    given, numbers = [inner], [2]
    first = plane.submit(listed, given, label=LABEL, numbers=numbers)
    inner.append(10)
    numbers.append(20)
    second = plane.submit(listed, given, label=LABEL, numbers=numbers)
    third = plane.submit(listed, [[1]], label=LABEL, numbers=[2])
    assert [handle.value() for handle in (first, second, third)] == [[[1], 2], [[1, 10], 2, 20], [[1], 2]]
    assert first.key == third.key != second.key


def test_jobs_run_with_their_own_number_of_threads_and_give_it_back() -> None:
    before = torch.get_num_threads()
    for count in (1, 2):
        assert InlinePlane(threads_per_job=count).submit(threads, mark=count, label=LABEL).value() == count
        assert torch.get_num_threads() == before


def test_a_watcher_sees_every_job_with_its_label() -> None:
    seen: list[Label] = []
    plane = InlinePlane(on_done=seen.append)
    wanted = [plane.submit(add, number, label=LABEL._replace(time_s=float(number))) for number in range(3)]
    plane.flush()
    assert [label.time_s for label in seen] == [0.0, 1.0, 2.0]
    assert len(wanted) == plane.done


def test_two_planes_do_not_notice_each_other() -> None:
    first, second = InlinePlane(), InlinePlane()
    mine, yours = first.submit(draw, seed=1, label=LABEL), second.submit(draw, seed=1, label=LABEL)
    mine.value()
    assert (second.pending, second.done, yours.done) == (1, 0, False)


def test_views_become_tensors_and_are_made_once_while_they_are_kept() -> None:
    plane, view = InlinePlane(), Spec(4)
    values = [plane.submit(total, view, factor=factor, label=LABEL) for factor in (1.0, 2.0)]
    assert [handle.value() for handle in values] == [6.0, 12.0]
    assert view.made == 1


def test_the_view_cache_stays_within_its_bytes_and_drops_what_was_used_longest_ago() -> None:
    cache = ViewCache(capacity_bytes=3 * 12 * 16)  # samples are filled up to a multiple of 8
    views = [Spec(16, key) for key in "abc"]
    for view in (*views, views[0]):
        cache.batch(view)
    assert [view.made for view in views] == [1, 1, 1]
    cache.batch(Spec(16, "d"))  # b goes
    for view in (views[0], views[2], views[1]):
        cache.batch(view)
    assert [view.made for view in views] == [1, 2, 1]
    large = Spec(49, "large")
    cache.batch(large)
    cache.batch(large)
    assert large.made == 2


# Timing only


def test_a_timing_plane_computes_nothing_and_says_so() -> None:
    plane = TimingPlane()
    handle = plane.submit(fail, label=LABEL)
    plane.flush()
    assert (plane.computes, plane.pending, plane.done, handle.done) == (False, 0, 0, False)
    for ask in (handle.value, handle.part("loss").value, lambda: handle.key):
        with pytest.raises(NeedsValues, match=r"'fedavg'.*camera-3/train/7"):
            ask()


def test_a_timing_plane_keeps_nothing_of_what_it_is_given() -> None:
    view = Spec(4)
    alive = weakref.ref(view)
    handle = TimingPlane().submit(total, view, label=LABEL)
    del view
    assert alive() is None
    assert not handle.done


# Together with the arithmetic


def test_a_round_of_federated_averaging_on_handles() -> None:
    def accuracy(plane: WorkPlane) -> tuple[Evaluation, str]:
        model: Handle = plane.submit(initialise, architecture=MLP, seed=0, label=LABEL)
        for number in range(3):
            trained = [
                plane.submit(
                    train,
                    model,
                    Labelled(device),
                    architecture=MLP,
                    epochs=2,
                    batch_size=8,
                    learning_rate=0.1,
                    seed=10 * number + device,
                    label=LABEL,
                )
                for device in range(4)
            ]
            model = plane.submit(average, *[result.part("state") for result in trained], label=LABEL)
        scored = plane.submit(evaluate, model, Labelled(99), architecture=MLP, label=LABEL)
        result: Evaluation = scored.value()
        return result, scored.key

    first, key = accuracy(InlinePlane())
    assert first.accuracy > 0.8
    for plane in (InlinePlane(max_pending=1), WorkPlane(Hungry(8))):
        assert accuracy(plane) == (first, key)


class Labelled(Spec):
    """Samples of two classes that a line tells apart."""

    def __init__(self, device: int) -> None:
        super().__init__(40, f"labelled/{device}")
        self.device = device

    def materialise(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        x = np.random.default_rng(self.device).normal(size=(self.count, 4)).astype(np.float32)
        return x, (x[:, 0] > 0).astype(np.int64)
