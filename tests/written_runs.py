"""Run folders written by hand, a row at a time, so that every metric can be computed on paper."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgesim.tables import TABLES, TableWriter, WorldTables

_BLANK: dict[str, Any] = {"text": "", "number": 0.0, "count": 0, "flag": False}


class WrittenRun:
    """A run folder to fill with rows; cells that a test does not care about are blank."""

    def __init__(
        self,
        folder: Path,
        *,
        horizon_s: float = 100.0,
        learners: Mapping[str, bool] | Sequence[str] = ("a",),
        seeds: Sequence[int] = (0,),
        name: str = "paper",
        timing_only: bool = False,
        devices: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.folder = folder
        self.writer = TableWriter(folder)
        oracles = dict(learners) if isinstance(learners, Mapping) else dict.fromkeys(learners, False)
        self.manifest: dict[str, Any] = {
            "format": 1,
            "status": "running",
            "scenario": {"name": name, "horizon": f"{horizon_s:g} s", "devices": list(devices)},
            "horizon_s": horizon_s,
            "seeds": list(seeds),
            "learners": {label: {"learner": label, "params": {}, "oracle": o} for label, o in oracles.items()},
            "timing_only": timing_only,
            "worlds": [],
        }
        self.worlds = {
            (label, seed): self.writer.world(label, oracle, seed) for seed in seeds for label, oracle in oracles.items()
        }
        self._write_manifest()

    def __getitem__(self, world: tuple[str, int]) -> WrittenWorld:
        return WrittenWorld(self.worlds[world])

    def close(self) -> Path:
        """Finish the run."""
        self.writer.close()
        self.manifest["status"] = "done"
        self._write_manifest()
        return self.folder

    def kill(self) -> Path:
        """Leave the run as it is when its process dies: with parts, still called running."""
        for world in self.worlds.values():
            world.cut()
        return self.folder

    def _write_manifest(self) -> None:
        (self.folder / "manifest.json").write_text(json.dumps(self.manifest), encoding="utf-8")


class WrittenWorld:
    """Rows of one world."""

    def __init__(self, tables: WorldTables) -> None:
        self.tables = tables

    def add(self, table: str, /, **cells: Any) -> None:
        blank = {c.name: None if c.nullable else _BLANK[c.dtype] for c in TABLES[table].columns}
        self.tables.add(table, **{**blank, **cells})

    def accuracy(self, device: str, time_s: float, correct: int | None, **cells: Any) -> None:
        """``correct`` of 100 test samples."""
        share = None if correct is None else correct / 100
        defaults = {"cause": "start", "view": "current", "serving": "device", "samples": 100}
        self.add(
            "accuracy",
            **{**defaults, "device": device, "time_s": time_s, "correct": correct, "accuracy": share, **cells},
        )

    def drift(self, device: str, time_s: float, phase: int, **cells: Any) -> None:
        own = {
            "device": device,
            "time_s": time_s,
            "phase": phase,
            "drift_id": f"{device}/{phase}",
            "episode_id": f"{device}/{phase}",
            "opens_episode": True,
            "kind": "label",
            "step": 1,
            "steps": 1,
        }
        self.add("drifts", **{**own, **cells})

    def job(self, node: str, start_s: float, end_s: float | None, input_data: str = "", **cells: Any) -> None:
        own = {
            "node": node,
            "start_s": start_s,
            "end_s": end_s,
            "input_data": input_data,
            "kind": "train",
            "status": "running" if end_s is None else "done",
            "output_model_id": f"m{start_s}",
        }
        self.add("computations", **{**own, **cells})

    def deploy(self, device: str, time_s: float, informed_by: str = "", **cells: Any) -> None:
        own = {"device": device, "time_s": time_s, "informed_by": informed_by, "cause": "deploy", "serving": "device"}
        self.add("deployments", **{**own, **cells})

    def send(self, device: str, start_s: float, end_s: float | None, size_bytes: int, **cells: Any) -> None:
        own = {
            "device": device,
            "start_s": start_s,
            "end_s": end_s,
            "size_bytes": size_bytes,
            "sent_bytes": size_bytes,
            "direction": "up",
            "kind": "weights",
            "peer": "cloud",
            "status": "in_flight" if end_s is None else "delivered",
        }
        self.add("transfers", **{**own, **cells})

    def online(self, device: str, time_s: float, state: str = "online", cause: str = "schedule") -> None:
        self.add("availability", device=device, time_s=time_s, state=state, cause=cause)
