"""``edgesim run``: simulate scenarios and compare their learners."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgesim.cli.comparing import screen_width
from edgesim.cli.failing import STOPPED, complain, told
from edgesim.cli.human import time_text
from edgesim.errors import Problem, ScenarioError, UserError

if TYPE_CHECKING:
    from edgesim.cli.progress import Display
    from edgesim.cli.watching import Dashboard
    from edgesim.scenario import Scenario


@told
def run(
    scenarios: Annotated[list[Path], typer.Argument(metavar="SCENARIO", help="Scenario files.")],
    learner: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Run this learner only: a label of the scenario, or an installed one. Repeatable."
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="SEEDS", help="Seeds, such as 0-4 or 0,3,7; by default the scenario's.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The run folder, new or empty; with several scenarios, a folder for theirs. "
            "By default the next free runs/NAME-N.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a value first, such as devices.0.count=20. Repeatable."
        ),
    ] = None,
    timing_only: Annotated[
        bool, typer.Option("--timing-only", help="Simulate without training: no accuracy, everything else.")
    ] = False,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Import learners and models named package.module:name.")
    ] = False,
    executor: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Where training is computed: inline, or in processes. By default as the scenario says."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="In how many processes; by default one a core.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show a live table: accuracy, bytes, jobs and speed of each learner.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the run folder and nothing else.")] = False,
) -> None:
    """Simulate scenarios and compare their learners."""
    chosen_seeds = None if seeds is None else parse_seeds(seeds)
    loaded = load_all(scenarios, set_ or ())
    names = [scenario.name for scenario in loaded]
    if out is not None and len(set(names)) < len(names):
        raise UserError(f"--out {out}: two scenarios have the same name, and their run folders would be the same")
    for scenario in loaded:
        folder = _folder(out, scenario.name, alone=len(loaded) == 1)
        _run_one(
            scenario,
            learner,
            chosen_seeds,
            folder,
            timing_only,
            allow_code,
            executor=executor,
            workers=workers,
            watch=watch,
            quiet=quiet,
        )


def parse_seeds(text: str) -> list[int]:
    """Read ``0-4``, ``0,3,7`` or ``0-2,9``.

    Raises
    ------
    UserError
        It is written otherwise.

    Examples
    --------
    >>> parse_seeds("0-2,9")
    [0, 1, 2, 9]
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})\s*)?", part)
        if match is None:
            raise UserError(f"--seeds {text}: write seeds like 0-4 or 0,3,7")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first >= 100_000:
            raise UserError(f"--seeds {text}: {part.strip()} is no range of seeds from low to high")
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))


def load_all(files: Sequence[Path], overrides: Sequence[str]) -> list[Scenario]:
    """Load scenarios.

    Raises
    ------
    ScenarioError
        With the problems of all of them.
    """
    from edgesim.simulation import load_scenario

    loaded: list[Scenario] = []
    problems: list[Problem] = []
    for file in files:
        try:
            loaded.append(load_scenario(file, overrides=overrides))
        except ScenarioError as error:
            problems += error.problems
    if problems:
        raise ScenarioError(tuple(problems))
    return loaded


def _folder(out: Path | None, name: str, alone: bool) -> Path:
    if out is not None:
        return out if alone else out / name
    number = 1
    while (folder := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return folder


def _run_one(
    scenario: Scenario,
    learners: list[str] | None,
    seeds: list[int] | None,
    folder: Path,
    timing_only: bool,
    allow_code: bool,
    *,
    executor: str | None,
    workers: int | None,
    watch: bool,
    quiet: bool,
) -> None:
    from rich.console import Console

    from edgesim import simulation

    console = Console(stderr=True)
    shown: Display | Dashboard
    if watch and console.is_terminal and not quiet:
        from edgesim.cli.watching import Dashboard

        ready = simulation.prepare(
            scenario, learners=learners or None, seeds=seeds, timing_only=timing_only, allow_code=allow_code
        )
        oracles = {label: learner.oracle for label, learner in ready.cast.items()}
        shown = Dashboard(console, scenario.name, oracles, len(ready.seeds))
    else:
        from edgesim.cli.progress import Display

        shown = Display(console, quiet)
    with shown as display:
        try:
            path = simulation.run(
                scenario,
                learners=learners or None,
                seeds=seeds,
                out=folder,
                timing_only=timing_only,
                allow_code=allow_code,
                on_progress=display,
                executor=executor,
                workers=workers,
            )
        except KeyboardInterrupt:
            complain(_how_it_stands(folder, display))
            raise typer.Exit(STOPPED) from None
    if quiet:
        typer.echo(str(path))
        return
    if scenario.description:
        typer.echo(f"{scenario.description}\n")
    _show(path)


def _how_it_stands(folder: Path, display: Display | Dashboard) -> str:
    """Tell what a run that was stopped leaves behind."""
    if not (folder / "manifest.json").is_file():
        return "stopped before anything was computed"
    report = display.last
    if report is None:
        return f"stopped; {folder} holds the scenario and no results yet"
    finished = f"{report.world} of {report.worlds} worlds finished" if report.world else "no world finished"
    return (
        f"stopped; {folder} holds {finished}, and {report.learner}, seed {report.seed}, "
        f"up to {time_text(report.frontier_s)} of {time_text(report.horizon_s)}. `edgesim compare {folder}` reads it"
    )


def _show(folder: Path) -> None:
    import analysis
    from edgesim.cli.human import bytes_text
    from edgesim.tables import read_manifest

    typer.echo(analysis.compare([folder]).to_text(screen_width()), nl=False)
    facts = read_manifest(folder) if (folder / "manifest.json").is_file() else {}
    if "sample_bytes" in facts:
        sample, weights = bytes_text(facts["sample_bytes"]), bytes_text(facts["weight_bytes"])
        typer.echo(f"\nOn the wire a raw sample weighs {sample}, the model {weights}.")
    if "computing" in facts:
        computing = facts["computing"]
        where = "in this process" if computing["executor"] == "inline" else f"in {computing['workers']} processes"
        typer.echo(f"\nTrained {where}, with room for {bytes_text(computing['memory_bytes'])} of models and results.")
    typer.echo(f"\nrun folder: {folder}")
