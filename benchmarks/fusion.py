"""Which shapes of jobs are faster side by side: measures and proposes the table ``edgesim/jobs/fusion.json``.

    python benchmarks/fusion.py                 prints what it measures
    python benchmarks/fusion.py --write         and writes the table
    python benchmarks/fusion.py --device cuda   measures on a GPU; --write keeps what the table says of CPUs

For each shape, K jobs are computed one after the other and side by side, in turns, on one thread; the figure is the
median over the turns of the ratio of processor times, of wall times on a GPU. A class is fused where ten jobs together
are at least 1.2 times as fast as alone, and a job that comes alone is not more than 2.5 times as slow for it. Fully
connected networks stand side by side as in edgesim; convolutional ones by ``torch.func.vmap`` over
stacked parameters, which is here to be measured and nowhere else.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional

from edgesim.jobs import cpu_capability, placement, shapes, stacked_evaluation, stacked_training
from edgesim.jobs.arithmetic import evaluate, initialise, train
from edgesim.models import Architecture, instantiate

COUNTS = (1, 10, 64)
SAMPLES = 100
LEAST_GAIN = 1.2
MOST_LOSS = 2.5
TABLE = Path(shapes.__file__).with_name("fusion.json")


def mlp(features: int, *hidden: int) -> Architecture:
    return Architecture.of("mlp", {"hidden": list(hidden)}, input_shape=(features,), classes=10)


TRAINED = [
    (mlp(16, 8), 16),
    (mlp(64, 16), 16),
    (mlp(64, 64), 32),
    (mlp(561, 128), 16),
    (mlp(784, 200), 32),
    (mlp(784, 1024, 256), 32),
    (mlp(3072, 2048, 1024), 32),
]
"""A network and a batch size for each decade."""

CONVOLUTIONAL = [
    Architecture.of("cnn", {"channels": [8]}, input_shape=(1, 8, 8), classes=10),
    Architecture.of("cnn", {"channels": [16, 32]}, input_shape=(3, 32, 32), classes=10),
]


def samples(architecture: Architecture, number: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(number)
    x = rng.normal(size=(SAMPLES, *architecture.input_shape)).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(rng.integers(0, 10, SAMPLES))


def ratio(alone: Callable[[], object], together: Callable[[], object], turns: int) -> float:
    """How many times faster the second is."""
    alone(), together()
    clock = time.process_time if placement.current().type == "cpu" else time.perf_counter  # results wait for the GPU
    ratios = []
    for _ in range(turns):
        seconds = []
        for program in (alone, together):
            began, repeats = clock(), 0
            while clock() - began < 0.02 or not repeats:
                program()
                repeats += 1
            seconds.append((clock() - began) / repeats)
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios)


def training(architecture: Architecture, batch_size: int, count: int, turns: int) -> float:
    params: dict[str, Any] = {"epochs": 1, "batch_size": batch_size, "learning_rate": 0.01}
    params["architecture"] = architecture
    elements: list[Any] = [
        ((initialise(architecture=architecture, seed=n), samples(architecture, n)), n) for n in range(count)
    ]
    return ratio(
        lambda: [train(*inputs, seed=seed, **params) for inputs, seed in elements],
        lambda: stacked_training.train(elements, **params),
        turns,
    )


def evaluation(architecture: Architecture, count: int, turns: int) -> float:
    elements: list[Any] = [
        ((initialise(architecture=architecture, seed=n), samples(architecture, n)), None) for n in range(count)
    ]
    return ratio(
        lambda: [evaluate(*inputs, architecture=architecture) for inputs, _ in elements],
        lambda: stacked_evaluation.evaluate(elements, architecture=architecture),
        turns,
    )


def by_vmap(architecture: Architecture, count: int, turns: int) -> float:
    """One epoch of plain SGD on networks side by side, by ``vmap``; without shuffling, which would cost the same."""
    module = instantiate(architecture, seed=0)
    parameters, _ = stack_module_state([instantiate(architecture, seed=n) for n in range(count)])
    data = [samples(architecture, n) for n in range(count)]
    x, y = torch.stack([x for x, _ in data]), torch.stack([y for _, y in data])

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(module, weights, (x,)), y)

    step = vmap(grad_and_value(loss))

    def together() -> None:
        weights = {name: tensor.detach().clone() for name, tensor in parameters.items()}
        for start in range(0, SAMPLES, 32):
            gradients, _ = step(weights, x[:, start : start + 32], y[:, start : start + 32])
            for name, gradient in gradients.items():
                weights[name] -= 0.01 * gradient

    elements = [(initialise(architecture=architecture, seed=n), data[n], n) for n in range(count)]
    params: dict[str, Any] = {"epochs": 1, "batch_size": 32, "learning_rate": 0.01, "architecture": architecture}
    return ratio(lambda: [train(weights, own, seed=n, **params) for weights, own, n in elements], together, turns)


def measure(turns: int) -> dict[str, dict[str, Any]]:
    classes: dict[str, dict[str, Any]] = {}
    kind = placement.current().type

    def note(shape: str, architecture: Architecture, gains: Sequence[float], eligible: bool) -> None:
        by_count = dict(zip(map(str, COUNTS), [round(gain, 2) for gain in gains], strict=True))
        fused = eligible and gains[1] >= LEAST_GAIN and gains[0] * MOST_LOSS >= 1
        classes[shape] = {kind: {"fused": fused, "speed_up": by_count, "measured_on": architecture.key}}
        print(f"{shape:<18} {by_count}  {'fused' if fused else 'alone'}   {architecture.key}", flush=True)

    for architecture, batch_size in TRAINED:
        gains = [training(architecture, batch_size, count, turns) for count in COUNTS]
        note(str(shapes.shape_class("train", architecture, batch_size)), architecture, gains, eligible=True)
    for architecture, _ in TRAINED:
        gains = [evaluation(architecture, count, turns) for count in COUNTS]
        note(
            str(shapes.shape_class("evaluate", architecture, shapes.EVALUATION_ROWS)),
            architecture,
            gains,
            eligible=True,
        )
    for architecture in CONVOLUTIONAL if kind == "cpu" else ():
        gains = [by_vmap(architecture, count, turns) for count in COUNTS]
        side = architecture.input_shape[-1]
        note(f"train cnn {side}x{side} by vmap", architecture, gains, eligible=False)
    return classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    where = placement.find(options.device)
    machine = f"{where.name or cpu_capability()}, {platform.system()}, torch {torch.__version__}, one thread"
    print(machine)
    with placement.on(where.device):
        classes = measure(options.turns)
    if options.write:
        found: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
        told = f"{machine}; {SAMPLES} samples a job, one epoch; jobs in a batch: times as fast as alone"
        found["measured"][where.kind] = told
        for shape, devices in classes.items():
            found["classes"].setdefault(shape, {}).update(devices)
        TABLE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
