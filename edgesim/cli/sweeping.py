"""``edgesim sweep``: one scenario at many points, and one table of all of them."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

from edgesim.cli.comparing import screen_width
from edgesim.cli.computing import Device, Executor, RayAddress, Workers
from edgesim.cli.failing import OURS, STOPPED, complain, told
from edgesim.cli.human import time_text
from edgesim.cli.running import parse_seeds

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

    from edgesim.sweeps import Outcome, Plan

FAILURES_SHOWN = 10
"""Points that are listed of those that failed for one reason."""


@told
def sweep(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO", help="A scenario file.")],
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE,VALUE",
            help="Values of a key, such as 'devices.0.uplink=1 Mbit/s,5 Mbit/s'. Repeated: every combination.",
        ),
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A list of points: YAML (a list of mappings from keys to values) or CSV (a column a key). "
            "With --grid: each of them at every point of the grid.",
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="SEEDS", help="Seeds, such as 0-4 or 0,3,7; by default the scenario's.")
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, metavar="N", help="Points at a time, a process each.")
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The sweep's folder; what is done in it is not done again. By default runs/NAME-sweep.",
        ),
    ] = None,
    learner: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Run this learner only, as in `edgesim run`. Repeatable.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value at every point first. Repeatable."),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Show this metric at the end. Repeatable.")
    ] = None,
    redo: Annotated[
        bool, typer.Option("--redo", help="Run points again that are done under another scenario or other versions.")
    ] = False,
    timing_only: Annotated[
        bool, typer.Option("--timing-only", help="Simulate without training: no accuracy, everything else.")
    ] = False,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Import learners and models named package.module:name.")
    ] = False,
    executor: Executor = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    device: Device = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Compute pretraining at every point, and keep none for other runs.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the sweep's folder and nothing else.")] = False,
) -> None:
    """Run a scenario at many points, and put the results into one table.

    Points that are done are skipped when the same command is given again; those that failed are kept, and listed.
    """
    from rich.console import Console

    from edgesim import sweeps

    axes = ([sweeps.read_points(points)] if points else []) + [sweeps.read_grid(text) for text in grid or ()]
    plan = sweeps.make_plan(
        scenario,
        sweeps.combine(axes),
        overrides=set_ or (),
        learners=learner or None,
        seeds=None if seeds is None else parse_seeds(seeds),
        out=out,
        redo=redo,
        timing_only=timing_only,
        allow_code=allow_code,
        device=device,
    )
    computing = sweeps.Computing(executor, workers, ray_address)
    computing.check(plan)
    _check_metrics(metric or ())
    with Display(Console(stderr=True), plan, jobs, quiet) as display:
        try:
            for outcome in sweeps.run_plan(plan, jobs=jobs, cache=not no_cache, computing=computing):
                display.take(outcome)
        except KeyboardInterrupt:
            complain(
                f"stopped; {display.done} of {len(plan.points)} points are done. "
                f"The same command goes on; {plan.folder} holds what there is"
            )
            raise typer.Exit(STOPPED) from None
    _show(plan, metric, quiet)
    if display.failed:
        complain(_failures(plan, display.failed))
        raise typer.Exit(OURS)


def _check_metrics(names: list[str] | tuple[()]) -> None:
    """Refuse a metric that does not exist before anything is run."""
    if names:
        from analysis.metrics import check_metrics

        check_metrics(names)


def _show(plan: Plan, metrics: list[str] | None, quiet: bool) -> None:
    from analysis.sweeps import SHOWN, load_sweep

    results = load_sweep(plan.folder)
    written = results.save() if results.runs else []
    if quiet:
        typer.echo(str(plan.folder))
        return
    typer.echo(results.to_text(screen_width(), metrics or SHOWN))
    for path in written:
        if path.suffix == ".csv":
            typer.echo(f"written: {path} and {path.with_suffix('.parquet').name}")
    typer.echo(f"run folders: {plan.folder / 'points'}")


def _failures(plan: Plan, failed: dict[str, str]) -> str:
    """List what failed, by reason."""
    count = "1 point" if len(failed) == 1 else f"{len(failed)} points"
    lines = [f"{count} failed; the same command tries again:"]
    for reason in dict.fromkeys(failed.values()):
        names = [name for name, error in failed.items() if error == reason]
        lines.append(textwrap.indent(reason, "  "))
        lines += [f"    {plan.folder / 'points' / name}" for name in names[:FAILURES_SHOWN]]
        if len(names) > FAILURES_SHOWN:
            lines.append(f"    and {len(names) - FAILURES_SHOWN} more: see {plan.folder / 'sweep.json'}")
    return "\n".join(lines)


class Display:
    """Shows how a sweep gets on: a line a point, and in a terminal a bar over all (learner, seed) worlds.

    Attributes
    ----------
    done
        Points that are done, those of earlier times included.
    failed
        Points that failed, and why.
    """

    def __init__(self, console: Console, plan: Plan, jobs: int, quiet: bool = False) -> None:
        self.done = len(plan.points) - len(plan.todo)
        self.failed: dict[str, str] = {}
        self._console = console
        self._plan = plan
        self._jobs = jobs
        self._quiet = quiet
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if not self._quiet:
            self._line(_heading(self._plan, self._jobs))
        if self._console.is_terminal and not self._quiet and self._plan.todo:
            self._bar = _live(self._console, self._plan)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def take(self, outcome: Outcome) -> None:
        """Take how a point ended."""
        if outcome.status == "done":
            self.done += 1
            text = f"done in {time_text(outcome.wall_s)}"
        else:
            self.failed[outcome.name] = outcome.error
            text = f"failed: {outcome.error.splitlines()[0] if outcome.error else 'no reason given'}"
        ended = self.done + len(self.failed)
        if not self._quiet:
            self._line(
                f"{ended:>{len(str(len(self._plan.points)))}} of {len(self._plan.points)}  {outcome.name}: {text}"
            )

    def _line(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _heading(plan: Plan, jobs: int) -> str:
    worlds = sum(planned.worlds for planned in plan.points)
    parts = [f"{len(plan.points)} points, {worlds} simulations (a learner and a seed each)"]
    before = len(plan.points) - len(plan.todo)
    if before:
        parts.append(f"{before} done before" if plan.todo else "all done before")
    if jobs > 1 and len(plan.todo) > 1:
        parts.append(f"{min(jobs, len(plan.todo))} at a time")
    return f"{plan.name}: {', '.join(parts)}"


def _live(console: Console, plan: Plan) -> Progress:
    """A bar over all simulations; it reads from the run folders which are finished, whatever process runs them."""
    import json

    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    waiting = {planned.folder / "manifest.json": planned.worlds for planned in plan.todo}
    finished = dict.fromkeys(waiting, 0)

    class Bar(Progress):
        def get_renderables(self) -> Iterable[RenderableType]:
            for manifest in [path for path, worlds in waiting.items() if finished[path] < worlds]:
                with contextlib.suppress(OSError, ValueError):  # not begun, or just being replaced
                    finished[manifest] = len(json.loads(manifest.read_text(encoding="utf-8"))["worlds"])
            for task in self.task_ids:
                self.update(task, completed=sum(finished.values()))
            yield from super().get_renderables()

    columns = (TextColumn("simulated"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Bar(
        *columns, TextColumn("left"), TimeRemainingColumn(), console=console, transient=True, refresh_per_second=2
    )
    bar.add_task("", total=sum(waiting.values()))
    return bar
