"""Jobs in processes on this machine: joblib's loky processes, data sets in files that all of them map.

A data set is written once and mapped by every worker, so that it is in memory once; weights go with the calls that
read them. What costs less than handing it to another process stays in the process of the run: averages, and the
smallest networks side by side.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
import weakref
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ..errors import EdgesimError
from .executors import VIEW_CACHE_BYTES, Calls, InlineExecutor, Outcome, Raised, ViewCache, run
from .placement import CPU, Placement

if TYPE_CHECKING:
    from ..data import Dataset

AHEAD = 1
"""Batches that wait at the door for each worker, so that it need not wait for the next."""


SECONDS_PER_LOOK = 1.0
"""Wall time between two looks of a worker at whether the process of its run is still there."""


class WorkerDied(EdgesimError):
    """The process that ran a job ended without an answer, twice: killed, out of memory, or crashed."""

    def __str__(self) -> str:
        return "its worker process died, and died again when the job was repeated alone (killed? out of memory?)"


@final
class ProcessExecutor:
    """Runs batches in processes; see ``Executor``.

    Parameters
    ----------
    workers
        Processes, at least 1.
    threads_per_job
        Torch threads of each, at least 1.
    placement
        The device of PyTorch's that jobs of all processes compute on.
    """

    def __init__(self, workers: int, threads_per_job: int = 1, placement: Placement = CPU) -> None:
        if workers < 1:
            raise ValueError(f"jobs run in at least one process, not {workers}")
        self.workers = workers
        self.slots = workers * (1 + AHEAD)
        self.threads_per_job = threads_per_job
        self.placement = placement
        self._here = InlineExecutor(threads_per_job, placement=placement)
        self._folder = DatasetFolder()
        self._finished: deque[tuple[int, list[Outcome]]] = deque()
        self._under_way: dict[Future[bytes], tuple[int, Calls, bytes]] = {}
        self._pool = self._start_pool()
        for _ in range(workers):  # they start, and import torch, while the world is built
            self._pool.submit(_nothing)

    @property
    def data_folder(self) -> Path:
        """Where the data sets are that workers map; gone once the executor is closed."""
        return self._folder.path

    def start(self, ticket: int, calls: Calls) -> None:
        """See ``Executor``."""
        if calls.function.is_light(calls.path, calls.params):
            self._here.start(ticket, calls)
            self._finished.append(self._here.finish())
            return
        from .wire import pack_calls

        try:
            packed = pack_calls(calls, self._folder.publish)
        except Exception as error:  # something in it cannot go to another process
            self._finished.append((ticket, [Raised(error) for _ in calls.each]))
            return
        self._under_way[self._submit(packed)] = (ticket, calls, packed)

    def finish(self) -> tuple[int, list[Outcome]]:
        """See ``Executor``. Where a worker dies, what was under way is repeated, one batch at a time, so that it is
        known which of them it was."""
        from .wire import unpack_outcomes

        while not self._finished:
            done = wait(self._under_way, return_when=FIRST_COMPLETED).done
            if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                self._repeat_alone()
                break
            for future in done:
                ticket, _, _ = self._under_way.pop(future)
                self._finished.append((ticket, unpack_outcomes(future.result())))
        return self._finished.popleft()

    def abandon(self) -> None:
        """See ``Executor``."""
        for future in self._under_way:
            future.cancel()
        self._under_way.clear()
        self._finished.clear()

    def close(self) -> None:
        """See ``Executor``."""
        self.abandon()
        self._pool.shutdown(wait=True, kill_workers=True)
        self._folder.remove()

    def _start_pool(self) -> Any:
        from joblib.externals.loky.process_executor import ProcessPoolExecutor

        return ProcessPoolExecutor(
            self.workers,
            initializer=_begin,
            initargs=(os.getpid(), str(self._folder.path)),
            env={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},  # jobs set the number of threads that they need
        )

    def _submit(self, packed: bytes) -> Future[bytes]:
        how = str(self._folder.path), self.threads_per_job, self.placement.device
        future: Future[bytes] = self._pool.submit(_work, packed, *how)
        return future

    def _repeat_alone(self) -> None:
        from .wire import unpack_outcomes

        suspects = list(self._under_way.values())
        self._under_way.clear()
        self._pool.shutdown(wait=True, kill_workers=True)
        self._pool = self._start_pool()
        for ticket, calls, packed in suspects:
            try:
                outcomes = unpack_outcomes(self._submit(packed).result())
            except BrokenProcessPool:
                self._pool.shutdown(wait=True, kill_workers=True)
                self._pool = self._start_pool()
                outcomes = [Raised(WorkerDied()) for _ in calls.each]
            self._finished.append((ticket, outcomes))


@final
class DatasetFolder:
    """Data sets as files that several processes map; removed at the end of the process at the latest.

    Attributes
    ----------
    path
        The folder.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="edgesim-data-"))
        self._published: set[str] = set()
        self._remover = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def publish(self, dataset: Dataset) -> None:
        """Write a data set, if it is not there."""
        import numpy as np

        from .wire import dataset_facts

        if dataset.fingerprint in self._published:
            return
        np.save(_features(self.path, dataset.fingerprint), dataset.x, allow_pickle=False)
        _facts(self.path, dataset.fingerprint).write_bytes(dataset_facts(dataset))
        self._published.add(dataset.fingerprint)

    def remove(self) -> None:
        """Delete the files; processes that have mapped them keep what they see."""
        self._remover()


# In a worker --------------------------------------------------------------------------------------------------------


def _begin(run: int, folder: str) -> None:
    """Prepare a worker of the process ``run``, whose data sets are in ``folder``.

    Ctrl-C is for the process of the run, which ends its workers. Where that was killed itself, its workers tidy up and
    end. What jobs need is imported.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(run, folder), daemon=True).start()

    from . import arithmetic, wire  # noqa: F401 - they are there when the first job comes


def _end_with(run: int, folder: str) -> None:
    while os.getppid() == run:
        time.sleep(SECONDS_PER_LOOK)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _nothing() -> None:
    """A task that only makes a worker start."""


def _work(packed: bytes, folder: str, threads: int, device: str) -> bytes:
    """Compute a batch, in a worker."""
    from .wire import pack_outcomes, unpack_calls

    calls = unpack_calls(packed, lambda fingerprint: _dataset(folder, fingerprint))
    return pack_outcomes(run(calls, threads, _views(), device))


@lru_cache(maxsize=1)
def _views() -> ViewCache:
    return ViewCache(VIEW_CACHE_BYTES)


@lru_cache(maxsize=8)
def _dataset(folder: str, fingerprint: str) -> Dataset:
    import numpy as np

    from .wire import dataset_of

    x = np.load(_features(Path(folder), fingerprint), mmap_mode="r", allow_pickle=False)
    return dataset_of(_facts(Path(folder), fingerprint).read_bytes(), x)


def _features(folder: Path, fingerprint: str) -> Path:
    return folder / f"{fingerprint}.npy"


def _facts(folder: Path, fingerprint: str) -> Path:
    return folder / f"{fingerprint}.facts"
