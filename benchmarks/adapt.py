"""A hundred devices adapt at one drift: what a device's adaptation costs, with all accounting.

    python benchmarks/adapt.py                  the MLP of w1 (side by side) and the CNN of w2 (each alone)
    python benchmarks/adapt.py mlp --turns 9

Every device is struck by drift at the same instant (its samples are replaced), trains its own model on its 20 samples
(the CNN: 100) for one epoch in batches of 32, and deploys it. Each program runs few and many drifts, in turns with the
other; an adaptation's time is the difference over the drifts and devices in between. edgesim evaluates the model that
serves when the data change and the one that is deployed; the loop does the same evaluations where it says so. The loop
has one network, weights copied in and out, no torch.optim, samples ready in memory. All on one thread; told are medians
over the turns, wall and processor time.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edgesim.jobs import cpu_capability, shapes
from edgesim.models import Architecture, initial_state, instantiate, named_tensors

DEVICES, TESTS, BATCH, LEARNING_RATE = 100, 100, 32, 0.01
CASES = {
    "mlp": (
        Architecture.of("mlp", {"hidden": [64]}, input_shape=(64,), classes=10),
        "{name: mlp, hidden: [64]}",
        20,
        2,
        22,
    ),
    "cnn": (
        Architecture.of("cnn", {"channels": [16, 32]}, input_shape=(3, 32, 32), classes=10),
        "{name: cnn, channels: [16, 32]}",
        100,
        1,
        2,
    ),
}
"""Architecture, its text, samples of a device, few and many drifts."""

SCENARIO = """
edgesim: 1
name: adapt
horizon: {horizon} s
data:
  source: npz
  path: {data}
  proxy: {{share: 1 %}}
  test_share: 30 %
  test_samples: {tests}
  partition: {{kind: iid, samples: {samples}}}
  arrival: {{rate: 0 /s, labelled: 100 %, buffer: {samples}}}
model: {model}
pretrain: {{epochs: 0}}
training: {{batch_size: 32, learning_rate: 0.01}}
devices:
  - {{name: device, count: 100, compute: 1 TFLOP/s, memory: 4 GiB, uplink: 10 Mbit/s, downlink: 10 Mbit/s}}
cloud: {{compute: 1 TFLOP/s, memory: 16 GiB, ingress: 1 Gbit/s, egress: 1 Gbit/s}}
drifts:
  - {{name: turnover, kind: replacement, every: 60 s, replace: 50 %}}
learners:
  on_device: {{trigger: drift, epochs: 1}}
"""

Program = Callable[[int], None]
"""Goes through so many drifts."""


def simulator(case: str, folder: Path, executor: str, workers: int | None) -> Program:
    import edgesim
    from edgesim.tables import read_table

    architecture, model, samples, _, _ = CASES[case]
    rng, data, count = np.random.default_rng(0), folder / "noise.npz", 2 * (samples + TESTS) * DEVICES
    np.savez(data, x=rng.integers(0, 256, (count, *architecture.input_shape), np.uint8), y=rng.integers(0, 10, count))

    def run(drifts: int) -> None:
        file = folder / f"{case}-{drifts}.yaml"
        file.write_text(
            SCENARIO.format(
                horizon=60 * drifts + 59,
                data=data,
                tests=TESTS,
                samples=samples,
                model=model,
            )
        )
        out = edgesim.run(file, out=Path(tempfile.mkdtemp(dir=folder)) / "run", executor=executor, workers=workers)
        trained = (read_table(out, "computations", ["kind"])["kind"] == "train").sum()
        assert trained == drifts * DEVICES, f"{trained} adaptations"

    return run


def loop(case: str, evaluations: bool) -> Program:
    architecture, _, samples, _, _ = CASES[case]
    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(count, *architecture.input_shape, generator=generator)
        return x, torch.randint(0, 10, (count,), generator=generator)

    training, tests = [draw(samples) for _ in range(DEVICES)], [draw(TESTS) for _ in range(DEVICES)]
    module = instantiate(architecture, seed=0)
    _, tensors = zip(*named_tensors(module), strict=True)
    parameters = list(module.parameters())
    start = list(initial_state(architecture, seed=0).values())

    def score(x: Tensor, y: Tensor) -> None:
        module.eval()
        with torch.inference_mode():
            logits = module(x)
            functional.cross_entropy(logits, y, reduction="sum").item()
            int((logits.argmax(1) == y).sum())
        module.train()

    def run(drifts: int) -> None:
        states = [start] * DEVICES
        for _ in range(drifts):
            for device, (x, y) in enumerate(training):
                with torch.no_grad():
                    torch._foreach_copy_(tensors, states[device])
                if evaluations:
                    score(*tests[device])
                order = torch.randperm(len(x), generator=generator)
                for begin in range(0, len(x), BATCH):
                    rows = order[begin : begin + BATCH]
                    loss = functional.cross_entropy(module(x[rows]), y[rows])
                    gradients = torch.autograd.grad(loss, parameters)
                    with torch.no_grad():
                        torch._foreach_add_(parameters, gradients, alpha=-LEARNING_RATE)
                states[device] = [tensor.detach().clone() for tensor in tensors]
                if evaluations:
                    score(*tests[device])

    return run


def measured(program: Program, few: int, many: int) -> tuple[float, float]:
    """Wall and processor microseconds of a device's adaptation."""
    clocks = []
    for drifts in (few, many):
        gc.collect()
        times, wall = os.times(), time.perf_counter()
        program(drifts)
        wall, after = time.perf_counter() - wall, os.times()
        clocks.append((wall, sum(after[:4]) - sum(times[:4])))
    count = (many - few) * DEVICES
    return 1e6 * (clocks[1][0] - clocks[0][0]) / count, 1e6 * (clocks[1][1] - clocks[0][1]) / count


def compare(case: str, turns: int) -> None:
    architecture, _, _, few, many = CASES[case]
    with tempfile.TemporaryDirectory() as folder:
        programs: dict[str, Program] = {
            "loop": loop(case, evaluations=False),
            "loop with evaluations": loop(case, evaluations=True),
            "edgesim": simulator(case, Path(folder), "inline", None),
        }
        if case == "cnn":
            programs["edgesim, 2 processes"] = simulator(case, Path(folder), "processes", 2)
        for program in programs.values():
            program(1)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
        for _ in range(turns):
            for name, program in programs.items():
                found[name].append(measured(program, few, many))
    path = shapes.training_path({"architecture": architecture, "batch_size": BATCH})
    print(f"\n{case}: microseconds a device, median of {turns} turns; the table says: {path}")
    for name, clocks in found.items():
        wall, processor = (statistics.median(column) for column in zip(*clocks, strict=True))
        print(f"  {name:<22} wall {wall:9.0f}   processor {processor:9.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {cpu_capability()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for case in options.cases or CASES:
        compare(case, options.turns)


if __name__ == "__main__":
    main()
