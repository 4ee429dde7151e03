"""The ``drifts`` section: when and where the data that devices see changes, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from annotated_types import Gt, MinLen
from pydantic import Field, GetJsonSchemaHandler, ValidationInfo, model_serializer, model_validator
from pydantic_core import CoreSchema

from edgesim.data.facts import TRANSFORMS
from edgesim.scenario.base import (
    ClassLabel,
    ClassList,
    Name,
    PositiveWholeNumber,
    Spec,
    Tagged,
    Weight,
    repeated,
)
from edgesim.scenario.findings import found, wrong
from edgesim.scenario.units import PositiveSeconds, Ratio, Seconds, from_file

FeatureTransform = Literal["brightness", "contrast", "blur", "noise", "rotation", "pixelate", "jpeg", "scale", "offset"]


class DriftTarget(Spec):
    """Which devices drift: all of them, a random share, a group, or some by name."""

    share: Annotated[Ratio, Gt(0)] | None = Field(
        default=None, description="A random share of all devices, drawn once a drift.", examples=["50 %"]
    )
    group: Name | None = Field(default=None, description="One group of devices.", examples=["fast"])
    names: Annotated[tuple[str, ...], MinLen(1)] | None = Field(
        default=None, description="Devices by name.", examples=[["fast-0", "fast-1"]]
    )

    @property
    def everyone(self) -> bool:
        """Whether all devices drift."""
        return self.share is None and self.group is None and self.names is None

    @model_validator(mode="before")
    @classmethod
    def _one_of(cls, value: Any, information: ValidationInfo) -> Any:
        if value == "all":
            return {}
        if isinstance(value, dict):
            chosen = [key for key in ("share", "group", "names") if key in value]
            if len(chosen) > 1:
                raise wrong(f"found {' and '.join(chosen)}: choose one of them", (chosen[1],))
            if not value and from_file(information.context):
                raise wrong("found an empty mapping; write `all`, or one of share, group, names")
            return value
        if isinstance(value, cls):
            return value
        raise wrong(f"found {found(value)}; write `all`, or {{share: 50 %}}, {{group: NAME}}, {{names: [...]}}")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the word ``all`` too, for editors."""
        mapping = handler.resolve_ref_schema(handler(schema))
        return {
            "description": mapping.pop("description"),
            "anyOf": [{"const": "all"}, {**mapping, "minProperties": 1, "maxProperties": 1}],
        }

    @model_serializer(mode="wrap")
    def _write(self, handler: Any) -> Any:
        return "all" if self.everyone else {key: value for key, value in handler(self).items() if value is not None}


class _Drift(Spec):
    kind: str
    name: Name = Field(description="What it is called in the tables.", examples=["dusk"])
    at: Seconds | None = Field(
        default=None,
        description="When it happens (first); by default after one `every`.",
        examples=["15 min"],
    )
    every: PositiveSeconds | None = Field(
        default=None, description="It happens again after this time.", examples=["1 min"]
    )
    until: PositiveSeconds | None = Field(
        default=None, description="It happens no more from then on.", examples=["1 h"]
    )
    devices: DriftTarget = Field(
        default_factory=DriftTarget,
        description="Which devices: all, {share: 50 %}, {group: NAME} or {names: [...]}.",
    )
    replace: Ratio = Field(
        default=0.0,
        description="Share of what a device holds that is replaced by new samples at once.",
        examples=["50 %"],
    )

    @model_validator(mode="after")
    def _happens(self) -> Self:
        if self.at is None and self.every is None:
            raise wrong("is missing: when the drift happens, for example `at: 10 min` (or `every: 1 min`)", ("at",))
        if self.until is not None:
            if self.every is None:
                raise wrong("ends something that happens once: leave it out, or add `every`", ("until",))
            if self.until <= self.first_s:
                raise wrong("ends the drift before it first happens", ("until",))
        return self

    @property
    def first_s(self) -> float:
        """When it first happens."""
        if self.at is not None:
            return self.at
        assert self.every is not None
        return self.every

    def times(self, horizon_s: float) -> tuple[float, ...]:
        """All times in seconds at which it happens before ``horizon_s``."""
        end_s = horizon_s if self.until is None else min(self.until, horizon_s)
        return repeated(self.first_s, self.every, end_s)


class LabelDrift(_Drift):
    """Which classes a device meets, and how often, changes."""

    kind: Literal["label"] = Field(description="Which classes devices meet changes.")
    add_classes: ClassList | None = Field(
        default=None, description="Classes that come to the present ones.", examples=[[7, 8, 9]]
    )
    classes: ClassList | None = Field(
        default=None, description="Classes that occur from now on, equally often.", examples=[[0, 1]]
    )
    prior: Annotated[dict[ClassLabel, Weight], MinLen(1)] | None = Field(
        default=None, description="Probability of each class from now on.", examples=[{"7": 0.5, "8": 0.5}]
    )

    @model_validator(mode="after")
    def _one_change(self) -> Self:
        chosen = [key for key in ("add_classes", "classes", "prior") if getattr(self, key) is not None]
        if not chosen:
            raise wrong("a label drift says one of add_classes, classes, prior")
        if len(chosen) > 1:
            raise wrong(f"found {' and '.join(chosen)}: choose one of them", (chosen[1],))
        if self.prior is not None and abs(total := sum(self.prior.values()) - 1.0) > 1e-6:
            raise wrong(f"the probabilities sum to {total + 1.0:g}, not to 1", ("prior",))
        return self

    def named_classes(self) -> tuple[tuple[tuple[str | int, ...], int], ...]:
        """Each class that the drift names, with the path at which it does."""
        listed = [
            ((key, index), label)
            for key, labels in (("add_classes", self.add_classes), ("classes", self.classes))
            for index, label in enumerate(labels or ())
        ]
        return (*listed, *((("prior", label), label) for label in self.prior or ()))


class FeatureDrift(_Drift):
    """What samples look like changes."""

    kind: Literal["feature"] = Field(description="What samples look like changes.")
    transform: FeatureTransform = Field(
        description="What happens: scale, offset for vectors, noise for both, the others for images."
    )
    severity: Annotated[PositiveWholeNumber, Field(le=5)] | None = Field(
        default=None, description="Strength from 1 to 5.", examples=[3]
    )
    amount: float | None = Field(
        default=None, description="Strength as the transform's own number, instead of `severity`."
    )

    @model_validator(mode="after")
    def _one_strength(self) -> Self:
        if self.severity is None and self.amount is None:
            raise wrong("is missing: the strength, from 1 to 5 (or `amount`)", ("severity",))
        if self.severity is not None and self.amount is not None:
            raise wrong("`severity` already gives the strength; leave one of them out", ("amount",))
        facts = TRANSFORMS[self.transform]
        if self.amount is not None and not facts.low <= self.amount <= facts.high:
            bounds = f"from {facts.low:g} to {facts.high:g}"
            raise wrong(f"found {self.amount:g}, must be {bounds}: {facts.meaning}", ("amount",))
        return self


class ReplacementDrift(_Drift):
    """A share of what a device holds is replaced by new samples of the same distribution."""

    kind: Literal["replacement"] = Field(description="A share of what devices hold is replaced by new samples.")
    replace: Annotated[Ratio, Gt(0)] = Field(
        description="Share of what a device holds that is replaced by new samples at once.", examples=["50 %"]
    )


DriftSpec = Annotated[LabelDrift | FeatureDrift | ReplacementDrift, Tagged("kind")]
"""One drift; ``kind`` says which."""
