"""Jobs in processes: the same bits as in one, one copy of the data, and workers that die."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgesim.data import View, load_dataset
from edgesim.errors import UserError, WorkFailure
from edgesim.jobs import Choice, Executor, Handle, InlineExecutor, Label, ProcessExecutor, WorkPlane, job
from edgesim.jobs.arithmetic import average, evaluate, initialise, train
from edgesim.jobs.ray_executor import RayExecutor
from edgesim.models import Architecture, State
from edgesim.simulation import run
from edgesim.testing import tiny_scenario

LABEL = Label("fedavg", "camera-3", 12.5, "camera-3/train/7")
CNN = Architecture.of("cnn", {"channels": [4], "dropout": 0.2}, input_shape=(1, 8, 8), classes=10)


@pytest.fixture(scope="module")
def executor() -> Iterator[ProcessExecutor]:
    executor = ProcessExecutor(2)
    yield executor
    executor.close()


@job
def where(*after: object, mark: int) -> int:
    return os.getpid()


@job(light=True)
def where_lightly() -> int:
    return os.getpid()


@job
def die(*, only_once: str = "") -> int:
    if only_once and os.path.exists(only_once):
        return 7
    if only_once:
        Path(only_once).touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def _fates(executor: Executor) -> list[tuple[float, float, list[float]]]:
    """Of a user's network that is trained and evaluated several times: loss, loss on other data, trained buffer."""
    network = Architecture.of("own_networks:centring", {}, input_shape=(1, 8, 8), classes=10, allow_code=True)
    digits = load_dataset("digits")
    plane = WorkPlane(executor)
    start = plane.submit(initialise, label=LABEL, seed=0, architecture=network)
    how = {"architecture": network, "epochs": 2, "batch_size": 8, "learning_rate": 0.1, "optimizer": "sgd"}
    trained = [
        plane.submit(train, start, View(digits, np.arange(16 * n, 16 * n + 16)), label=LABEL, seed=n, **how)
        for n in range(4)
    ]
    more = [
        plane.submit(train, job.part("state"), View(digits, np.arange(20)), label=LABEL, seed=9, **how)
        for job in trained
    ]
    scored = [
        plane.submit(evaluate, job.part("state"), View(digits, np.arange(50)), label=LABEL, architecture=network)
        for job in more
    ]
    plane.flush()
    return [
        (job.value().loss, score.value().loss_sum, job.value().state["1.centre"].tolist())
        for job, score in zip(more, scored, strict=True)
    ]


def test_what_a_users_network_keeps_besides_its_weights_reaches_no_other_job(executor: ProcessExecutor) -> None:
    alone = _fates(InlineExecutor())
    assert _fates(executor) == alone == _fates(InlineExecutor())
    assert all(any(centre) for _, _, centre in alone)  # it was trained and came back


class Awkward(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__("lost on the way")


@job
def fail(*, awkwardly: bool) -> int:
    raise Awkward(1, 2) if awkwardly else ZeroDivisionError("no such number")


@job
def first_of(state: State) -> State:
    return {"first": state["all"][:1]}


@job
def many(*, count: int) -> State:
    return {"all": torch.zeros(count)}


@job
def mapped(samples: tuple[torch.Tensor, torch.Tensor], *, mark: int) -> int:
    with open("/proc/self/maps") as maps:
        return sum("edgesim-data-" in line for line in maps)


def federated(plane: WorkPlane) -> tuple[list[float], State]:
    """Three rounds on digits: the losses of all evaluations, and the last weights."""
    digits = load_dataset("digits")
    model: Handle = plane.submit(initialise, architecture=CNN, seed=0, label=LABEL)
    scores = []
    for number in range(3):
        trained = [
            plane.submit(
                train,
                model,
                View(digits, np.arange(50 * device, 50 * device + 30 + 7 * device)),
                architecture=CNN,
                epochs=2,
                batch_size=16,
                learning_rate=0.1,
                seed=10 * number + device,
                label=LABEL,
            ).part("state")
            for device in range(4)
        ]
        model = plane.submit(average, *trained, label=LABEL)
        scores += [
            plane.submit(evaluate, state, View(digits, np.arange(900, 1000)), architecture=CNN, label=LABEL)
            for state in (model, *trained)
        ]
    return [score.value().loss_sum for score in scores], model.value()


def test_results_are_the_same_to_the_bit_in_one_process_and_in_several(executor: ProcessExecutor) -> None:
    scores, state = federated(WorkPlane(InlineExecutor()))
    spread_scores, spread_state = federated(WorkPlane(executor))
    assert scores == spread_scores
    assert all(torch.equal(state[name], spread_state[name]) for name in state)


def test_jobs_run_in_all_processes_and_light_ones_in_this(executor: ProcessExecutor) -> None:
    plane = WorkPlane(executor)
    handles = [plane.submit(where, mark=mark, label=LABEL) for mark in range(40)]
    light = plane.submit(where_lightly, label=LABEL)
    assert len({handle.value() for handle in handles} - {os.getpid()}) == 2
    assert light.value() == os.getpid()


def test_workers_map_a_data_set_that_is_written_once(executor: ProcessExecutor) -> None:
    plane, digits = WorkPlane(executor), load_dataset("digits")
    handles = [plane.submit(mapped, View(digits, np.arange(5)), mark=mark, label=LABEL) for mark in range(4)]
    assert {handle.value() for handle in handles} == {1}


def test_a_tensor_travels_without_the_storage_that_it_is_a_part_of(executor: ProcessExecutor) -> None:
    from edgesim.jobs import Returned
    from edgesim.jobs.wire import pack_outcomes

    part = torch.zeros(1_000_000)[:1]
    assert len(pack_outcomes([Returned(part)])) < 10_000
    plane = WorkPlane(executor)
    state = plane.submit(first_of, plane.submit(many, count=1000, label=LABEL), label=LABEL).value()
    assert state["first"].untyped_storage().nbytes() == 4


@pytest.mark.parametrize("awkwardly", [False, True], ids=["plain", "that cannot be pickled"])
def test_what_a_job_raises_in_a_worker_is_told_with_its_traceback(executor: ProcessExecutor, awkwardly: bool) -> None:
    handle = WorkPlane(executor).submit(fail, awkwardly=awkwardly, label=LABEL)
    reason = r"Awkward: lost on the way" if awkwardly else r"ZeroDivisionError: no such number"
    with pytest.raises(
        WorkFailure, match=rf"'fedavg', camera-3, at 12.5 s, job camera-3/train/7: .*{reason}"
    ) as caught:
        handle.value()
    assert "in fail" in "".join(caught.value.__cause__.__notes__)  # type: ignore[union-attr]


@job
def lock() -> object:
    return threading.Lock()


class Sealed:
    """Can be pickled, and not be read back."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unseal, ()


def _unseal() -> None:
    raise LookupError("the seal is broken")


@job
def sealed() -> Sealed:
    return Sealed()


@job
def leave() -> int:
    sys.exit(3)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lock, r"TypeError: what it returned cannot go to another process: cannot pickle '_thread.lock' object"),
        (sealed, r"LookupError: the seal is broken"),
        (leave, r"Exited: it called sys.exit\(3\)"),
    ],
)
def test_whatever_ends_a_job_in_a_worker_names_the_job(
    executor: ProcessExecutor, function: Callable[[], object], reason: str
) -> None:
    plane = WorkPlane(executor)
    before, ends = plane.submit(where, mark=1, label=LABEL), plane.submit(function, label=LABEL)
    after = plane.submit(where, mark=2, label=LABEL)
    with pytest.raises(WorkFailure, match=rf"'fedavg', camera-3, at 12.5 s, job camera-3/train/7: {reason}"):
        ends.value()
    assert before.value()
    assert after.value()


def test_of_outcomes_that_are_packed_together_only_those_fail_that_cannot_be() -> None:
    from edgesim.jobs import Returned
    from edgesim.jobs.executors import Raised
    from edgesim.jobs.wire import pack_outcomes, unpack_outcomes

    fine, broken, also = unpack_outcomes(pack_outcomes([Returned(1), Returned(threading.Lock()), Returned(2)]))
    assert (fine, also) == (Returned(1), Returned(2))
    assert isinstance(broken, Raised)
    assert "cannot pickle" in str(broken.error)


def test_a_worker_that_dies_is_a_failure_of_its_job_alone(executor: ProcessExecutor) -> None:
    plane = WorkPlane(executor)
    before = [plane.submit(where, mark=mark, label=LABEL) for mark in range(3)]
    deadly = plane.submit(die, label=LABEL._replace(node="camera-9", what="camera-9/train/1"))
    after = [plane.submit(where, mark=10 + mark, label=LABEL) for mark in range(3)]
    with pytest.raises(WorkFailure, match=r"camera-9, at 12.5 s, job camera-9/train/1: WorkerDied: .*died again"):
        deadly.value()
    assert all(handle.value() for handle in (*before, *after))


def test_a_job_whose_worker_was_killed_once_is_repeated(executor: ProcessExecutor, tmp_path: Path) -> None:
    assert WorkPlane(executor).submit(die, only_once=str(tmp_path / "died"), label=LABEL).value() == 7


def test_a_worker_that_is_killed_while_it_waits_costs_nothing_but_time(executor: ProcessExecutor) -> None:
    plane = WorkPlane(executor)
    worker = plane.submit(where, mark=0, label=LABEL).value()
    os.kill(worker, signal.SIGKILL)
    time.sleep(0.5)  # the pool finds out by itself
    assert plane.submit(where, mark=1, label=LABEL).value() != worker


def test_the_files_of_data_sets_go_with_the_executor() -> None:
    executor = ProcessExecutor(1)
    plane = WorkPlane(executor)
    plane.submit(mapped, View(load_dataset("digits"), np.arange(5)), mark=0, label=LABEL).value()
    folders = executor.data_folder
    assert sorted(file.suffix for file in folders.iterdir() if file.suffix) == [".facts", ".npy"]
    plane.close()
    assert not folders.exists()


def test_workers_end_and_tidy_up_when_the_process_of_their_run_is_killed() -> None:
    code = (
        "import sys, time\n"
        "from edgesim.jobs import Label, ProcessExecutor, WorkPlane\n"
        "from test_processes import where\n"
        "executor = ProcessExecutor(1)\n"
        "handle = WorkPlane(executor).submit(where, mark=1, label=Label('', '', 0.0, ''))\n"
        "print(handle.value(), executor.data_folder, executor.weights_folder, flush=True)\n"
        "time.sleep(100)\n"
    )
    command = [sys.executable, "-c", code]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=paths) as process:
        assert process.stdout is not None
        worker, *folders = process.stdout.readline().split()
        gone = [Path(f"/proc/{worker}"), *(Path(folder) for folder in folders if folder != "None")]
        assert all(path.exists() for path in gone)
        process.kill()
    for _ in range(300):
        if not any(path.exists() for path in gone):
            break
        time.sleep(0.1)
    assert not any(path.exists() for path in gone)


def test_there_is_at_least_one_process() -> None:
    with pytest.raises(ValueError, match="at least one process, not 0"):
        ProcessExecutor(0)


# Runs


def test_a_run_has_the_same_tables_in_one_process_and_in_several(tmp_path: Path) -> None:
    data = {"source": "digits", "proxy": {"share": 0.1}, "partition": {"kind": "iid", "samples": 20}}
    models = [
        {"name": "mlp", "hidden": [8], "dropout": 0.1},  # each job alone
        {"name": "mlp", "hidden": [2000]},  # side by side, spread over processes
    ]

    def tables(executor: str, workers: int | None) -> dict[str, bytes]:
        found = {}
        for model in models:
            scenario = tiny_scenario(model=model, data=data, horizon="8 min", drifts=[])
            out = tmp_path / f"{executor}-{workers}-{len(found)}"
            names = ["fedavg", "on_device"]
            folder = run(scenario, learners=names, seeds=[3], out=out, executor=executor, workers=workers)
            found |= {f"{len(found)} {file.name}": file.read_bytes() for file in (folder / "tables").iterdir()}
        return found

    inline = tables("inline", None)
    assert len(inline) >= 8
    assert tables("processes", 1) == inline
    assert tables("processes", 2) == inline


def test_jobs_of_two_threads_have_the_same_bits_in_one_process_and_in_several(tmp_path: Path) -> None:
    scenario = tiny_scenario(
        model={"name": "mlp", "hidden": [2000]},  # so large that two threads share the work
        data={"source": "digits", "proxy": {"share": 0.1}, "partition": {"kind": "iid", "samples": 20}},
        horizon="8 min",
        drifts=[],
        work={"threads_per_job": 2},
    )
    tables = []
    for executor, workers in (("inline", None), ("processes", 1), ("processes", 2)):
        out = tmp_path / f"{executor}-{workers}"
        folder = run(scenario, learners=["fedavg"], seeds=[3], out=out, executor=executor, workers=workers, cache=False)
        tables.append({file.name: file.read_bytes() for file in (folder / "tables").iterdir()})
    assert len(tables[0]) >= 8
    assert tables[1] == tables[0]
    assert tables[2] == tables[0]


@pytest.mark.parametrize(
    ("executor", "workers", "message"),
    [
        ("proceses", None, "there is no executor 'proceses'; known: inline, processes, ray"),
        ("inline", 2, "--workers: an inline executor has none; choose --executor processes or ray"),
        ("processes", 0, "--workers 0: at least one is needed"),
    ],
)
def test_an_executor_that_does_not_exist_is_refused_before_anything_runs(
    executor: str, workers: int | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        run(tiny_scenario(), learners=["on_device"], out=tmp_path / "run", executor=executor, workers=workers)
    assert not (tmp_path / "run").exists()


# Ray


@pytest.fixture(scope="module")
def ray_executor() -> Iterator[RayExecutor]:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own, while it starts
        executor = RayExecutor(2)
    yield executor
    executor.close()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_results_on_ray_are_the_same_to_the_bit(ray_executor: RayExecutor) -> None:
    scores, state = federated(WorkPlane(InlineExecutor()))
    spread_scores, spread_state = federated(WorkPlane(ray_executor))
    assert scores == spread_scores
    assert all(torch.equal(state[name], spread_state[name]) for name in state)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_run_on_ray_has_the_tables_of_a_run_in_one_process(ray_executor: RayExecutor, tmp_path: Path) -> None:
    for threads in (1, 2):
        scenario = tiny_scenario(
            model={"name": "mlp", "hidden": [8], "dropout": 0.1}, work={"threads_per_job": threads}
        )
        tables = []
        for executor in ("inline", "ray"):
            out = tmp_path / f"{executor}-{threads}"
            folder = run(scenario, learners=["fedavg"], seeds=[3], out=out, executor=executor)
            tables.append({file.name: file.read_bytes() for file in (folder / "tables").iterdir()})
        assert tables[0] == tables[1]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_ray_worker_that_dies_is_a_failure_of_its_job(ray_executor: RayExecutor) -> None:
    plane = WorkPlane(ray_executor)
    with pytest.raises(WorkFailure, match=r"camera-3, at 12.5 s, job camera-3/train/7: WorkerDied"):
        plane.submit(die, label=LABEL).value()
    assert plane.submit(where, mark=1, label=LABEL).value() != os.getpid()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_ray_worker_that_would_give_other_bits_computes_nothing(
    ray_executor: RayExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgesim.jobs.ray_executor.environment", lambda threads, device: "another CPU")
    plane = WorkPlane(ray_executor)
    with pytest.raises(WorkFailure, match=r"a Ray worker on .* computes with .*, the run with another CPU"):
        plane.submit(where, label=LABEL, mark=1).value()


def test_without_ray_a_person_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'edgesim\[ray\]'"):
        Choice("ray", 2).make(1)
    with pytest.raises(UserError, match="--ray-address: the executor is inline; choose --executor ray"):
        Choice().but(ray_address="auto")


# Code


def test_a_worker_that_loads_other_code_than_the_run_refuses_to_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from edgesim import job\n\n@job\ndef twice(number: float) -> float:\n    return 2 * number\n"
    file = tmp_path / "edited_job_of_a_test.py"
    file.write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    twice = importlib.import_module("edited_job_of_a_test").twice
    for text, expected in ((code, 3.0), (code.replace("2 *", "5 *"), None)):
        twice.digest()
        file.write_text(text, encoding="utf-8")
        plane = WorkPlane(ProcessExecutor(1))
        doubled = plane.submit(twice, 1.5, label=LABEL)
        if expected is None:
            with pytest.raises(WorkFailure, match="the code of edited_job_of_a_test:twice was edited"):
                doubled.value()
        else:
            assert doubled.value() == expected
        plane.close()
    del sys.modules["edited_job_of_a_test"]
