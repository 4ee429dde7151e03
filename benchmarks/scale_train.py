"""A large fleet that really trains: 10,000 devices, an MLP 64-64-10, FedAvg with 100 a round, 20 rounds.

    python benchmarks/scale_train.py
    python benchmarks/scale_train.py --devices 2000 --rounds 10 --executor processes

The whole run in a process of its own, from reading the scenario to closed tables. Every device is evaluated at the
start, a participant when it gets a new model. Printed are wall and processor time, and the largest resident memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SCENARIO = """
edgesim: 1
name: scale-train
horizon: {horizon} s
data:
  source: synthetic
  samples: 50000
  shape: [64]
  classes: 10
  proxy: {{share: 1 %}}
  test_share: 20 %
  test_samples: 100
  partition: {{kind: dirichlet, alpha: 1.0, samples: 20}}
  arrival: {{rate: 0.01 /s, buffer: 40}}
model: {{name: mlp, hidden: [64]}}
pretrain: {{epochs: 1}}
training: {{batch_size: 32, learning_rate: 0.05}}
devices:
  - {{name: device, count: {devices}, compute: 1 GFLOP/s, memory: 64 MiB, uplink: 8 Mbit/s, downlink: 20 Mbit/s}}
cloud: {{compute: 1 TFLOP/s, memory: 64 GiB, ingress: 10 Gbit/s, egress: 10 Gbit/s}}
learners:
  fedavg: {{period: 60 s, participants: 100, epochs: 1, distribute: participants}}
"""


def measure(devices: int, rounds: int, executor: str) -> dict[str, Any]:
    """Run in this process."""
    began, processor = time.perf_counter(), os.times()
    import edgesim
    from edgesim.tables import read_table

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scale.yaml"
        file.write_text(SCENARIO.format(horizon=60 * rounds + 59, devices=devices))
        out = edgesim.run(file, out=Path(folder) / "run", executor=executor)
        seconds, after = time.perf_counter() - began, os.times()
        trained = int((read_table(out, "computations", ["kind"])["kind"] == "train").sum())
        evaluated = len(read_table(out, "accuracy", ["device"]))
    return {
        "seconds": seconds,
        "processor": sum(after[:4]) - sum(processor[:4]),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "trained": trained,
        "evaluated": evaluated,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--executor", default="inline")
    parser.add_argument("--in-this-process", action="store_true", help="for profilers: prints what was measured")
    options = parser.parse_args()
    if options.in_this_process:
        print(json.dumps(measure(options.devices, options.rounds, options.executor)))
        return
    command = [sys.executable, __file__, *sys.argv[1:], "--in-this-process"]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print(f"{options.devices:,} devices, {options.rounds} rounds, {options.executor}, load {os.getloadavg()[0]:.1f}")
    print(f"  {found['seconds']:.1f} s ({found['processor']:.1f} s of processor time)")
    print(f"  {found['trained']:,} trainings, {found['evaluated']:,} evaluations")
    print(f"  {found['peak'] / 2**30:.2f} GiB at most")


if __name__ == "__main__":
    main()
