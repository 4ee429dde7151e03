"""The CIFAR-10 benchmark of pfl-research, on a GPU: seconds a round, and what its 1,500 rounds would take.

    python benchmarks/gpu.py                                   on the first GPU
    python benchmarks/gpu.py --data cifar10.npz --rounds 50
    python benchmarks/gpu.py --device cpu --rounds 1           shows that it works; one round takes seconds

1,000 users with 50 samples each, 50 of them a round, one local epoch in batches of 10 with a step size of 0.1, and
their network: two convolutions 3x3 with 32 and 64 channels, max-pooling, dropout, a hidden layer of 128, dropout
(``benchmarks/image_classification`` of apple/pfl-research, ``configs/baseline.yaml``). They evaluate the model on
10,000 samples after every ten rounds, which is 1,000 a round; here each of the 50 participants evaluates what it gets
on 20. Samples are drawn at random, and users may share some, unless ``--data`` names a file; times do not depend on it.

Two runs, one ``--rounds`` longer than the other: their difference is what rounds take, without start, environment and
the first evaluation of all devices. Full accounting is switched on: bytes, latencies, tables. Granqvist et al. 2024
(arXiv 2404.06430) publish how many minutes their 1,500 rounds took, and on which GPU; ``--published-minutes`` prints
the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

THEIR_ROUNDS = 1500
PERIOD_S = 60.0
WARM_UP = 2
"""Rounds of the shorter run."""


def simple_cnn(input_shape: Sequence[int], classes: int) -> nn.Module:
    """Their network, with PyTorch's own initial weights; they draw Glorot's."""
    channels, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(64 * ((height - 4) // 2) * ((width - 4) // 2), 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, classes),
    )


def scenario(rounds: int, users: int, cohort: int, data: Path | None) -> dict[str, Any]:
    """Their benchmark. The devices are fast enough that every participant is back before the next round."""
    source: dict[str, Any] = {"source": "synthetic", "samples": 1000 + 20 * users, "shape": [3, 32, 32], "classes": 10}
    if data is not None:
        source = {"source": "npz", "path": str(data.resolve())}
    return {
        "edgesim": 1,
        "name": "gpu",
        "horizon": f"{PERIOD_S * rounds + 59:g} s",
        "data": {
            **source,
            "proxy": {"share": "1 %"},
            "test_share": "15 %",
            "test_samples": 20,
            "partition": {"kind": "iid", "samples": 50},
            "arrival": {"rate": "0 /s", "buffer": 50},
        },
        "model": {"name": f"{Path(__file__).stem}:simple_cnn"},
        "pretrain": {"epochs": 0},
        "training": {"batch_size": 10, "learning_rate": 0.1},
        "devices": [
            {
                "name": "user",
                "count": users,
                "compute": "1 TFLOP/s",
                "memory": "1 GiB",
                "uplink": "1 Gbit/s",
                "downlink": "1 Gbit/s",
            }
        ],
        "cloud": {"compute": "1 TFLOP/s", "memory": "64 GiB", "ingress": "100 Gbit/s", "egress": "100 Gbit/s"},
        "learners": {
            "fedavg": {"period": f"{PERIOD_S:g} s", "participants": cohort, "epochs": 1, "distribute": "participants"}
        },
    }


def run(folder: Path, rounds: int, options: argparse.Namespace) -> tuple[float, int, int]:
    """Seconds, trainings and evaluations of a run."""
    import edgesim
    from edgesim.tables import read_table

    file = folder / f"{rounds}.yaml"
    file.write_text(json.dumps(scenario(rounds, options.users, options.cohort, options.data)))
    began = time.perf_counter()
    out = edgesim.run(
        file,
        out=folder / f"run-{rounds}",
        device=options.device,
        executor=options.executor,
        workers=options.workers,
        allow_code=True,
        cache=False,
        journal_bytes=0,
    )
    seconds = time.perf_counter() - began
    trained = int((read_table(out, "computations", ["kind"])["kind"] == "train").sum())
    return seconds, trained, len(read_table(out, "accuracy", ["device"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N, or auto: CUDA where there is any")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--cohort", type=int, default=50)
    parser.add_argument("--executor", help="inline, processes or ray; by default inline")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--data", type=Path, help="a file with the arrays x and y, as in `source: npz`")
    parser.add_argument("--published-minutes", type=float, help="what they took, on a GPU like this one")
    options = parser.parse_args()

    import torch

    from edgesim.jobs import cpu_capability, placement

    where = placement.find(options.device)
    if where.kind == "cpu":
        print("No GPU: these are the times of a CPU, which say nothing about those of a GPU.")
    print(f"{where.name or cpu_capability()}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        short_s, short_trained, short_evaluated = run(Path(folder), WARM_UP, options)
        long_s, trained, evaluated = run(Path(folder), WARM_UP + options.rounds, options)
    per_round_s = (long_s - short_s) / options.rounds
    print(f"{options.rounds} rounds: {trained - short_trained} trainings, {evaluated - short_evaluated} evaluations")
    print(f"{WARM_UP} rounds took {short_s:.1f} s, {WARM_UP + options.rounds} rounds {long_s:.1f} s")
    if per_round_s <= 0:
        raise SystemExit("the machine was too busy to tell what a round takes: give more --rounds")
    print(f"{per_round_s:.3f} s a round; {THEIR_ROUNDS} rounds would take {per_round_s * THEIR_ROUNDS / 60:.1f} min")
    if options.published_minutes:
        ratio = options.published_minutes * 60 / (per_round_s * THEIR_ROUNDS)
        print(f"they published {options.published_minutes:g} min: {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
