"""Jobs on a Ray cluster, started here or running already: the extra ``ray``.

Data sets are put into the cluster's object store once, by fingerprint; on one machine workers see them without a copy.
Other machines need the same versions, the same code of a user's own jobs and the same CPU capability or kind of GPU:
a worker that would give other bits computes nothing.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, final

from ..errors import UserError
from .executors import VIEW_CACHE_BYTES, Calls, InlineExecutor, Outcome, Raised, ViewCache, run
from .keys import environment
from .placement import CPU, Placement, find
from .processes import AHEAD, WorkerDied

if TYPE_CHECKING:
    from ..data import Dataset


@final
class RayExecutor:
    """Runs batches as Ray tasks; see ``Executor``.

    Parameters
    ----------
    workers
        Batches that are computed at the same time, at least 1; a cluster that is started here has as many CPUs.
    threads_per_job
        Torch threads of each, at least 1: the CPUs that a task asks for.
    address
        Of a cluster that runs already, such as ``auto`` or ``ray://head:10001``; None to start one here.
    placement
        The device of PyTorch's that jobs compute on. With CUDA every task asks for a GPU, and Ray says which.

    Raises
    ------
    UserError
        Ray is not installed, or there is no cluster at the address.
    """

    def __init__(
        self, workers: int, threads_per_job: int = 1, address: str | None = None, placement: Placement = CPU
    ) -> None:
        try:
            import ray
        except ImportError:
            raise UserError("the ray executor needs Ray: pip install 'edgesim[ray]'") from None
        self.workers = workers
        self.worker_s: dict[int, float] = {}
        self.slots = workers * (1 + AHEAD)
        self.threads_per_job = threads_per_job
        self.placement = placement
        self._ray = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            modules = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)  # where jobs may be defined
            started_here: dict[str, Any] = {
                "num_cpus": workers * threads_per_job,
                "include_dashboard": False,
                "runtime_env": {"env_vars": {"PYTHONPATH": modules}},
            }
            where = started_here if address is None else {}
            try:
                ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **where)
            except ConnectionError as error:
                raise UserError(f"--ray-address {address}: there is no Ray cluster: {error}") from None
        gpus = 0 if placement.kind == "cpu" else 1
        self._task = ray.remote(_work).options(num_cpus=threads_per_job, num_gpus=gpus, max_retries=1)
        self._here = InlineExecutor(threads_per_job, placement=placement)
        self._datasets: dict[str, Any] = {}
        self._finished: deque[tuple[int, list[Outcome]]] = deque()
        self._under_way: dict[Any, tuple[int, Calls]] = {}

    def start(self, ticket: int, calls: Calls) -> None:
        """See ``Executor``."""
        if calls.function.is_light(calls.path, calls.params):
            self._here.start(ticket, calls)
            self._finished.append(self._here.finish())
            return
        from .wire import pack_calls

        try:
            packed = pack_calls(calls, self._publish)
        except Exception as error:  # something in it cannot go to another process
            self._finished.append((ticket, [Raised(error) for _ in calls.each]))
            return
        # Ray shows a task no GPU but its own, which is its first.
        device = "cuda:0" if self.placement.kind == "cuda" else self.placement.device
        same = _Same(environment(self.threads_per_job, str(self.placement)), calls.function.digest())
        self._under_way[self._task.remote(packed, self._datasets, self.threads_per_job, device, same)] = (ticket, calls)

    def finish(self) -> tuple[int, list[Outcome]]:
        """See ``Executor``. Ray repeats a task whose worker dies, once."""
        from .wire import unpack_outcomes

        if not self._finished:
            done, _ = self._ray.wait(list(self._under_way), num_returns=1)
            for reference in done:
                ticket, calls = self._under_way.pop(reference)
                try:
                    packed, self.worker_s[ticket] = self._ray.get(reference)
                    outcomes = unpack_outcomes(packed)
                except (Exception, SystemExit) as error:  # Ray's, or of what cannot be unpacked here
                    died = isinstance(error, self._ray.exceptions.WorkerCrashedError)
                    outcomes = [Raised(WorkerDied()) if died else Raised.of(error) for _ in calls.each]
                self._finished.append((ticket, outcomes))
        return self._finished.popleft()

    def abandon(self) -> None:
        """See ``Executor``."""
        for reference in self._under_way:
            self._ray.cancel(reference, force=True)
        self._under_way.clear()
        self._finished.clear()

    def close(self) -> None:
        """See ``Executor``. A cluster that ran before goes on."""
        self.abandon()
        self._datasets.clear()
        if self._ours:
            self._ray.shutdown()

    def _publish(self, dataset: Dataset) -> None:
        from .wire import dataset_facts

        if dataset.fingerprint not in self._datasets:
            self._datasets[dataset.fingerprint] = self._ray.put((dataset_facts(dataset), dataset.x))


# In a worker --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Same:
    """What a worker's results are kept under, and so has to be there: what surrounds jobs, and the job's code."""

    surroundings: str
    digest: str


def _work(packed: bytes, datasets: Mapping[str, Any], threads: int, device: str, same: _Same) -> tuple[bytes, float]:
    """Compute a batch, in a worker, and tell how many seconds it took.

    Raises
    ------
    UserError
        This worker would give other bits than the process of the run: another version, another kind of CPU or GPU,
        other code.
    """
    from .wire import pack_outcomes, unpack_calls

    began = time.perf_counter()
    calls = unpack_calls(packed, lambda fingerprint: _dataset(fingerprint, datasets[fingerprint]))
    here = environment(threads, str(find(device)))
    if here != same.surroundings:
        raise UserError(f"a Ray worker on {platform.node()} computes with {here}, the run with {same.surroundings}")
    if calls.function.digest() != same.digest:
        raise UserError(f"a Ray worker on {platform.node()} has other code of {calls.function.name} than the run")
    return pack_outcomes(run(calls, threads, _views(), device)), time.perf_counter() - began


@lru_cache(maxsize=1)
def _views() -> ViewCache:
    return ViewCache(VIEW_CACHE_BYTES)


@lru_cache(maxsize=8)
def _dataset(fingerprint: str, reference: Any) -> Dataset:
    import ray

    from .wire import dataset_of

    return dataset_of(*ray.get(reference))
