"""A run with two drifts and three learners, written by hand: small, and with something of everything to draw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from written_runs import WrittenRun, WrittenWorld

DEVICES = ("hub-0", "hub-1", "field-0", "field-1")
LEVELS = {"no_adaptation": (0, 0), "on_device": (11, 12), "cloud_only": (14, 20)}
"""By how many of 100 samples a learner gains after each of the two drifts."""


def fill(world: WrittenWorld, learner: str, seed: int) -> None:
    """Two drifts; devices recover one after the other, a little differently at each seed."""
    for resource, steps in (
        ("uplink", ((0, 2e6), (300, 5e5), (420, 2e6))),
        ("downlink", ((0, 5e6),)),
        ("memory", ((0, 6e7), (200, 3e7), (400, 6e7))),
    ):
        for time_s, value in steps:
            world.add("environment", device="hub-0", resource=resource, time_s=time_s, value=value)
    for k, device in enumerate(DEVICES):
        world.online(device, 0)
        if device == "hub-0":
            world.online(device, 450, "offline")
            world.online(device, 480)
        world.accuracy(device, 0, 90 + k)
        for phase, drift_s in enumerate((120, 360)):
            if phase == 1 and device.startswith("hub"):
                continue
            level = 62 - 20 * phase + 2 * k
            world.drift(device, drift_s, phase + 1, name=("new-digits", "dusk")[phase])
            world.accuracy(device, drift_s, level, cause="drift")
            gain = LEVELS[learner][phase]
            for step in (1, 2) if gain else ():
                now = drift_s + 45 * step + 7 * k + 4 * seed
                world.job(device, now - 20, now - 12, f"{device}@{phase + 1}", busy_s=8.0)
                for event, used in (("start", 2e7), ("end", 0.0)):
                    at_s = now - (20 if event == "start" else 12)
                    world.add("memory", device=device, time_s=at_s, event=event, used_bytes=used, needed_bytes=2e7,
                              available_bytes=6e7)  # fmt: skip
                world.send(device, now - 12, now - 6, 300_000 if learner == "on_device" else 450_000)
                cut = {"status": "cut", "sent_bytes": 100_000} if step == 2 and k == 0 else {}
                world.send(device, now - 6, now, 300_000, direction="down", **cut)
                world.deploy(device, now, f"{device}/{phase + 1}")
                world.accuracy(device, now, level + gain * step, cause="deployment")
        world.add("energy", device=device, online_s=600, total_j=100 + 30 * len(learner) + seed)


def written(folder: Path, seeds: tuple[int, ...] = (0, 1, 2), name: str = "paper") -> Path:
    run = WrittenRun(folder, horizon_s=600, learners=list(LEVELS), seeds=seeds, name=name)
    for learner in LEVELS:
        for seed in seeds:
            fill(run[learner, seed], learner, seed)
    return run.close()


SHARES = {
    "hub-0": ((0.5, 0.5, 0.0, 0.0), (0.25, 0.25, 0.25, 0.25)),
    "hub-1": ((1.0, 0.0, 0.0, 0.0), (0.4, 0.3, 0.2, 0.1)),
    "field-0": ((0.0, 0.5, 0.5, 0.0), (0.1, 0.2, 0.3, 0.4)),
}
"""What share each module of two layers gets on each device, in the end."""


def written_modules(folder: Path) -> Path:
    """A run of a learner with modules: each device gets module 0 of both layers first, then the two most used ones."""
    run = WrittenRun(folder, horizon_s=600, learners=["no_adaptation", "eclm"])
    for learner in ("no_adaptation", "eclm"):
        for device in SHARES:
            run[learner, 0].online(device, 0)
            run[learner, 0].accuracy(device, 0, 80)
    for k, (device, layers) in enumerate(SHARES.items()):
        _select(run["eclm", 0], device, 100 + k, [(0.25,) * 4] * 2, [[0], [0]])
        most = [sorted(range(4), key=lambda module, own=shares: -own[module])[:2] for shares in layers]
        _select(run["eclm", 0], device, 300 + k, layers, most)
    return run.close()


def _select(
    world: WrittenWorld, device: str, time_s: float, shares: Sequence[Sequence[float]], held: Sequence[Sequence[int]]
) -> None:
    for layer, (own, mine) in enumerate(zip(shares, held, strict=True)):
        for module, share in enumerate(own):
            cells = {"device": device, "time_s": time_s, "model_id": f"m{time_s}", "layer": layer, "module": module}
            world.add("selections", **cells, held=module in mine, share=share)
