"""The ``learners`` section: which paradigms are compared, and with which parameters.

A learner's parameters are checked against its own model, which whoever loads the scenario hands in: nothing
here imports a learner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from edgesim.scenario.findings import Finding, Path, did_you_mean, found, several, wrong
from edgesim.scenario.translate import findings_of

LearnerModels = Mapping[str, Callable[[], type[BaseModel]]]
"""Name of a learner -> a function that returns the model of its parameters (importing the learner then)."""


@dataclass(frozen=True, slots=True)
class LearnerSpec:
    """One learner of a scenario.

    Attributes
    ----------
    label
        Names its rows in the tables.
    learner
        An installed learner's name, or ``package.module:Class``.
    params
        The learner's own model of its parameters; the mapping as written where they could not be checked
        (``package.module:Class``, which reading a scenario never imports).
    """

    label: str
    learner: str
    params: BaseModel | Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_code(self) -> bool:
        """Whether the learner is a class of the user's own, named ``package.module:Class``."""
        return ":" in self.learner


class LearnersType:
    """Annotation of ``learners``: labels to parameters, read as a tuple of :class:`LearnerSpec`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read with the models of ``context["learner_models"]``; write a mapping."""

        def read(value: object, information: core_schema.ValidationInfo[Any]) -> tuple[LearnerSpec, ...]:
            return read_learners(value, information.context)

        def write(value: tuple[LearnerSpec, ...], information: core_schema.SerializationInfo[Any]) -> dict[str, Any]:
            return {spec.label: write_learner(spec, information.context) for spec in value}

        return core_schema.with_info_plain_validator_function(
            read, serialization=core_schema.plain_serializer_function_ser_schema(write, info_arg=True)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the mapping; the parameters themselves are added by ``edgesim.scenario.json_schema``."""
        return {"type": "object", "minProperties": 1, "additionalProperties": {"type": ["object", "null"]}}


def read_learners(value: object, context: Any) -> tuple[LearnerSpec, ...]:
    """Read ``learners``, and check parameters against ``context["learner_models"]`` where it is given."""
    if isinstance(value, tuple) and all(isinstance(item, LearnerSpec) for item in value):
        return value
    example = "for example {no_adaptation: {}}"
    if not isinstance(value, Mapping):
        raise wrong(f"found {found(value)} where a mapping from labels to parameters is expected, {example}")
    if not value:
        raise wrong(f"found an empty mapping; name at least one learner, {example}")
    models = context.get("learner_models") if isinstance(context, Mapping) else None
    findings: list[Finding] = []
    specs: list[LearnerSpec] = []
    for label, written in value.items():
        spec, mistakes = _read_learner(label, written, models, context)
        findings += mistakes
        if spec is not None:
            specs.append(spec)
    if findings:
        raise several(findings)
    return tuple(specs)


_Result = tuple[LearnerSpec | None, list[Finding]]


def _read_learner(label: Any, written: object, models: LearnerModels | None, context: Any) -> _Result:
    if isinstance(written, LearnerSpec):
        return written, []
    if not isinstance(label, str):
        return _mistake((label,), f"found {found(label)} where a learner's label is expected", on_key=True)
    if written is not None and not isinstance(written, Mapping):
        message = f"found {found(written)} where a mapping of parameters is expected ({{}} for the defaults)"
        return _mistake((label,), message)
    parameters = dict(written or {})
    learner = parameters.pop("learner", label)
    if not isinstance(learner, str):
        return _mistake((label, "learner"), f"found {found(learner)} where a learner's name is expected")
    if ":" in learner or models is None:
        return LearnerSpec(label, learner, parameters), []
    if learner not in models:
        message = f"no learner is called {learner!r}{did_you_mean(learner, sorted(models), 'installed')}"
        by_label = written is None or "learner" not in written
        return _mistake((label,) if by_label else (label, "learner"), message, on_key=by_label)
    try:
        model = models[learner]()
    except Exception as error:  # a third party's module may fail in any way: the user is told which and why
        reason = f"{type(error).__name__}: {error}"
        return _mistake((label,), f"the learner {learner!r} cannot be loaded: {reason}", on_key=True)
    try:
        return LearnerSpec(label, learner, model.model_validate(parameters, context=context)), []
    except ValidationError as error:
        below = findings_of(error, model, parameters)
        return None, [Finding((label, *item.path), item.message, item.on_key) for item in below]


def _mistake(path: Path, message: str, on_key: bool = False) -> _Result:
    return None, [Finding(path, message, on_key)]


def write_learner(spec: LearnerSpec, context: Any) -> dict[str, Any]:
    """Write a learner's parameters the way a scenario file says them."""
    named = {} if spec.learner == spec.label else {"learner": spec.learner}
    if isinstance(spec.params, BaseModel):
        return {**named, **spec.params.model_dump(mode="json", by_alias=True, context=context)}
    return {**named, **spec.params}
