"""Sweeps: one scenario at many points, each a run folder; what was done before is not done again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from .plan import Plan, Planned, make_plan
from .points import Point, combine, grid_of, points_of, read_grid, read_points
from .run import Computing, Outcome, run_plan

__all__ = [
    "Computing",
    "Outcome",
    "Plan",
    "Planned",
    "Point",
    "combine",
    "grid_of",
    "make_plan",
    "points_of",
    "read_grid",
    "read_points",
    "run_plan",
    "sweep",
]


def sweep(
    scenario: Path | str,
    *,
    grid: Mapping[str, Iterable[object]] | None = None,
    points: Iterable[Mapping[str, object]] | None = None,
    overrides: Sequence[str] = (),
    learners: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    jobs: int = 1,
    out: Path | str | None = None,
    redo: bool = False,
    timing_only: bool = False,
    allow_code: bool = False,
    cache: bool = True,
    executor: str | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    device: str | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> Path:
    """Run a scenario file at every point of a grid, of a list, or of both combined.

    Parameters
    ----------
    scenario
        A scenario file.
    grid
        Key -> values: ``{"devices.0.uplink": ["1 Mbit/s", "5 Mbit/s"], "learners.ecavg.edge_epochs": [1, 5]}``.
    points
        A mapping from keys to values each; the key ``point`` names one.
    overrides, learners, seeds, out, redo, timing_only, allow_code, device
        As in :func:`~edgesim.sweeps.plan.make_plan`.
    jobs
        How many points at a time, each in a process of its own.
    cache
        As in :func:`~edgesim.sweeps.run.run_plan`.
    executor, workers, ray_address
        Where the jobs of every point are computed; see :class:`~edgesim.sweeps.run.Computing`.
    on_outcome
        Called as each point ends.

    Returns
    -------
    Path
        The sweep's folder: ``analysis.load_sweep`` reads it. Points that failed are marked there.

    Raises
    ------
    UserError
        What :func:`~edgesim.sweeps.plan.make_plan` refuses; nothing has been run then.
    """
    axes = [points_of(points)] if points is not None else []
    axes += grid_of(grid or {})
    plan = make_plan(
        scenario,
        combine(axes),
        overrides=overrides,
        learners=learners,
        seeds=seeds,
        out=out,
        redo=redo,
        timing_only=timing_only,
        allow_code=allow_code,
        device=device,
    )
    for outcome in run_plan(plan, jobs=jobs, cache=cache, computing=Computing(executor, workers, ray_address)):
        if on_outcome is not None:
            on_outcome(outcome)
    return plan.folder
