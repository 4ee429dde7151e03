"""FedAvg against plain PyTorch: what a round costs in edgesim, with all of its accounting, and in bare loops.

    python benchmarks/peers.py                  w1 and w2, inline and in two processes, and the start
    python benchmarks/peers.py w1 --turns 9

100 clients, 10 a round, one local epoch, batches of 32. ``w1``: an MLP 64-64-10, 20 samples a client; ``w2``: a CNN of
16 and 32 channels on 3x32x32, 100 samples a client. Each program runs few and many rounds, in turns with the others;
a round's time is the difference over the rounds in between, so that reading the scenario, building the world and
closing tables are left out. Wall and processor time (of children too) are told, as medians over the turns, and the
ratio to the lean loop.

``lean``: one network, weights copied in, no deepcopy, no torch.optim, samples ready in memory. ``naive``: deepcopy, a
new optimizer and a ``DataLoader`` a client. ``timing only``: edgesim's world and its tables, without any training. With
evaluations, every client is evaluated on 100 samples when it gets a model; without, on none (``test_samples: 0``). All
on one thread. Without evaluations, other simulators do the same work where they are installed
(``peers_installed.py``).
"""

from __future__ import annotations

import argparse
import copy
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import peers_installed
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesim.jobs import cpu_capability
from edgesim.models import Architecture, initial_state, instantiate, named_tensors

CLIENTS, A_ROUND, BATCH, TESTS, LEARNING_RATE = 100, 10, 32, 100, 0.01


@dataclass(frozen=True)
class Workload:
    name: str
    architecture: Architecture
    model: str
    samples: int
    few: int
    many: int
    evaluations: bool = True


W1 = Workload(
    "w1",
    Architecture.of("mlp", {"hidden": [64]}, input_shape=(64,), classes=10),
    "{name: mlp, hidden: [64]}",
    samples=20,
    few=10,
    many=310,
)
W2 = Workload(
    "w2",
    Architecture.of("cnn", {"channels": [16, 32]}, input_shape=(3, 32, 32), classes=10),
    "{name: cnn, channels: [16, 32]}",
    samples=100,
    few=1,
    many=9,
)

SCENARIO = """
edgesim: 1
name: {name}
horizon: {horizon} s
data:
  source: npz
  path: {data}
  proxy: {{share: 1 %}}
  test_share: 40 %
  test_samples: {tests}
  partition: {{kind: iid, samples: {samples}}}
  arrival: {{rate: 0 /s, labelled: 100 %, buffer: {samples}}}
model: {model}
pretrain: {{epochs: 0}}
training: {{batch_size: 32, learning_rate: 0.01}}
devices:
  - {{name: client, count: 100, compute: 1 TFLOP/s, memory: 4 GiB, uplink: 10 Mbit/s, downlink: 10 Mbit/s}}
cloud: {{compute: 1 TFLOP/s, memory: 16 GiB, ingress: 1 Gbit/s, egress: 1 Gbit/s}}
learners:
  fedavg: {{period: 60 s, participants: 10, epochs: 1, distribute: participants}}
"""

Program = Callable[[int], None]
"""Runs so many rounds."""


def simulator(
    workload: Workload, folder: Path, executor: str, workers: int | None, *, timing_only: bool = False
) -> Program:
    import edgesim

    data = noise(workload.architecture.input_shape, 3 * (workload.samples + TESTS) * CLIENTS // 2, folder)

    def run(rounds: int) -> None:
        file = folder / f"{workload.name}-{rounds}.yaml"
        file.write_text(
            SCENARIO.format(
                name=workload.name,
                horizon=60 * rounds + 59,
                data=data,
                tests=TESTS if workload.evaluations else 0,
                samples=workload.samples,
                model=workload.model,
            )
        )
        out = Path(tempfile.mkdtemp(dir=folder)) / "run"
        edgesim.run(file, out=out, executor=executor, workers=workers, timing_only=timing_only)

    return run


def noise(shape: tuple[int, ...], count: int, folder: Path) -> Path:
    """Samples in bytes, as data sets come: speed does not ask what is on them."""
    rng = np.random.default_rng(0)
    file = folder / "noise.npz"
    np.savez(file, x=rng.integers(0, 256, (count, *shape), np.uint8), y=rng.integers(0, 10, count))
    return file


def client_data(workload: Workload) -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(count, *workload.architecture.input_shape, generator=generator)
        return x, torch.randint(0, 10, (count,), generator=generator)

    return [draw(workload.samples) for _ in range(CLIENTS)], [draw(TESTS) for _ in range(CLIENTS)]


def score(module: nn.Module, x: Tensor, y: Tensor) -> None:
    module.eval()
    with torch.inference_mode():
        logits = module(x)
        functional.cross_entropy(logits, y, reduction="sum").item()
        int((logits.argmax(1) == y).sum())


def lean_loop(workload: Workload) -> Program:
    training, tests = client_data(workload)
    module = instantiate(workload.architecture, seed=0)
    _, tensors = zip(*named_tensors(module), strict=True)
    parameters = list(module.parameters())
    start = list(initial_state(workload.architecture, seed=0).values())

    def run(rounds: int) -> None:
        generator = torch.Generator().manual_seed(0)
        served = start
        for _ in range(rounds):
            chosen = torch.randperm(CLIENTS, generator=generator)[:A_ROUND].tolist()
            mean: list[Tensor] = []
            for count, client in enumerate(chosen, start=1):
                with torch.no_grad():
                    torch._foreach_copy_(tensors, served)
                if workload.evaluations:
                    score(module, *tests[client])
                module.train()
                x, y = training[client]
                order = torch.randperm(len(x), generator=generator)
                for begin in range(0, len(x), BATCH):
                    rows = order[begin : begin + BATCH]
                    loss = functional.cross_entropy(module(x[rows]), y[rows])
                    gradients = torch.autograd.grad(loss, parameters)
                    with torch.no_grad():
                        torch._foreach_add_(parameters, gradients, alpha=-LEARNING_RATE)
                with torch.no_grad():
                    if mean:
                        torch._foreach_lerp_(mean, list(tensors), 1 / count)
                    else:
                        mean = [tensor.detach().clone() for tensor in tensors]
            served = mean

    return run


def naive_loop(workload: Workload) -> Program:
    from torch.utils.data import DataLoader, TensorDataset

    training, tests = client_data(workload)
    sets = [TensorDataset(x, y) for x, y in training]

    def run(rounds: int) -> None:
        generator = torch.Generator().manual_seed(0)
        server = instantiate(workload.architecture, seed=0)
        for _ in range(rounds):
            states = []
            for client in torch.randperm(CLIENTS, generator=generator)[:A_ROUND].tolist():
                module = copy.deepcopy(server)
                if workload.evaluations:
                    score(module, *tests[client])
                module.train()
                optimizer = torch.optim.SGD(module.parameters(), lr=LEARNING_RATE)
                for x, y in DataLoader(sets[client], batch_size=BATCH, shuffle=True):
                    optimizer.zero_grad()
                    functional.cross_entropy(module(x), y).backward()
                    optimizer.step()
                states.append(module.state_dict())
            server.load_state_dict({name: sum(state[name] for state in states) / A_ROUND for name in states[0]})

    return run


def other_simulators(workload: Workload) -> dict[str, Program]:
    task = peers_installed.Task(
        lambda: instantiate(workload.architecture, seed=0),
        client_data(workload)[0],
        a_round=A_ROUND,
        batch=BATCH,
        learning_rate=LEARNING_RATE,
    )
    there = peers_installed.installed()
    for name in peers_installed.ADAPTERS.keys() - there:
        print(f"{name}: not installed")
    return {name: peers_installed.program(name, task) for name in there}


def round_s(program: Program, workload: Workload, *, slow: bool = False) -> tuple[float, float]:
    """Wall and processor seconds of a round; of processes that stay, as Ray's, the processor's are not seen."""
    clocks = []
    few, many = (1, 5) if slow else (workload.few, workload.many)
    for rounds in (few, many):
        gc.collect()
        times, wall = os.times(), time.perf_counter()
        program(rounds)
        wall, after = time.perf_counter() - wall, os.times()
        clocks.append((wall, sum(after[:4]) - sum(times[:4])))
    rounds = many - few
    return (clocks[1][0] - clocks[0][0]) / rounds, (clocks[1][1] - clocks[0][1]) / rounds


def compare(workload: Workload, turns: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        programs: dict[str, Program] = {
            "lean loop": lean_loop(workload),
            "naive loop": naive_loop(workload),
            "edgesim": simulator(workload, Path(folder), "inline", None),
            "edgesim, 2 processes": simulator(workload, Path(folder), "processes", 2),
            "edgesim, timing only": simulator(workload, Path(folder), "inline", None, timing_only=True),
        }
        if not workload.evaluations:
            programs |= other_simulators(workload)
        for program in programs.values():
            program(1)
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
        for _ in range(turns):
            for name, program in programs.items():
                seconds[name].append(round_s(program, workload, slow=name in peers_installed.SLOW))
    kind = "with" if workload.evaluations else "without"
    print(f"\n{workload.name}, {kind} evaluations: milliseconds a round (median of {turns} turns)")
    for name, measured in seconds.items():
        wall, processor = (statistics.median(column) for column in zip(*measured, strict=True))
        pairs = list(zip(seconds["lean loop"], measured, strict=True))
        ratios = [statistics.median(lean[clock] / own[clock] for lean, own in pairs) for clock in (0, 1)]
        print(
            f"  {name:<21} wall {1e3 * wall:8.2f}   processor {1e3 * processor:8.2f}   "
            f"lean loop / this: wall {ratios[0]:.2f}, processor {ratios[1]:.2f}",
            flush=True,
        )


def start(turns: int) -> None:
    """From the start of a process to its end, with one round of w1."""
    with tempfile.TemporaryDirectory() as folder:
        simulator(W1, Path(folder), "inline", None)(1)
        for executor in ("inline", "processes"):
            seconds = []
            for _ in range(turns):
                out = tempfile.mkdtemp(dir=folder)
                command = f"import edgesim; edgesim.run('w1-1.yaml', out='{out}/run', executor='{executor}')"
                began = time.perf_counter()
                subprocess.run([sys.executable, "-c", command], check=True, cwd=folder)
                seconds.append(time.perf_counter() - began)
            print(
                f"start of a process to the end of a run of one round of w1, {executor}: {min(seconds):.2f} s at best"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="WHAT", help="w1, w2, start")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {cpu_capability()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for workload in (W1, W2):
        if not options.what or workload.name in options.what:
            for evaluations in (False, True):
                compare(replace(workload, evaluations=evaluations), options.turns)
    if not options.what or "start" in options.what:
        start(options.turns)


if __name__ == "__main__":
    main()
