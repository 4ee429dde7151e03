"""What computes in a node: what cannot be work is refused before anything is taken."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest

from edgesim.errors import Killed
from edgesim.signals import Signal
from edgesim.world.energy import EnergyMeter
from edgesim.world.recorder import Recorder
from edgesim.world.schedule import Clock
from edgesim.world.worker import Work, Worker


class Rows:
    """Takes the rows of jobs."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, Any]] = []
        self.busy_s: dict[str, float] = {}

    def memory(self, node: str, event: str, work: Work, memory: object) -> None:
        self.rows.append(("memory", event))

    def computation(self, node: str, work: Work, *cells: Any) -> None:
        self.rows.append(("computation", cells[-2:]))
        self.busy_s[work.job_id] = cells[3]


def worker() -> tuple[Worker, Rows]:
    log, speed, memory = Rows(), Signal.constant(10.0), Signal.constant(1000.0)
    return Worker(Clock(), "camera", speed, memory, EnergyMeter(None), cast(Recorder, log)), log


@pytest.mark.parametrize("flops", [-3.0, math.nan, math.inf])
def test_work_that_cannot_be_is_refused_and_leaves_no_trace(flops: float) -> None:
    own, log = worker()
    with pytest.raises(ValueError, match="work is finite and at least 0 FLOP"):
        own.compute(Work("job", "solve", flops, 100), None)
    own.close()
    assert own.memory.used_bytes == 0
    assert log.rows == []


def test_a_refused_job_has_its_row_and_takes_nothing() -> None:
    own, log = worker()
    own.compute(Work("large", "solve", 1.0, 2000), None)
    own.away_cause = "away"
    refused = own.compute(Work("away", "solve", 1.0, 100), "result")
    own.env.run()
    assert isinstance(refused.value, Killed)
    assert own.memory.used_bytes == 0
    assert log.rows == [
        ("memory", "refused"),
        ("computation", ("out_of_memory", "memory")),
        ("computation", ("killed", "away")),
    ]


def test_jobs_share_each_second_in_which_any_of_them_computes_or_is_in_overhead() -> None:
    own, log = worker()  # 10 FLOP/s
    own.compute(Work("short", "train", 10.0, 100, overhead_s=6.0), None)  # in FLOPs until 2 s, in overhead until 8 s
    own.compute(Work("long", "train", 50.0, 100, overhead_s=2.0), None)  # in FLOPs until 7 s, in overhead until 9 s
    own.env.run(5.0)
    own.compute(Work("late", "train", 20.0, 100), None)  # until 8 s
    own.env.run()
    assert own.env.now == 9.0
    # Two of them run until 5 s, three until 8 s, one until 9 s.
    assert log.busy_s == {"short": pytest.approx(3.5), "late": pytest.approx(1.0), "long": pytest.approx(4.5)}


def test_a_job_that_nobody_runs_beside_is_busy_for_its_flops_and_its_overhead() -> None:
    own, log = worker()
    for number in range(3):
        own.compute(Work(f"{number}", "train", 1.0, 100, overhead_s=0.3), None)
        own.env.run(own.env.now + 0.7)
    assert list(log.busy_s.values()) == pytest.approx([0.4] * 3)
