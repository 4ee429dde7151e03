"""Going on with a run that was killed, stopped, or failed: virtual time is replayed, results come from the journal.

What is not in the journal is computed; the tables end as those of a run that was never interrupted, to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CannotResume, UserError
from .keeping import Keeping
from .placing import placed, placement_of
from .run_folder import FORMAT, RunFolder, differences
from .simulation import Ready, choice, load_scenario, prepare, simulate
from .tables import read_manifest

if TYPE_CHECKING:
    from .progress import Progress
    from .scenario import Scenario

DIFFERENCES_SHOWN = 10


def resume(
    run_dir: Path | str,
    *,
    scenario: Scenario | Path | str | None = None,
    learners: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    allow_code: bool = False,
    journal_bytes: int | None = None,
    cache: bool = True,
    on_progress: Callable[[Progress], None] | None = None,
    executor: str | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    device: str | None = None,
) -> Path:
    """Go on with a run. One that is done is left as it is.

    Parameters
    ----------
    run_dir
        Its folder.
    scenario, learners, seeds
        What the folder must be a run of, as in ``run``; by default whatever it is a run of.
    allow_code, journal_bytes, cache, on_progress, executor, workers, ray_address
        As in ``run``.
    device
        The one that the run was begun with, where it was given then; ``scenario`` says nothing of it.

    Returns
    -------
    Path
        The run folder.

    Raises
    ------
    CannotResume
        The folder holds no run, or one of another scenario, other data or other versions, or of another machine.
    RunningElsewhere
        Another process is running it.
    UserError
        The scenario, the learners or the data are not as they should be.
    WorkFailure, LearnerFailure, DiskFull
        As in ``run``.
    """
    path = Path(run_dir)
    try:
        told = read_manifest(path)
    except UserError as error:
        raise CannotResume(str(error)) from None
    if told.get("format") != FORMAT:
        raise CannotResume(f"{path} was written by another version of edgesim (format {told.get('format')})")
    if told["status"] == "done" and scenario is None:
        return path
    ready = _on(_ready(path, told, allow_code), device)
    if scenario is not None:
        wanted = prepare(
            scenario, learners=learners, seeds=seeds, timing_only=told["timing_only"], allow_code=allow_code
        )
        _refuse_other(path, told, _on(wanted, device))
    elif learners is not None or seeds is not None:
        raise UserError(f"{path}: its learners and seeds are those that it was begun with")
    if told["status"] == "done":
        return path
    _refuse_other(path, told, ready)
    computing = choice(ready.scenario).but(executor, workers, ray_address)
    _refuse_other_machine(path, told, ready)
    folder = RunFolder.reopen(path)
    if folder.manifest["status"] == "done":  # another process finished it just now
        folder.leave()
        return path
    with folder.running():
        folder.manifest.pop("error", None)
        folder.update(status="running", resumed=told.get("resumed", 0) + 1, worlds=[])
        simulate(
            folder,
            ready.scenario,
            ready.seeds,
            ready.cast,
            timing_only=told["timing_only"],
            allow_code=allow_code,
            keeping=Keeping(journal_bytes, cache),
            on_progress=on_progress,
            computing=computing,
        )
    return path


def _ready(path: Path, told: dict[str, Any], allow_code: bool) -> Ready:
    """Check the run once more, from the scenario in its folder."""
    return prepare(
        load_scenario(path / "scenario.yaml"),
        seeds=told["seeds"],
        timing_only=told["timing_only"],
        allow_code=allow_code,
    )


def _refuse_other(path: Path, told: dict[str, Any], ready: Ready) -> None:
    """Raise ``CannotResume`` where the folder's run is not this one, or was begun with other versions."""
    found = differences(told, ready.scenario, ready.seeds, ready.facts, timing_only=told["timing_only"])
    if found:
        more = [f"and {len(found) - DIFFERENCES_SHOWN} more"] if len(found) > DIFFERENCES_SHOWN else []
        lines = "\n".join(f"  {line}" for line in [*found[:DIFFERENCES_SHOWN], *more])
        raise CannotResume(f"{path} cannot be resumed as this run: it was begun with (then -> now)\n{lines}")


def _on(ready: Ready, device: str | None) -> Ready:
    return replace(ready, scenario=placed(ready.scenario, device))


def _refuse_other_machine(path: Path, told: dict[str, Any], ready: Ready) -> None:
    """Raise ``CannotResume`` where torch would give other bits here."""
    from .jobs import cpu_capability

    device = told.get("device")
    if not told["timing_only"] and device is not None and device != (here := str(placement_of(ready.scenario))):
        raise CannotResume(f"{path} was begun on another device: {device} -> {here}; results would differ")
    before = told.get("cpu_capability")  # missing where the run ended before torch was imported
    if before is not None and before != cpu_capability():
        raise CannotResume(
            f"{path} was begun on another kind of CPU: {before} -> {cpu_capability()}; results would differ"
        )
