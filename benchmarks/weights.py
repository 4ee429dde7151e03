"""How fast weights go to worker processes and back: by way of files in memory, and inside of messages.

    python benchmarks/weights.py
    python benchmarks/weights.py --model torchvision:resnet18 --jobs 40

Jobs that get a model and return it changed, in as many processes as there are cores: `one` model for all of them, as
when a round begins, and `own`, a model for each. In turns; printed are medians of milliseconds of wall time a job, and
of processor time of the process of the run, whose pace all workers depend on.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import torch

from edgesim.jobs import Call, Calls, ProcessExecutor, Returned, job, processes
from edgesim.jobs.arithmetic import initialise
from edgesim.models import Architecture, State


@job
def changed(state: State, *, by: int) -> State:
    return {name: tensor + by for name, tensor in state.items()}


def milliseconds(executor: ProcessExecutor, models: list[State], jobs: int) -> tuple[float, float]:
    """Wall and processor time of a job."""
    began, processor = time.perf_counter(), time.process_time()
    waiting, under_way = list(range(jobs)), 0
    while waiting or under_way:
        while waiting and under_way < executor.slots:
            ticket = waiting.pop()
            call = Call((models[ticket % len(models)],), None)
            executor.start(ticket, Calls(changed, "sequential", {"by": 1}, (call,)))
            under_way += 1
        _, (outcome,) = executor.finish()
        assert isinstance(outcome, Returned)
        under_way -= 1
    executor.abandon()
    return (time.perf_counter() - began) / jobs * 1e3, (time.process_time() - processor) / jobs * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="torchvision:mobilenet_v2")
    parser.add_argument("--jobs", type=int, default=20, help="in a turn")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    architecture = Architecture.of(options.model, {}, input_shape=(3, 32, 32), classes=10)
    models = [initialise(architecture=architecture, seed=seed) for seed in range(options.jobs)]
    size = sum(tensor.nbytes for tensor in models[0].values()) / 2**20
    workers = os.cpu_count() or 1
    print(f"{options.model}, {size:.1f} MiB, {workers} processes, torch {torch.__version__}")
    by_memory = ProcessExecutor(workers)
    if by_memory.weights_folder is None:
        raise SystemExit("there is no room for files in memory here")
    processes.weights_folder = lambda prefix: None
    inside = ProcessExecutor(workers)
    executors = {"memory": by_memory, "messages": inside}
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    try:
        for turn in range(options.turns + 1):
            for name, executor in executors.items():
                for which, some in (("one", models[:1]), ("own", models)):
                    measured = milliseconds(executor, some, options.jobs)
                    if turn:  # the first one warms up
                        found.setdefault((which, name), []).append(measured)
    finally:
        for executor in executors.values():
            executor.close()
    for which in ("one", "own"):
        told = []
        for name in executors:
            wall, processor = (statistics.median(column) for column in zip(*found[which, name], strict=True))
            told.append(f"{name} {wall:.1f} ms ({processor:.1f} of the run's process)")
        ratios = [
            messages[0] / memory[0]
            for messages, memory in zip(found[which, "messages"], found[which, "memory"], strict=True)
        ]
        print(f"{which} model: {', '.join(told)}: {statistics.median(ratios):.1f} times as fast")


if __name__ == "__main__":
    main()
