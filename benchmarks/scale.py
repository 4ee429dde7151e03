"""How large a world fits: virtual time for a hundred thousand and a million devices, without training.

    python benchmarks/scale.py                     all cases
    python benchmarks/scale.py once rounds         some of them
    python benchmarks/scale.py rounds --devices 50000

``once``: 100,000 devices each upload, train and download once, all at the same time. ``rounds``: 1,000,000 devices
that come and go at random; five rounds, each of 10,000 that are there, which download, train and upload. ``traces``:
100,000 devices do what those of ``once`` do, each on recordings of bandwidth and compute from a point of its own on;
every step of every recording would be 500 million rows, so what the environment offers is not written here.

Each case runs in a process of its own, through ``edgesim.simulation.simulate`` and a run folder on disk, after the
same with a few devices: imports are left out. Printed are wall time, SimPy events, rows, and the largest resident
memory of the process.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

LINK = {"uplink": "8 Mbit/s", "downlink": "20 Mbit/s", "latency": "20 ms"}
HARDWARE = {"compute": "1 GFLOP/s", "memory": "64 MiB", **LINK}
CHURN = {"availability": {"on_off": {"mean_on": "20 min", "mean_off": "5 min"}}}
"""At any time a fifth of the devices is away; in the 20 min of a run a device comes or goes 1.6 times."""


def trace(unit: str, mean: float) -> dict[str, Any]:
    """Ten minutes recorded every second: a wave with spikes and outages, from a random point on for each device."""
    lines = [
        f"{t},{max(0.0, mean * (1.0 + math.sin(t / 40.0) - (t % 17 == 0) - (t % 61 < 4))):.3f}" for t in range(600)
    ]
    file = Path(tempfile.mkdtemp()) / "trace.csv"
    file.write_text("time,value\n" + "\n".join(lines))
    return {"csv": str(file), "value_unit": unit, "repeat": True, "random_start": True}


def once(devices: int) -> dict[str, Any]:
    return {"devices": [{"name": "device", "count": devices, **HARDWARE}]}


def rounds(devices: int) -> dict[str, Any]:
    return {"devices": [{"name": "device", "count": devices, **HARDWARE, **CHURN}]}


def traces(devices: int) -> dict[str, Any]:
    changing = {
        "compute": trace("GFLOP/s", 0.5),
        "uplink": trace("Mbit/s", 8.0),
        "downlink": trace("Mbit/s", 20.0),
    }
    return {
        "devices": [{"name": "device", "count": devices, **HARDWARE, **changing}],
        "record": {"environment": False},
    }


CASES: dict[str, tuple[int, Callable[[int], dict[str, Any]]]] = {
    "once": (100_000, once),
    "rounds": (1_000_000, rounds),
    "traces": (100_000, traces),
}


def scenario_of(case: str, devices: int) -> dict[str, Any]:
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
        **CASES[case][1](devices),
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

    def play(devices: int) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as out:
            file = Path(out) / "scale.yaml"
            file.write_text(json.dumps(scenario_of(case, devices)))
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
            "rows": {name: count for name, count in rows.items() if count},
        }

    idle = play(20)["peak"]
    return {**play(devices), "idle": idle}


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
