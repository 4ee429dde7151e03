"""Which executor a run uses: a choice of names and numbers, and the executor that it stands for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import UserError
from .executors import Executor, InlineExecutor
from .placement import CPU, Placement

ExecutorName = Literal["inline", "processes", "ray"]
EXECUTORS: tuple[ExecutorName, ...] = get_args(ExecutorName)


@dataclass(frozen=True, slots=True)
class Choice:
    """Where jobs are computed; changes no table.

    Attributes
    ----------
    executor
        ``inline``: in this process. ``processes``: in processes on this machine. ``ray``: on a Ray cluster.
    workers
        How many processes, at least 1; None for one a core that this process may use.
    ray_address
        Of a Ray cluster that runs already; None to start one here.
    """

    executor: ExecutorName = "inline"
    workers: int | None = None
    ray_address: str | None = None

    def but(self, executor: str | None = None, workers: int | None = None, ray_address: str | None = None) -> Choice:
        """The same with what is given instead.

        Raises
        ------
        UserError
            There is no such executor, it takes no workers, or there are fewer than one.
        """
        name = self.executor if executor is None else _known(executor)
        count = self.workers if workers is None else workers
        if workers is not None and name == "inline":
            raise UserError("--workers: an inline executor has none; choose --executor processes or ray")
        if count is not None and count < 1:
            raise UserError(f"--workers {count}: at least one is needed")
        if ray_address is not None and name != "ray":
            raise UserError(f"--ray-address: the executor is {name}; choose --executor ray")
        return Choice(name, count, ray_address or self.ray_address)

    def make(self, threads_per_job: int, placement: Placement = CPU) -> Executor:
        """Start the executor, whose jobs compute on a device of PyTorch's; whoever does closes it."""
        if self.executor == "inline":
            return InlineExecutor(threads_per_job, placement=placement)
        if self.executor == "ray":
            from .ray_executor import RayExecutor

            return RayExecutor(self.count, threads_per_job, self.ray_address, placement)
        from .processes import ProcessExecutor

        return ProcessExecutor(self.count, threads_per_job, placement)

    @property
    def count(self) -> int:
        """How many processes compute jobs."""
        return 1 if self.executor == "inline" else self.workers or available_cores()

    def facts(self) -> dict[str, str | int]:
        """What a manifest says of it."""
        return {"executor": self.executor, "workers": self.count}


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _known(name: str) -> ExecutorName:
    for known in EXECUTORS:
        if name == known:
            return known
    raise UserError(f"there is no executor {name!r}; known: {', '.join(EXECUTORS)}")
