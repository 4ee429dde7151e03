"""Running a scenario: checks it, makes the run folder, plays every learner under every seed, closes the tables."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from .errors import CannotResume, NeedsValues, UserError
from .keeping import Keeping, Kept
from .learner import Learner, LearnerEntry, LearnerParams, discover, installed_params, load_learner
from .placing import placed, placement_of
from .progress import Progress, Reporter
from .run_folder import RunFolder
from .scenario import LearnerSpec, Scenario, load
from .scenario.findings import did_you_mean
from .stage import Stage, patient_collector

if TYPE_CHECKING:
    from .data import Dataset
    from .jobs import Choice, Placement, Plane
    from .world import Environment


def load_scenario(path: Path | str, *, overrides: Sequence[str] = ()) -> Scenario:
    """Read and check a scenario file.

    Parameters
    ----------
    path
        A YAML file.
    overrides
        ``path=value`` texts such as ``devices.0.count=20``, applied before checking.

    Raises
    ------
    ScenarioError
        All mistakes in it, with file, line and column.
    """
    return load(path, overrides=overrides, learner_params=installed_params())


def run(
    scenario: Scenario | Path | str,
    *,
    learners: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    out: Path | str | None = None,
    timing_only: bool = False,
    allow_code: bool = False,
    journal_bytes: int | None = None,
    cache: bool = True,
    on_progress: Callable[[Progress], None] | None = None,
    executor: str | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    device: str | None = None,
) -> Path:
    """Simulate a scenario under every chosen learner and seed.

    Parameters
    ----------
    scenario
        A scenario, or its file.
    learners
        Labels of the scenario, or names of installed learners (with their default parameters); by default all of
        the scenario's.
    seeds
        By default the scenario's.
    out
        The run folder, which must be new or empty; by default the next free ``runs/NAME-N``.
    timing_only
        Simulate virtual time without training: all tables but accuracy and loss.
    allow_code
        Import learners and models given as ``package.module:name``.
    journal_bytes
        Size over which the journal is compacted that makes the run resumable, by default 2 GiB; 0: no journal.
    cache
        Take pretraining that another run has done from the user's cache, and share this run's.
    on_progress
        Called a few times a second.
    executor, workers
        Where jobs are computed, ``inline``, in ``processes`` or on ``ray``, and in how many; by default as the scenario
        says. The tables do not depend on it.
    ray_address
        Of a Ray cluster that runs already; by default one is started here.
    device
        PyTorch's device that jobs compute on, ``cpu``, ``cuda``, ``cuda:N`` or ``auto``; by default as the scenario
        says. Other devices give other bits.

    Returns
    -------
    Path
        The run folder: ``analysis.load`` reads it.

    Raises
    ------
    UserError
        The scenario, the learners or the data are not as they should be.
    WorkFailure, LearnerFailure, DiskFull
        A job, or a learner's own code, raised, or there is no space left; what was recorded so far is kept, and
        ``edgesim.resume`` goes on from there.
    """
    ready = prepare(scenario, learners=learners, seeds=seeds, timing_only=timing_only, allow_code=allow_code)
    if not timing_only:
        ready = replace(ready, scenario=placed(ready.scenario, device))
        placement_of(ready.scenario, None if isinstance(scenario, Scenario) else Path(scenario))
    computing = choice(ready.scenario).but(executor, workers, ray_address)
    folder = RunFolder.create(out, ready.scenario, ready.seeds, ready.facts, timing_only=timing_only)
    with folder.running():
        simulate(
            folder,
            ready.scenario,
            ready.seeds,
            ready.cast,
            timing_only=timing_only,
            allow_code=allow_code,
            keeping=Keeping(journal_bytes, cache),
            on_progress=on_progress,
            computing=computing,
        )
    return folder.path


def choice(scenario: Scenario) -> Choice:
    """Where a scenario's jobs are computed if nobody says otherwise."""
    from .jobs import Choice

    return Choice(scenario.work.executor, scenario.work.workers)


@dataclass(frozen=True, slots=True)
class Ready:
    """A run that may begin.

    Attributes
    ----------
    scenario
        With the chosen learners only.
    seeds
        Distinct.
    cast
        The learners by label.
    facts
        What the manifest says of them.
    """

    scenario: Scenario
    seeds: tuple[int, ...]
    cast: Mapping[str, Learner]
    facts: Mapping[str, dict[str, Any]]


def prepare(
    scenario: Scenario | Path | str,
    *,
    learners: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    timing_only: bool = False,
    allow_code: bool = False,
) -> Ready:
    """Check everything about a run that can be checked without its data, and write nothing; see ``run``.

    Raises
    ------
    UserError
        The scenario or the learners are not as they should be.
    """
    if not isinstance(scenario, Scenario):
        scenario = load_scenario(scenario)
    installed = discover()
    chosen = _choose(scenario, learners, installed)
    scenario = scenario.model_copy(update={"learners": tuple(chosen)})
    distinct = tuple(dict.fromkeys([scenario.seed] if seeds is None else seeds))
    if not distinct:
        raise UserError("no seeds: give at least one")
    if _is_code(scenario.model.name) and not allow_code:
        raise UserError(f"model.name: {scenario.model.name!r} is code of your own: --allow-code lets it run")
    cast = {spec.label: _instantiate(spec, installed, allow_code) for spec in chosen}
    if timing_only:
        refuse_readers(cast)
    facts = {spec.label: _facts(spec, cast[spec.label]) for spec in chosen}
    return Ready(scenario, distinct, cast, facts)


def refuse_readers(cast: Mapping[str, Learner]) -> None:
    """Raise ``NeedsValues`` where a learner's control flow reads results, which a timing-only run has none of."""
    for label, learner in cast.items():
        if learner.needs_values:
            raise NeedsValues(label, "its control flow reads results")


def _choose(
    scenario: Scenario, wanted: Sequence[str] | None, installed: Mapping[str, LearnerEntry]
) -> list[LearnerSpec]:
    if wanted is None:
        return list(scenario.learners)
    specs = {spec.label: spec for spec in scenario.learners}
    chosen = []
    for name in dict.fromkeys(wanted):
        if name in specs:
            chosen.append(specs[name])
        elif name in installed:
            chosen.append(LearnerSpec(name, name, installed[name].load().Params()))
        elif ":" in name:
            chosen.append(LearnerSpec(name.partition(":")[2], name, {}))
        else:
            raise UserError(f"no learner is called {name!r}{did_you_mean(name, dict.fromkeys([*specs, *installed]))}")
    if not chosen:
        raise UserError("no learners: choose at least one")
    return chosen


def _instantiate(spec: LearnerSpec, installed: Mapping[str, LearnerEntry], allow_code: bool) -> Learner:
    if _is_code(spec.learner):
        if not allow_code:
            raise UserError(f"learner {spec.learner!r} is code of your own: --allow-code lets it run")
        found = load_learner(spec.learner)
    else:
        found = installed[spec.learner].load()
    params = spec.params
    if not isinstance(params, LearnerParams):
        try:
            params = found.Params.model_validate(params)
        except ValidationError as error:
            raise UserError(f"learners.{spec.label}: {error}") from error
    return found(params)


def _is_code(name: str) -> bool:
    return ":" in name and not name.startswith("torchvision:")


def _facts(spec: LearnerSpec, learner: Learner) -> dict[str, Any]:
    """What the manifest says of a learner."""
    return {
        "learner": spec.learner,
        "params": learner.params.model_dump(mode="json", by_alias=True, context={"with_units": True}),
        "oracle": learner.oracle,
        "ideal": learner.ideal,
        "needs_values": learner.needs_values,
    }


def simulate(
    folder: RunFolder,
    scenario: Scenario,
    seeds: Sequence[int],
    cast: Mapping[str, Learner],
    *,
    timing_only: bool = False,
    allow_code: bool = False,
    keeping: Keeping | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    computing: Choice | None = None,
    plane: Plane | None = None,
) -> None:
    """Simulate learners that exist already, by label, and write their tables into ``folder``; see ``run``.

    ``computing`` is where jobs run, by default as the scenario says; ``plane`` what runs them, by default one of its
    own, which keeps results as ``keeping`` says, by default in a journal in ``folder``.
    """
    with patient_collector() as may_thaw:
        _simulate(
            folder, scenario, seeds, cast, timing_only, allow_code, keeping, on_progress, computing, plane, may_thaw
        )


def _simulate(
    folder: RunFolder,
    scenario: Scenario,
    seeds: Sequence[int],
    cast: Mapping[str, Learner],
    timing_only: bool,
    allow_code: bool,
    keeping: Keeping | None,
    on_progress: Callable[[Progress], None] | None,
    computing: Choice | None,
    plane: Plane | None,
    may_thaw: bool,
) -> None:
    from .jobs import CPU, cpu_capability
    from .models import weight_bytes
    from .tables import TableWriter
    from .world import draw_environment, load_data

    reporter = None if on_progress is None else Reporter(on_progress, len(seeds) * len(cast))
    placement = CPU if timing_only or plane is not None else placement_of(scenario)
    folder.update(threads_per_job=scenario.work.threads_per_job, cpu_capability=cpu_capability(), device=str(placement))
    goes_on = "resumed" in folder.manifest
    writer = TableWriter(folder.path, goes_on=goes_on, timing_only=timing_only, watch=folder.watch)
    own = plane is None
    kept = (keeping or Keeping()).open(folder) if own and not timing_only else None
    if plane is None:
        computing = computing or choice(scenario)
        if not timing_only:
            folder.update(computing={**computing.facts(), "memory_bytes": int(scenario.work.memory)})
        plane = _plane(folder, scenario, computing, placement, timing_only, kept, reporter)
    stage = Stage(folder, plane, writer, reporter, _packages(scenario, cast), may_thaw)
    stage.read_code(cast.values())
    dataset: Dataset | None = None
    with _closing(plane) if own else contextlib.nullcontext():
        for seed in seeds:
            left = {label: learner for label, learner in cast.items() if not stage.skip(label, seed)}
            if not left:
                continue
            if kept is not None:
                kept.next_seed()
            if dataset is None:
                dataset = load_data(scenario)
                begun_with = folder.manifest.get("data_fingerprint", dataset.fingerprint)
                if begun_with != dataset.fingerprint:
                    raise CannotResume(
                        f"{folder.path} was begun with other data: {begun_with} -> {dataset.fingerprint}"
                    )
                folder.update(data_fingerprint=dataset.fingerprint)
            surroundings = draw_environment(scenario, seed, dataset, allow_code=allow_code)
            folder.update(
                sample_bytes=surroundings.sample_bytes,
                weight_bytes=weight_bytes(surroundings.architecture, scenario.training.codec),
            )
            if scenario.pretrain.weights is not None:
                _check_weights(folder, surroundings, timing_only)
            for label, learner in left.items():
                if stage.played:
                    gc.collect()  # the world that is over refers to itself: it goes before the next one comes
                stage.play(label, learner, surroundings)
        writer.close()
        if kept is not None:
            kept.done()
    jobs = sum(world["jobs"] for world in folder.manifest["worlds"])
    folder.update(jobs=jobs, work=plane.counts(), **({} if kept is None else kept.facts()))


def _packages(scenario: Scenario, cast: Mapping[str, Learner]) -> tuple[str, ...]:
    """The packages that the learners and the model are from."""
    modules = {type(learner).__module__ for learner in cast.values()}
    if _is_code(scenario.model.name):
        modules.add(scenario.model.name.partition(":")[0])
    return tuple(sorted({module.partition(".")[0] for module in modules}))


def _check_weights(folder: RunFolder, surroundings: Environment, timing_only: bool) -> None:
    """Raise ``UserError`` where the file that pretraining starts from does not fit, or is another one by now."""
    from .models import SavedWeights, layout

    saved = SavedWeights.of(str(surroundings.scenario.pretrain.weights))
    if saved.digest != folder.manifest["weights"]:
        raise UserError(f"pretrain.weights: {saved.path} was changed while it was in use")
    if not timing_only and "weights_drawn" not in folder.manifest:
        folder.update(weights_drawn=list(saved.missing(layout(surroundings.architecture))))


def _plane(
    folder: RunFolder,
    scenario: Scenario,
    computing: Choice,
    placement: Placement,
    timing_only: bool,
    kept: Kept | None,
    reporter: Reporter | None,
) -> Plane:
    from .jobs import Overflow, TimingPlane, WorkPlane

    if timing_only:
        return TimingPlane()
    return WorkPlane(
        computing.make(scenario.work.threads_per_job, placement),
        memory_bytes=int(scenario.work.memory),
        on_done=None if reporter is None else reporter.tick,
        store=None if kept is None else kept.store,
        watch=folder.watch,
        overflow=Overflow(folder.path),
    )


@contextlib.contextmanager
def _closing(plane: Plane) -> Iterator[None]:
    """Close the plane at the end. Where a disk is full already, that it cannot be written is no news."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            plane.close()
        raise
    plane.close()
