"""``edgesim trace``: a run as a timeline for Perfetto."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesim.cli.failing import told
from edgesim.cli.running import parse_seeds


@told
def trace(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run folder.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The file; by default RUN_DIR/run.pftrace.")
    ] = None,
    learner: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="This learner only; by default all. Repeatable.")
    ] = None,
    seed: Annotated[
        str | None, typer.Option(metavar="SEEDS", help="Seeds, such as 0 or 0-4; by default the run's first.")
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="This device only; by default all. Repeatable.")
    ] = None,
) -> None:
    """Write a timeline to open in https://ui.perfetto.dev: jobs, transfers, models, data, memory, bandwidth.

    The viewer reads the file in the browser and sends it nowhere.
    """
    import analysis
    from analysis.perfetto_trace import write_trace
    from analysis.timeline import timeline

    file = out or run_dir / "run.pftrace"
    entries = timeline(
        analysis.load(run_dir),
        learners=learner or None,
        seeds=None if seed is None else parse_seeds(seed),
        devices=device or None,
    )
    written = write_trace(entries, file)
    typer.echo(
        f"{written.slices} slices, {written.marks} marks and {written.samples} samples on {written.tracks} tracks"
    )
    typer.echo(f"written: {file}\nopen it in https://ui.perfetto.dev")
