"""``edgesim export``: run folders copied into other tools."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from edgesim.cli.failing import told

export = typer.Typer(no_args_is_help=True, help="Copy a run into another tool.")


@export.callback()
def _export() -> None:
    """Copy a run into another tool."""


@export.command("mlflow")
@told
def export_mlflow(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run folder.")],
    uri: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="The tracking store, such as http://localhost:5000; by default $MLFLOW_TRACKING_URI, "
            "else sqlite:///mlflow.db.",
        ),
    ] = None,
) -> None:
    """Copy a run into MLflow: parameters, metrics, and curves over virtual time.

    Needs the extra `mlflow`. Exporting a run twice does nothing.
    """
    import analysis
    from analysis import mlflow_export

    target = uri or os.environ.get("MLFLOW_TRACKING_URI") or mlflow_export.DEFAULT_URI
    done = mlflow_export.export_mlflow(analysis.load(run_dir), target)
    if done.before:
        typer.echo(f"{run_dir} was exported before, as run {done.run_id} of the experiment {done.experiment!r}")
        return
    typer.echo(f"exported: experiment {done.experiment!r}, run {done.run_id} with {done.worlds} runs nested in it")
    if target.startswith("sqlite:"):
        typer.echo(f"look at it: mlflow ui --backend-store-uri {target}   (of the package mlflow)")
