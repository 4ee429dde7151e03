"""Where the points of a sweep are run: the one place that knows joblib.

``loky`` processes on this machine; another backend that joblib knows (Ray's, Dask's) is a matter of its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ..errors import EdgesimError

Task = TypeVar("Task")
Result = TypeVar("Result")

LOCAL = "loky"
"""Processes on this machine, started afresh (not forked)."""


class WorkersDied(EdgesimError):
    """A worker process ended without an answer: killed, out of memory, or crashed."""


def outcomes(
    work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int, *, backend: str = LOCAL
) -> Iterator[Result]:
    """Call ``work`` on each task in ``jobs`` processes; yield what it returns, as it comes.

    With one job and the local backend everything happens in this process. ``work`` returns what went wrong rather than
    raising it: an exception would end the others.

    Raises
    ------
    WorkersDied
        What had not been yielded by then may have been done or not.
    """
    import joblib
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    # What runs outside jobs of the work plane has one thread a process; jobs set the number that they need.
    threads = {"inner_max_num_threads": 1} if backend == LOCAL else {}
    try:
        with joblib.parallel_config(backend=backend, n_jobs=jobs, **threads):
            parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs")
            yield from parallel(joblib.delayed(work)(task) for task in tasks)
    except TerminatedWorkerError as error:
        raise WorkersDied(str(error)) from None
