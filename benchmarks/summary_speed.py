"""How long loading and summarising a run takes, by its number of rows.

    python benchmarks/summary_speed.py [ROWS]

Writes a synthetic run (4 learners, 5 seeds, the tables in the proportions of a real run), then reads it back.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import analysis
from edgesim.tables import TableWriter

LEARNERS = ("no_adaptation", "on_device", "cloud_only", "ecavg")
SEEDS = range(5)
DEVICES = 50
HORIZON_S = 36_000.0
DRIFT_EVERY_S = 6_000.0
ROWS_PER_ROUND = 12 * DEVICES  # what one round below records


def write(folder: Path, rows: int) -> int:
    """Write about ``rows`` rows; return how many."""
    writer = TableWriter(folder)
    rounds = max(1, rows // (len(LEARNERS) * len(SEEDS) * ROWS_PER_ROUND))
    for seed in SEEDS:
        for label in LEARNERS:
            world = writer.world(label, False, seed)
            fill(world, rounds)
            world.close()
    writer.close()
    manifest = {
        "status": "done",
        "scenario": {"name": "benchmark", "devices": []},
        "horizon_s": HORIZON_S,
        "seeds": list(SEEDS),
        "learners": {label: {"oracle": False} for label in LEARNERS},
        "timing_only": False,
        "worlds": [],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return rounds * ROWS_PER_ROUND * len(LEARNERS) * len(SEEDS)


def fill(world, rounds):  # type: ignore[no-untyped-def]
    transfer, job, memory = world.adder("transfers"), world.adder("computations"), world.adder("memory")
    deploy, right = world.adder("deployments"), world.adder("accuracy")
    names = [f"device-{n}" for n in range(DEVICES)]
    phase = 0
    for n in range(rounds):
        now = HORIZON_S * n / rounds
        if now >= DRIFT_EVERY_S * phase:
            phase += 1
            for d in names:
                key = f"{d}/{phase}"
                world.add("drifts", drift_id=key, episode_id=key, cohort_id=f"c{phase}", name="dusk", device=d,
                          time_s=now, phase=phase, step=1, steps=1, opens_episode=True, undo=False, kind="feature",
                          replaced_samples=0, detail="")  # fmt: skip
                right(d, now, "drift", "current", "device", f"m{n}", 100, 50, 0.5, 1.5)
        for k, d in enumerate(names):
            share = 0.5 + 0.4 * ((n * 7 + k) % 50) / 50
            for i in range(4):
                way, model = ("up", "down")[i % 2], f"m{n}-{i}"
                transfer(f"t{n}-{k}-{i}", d, "cloud", way, "weights", now, now + 3.0, 40_000, 40_000.0, "delivered", "",
                         0.5, model, "", None, None, None)  # fmt: skip
            for i in range(3):
                job(f"j{n}-{k}-{i}", d, "train", now + 4.0, now + 8.0, 1e9, 1e9, 64.0, 16, 5e6, 2e7, 4.0, 2.0, "done",
                    "", now - 50.0, now, f"{d}@{phase}", f"m{n}", f"m{n}-{k}-{i}")  # fmt: skip
            for event in ("start", "end"):
                memory(d, now + 4.0, event, f"j{n}-{k}", 5e6, 5e6, 2e7)
            for _ in range(2):
                right(d, now + 9.0, "deployment", "current", "device", f"m{n}", 100, int(100 * share), share, 1.0)
            deploy(d, now + 9.0, "deploy", "device", f"m{n}", "mlp", 40_000, f"{d}/{phase}", f"{d}/{phase}", "")


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        written = write(Path(folder), rows)
        print(f"wrote {written:,} rows in {time.perf_counter() - began:.2f} s")
        began, worked = time.perf_counter(), time.process_time()
        run = analysis.load(folder)
        run.tables  # noqa: B018 - reading is what is timed
        read = time.perf_counter() - began
        run.summary()
        print(f"load {read:.2f} s, summary {time.perf_counter() - began - read:.2f} s", end="; ")
        print(f"together {time.perf_counter() - began:.2f} s ({time.process_time() - worked:.2f} s of CPU)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
