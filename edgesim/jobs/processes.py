"""Jobs in processes on this machine: joblib's loky processes, data sets in files that all of them map.

A data set is written once and mapped by every worker, so that it is in memory once; weights go by way of files in
memory (``shared``), and where there is no room for these, with the calls that read them. What costs less than handing
it to another process stays in the process of the run: averages, and the smallest networks side by side.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ..errors import EdgesimError, UserError
from .executors import VIEW_CACHE_BYTES, Calls, InlineExecutor, Outcome, Raised, ViewCache, run
from .placement import CPU, Placement
from .shared import NoRoom, Parcel, SharedFolder, SharedWeights, TensorFile, mapped, weights_folder

if TYPE_CHECKING:
    from torch import Tensor

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
        self._memory = weights_folder("edgesim-weights-")
        self._weights = None if self._memory is None else SharedWeights(self._memory.path)
        self._finished: deque[tuple[int, list[Outcome]]] = deque()
        self._under_way: dict[Future[tuple[bytes, float]], _Sent] = {}
        self._sent = 0
        self.worker_s: dict[int, float] = {}
        self._pool = self._start_pool()
        for _ in range(workers):  # they start, and import torch, while the world is built
            self._pool.submit(_nothing)

    @property
    def data_folder(self) -> Path:
        """Where the data sets are that workers map; gone once the executor is closed."""
        return self._folder.path

    @property
    def weights_folder(self) -> Path | None:
        """Where weights are on their way; gone once the executor is closed. None where there is no place for them."""
        return None if self._memory is None else self._memory.path

    def start(self, ticket: int, calls: Calls) -> None:
        """See ``Executor``."""
        if calls.function.is_light(calls.path, calls.params):
            self._here.start(ticket, calls)
            self._finished.append(self._here.finish())
            return
        try:
            sent = self._pack(ticket, calls)
        except Exception as error:  # something in it cannot go to another process
            self._finished.append((ticket, [Raised(error) for _ in calls.each]))
            return
        try:
            future = self._submit(sent)
        except BrokenProcessPool:  # a worker has died meanwhile, idle or at work on something else
            self._repeat_alone()
            future = self._submit(sent)
        self._under_way[future] = sent

    def finish(self) -> tuple[int, list[Outcome]]:
        """See ``Executor``. Where a worker dies, what was under way is repeated, one batch at a time, so that it is
        known which of them it was."""
        while not self._finished:
            done = wait(self._under_way, return_when=FIRST_COMPLETED).done
            if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                self._repeat_alone()
                break
            for future in done:
                sent = self._under_way.pop(future)
                self._finished.append((sent.ticket, sent.outcomes(future, self.worker_s)))
        return self._finished.popleft()

    def abandon(self) -> None:
        """See ``Executor``."""
        for future, sent in self._under_way.items():
            if not future.cancel():  # its worker goes on
                future.add_done_callback(sent.forget)
        self._under_way.clear()
        self._finished.clear()
        if self._weights is not None:
            self._weights.clear()

    def close(self) -> None:
        """See ``Executor``."""
        self.abandon()
        self._pool.shutdown(wait=True, kill_workers=True)
        self._folder.remove()
        if self._memory is not None:
            self._memory.remove()

    def _pack(self, ticket: int, calls: Calls) -> _Sent:
        from .wire import pack_calls

        self._sent += 1
        if self._weights is not None:
            parcel = self._weights.begin()
            try:
                packed = pack_calls(calls, self._folder.publish, parcel.put)
                parcel.send()
            except NoRoom:
                pass
            except BaseException:
                parcel.discard()
                raise
            else:
                assert self._memory is not None
                return _Sent(ticket, calls, packed, parcel, self._memory.path / f"outcomes-{self._sent}")
        return _Sent(ticket, calls, pack_calls(calls, self._folder.publish))

    def _start_pool(self) -> Any:
        from joblib.externals.loky.process_executor import ProcessPoolExecutor

        return ProcessPoolExecutor(
            self.workers,
            initializer=_begin,
            initargs=(os.getpid(), [str(folder) for folder in (self.data_folder, self.weights_folder) if folder]),
            env={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},  # jobs set the number of threads that they need
        )

    def _submit(self, sent: _Sent) -> Future[tuple[bytes, float]]:
        how = (
            str(self.data_folder),
            sent.file,
            self.threads_per_job,
            self.placement.device,
            sent.calls.function.digest(),
        )
        future: Future[tuple[bytes, float]] = self._pool.submit(_work, sent.packed, *how)
        return future

    def _repeat_alone(self) -> None:
        suspects = list(self._under_way.values())
        self._under_way.clear()
        self._pool.shutdown(wait=True, kill_workers=True)
        self._pool = self._start_pool()
        for sent in suspects:
            if sent.file is not None:
                sent.file.unlink(missing_ok=True)  # half of it may be there
            try:
                outcomes = sent.outcomes(self._submit(sent), self.worker_s)
            except BrokenProcessPool:
                self._pool.shutdown(wait=True, kill_workers=True)
                self._pool = self._start_pool()
                outcomes = [Raised(WorkerDied()) for _ in sent.calls.each]
            self._finished.append((sent.ticket, outcomes))


@dataclass(frozen=True, slots=True)
class _Sent:
    """A batch under way.

    Attributes
    ----------
    packed
        It, as its worker gets it.
    parcel
        Its weights, and ``file``, where the worker puts large tensors of the outcomes; None where all is in messages.
    """

    ticket: int
    calls: Calls
    packed: bytes
    parcel: Parcel | None = None
    file: Path | None = None

    def outcomes(self, future: Future[tuple[bytes, float]], worker_s: dict[int, float]) -> list[Outcome]:
        """Wait for the outcomes, which then are in this process's own memory, and put down what they took. What goes
        wrong on the way is a failure of every call; only that the worker died is raised."""
        from .wire import unpack_outcomes

        try:
            packed, worker_s[self.ticket] = future.result()
            return unpack_outcomes(packed, self._mapped)
        except BrokenProcessPool:
            raise
        except (Exception, SystemExit) as error:
            return [Raised.of(error) for _ in self.calls.each]
        finally:
            self.forget(future)

    def forget(self, future: Future[tuple[bytes, float]]) -> None:
        """Let go of the files."""
        if self.parcel is not None and self.file is not None:
            self.file.unlink(missing_ok=True)
            self.parcel.end()

    def _mapped(self, name: str) -> Tensor:
        assert self.file is not None
        return mapped(self.file)


@final
class DatasetFolder:
    """Data sets as files that several processes map; removed at the end of the process at the latest.

    Attributes
    ----------
    path
        The folder.
    """

    def __init__(self) -> None:
        self._folder = SharedFolder("edgesim-data-")
        self.path = self._folder.path
        self._published: set[str] = set()

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
        self._folder.remove()


# In a worker --------------------------------------------------------------------------------------------------------


def _begin(run: int, folders: list[str]) -> None:
    """Prepare a worker of the process ``run``, whose data sets and weights are in ``folders``.

    Ctrl-C is for the process of the run, which ends its workers. Where that was killed itself, its workers tidy up and
    end. What jobs need is imported.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(run, folders), daemon=True).start()

    from . import arithmetic, wire  # noqa: F401 - they are there when the first job comes


def _end_with(run: int, folders: list[str]) -> None:
    while os.getppid() == run:
        time.sleep(SECONDS_PER_LOOK)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _nothing() -> None:
    """A task that only makes a worker start."""


def _work(packed: bytes, folder: str, file: Path | None, threads: int, device: str, digest: str) -> tuple[bytes, float]:
    """Compute a batch, in a worker, and tell how many seconds it took; large tensors of the outcomes go into ``file``,
    if there is one, which has the weights of calls beside it.

    Raises
    ------
    UserError
        The code of the job is not what it was when the process of the run worked out its ``digest``.
    """
    began = time.perf_counter()
    return _computed(packed, folder, file, threads, device, digest), time.perf_counter() - began


def _computed(packed: bytes, folder: str, file: Path | None, threads: int, device: str, digest: str) -> bytes:
    from .wire import pack_outcomes, unpack_calls

    def dataset(fingerprint: str) -> Dataset:
        return _dataset(folder, fingerprint)

    calls = unpack_calls(packed, dataset, None if file is None else lambda name: mapped(file.with_name(name)))
    function = calls.function
    if function.__module__ != "__main__" and function.digest() != digest:  # a script's functions come with the calls
        raise UserError(f"the code of {function.name} was edited while the run was going on: run it again")
    outcomes = run(calls, threads, _views(), device)
    if file is None:
        return pack_outcomes(outcomes)
    tensors = TensorFile(file)
    try:
        told = pack_outcomes(outcomes, tensors.add)
        tensors.close()
    except NoRoom:
        return pack_outcomes(outcomes)
    return told


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
