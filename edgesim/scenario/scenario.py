"""The whole scenario: what one YAML file says, checked, in SI units."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from itertools import accumulate
from typing import Annotated, Any, Literal, Self

from annotated_types import MinLen
from pydantic import (
    BaseModel,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    field_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from edgesim.scenario.base import Flag, Name, PositiveWholeNumber, Spec, WholeNumber
from edgesim.scenario.checks import Parts, check
from edgesim.scenario.data import Arrival, DataSpec
from edgesim.scenario.devices import Block, Cloud, DeviceGroup, DeviceNames
from edgesim.scenario.drifts import DriftSpec
from edgesim.scenario.findings import Finding, found, several, wrong
from edgesim.scenario.learners import LearnerSpec, unknown_learner
from edgesim.scenario.model import ModelSpec, Pretrain, Training
from edgesim.scenario.translate import findings_of
from edgesim.scenario.units import PositiveSeconds


class Evaluation(Spec):
    """What accuracy is measured on beside the current data."""

    forgetting_views: WholeNumber = Field(
        0, description="How many earlier data views of a device are evaluated too, for forgetting."
    )


class Record(Spec):
    """What else is written to the run folder."""

    environment: Flag = Field(
        True, description="Write what the environment did: bandwidth, memory, availability."
    )


class Work(Spec):
    """How training is computed on this machine; changes no virtual time."""

    threads_per_job: PositiveWholeNumber = Field(1, description="torch threads a job computes with.")


class _LearnersType:
    """``learners``: label -> parameters."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: object, information: core_schema.ValidationInfo[Any]) -> tuple[LearnerSpec, ...]:
            return read_learners(value, information.context)

        return core_schema.with_info_plain_validator_function(read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "object", "minProperties": 1, "additionalProperties": {"type": ["object", "null"]}}


class Scenario(Spec):
    """An edge environment, the data in it, and the learners to compare.

    Quantities are plain SI numbers: seconds, bytes, bytes per second, FLOP/s, watts, joules. What changes over time
    is a :data:`~edgesim.scenario.SignalSpec`, whose ``.signal()`` makes the signal.
    """

    edgesim: Literal[1] = Field(description="Version of the scenario format.", examples=[1])
    name: Name = Field(
        description="Name of the scenario; run folders are called after it.", examples=["quickstart"]
    )
    description: str = Field("", description="What the scenario shows, for people.")
    seed: WholeNumber = Field(0, description="Seed of everything random, where none is given to the command.")
    horizon: PositiveSeconds = Field(description="How much virtual time the run lasts.", examples=["30 min"])
    data: DataSpec = Field(description="Where samples come from and how they reach devices.")
    model: ModelSpec = Field(description="The model that is adapted.", examples=["{name: mlp, hidden: [64]}"])
    pretrain: Pretrain = Field(
        default_factory=Pretrain, description="How the first model is trained on the cloud's proxy data."
    )
    training: Training = Field(default_factory=Training, description="What learners train with by default.")
    devices: Annotated[tuple[DeviceGroup, ...], MinLen(1)] = Field(description="Groups of devices.")
    cloud: Cloud = Field(description="The cloud.")
    drifts: tuple[DriftSpec, ...] = Field((), description="Changes of the data.")
    learners: Annotated[tuple[LearnerSpec, ...], _LearnersType()] = Field(
        description="Learners to compare: label -> parameters.", examples=["{no_adaptation: {}}"]
    )
    evaluation: Evaluation = Field(default_factory=Evaluation, description="What accuracy is measured on.")
    record: Record = Field(default_factory=Record, description="What else is written to the run folder.")
    work: Work = Field(default_factory=Work, description="How training is computed on this machine.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        findings = check(
            Parts(
                horizon_s=self.horizon,
                data=self.data,
                devices=dict(enumerate(self.devices)),
                all_devices=True,
                drifts=dict(enumerate(self.drifts)),
            )
        )
        if findings:
            raise several(findings)
        return self

    @field_serializer("learners")
    def _write_learners(self, learners: tuple[LearnerSpec, ...], information: Any) -> dict[str, Any]:
        return {spec.label: write_learner(spec, information.context) for spec in learners}

    @property
    def device_count(self) -> int:
        """How many devices there are."""
        return sum(group.count for group in self.devices)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The device groups with the device indices they cover, in order."""
        stops = list(accumulate(group.count for group in self.devices))
        return tuple(
            Block(group, stop - group.count, stop) for group, stop in zip(self.devices, stops, strict=True)
        )

    def device_names(self) -> DeviceNames:
        """Names of all devices in order of their index; a sequence that makes each name when asked."""
        return DeviceNames([(group.name, group.count) for group in self.devices])

    def arrival(self, group: DeviceGroup) -> Arrival:
        """How samples arrive at a group: ``data.arrival`` with what the group changes in it."""
        return self.data.arrival if group.arrival is None else group.arrival.over(self.data.arrival)

    def learner(self, label: str) -> LearnerSpec:
        """Return the learner of that label.

        Raises
        ------
        KeyError
            The scenario has none of that label.
        """
        return next((spec for spec in self.learners if spec.label == label), None) or _missing(label)

    def to_document(self) -> dict[str, Any]:
        """Everything that holds, defaults included, as plain data with units, the way a file says it."""
        document: dict[str, Any] = self.model_dump(
            mode="json", by_alias=True, exclude_none=True, context={"with_units": True}
        )
        return document

    def to_yaml(self) -> str:
        """The scenario as YAML, defaults included; loading it gives an equal scenario."""
        from edgesim.scenario.document import write_yaml

        return write_yaml(self.to_document())


def _missing(label: str) -> LearnerSpec:
    raise KeyError(label)


def read_learners(value: object, context: Any) -> tuple[LearnerSpec, ...]:
    """Read ``learners``, and check parameters against the models in ``context["learner_models"]`` where it is given."""
    if isinstance(value, tuple) and all(isinstance(item, LearnerSpec) for item in value):
        return value
    if not isinstance(value, Mapping):
        raise wrong(f"found {found(value)} where a mapping is expected, for example {{no_adaptation: {{}}}}")
    if not value:
        raise wrong("found an empty mapping; name at least one learner, for example {no_adaptation: {}}")
    findings: list[Finding] = []
    specs: list[LearnerSpec] = []
    for label, parameters in value.items():
        try:
            specs.append(_read_learner(label, parameters, context))
        except _Mistakes as mistakes:
            findings += mistakes.findings
    if findings:
        raise several(findings)
    return tuple(specs)


class _Mistakes(Exception):
    def __init__(self, findings: list[Finding]) -> None:
        super().__init__(findings)
        self.findings = findings


def _read_learner(label: object, written: object, context: Any) -> LearnerSpec:
    if isinstance(written, LearnerSpec):
        return written
    if not isinstance(label, str):
        raise _Mistakes(
            [Finding((str(label),), f"found {found(label)} where a learner's label is expected", True)]
        )
    if written is not None and not isinstance(written, Mapping):
        message = (
            f"found {found(written)} where a mapping of parameters is expected (`{{}}` for the defaults)"
        )
        raise _Mistakes([Finding((label,), message)])
    parameters = dict(written or {})
    learner = parameters.pop("learner", label)
    if not isinstance(learner, str):
        raise _Mistakes(
            [Finding((label, "learner"), f"found {found(learner)} where a learner's name is expected")]
        )
    models = context.get("learner_models") if isinstance(context, Mapping) else None
    if ":" in learner or models is None:
        return LearnerSpec(label, learner, parameters)
    if learner not in models:
        path = (label, "learner") if written and "learner" in written else (label,)
        raise _Mistakes([Finding(path, unknown_learner(learner, models), on_key=len(path) == 1)])
    try:
        model = models[learner]()
    except Exception as error:  # a third party's module may fail in any way: the user is told which and why
        reason = f"{type(error).__name__}: {error}"
        raise _Mistakes(
            [Finding((label,), f"the learner {learner!r} cannot be loaded: {reason}", True)]
        ) from error
    try:
        return LearnerSpec(label, learner, model.model_validate(parameters, context=context))
    except ValidationError as error:
        below = findings_of(error, model, parameters)
        raise _Mistakes([Finding((label, *f.path), f.message, f.on_key) for f in below]) from None


def write_learner(spec: LearnerSpec, context: Any) -> dict[str, Any]:
    """Write a learner's parameters the way a scenario file says them."""
    named = {} if spec.learner == spec.label else {"learner": spec.learner}
    if isinstance(spec.params, BaseModel):
        return {**named, **spec.params.model_dump(mode="json", by_alias=True, context=context)}
    return {**named, **spec.params}
