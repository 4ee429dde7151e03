"""Many large models: 1,000 devices, each of which adapts a MobileNetV2 of its own, under a bound on memory.

    python benchmarks/scale_memory.py
    python benchmarks/scale_memory.py --devices 100 --memory "256 MiB" --executor processes

All personal models are alive until the run ends: 8.6 MiB each, 8.4 GiB of a thousand. The whole run in a process of its
own, from reading the scenario to closed tables, on few and small samples. Printed are wall and processor time, the
largest resident memory of that process and of the largest of its workers, and the most that the run folder held: what
memory has no room for, and the journal.
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
name: scale-memory
horizon: {horizon} s
data:
  source: synthetic
  samples: 5000
  shape: [3, 32, 32]
  classes: 10
  proxy: {{share: 1 %}}
  test_share: 20 %
  test_samples: 10
  partition: {{kind: dirichlet, alpha: 1.0, samples: 8}}
  arrival: {{rate: 0.01 /s, buffer: 8}}
model: {{name: "torchvision:mobilenet_v2"}}
pretrain: {{epochs: 1}}
training: {{batch_size: 8, learning_rate: 0.01}}
devices:
  - {{name: device, count: {devices}, compute: 10 GFLOP/s, memory: 1 GiB, uplink: 8 Mbit/s, downlink: 20 Mbit/s}}
cloud: {{compute: 1 TFLOP/s, memory: 64 GiB, ingress: 10 Gbit/s, egress: 10 Gbit/s}}
learners:
  on_device: {{trigger: {{every: 60 s}}, epochs: 1}}
work: {{memory: {memory}}}
"""

SECONDS_PER_LOOK = 1.0
"""Wall time between two looks at what the run folder holds."""


def measure(devices: int, rounds: int, memory: str, executor: str, folder: Path) -> dict[str, Any]:
    """Run in this process."""
    began, processor = time.perf_counter(), os.times()
    import edgesim
    from edgesim.tables import read_table

    file = folder / "scale.yaml"
    file.write_text(SCENARIO.format(horizon=60 * rounds + 30, devices=devices, memory=memory))
    out = edgesim.run(file, out=folder / "run", executor=executor)
    seconds, after = time.perf_counter() - began, os.times()
    trained = int((read_table(out, "computations", ["kind"])["kind"] == "train").sum())
    return {
        "seconds": seconds,
        "processor": sum(after[:4]) - sum(processor[:4]),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_of_a_worker": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        "trained": trained,
        "evaluated": len(read_table(out, "accuracy", ["device"])),
    }


def size_bytes(folder: Path) -> int:
    """Bytes of the files in a folder, which come and go."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1, help="how often each device adapts")
    parser.add_argument("--memory", default="2 GiB", help="what models and other results may take")
    parser.add_argument("--executor", default="inline")
    parser.add_argument("--in", type=Path, dest="folder", help="for profilers: run in this process, in this folder")
    options = parser.parse_args()
    given = options.devices, options.rounds, options.memory, options.executor
    if options.folder is not None:
        print(json.dumps(measure(*given, options.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, *sys.argv[1:], "--in", folder]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        most = 0
        while process.poll() is None:
            most = max(most, size_bytes(Path(folder)))
            time.sleep(SECONDS_PER_LOOK)
        assert process.stdout is not None
        if process.returncode:
            raise SystemExit(process.returncode)
        found = json.loads(process.stdout.read())
    print(
        f"{options.devices:,} MobileNetV2, {options.rounds} adaptations each, memory {options.memory}, "
        f"{options.executor}, load {os.getloadavg()[0]:.1f}"
    )
    print(f"  {found['seconds']:.0f} s ({found['processor']:.0f} s of processor time)")
    print(f"  {found['trained']:,} trainings, {found['evaluated']:,} evaluations")
    worker = f", {found['peak_of_a_worker'] / 2**30:.2f} GiB of a worker" if options.executor != "inline" else ""
    print(f"  {found['peak'] / 2**30:.2f} GiB of memory at most{worker}; {most / 2**30:.1f} GiB of files at most")


if __name__ == "__main__":
    main()
