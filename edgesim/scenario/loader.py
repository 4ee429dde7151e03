"""From a scenario file to a :class:`Scenario`, or to everything that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path as FilePath
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from edgesim.errors import Problem, ScenarioError
from edgesim.scenario.checks import Parts, check
from edgesim.scenario.devices import DeviceGroup
from edgesim.scenario.document import Document, Override, apply_override, expand_variables, read_yaml
from edgesim.scenario.drifts import DriftSpec
from edgesim.scenario.findings import Finding, dotted, found
from edgesim.scenario.gateways import Gateway
from edgesim.scenario.learners import LearnerModels
from edgesim.scenario.scenario import Scenario
from edgesim.scenario.translate import findings_of


def load(
    path: str | PathLike[str],
    *,
    overrides: Sequence[str | Override] = (),
    learner_params: LearnerModels,
) -> Scenario:
    """Read and check a scenario file.

    Parameters
    ----------
    path : path
        The YAML file. Relative paths in it are relative to its folder.
    overrides : sequence of str or Override
        Values to set before checking, as ``devices.0.count=20``; an item of a list is named by its number or
        its ``name``. The value is YAML.
    learner_params : mapping of str to callable
        The learners that exist, each with a function that returns the model of its parameters. Called only
        for the learners that the file names; one given as ``package.module:Class`` stays unchecked.

    Returns
    -------
    Scenario

    Raises
    ------
    ScenarioError
        With everything that is wrong, in file order.
    """
    return _checked(_read(FilePath(path)), FilePath(path), overrides, learner_params)


def problem_at(
    path: str | PathLike[str], key: str, message: str, *, overrides: Sequence[str | Override] = ()
) -> Problem:
    """Tell of a mistake that shows only when a scenario is run: with the place of its key in the file that was loaded.

    Parameters
    ----------
    path, overrides
        As they were given to :func:`load`.
    key
        Such as ``work.device``; names of keys only, no items of lists.
    message
        What is wrong.
    """
    document = _read(FilePath(path))
    for override in overrides:
        apply_override(document, Override(override) if isinstance(override, str) else override)
    place = document.place(tuple(key.split(".")))
    return Problem(place.file, place.line, place.column, key, message)


def load_each(
    path: str | PathLike[str],
    variants: Iterable[Sequence[str | Override]],
    *,
    learner_params: LearnerModels,
) -> Iterator[Scenario | ScenarioError]:
    """Read a scenario file once and check it under each of several sets of overrides; see :func:`load`.

    Yields
    ------
    Scenario or ScenarioError
        For each of ``variants``, in their order: the scenario, or everything that is wrong with it.

    Raises
    ------
    ScenarioError
        The file cannot be read at all.
    """
    document = _read(FilePath(path))
    for overrides in variants:
        try:
            yield _checked(document.copy(), FilePath(path), overrides, learner_params)
        except ScenarioError as error:
            yield error


def _checked(
    document: Document, file: FilePath, overrides: Sequence[str | Override], learner_params: LearnerModels
) -> Scenario:
    for override in overrides:
        apply_override(document, Override(override) if isinstance(override, str) else override)
    expand_variables(document)
    context = {"from_file": True, "folder": file.absolute().parent, "learner_models": learner_params}
    try:
        scenario = Scenario.model_validate(document.data, context=context)
    except ValidationError as error:
        findings = findings_of(error, Scenario, document.data)
        findings += [item for item in check(_parts(document.data, context)) if item not in findings]
        raise ScenarioError(_problems(document, findings)) from None
    if document.problems:
        raise ScenarioError(_problems(document, []))
    return scenario


def _read(file: FilePath) -> Document:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ScenarioError((Problem(str(file), 0, 0, "", "there is no such file"),)) from None
    except UnicodeDecodeError as error:
        raise ScenarioError((Problem(str(file), 0, 0, "", f"not text in UTF-8: {error.reason}"),)) from None
    except OSError as error:
        raise ScenarioError((Problem(str(file), 0, 0, "", f"cannot be read: {error.strerror}"),)) from None
    document = read_yaml(text, str(file))
    if isinstance(document.data, dict):
        return document
    if not document.problems:
        if document.data is None:
            message = "the file is empty; `edgesim new NAME` writes a scenario to start from"
        else:
            message = f"found {found(document.data)} where a mapping with edgesim, name, horizon, ... is expected"
        place = document.place(())
        document.problems.append(Problem(str(file), place.line, place.column, "", message))
    raise ScenarioError(tuple(document.problems))


def _problems(document: Document, findings: Sequence[Finding]) -> tuple[Problem, ...]:
    known = {problem.path for problem in document.problems}
    problems = list(document.problems)
    for finding in findings:
        if dotted(finding.path) not in known:
            place = document.place(finding.path, finding.on_key)
            problems.append(Problem(place.file, place.line, place.column, dotted(finding.path), finding.message))
    return tuple(sorted(problems, key=lambda problem: (problem.line == 0, problem.line, problem.column)))


def _parts(data: Mapping[str, Any], context: Mapping[str, Any]) -> Parts:
    """Read whatever can be read of a scenario that cannot be read as a whole."""
    groups, gateways, drifts = data.get("devices"), data.get("gateways", []), data.get("drifts")
    devices = dict(_items(groups, DeviceGroup, context))
    known = dict(_items(gateways, Gateway, context))
    return Parts(
        horizon_s=_section(data, "horizon", context),
        data=_section(data, "data", context),
        model=_section(data, "model", context),
        pretrain=_section(data, "pretrain", context),
        devices=devices,
        all_devices=isinstance(groups, list) and len(devices) == len(groups),
        gateways=known,
        all_gateways=isinstance(gateways, list) and len(known) == len(gateways),
        drifts=dict(_items(drifts, DriftSpec, context)),
    )


def _section(data: Mapping[str, Any], key: str, context: Mapping[str, Any]) -> Any:
    if key not in data:
        return None
    field = Scenario.model_fields[key]
    kind = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return _tried(kind, data[key], context)


def _items(items: object, kind: Any, context: Mapping[str, Any]) -> Iterator[tuple[int, Any]]:
    for index, item in enumerate(items if isinstance(items, list) else ()):
        value = _tried(kind, item, context)
        if value is not None:
            yield index, value


def _tried(kind: Any, value: object, context: Mapping[str, Any]) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value, context=context)
    except ValidationError:  # already told with the whole
        return None
