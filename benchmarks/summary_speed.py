"""How long loading and summarising a run takes, by its number of rows.

    python benchmarks/summary_speed.py [ROWS]

Writes a synthetic run (4 learners, 5 seeds, the tables in the proportions of a real run), then reads it back.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import analysis
from edgesim.tables import TABLES, TableWriter, WorldTables

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


def rows_of(world: WorldTables, table: str) -> Callable[..., None]:
    """A function that records a row from some cells by name; the others are blank, whatever columns there are."""
    blank = {"text": "", "number": 0.0, "count": 0, "flag": False}
    columns = {c.name: None if c.nullable else blank[c.dtype] for c in TABLES[table].columns}
    add = world.adder(table)
    return lambda **cells: add(*(columns | cells).values())


def fill(world: WorldTables, rounds: int) -> None:
    transfer, job, memory, deploy, right, drift = (
        rows_of(world, name) for name in ("transfers", "computations", "memory", "deployments", "accuracy", "drifts")
    )
    names = [f"device-{n}" for n in range(DEVICES)]
    phase = 0
    for n in range(rounds):
        now = HORIZON_S * n / rounds
        if now >= DRIFT_EVERY_S * phase:
            phase += 1
            for d in names:
                key = f"{d}/{phase}"
                drift(drift_id=key, episode_id=key, cohort_id=f"c{phase}", name="dusk", device=d, time_s=now,
                      phase=phase, step=1, steps=1, opens_episode=True, kind="feature")  # fmt: skip
                right(device=d, time_s=now, cause="drift", view="current", serving="device", model_id=f"m{n}",
                      samples=100, correct=50, accuracy=0.5, loss=1.5)  # fmt: skip
        for k, d in enumerate(names):
            share = 0.5 + 0.4 * ((n * 7 + k) % 50) / 50
            for i in range(4):
                transfer(transfer_id=f"t{n}-{k}-{i}", device=d, peer="cloud", direction=("up", "down")[i % 2],
                         kind="weights", start_s=now, end_s=now + 3.0, size_bytes=40_000, sent_bytes=40_000.0,
                         status="delivered", energy_j=0.5, model_id=f"m{n}-{i}")  # fmt: skip
            for i in range(3):
                job(job_id=f"j{n}-{k}-{i}", node=d, kind="train", start_s=now + 4.0, end_s=now + 8.0, flops=1e9,
                    done_flops=1e9, samples=64, batch_size=16, peak_memory_bytes=5e6, available_bytes=2e7, busy_s=4.0,
                    energy_j=2.0, status="done", data_from_s=now - 50.0, data_to_s=now, input_data=f"{d}@{phase}",
                    input_model_ids=f"m{n}", output_model_id=f"m{n}-{k}-{i}")  # fmt: skip
            for event in ("start", "end"):
                memory(device=d, time_s=now + 4.0, event=event, job_id=f"j{n}-{k}", used_bytes=5e6, needed_bytes=5e6,
                       available_bytes=2e7)  # fmt: skip
            for _ in range(2):
                right(device=d, time_s=now + 9.0, cause="deployment", view="current", serving="device",
                      model_id=f"m{n}", samples=100, correct=int(100 * share), accuracy=share, loss=1.0)  # fmt: skip
            deploy(device=d, time_s=now + 9.0, cause="deploy", serving="device", model_id=f"m{n}", architecture="mlp",
                   size_bytes=40_000, informed_by=f"{d}/{phase}", cohort_informed_by=f"{d}/{phase}")  # fmt: skip


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
