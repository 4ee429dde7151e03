"""What the models of the schema share: their base class, strict scalars, and unions told apart by one key."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, Strict
from pydantic_core import CoreSchema, core_schema

from edgesim.scenario.findings import Finding, several

NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]*$"
DEVICE_PATTERN = r"^(cpu|auto|cuda(:\d{1,3})?)$"


class Spec(BaseModel):
    """A part of a scenario: frozen, knows all its keys, takes no NaN and no infinity."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        defer_build=True,
    )


Flag = Annotated[bool, Strict()]
"""True or false, nothing that merely resembles one."""
WholeNumber = Annotated[int, Strict(), Ge(0)]
"""0, 1, 2, ..."""
PositiveWholeNumber = Annotated[int, Strict(), Ge(1)]
"""1, 2, 3, ..."""
Positive = Annotated[float, Strict(), Gt(0)]
"""A plain number without a dimension, more than 0."""
NotNegative = Annotated[float, Strict(), Ge(0)]
"""A plain number without a dimension, at least 0."""
Number = Annotated[float, Strict()]
"""A plain finite number."""
Weight = Annotated[float, Strict(), Ge(0), Le(1)]
"""A probability."""
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""What a group or a drift is called."""
TorchDevice = Annotated[str, Field(pattern=DEVICE_PATTERN)]
"""A device of PyTorch's: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``."""
ClassLabel = Annotated[int, Ge(0)]
"""A class as a key of a mapping, where JSON knows text only."""


def _different(labels: tuple[int, ...]) -> tuple[int, ...]:
    twice = [index for index, label in enumerate(labels) if label in labels[:index]]
    if twice:
        raise several([Finding((index,), f"class {labels[index]} is listed twice") for index in twice])
    return labels


ClassList = Annotated[tuple[WholeNumber, ...], MinLen(1), AfterValidator(_different)]
"""Class labels, counted from 0, each once."""


@dataclass(frozen=True)
class Tagged:
    """Annotation for a union of models that one key tells apart, such as ``kind``.

    The members' tags are the values of their ``Literal`` field ``key``. ``choose`` maps what is written to a
    tag where the values are not a closed list (a model's factory).
    """

    key: str
    choose: Callable[[str], str] = str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Build a tagged union whose error locations carry ``<tag>``, which cannot be mistaken for a key."""
        members = {tag: member for member in get_args(source) for tag in tags_of(member, self.key)}

        def tag_of(value: object) -> str | None:
            written = value.get(self.key) if isinstance(value, Mapping) else getattr(value, self.key, None)
            return f"<{self.choose(written)}>" if isinstance(written, str) else None

        return core_schema.tagged_union_schema(
            {f"<{tag}>": handler.generate_schema(member) for tag, member in members.items()},
            discriminator=tag_of,
            custom_error_type="edgesim_tag",
            custom_error_message="which {key}?",
            custom_error_context={"key": self.key, "known": " ".join(members)},
        )


def tags_of(member: Any, key: str) -> tuple[str, ...]:
    """Tags that choose a member of a tagged union: the literals of its field ``key``, or its ``TAG``."""
    own = getattr(member, "TAG", None)
    return (own,) if own else get_args(member.model_fields[key].annotation)


def repeated(first_s: float, every_s: float | None, end_s: float) -> tuple[float, ...]:
    """Return the times ``first_s + k * every_s`` before ``end_s``; only ``first_s`` where there is no period.

    >>> repeated(60.0, 30.0, 121.0)
    (60.0, 90.0, 120.0)
    """
    if first_s >= end_s:
        return ()
    if every_s is None:
        return (first_s,)
    count = math.ceil((end_s - first_s) / every_s)
    times = (first_s + k * every_s for k in range(count + 1))
    return tuple(time for time in times if time < end_s)
