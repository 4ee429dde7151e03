"""What every drift says besides what changes: whom it strikes, and how it comes (and goes)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, MinLen
from pydantic import Field, GetJsonSchemaHandler, Strict, ValidationInfo, model_serializer, model_validator
from pydantic_core import CoreSchema

from edgesim.scenario.base import Name, PositiveWholeNumber, Spec
from edgesim.scenario.findings import found, wrong
from edgesim.scenario.units import PositiveSeconds, Ratio, from_file

_TARGETS = "{share: 50 %}, {group: NAME}, {names: [...]}, {sample: 3}"


class DriftTarget(Spec):
    """Which devices drift: all of them, a random share, a group, some by name, or others each time.

    A share or a sample may be of one ``group``.
    """

    share: Annotated[Ratio, Gt(0)] | None = Field(
        default=None, description="A random share of the devices, drawn once a drift.", examples=["50 %"]
    )
    group: Name | None = Field(default=None, description="One group of devices.", examples=["fast"])
    names: Annotated[tuple[str, ...], MinLen(1)] | None = Field(
        default=None, description="Devices by name.", examples=[["fast-0", "fast-1"]]
    )
    sample: PositiveWholeNumber | None = Field(
        default=None, description="So many devices, drawn anew each time that the drift happens.", examples=[3]
    )

    @property
    def everyone(self) -> bool:
        """Whether all devices drift."""
        return self.share is None and self.group is None and self.names is None and self.sample is None

    @model_validator(mode="before")
    @classmethod
    def _fit(cls, value: Any, information: ValidationInfo) -> Any:
        if value == "all":
            return {}
        if isinstance(value, dict):
            chosen = [key for key in ("names", "share", "sample") if key in value]
            if "names" in value and "group" in value:
                chosen = ["names", "group"]
            if len(chosen) > 1:
                raise wrong(f"found {' and '.join(chosen)}: choose one of them", (chosen[1],))
            if not value and from_file(information.context):
                raise wrong("found an empty mapping; write `all`, or one of share, group, names, sample")
            return value
        if isinstance(value, cls):
            return value
        raise wrong(f"found {found(value)}; write `all`, or {_TARGETS}")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the word ``all`` too, for editors."""
        mapping = handler.resolve_ref_schema(handler(schema))
        return {
            "description": mapping.pop("description"),
            "anyOf": [{"const": "all"}, {**mapping, "minProperties": 1, "maxProperties": 2}],
        }

    @model_serializer(mode="wrap")
    def _write(self, handler: Any) -> Any:
        return "all" if self.everyone else {key: value for key, value in handler(self).items() if value is not None}


class Ramp(Spec):
    """The steps in which a drift comes: the first at once, the last, with which it is there in full, after ``over``."""

    over: PositiveSeconds = Field(description="Time from the first step to the last.", examples=["5 min"])
    steps: Annotated[int, Strict(), Ge(2)] = Field(description="How many steps, evenly spaced.", examples=[5])

    def times_s(self) -> tuple[float, ...]:
        """When each step comes, in seconds after the first."""
        return tuple(self.over * step / (self.steps - 1) for step in range(self.steps))


class Profile(Spec):
    """How a drift comes: at once, for more and more samples (``gradual``), or stronger and stronger."""

    gradual: Ramp | None = Field(
        default=None, description="The share of samples that it has reached rises from step to step."
    )
    incremental: Ramp | None = Field(
        default=None, description="Its strength rises from step to step, for all samples; feature drifts only."
    )

    @property
    def ramp(self) -> Ramp | None:
        """Its steps; ``None`` for an abrupt drift."""
        return self.gradual or self.incremental

    @property
    def word(self) -> Literal["abrupt", "gradual", "incremental"]:
        """Which one it is."""
        if self.gradual is not None:
            return "gradual"
        return "abrupt" if self.incremental is None else "incremental"

    @model_validator(mode="before")
    @classmethod
    def _one_of(cls, value: Any, information: ValidationInfo) -> Any:
        ways = "`abrupt`, {gradual: {over: 5 min, steps: 5}} or {incremental: {over: 5 min, steps: 5}}"
        if value == "abrupt":
            return {}
        if isinstance(value, dict):
            chosen = [key for key in ("gradual", "incremental") if key in value]
            if len(chosen) > 1:
                raise wrong("found gradual and incremental: choose one of them", (chosen[1],))
            if not value and from_file(information.context):
                raise wrong(f"found an empty mapping; write {ways}")
            return value
        if isinstance(value, cls):
            return value
        raise wrong(f"found {found(value)}; write {ways}")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the word ``abrupt`` too, for editors."""
        mapping = handler.resolve_ref_schema(handler(schema))
        return {
            "description": mapping.pop("description"),
            "anyOf": [{"const": "abrupt"}, {**mapping, "minProperties": 1, "maxProperties": 1}],
        }

    @model_serializer(mode="wrap")
    def _write(self, handler: Any) -> Any:
        if self.ramp is None:
            return "abrupt"
        return {key: value for key, value in handler(self).items() if value is not None}
