"""How large a world fits: virtual time for a hundred thousand and a million devices, without training.

    python benchmarks/scale.py                     all cases
    python benchmarks/scale.py once rounds         some of them
    python benchmarks/scale.py rounds --devices 50000

``once``: 100,000 devices each upload, train and download once, all at the same time. ``rounds``: 1,000,000 devices
that come and go; a round samples 10,000 of those that are there, which download, train and upload; five rounds.
``traces``: 100,000 devices whose bandwidth, memory and compute change all the time do what those of ``once`` do.

Each case runs in a process of its own, through ``edgesim.simulation.simulate`` and a run folder on disk; printed are
wall time (imports left out), SimPy events, rows, and the largest resident memory of the process, imports included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

LINK = {"uplink": "8 Mbit/s", "downlink": "20 Mbit/s", "latency": "20 ms"}
HARDWARE = {"compute": "1 GFLOP/s", "memory": "64 MiB", **LINK}


def steps(unit: str, *values: float) -> dict[str, Any]:
    """A value every 10 s, over and over."""
    times = [f"{10 * number} s" for number in range(len(values))]
    return {
        "steps": dict(zip(times, [f"{value} {unit}" for value in values], strict=True)),
        "repeat": f"{10 * len(values)} s",
    }


CHANGING = {
    "compute": steps("GFLOP/s", 1, 0.2, 0.6, 1, 0.8),
    "memory": steps("MiB", 64, 32, 48),
    "uplink": steps("Mbit/s", 8, 2, 5, 0, 9, 3, 1),
    "downlink": steps("Mbit/s", 20, 7, 0, 3, 12),
    "latency": "20 ms",
}


def churning(devices: int) -> list[dict[str, Any]]:
    """Twenty groups; at any time about a fifth of the devices is away."""
    return [
        {
            "name": f"g{number}",
            "count": devices // 20,
            **HARDWARE,
            "away": [{"at": f"{30 * number} s", "for": "2 min", "every": "10 min"}],
        }
        for number in range(20)
    ]


CASES: dict[str, tuple[int, Any]] = {
    "once": (100_000, lambda devices: [{"name": "device", "count": devices, **HARDWARE}]),
    "rounds": (1_000_000, churning),
    "traces": (100_000, lambda devices: [{"name": "device", "count": devices, **CHANGING}]),
}


def scenario_of(groups: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "edgesim": 1,
        "name": "scale",
        "horizon": "20 min",
        "data": {
            "source": "digits",
            "proxy": {"share": "20 %"},
            "partition": {"kind": "dirichlet", "alpha": 1.0, "samples": "50-150"},
            "arrival": {"rate": "0.1 /s"},
        },
        "model": {"name": "mlp", "hidden": [32]},
        "devices": groups,
        "cloud": {"compute": "1 TFLOP/s", "memory": "64 GiB", "ingress": "10 Gbit/s", "egress": "10 Gbit/s"},
        "learners": {"no_adaptation": {}},
    }


def measure(case: str, devices: int) -> dict[str, Any]:
    """Run one case in this process."""
    from edgesim import Event, Learner, VerbFailure, World
    from edgesim.run_folder import RunFolder
    from edgesim.simulation import load_scenario, simulate
    from edgesim.tables import TABLES

    class Benchmark(Learner):
        started_s = 0.0
        world: World

        def run(self, world: World) -> Generator[Event, Any, None]:
            self.world, self.started_s = world, time.perf_counter()
            if case == "rounds":
                yield from self.rounds(world)
            else:
                yield world.gather(world.process(self.once(device, world.initial)) for device in world.devices)

        def once(self, device: Any, model: Any) -> Generator[Event, Any, None]:
            yield device.upload(model)
            trained = yield device.train(model)
            yield device.download(trained)

        def rounds(self, world: World) -> Generator[Event, Any, None]:
            model = world.initial
            for number in range(5):
                there = [device for device in world.devices if device.online]
                chosen = world.rng("clients", number).choice(len(there), min(10_000, len(there)), replace=False)
                trips = [world.process(self.trip(there[index], model)) for index in chosen.tolist()]
                back = yield world.gather(trips, deadline_s=180.0)
                model = yield world.cloud.average([trained for trained in back if trained is not None])
                yield world.sleep_to_multiple(240.0)

        def trip(self, device: Any, model: Any) -> Generator[Event, Any, Any]:
            try:
                yield device.download(model)
                trained = yield device.train(model)
                return (yield device.upload(trained))
            except VerbFailure:
                return None

    with tempfile.TemporaryDirectory() as out:
        file = Path(out) / "scale.yaml"
        file.write_text(json.dumps(scenario_of(CASES[case][1](devices))))
        import edgesim.jobs.arithmetic
        import edgesim.world  # noqa: F401 - with the line above: what takes seconds to import

        idle = peak_bytes()
        began, cpu_began = time.perf_counter(), time.process_time()
        scenario = load_scenario(file)
        learner = Benchmark(None)
        folder = RunFolder.create(Path(out) / "run", scenario, [0], {"scale": {}}, timing_only=True)
        with folder.running():
            simulate(folder, scenario, [0], {"scale": learner}, timing_only=True)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
        import pyarrow.parquet as pq

        rows = {name: pq.read_metadata(folder.path / "tables" / f"{name}.parquet").num_rows for name in TABLES}
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "building": learner.started_s - began,
        "events": next(learner.world.env._eid),
        "peak": peak_bytes(),
        "idle": idle,
        "rows": {name: count for name, count in rows.items() if count},
    }


def peak_bytes() -> int:
    """The largest resident memory of this process so far (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--devices", type=int)
    parser.add_argument("--in-this-process", action="store_true", help="for profilers: prints what was measured")
    options = parser.parse_args()
    for case in options.cases or CASES:
        devices = options.devices or CASES[case][0]
        if options.in_this_process:
            print(json.dumps(measure(case, devices)))
            continue
        command = [sys.executable, __file__, case, "--devices", str(devices), "--in-this-process"]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(f"{case}: {devices:,} devices")
        print(
            f"  {found['seconds']:.1f} s ({found['cpu_seconds']:.1f} s of processor time), "
            f"{found['building']:.1f} s of it until the learner starts"
        )
        print(f"  {found['events']:,} events, {found['events'] / found['seconds']:,.0f} a second")
        peak, idle = found["peak"], found["idle"]
        print(f"  {peak / 2**30:.2f} GiB at most, {(peak - idle) / devices:,.0f} bytes a device above the idle process")
        print(f"  rows: {', '.join(f'{name} {count:,}' for name, count in found['rows'].items())}")


if __name__ == "__main__":
    main()
