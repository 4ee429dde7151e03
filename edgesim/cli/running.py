"""``edgesim run``: simulate scenarios and compare their learners."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgesim.cli.comparing import screen_width
from edgesim.cli.computing import Device, Executor, RayAddress, Workers
from edgesim.cli.failing import STOPPED, complain, told
from edgesim.cli.human import time_text
from edgesim.errors import DiskFull, LearnerFailure, Problem, ScenarioError, UserError, WorkFailure

if TYPE_CHECKING:
    from rich.console import Console

    from edgesim.cli.progress import Display
    from edgesim.cli.watching import Dashboard
    from edgesim.scenario import Scenario


@told
def run(
    scenarios: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SCENARIO", help="Scenario files. With --resume none, or the one that the run is of."),
    ] = None,
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
    executor: Executor = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    device: Device = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN_DIR",
            help="Go on with a run that was killed, stopped or failed; what it has computed is not computed again.",
        ),
    ] = None,
    journal_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Size over which the journal is compacted that --resume reads, such as '500 MB' (2 GiB unless given); "
            "'0 B': no journal.",
        ),
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Compute pretraining that another run has done, and keep none.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show a live table: accuracy, bytes, jobs and speed of each learner.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the run folder and nothing else.")] = False,
) -> None:
    """Simulate scenarios and compare their learners."""
    how = _How(
        learner or None,
        None if seeds is None else parse_seeds(seeds),
        timing_only,
        allow_code,
        None if journal_size is None else _parse_size(journal_size),
        not no_cache,
        executor,
        workers,
        ray_address,
        device,
        watch,
        quiet,
    )
    if resume is not None:
        _resume(resume, scenarios or [], set_ or (), out, how)
        return
    if not scenarios:
        raise UserError("give a scenario file (`edgesim new NAME` writes one), or --resume RUN_DIR")
    loaded = load_all(scenarios, set_ or ())
    names = [scenario.name for scenario in loaded]
    if out is not None and len(set(names)) < len(names):
        raise UserError(f"--out {out}: two scenarios have the same name, and their run folders would be the same")
    if device is None and not timing_only:
        from edgesim.placing import placement_of

        for file, scenario in zip(scenarios, loaded, strict=True):
            placement_of(scenario, file, set_ or ())
    for scenario in loaded:
        with _folder(out, scenario.name, alone=len(loaded) == 1) as folder:
            _run_one(scenario, folder, how)


@dataclass(frozen=True, slots=True)
class _How:
    """How scenarios are run: the options of the command that every run has."""

    learners: list[str] | None
    seeds: list[int] | None
    timing_only: bool
    allow_code: bool
    journal_bytes: int | None
    cache: bool
    executor: str | None
    workers: int | None
    ray_address: str | None
    device: str | None
    watch: bool
    quiet: bool


def _parse_size(text: str) -> int:
    from edgesim.scenario.units import SIZE, parse

    try:
        return int(parse(text, SIZE))
    except ValueError as error:
        raise UserError(f"--journal-size: {error}") from None


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


def _folder(out: Path | None, name: str, alone: bool) -> AbstractContextManager[Path]:
    from edgesim.run_folder import next_free

    if out is None:
        return next_free(name)
    return nullcontext(out if alone else out / name)


def _run_one(scenario: Scenario, folder: Path, how: _How) -> None:
    from edgesim import simulation

    def run(display: Display | Dashboard) -> Path:
        return simulation.run(
            scenario,
            learners=how.learners,
            seeds=how.seeds,
            out=folder,
            timing_only=how.timing_only,
            allow_code=how.allow_code,
            journal_bytes=how.journal_bytes,
            cache=how.cache,
            on_progress=display,
            executor=how.executor,
            workers=how.workers,
            ray_address=how.ray_address,
            device=how.device,
        )

    _watched(run, scenario, folder, how)


def _resume(folder: Path, scenarios: Sequence[Path], overrides: Sequence[str], out: Path | None, how: _How) -> None:
    from edgesim.resuming import resume
    from edgesim.tables import read_manifest

    if out is not None or how.timing_only or len(scenarios) > 1 or (overrides and not scenarios):
        raise UserError(
            "--resume goes on with the run in its folder: it takes no --out, --timing-only or --set of its own"
        )
    told = read_manifest(folder)
    if told["status"] == "done":
        if not how.quiet:
            complain(f"{folder} is done already: nothing is changed")
        how = replace(how, watch=False)
    given = load_all(scenarios, overrides)[0] if scenarios else None

    def run(display: Display | Dashboard) -> Path:
        return resume(
            folder,
            scenario=given,
            learners=how.learners,
            seeds=how.seeds,
            allow_code=how.allow_code,
            journal_bytes=how.journal_bytes,
            cache=how.cache,
            on_progress=display,
            executor=how.executor,
            workers=how.workers,
            ray_address=how.ray_address,
            device=how.device,
        )

    shown = load_all([folder / "scenario.yaml"], ())[0] if how.watch else None
    _watched(run, shown, folder, replace(how, seeds=told["seeds"], timing_only=told["timing_only"]))


def _watched(run: Callable[[Display | Dashboard], Path], scenario: Scenario | None, folder: Path, how: _How) -> None:
    """Run with a display, then show what came out; where it did not end well, tell how to go on."""
    from rich.console import Console

    console = Console(stderr=True)
    with _display(console, scenario, how) as display:
        try:
            path = run(display)
        except KeyboardInterrupt:
            complain(_how_it_stands(folder, display))
            raise typer.Exit(STOPPED) from None
        except (WorkFailure, LearnerFailure, DiskFull) as error:
            if (folder / "manifest.json").is_file():
                error.add_note(f"What was computed is kept: `edgesim run --resume {folder}` goes on from there")
            raise
    if how.quiet:
        typer.echo(str(path))
        return
    _show(path)


def _display(console: Console, scenario: Scenario | None, how: _How) -> Display | Dashboard:
    if not how.watch or not console.is_terminal or how.quiet or scenario is None:
        from edgesim.cli.progress import Display

        return Display(console, how.quiet)
    from edgesim import simulation
    from edgesim.cli.watching import Dashboard

    ready = simulation.prepare(
        scenario, learners=how.learners, seeds=how.seeds, timing_only=how.timing_only, allow_code=how.allow_code
    )
    oracles = {label: learner.oracle for label, learner in ready.cast.items()}
    return Dashboard(console, scenario.name, oracles, len(ready.seeds))


def _how_it_stands(folder: Path, display: Display | Dashboard) -> str:
    """Tell what a run that was stopped leaves behind."""
    if not (folder / "manifest.json").is_file():
        return "stopped before anything was computed"
    report = display.last
    if report is None:
        held = "the scenario and no results yet" if not (folder / "journal").exists() else "what was computed before"
        return f"stopped; {folder} holds {held}; `edgesim run --resume {folder}` goes on"
    finished = f"{report.world} of {report.worlds} worlds finished" if report.world else "no world finished"
    return (
        f"stopped; {folder} holds {finished}, and {report.learner}, seed {report.seed}, "
        f"up to {time_text(report.frontier_s)} of {time_text(report.horizon_s)}. `edgesim compare {folder}` reads it, "
        f"`edgesim run --resume {folder}` goes on"
    )


def _show(folder: Path) -> None:
    import analysis
    from edgesim.cli.human import bytes_text
    from edgesim.tables import read_manifest

    facts = read_manifest(folder) if (folder / "manifest.json").is_file() else {}
    if description := facts.get("scenario", {}).get("description"):
        typer.echo(f"{description}\n")
    typer.echo(analysis.compare([folder]).to_text(screen_width()), nl=False)
    if "sample_bytes" in facts:
        sample, weights = bytes_text(facts["sample_bytes"]), bytes_text(facts["weight_bytes"])
        typer.echo(f"\nOn the wire a raw sample weighs {sample}, the model {weights}.")
    if "weights_drawn" in facts:
        drawn = facts["weights_drawn"]
        lacking = f"but for {len(drawn)} tensors that were drawn: {', '.join(drawn[:4])}" if drawn else "all of them"
        typer.echo(f"\nPretraining began with the weights of the file, {lacking}{', ...' if len(drawn) > 4 else ''}.")
    if "computing" in facts:
        computing = facts["computing"]
        where = "in this process" if computing["executor"] == "inline" else f"in {computing['workers']} processes"
        if facts.get("device", "cpu") != "cpu":
            where += f" on {facts['device']}"
        typer.echo(f"\nTrained {where}, with room for {bytes_text(computing['memory_bytes'])} of models and results.")
    remarks = [(world["learner"], text) for world in facts.get("worlds", ()) for text in world.get("remarks", ())]
    for label, remark in dict.fromkeys(remarks):
        complain(f"{label}: {remark}")
    for damage in facts.get("journal_damage", ()):
        complain(f"the journal was damaged, and what it had lost was computed again: {damage}")
    typer.echo(f"\nrun folder: {folder}")
