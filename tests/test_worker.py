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

    def memory(self, node: str, event: str, work: Work, memory: object) -> None:
        self.rows.append(("memory", event))

    def computation(self, node: str, work: Work, *cells: Any) -> None:
        self.rows.append(("computation", cells[-2:]))


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
