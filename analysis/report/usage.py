"""Who used which modules when, for the page: each selection of each device, as far as they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.curves import evenly
from analysis.report.thinning import times
from analysis.run import Run

CELLS = 100_000
"""Most modules of selections on a page; where there are more, some of a device's selections are left out."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the page tells of modules.

    Attributes
    ----------
    worlds
        seed -> learner -> ``layers`` (how many modules each has) and ``devices`` (name -> its selections: when, which
        modules are held as a text of 0 and 1, and the share of each in per mille).
    notes
        What was left out.
    """

    worlds: dict[str, dict[str, Any]]
    notes: list[str]


def of(run: Run, devices: Sequence[str]) -> Usage:
    """Return what a run tells of modules; empty where no learner has any."""
    rows = run.selections[run.selections["device"].isin(devices)]
    part_that_fits = min(1.0, CELLS / max(1, len(rows)))
    worlds: dict[str, dict[str, Any]] = {}
    thinned = False
    for (learner, seed), own in rows.groupby(["learner", "seed"], sort=False):
        sizes = (own.groupby("layer")["module"].max() + 1).tolist()
        found: dict[str, list[list[Any]]] = {}
        for device, mine in own.groupby("device", sort=False):
            every = [part for _, part in mine.groupby(["time_s", "model_id"], sort=False)]
            kept = evenly(every[::-1], max(1, int(part_that_fits * len(every))))[::-1]  # the last one is kept
            thinned |= len(kept) < len(every)
            found[str(device)] = [
                [
                    times(part["time_s"].iloc[:1])[0],
                    "".join("1" if held else "0" for held in part["held"]),
                    [None if share != share else round(1000 * share) for share in part["share"].tolist()],
                ]
                for part in kept
            ]
        worlds.setdefault(str(seed), {})[str(learner)] = {"layers": sizes, "devices": found}
    told = "Of the changes of devices' modules some are left out, evenly chosen; the last one of each is there."
    return Usage(worlds, [told] if thinned else [])
