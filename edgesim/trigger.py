"""When a device adapts: at fixed intervals, when a drift detector says so, or at the true instant of a drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Lt
from pydantic import Field, GetJsonSchemaHandler, model_serializer, model_validator
from pydantic_core import CoreSchema

from .detectors import DETECTORS
from .scenario.base import Positive, PositiveWholeNumber, Spec
from .scenario.findings import did_you_mean, found, wrong
from .scenario.units import PositiveSeconds

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from .watches import Attempt, FleetWatch, Watch
    from .world import Device, World

CHECK_EVERY = "30 s"
"""How often a detector is given the labelled samples that have come, where nothing else is said."""

_WAYS = "`drift`, {every: 5 min} or {detector: adwin}"
_Chance = Annotated[Positive, Lt(1)]


class Trigger(Spec):
    """What makes a device adapt: ``{every: 5 min}``, ``{detector: adwin}`` or ``drift``.

    A detector reads the errors of the model that serves the device on the samples whose labels have come. Reading
    them takes results: ``--timing-only`` refuses a learner with a detector.

    ``drift`` wakes the device at the true instant of each of its drifts. No real device knows that: a learner that
    uses it is an oracle, and is marked so in every table.
    """

    every: PositiveSeconds | None = Field(default=None, description="Adapt at intervals of this.", examples=["5 min"])
    detector: Literal["adwin", "page_hinkley", "ddm", "kswin"] | None = Field(
        default=None, description="Adapt when this detector finds a drift in the device's own labelled stream."
    )
    check_every: PositiveSeconds | None = Field(
        default=None,
        description="How often a detector is given what has come; by default every 30 s.",
        examples=["30 s"],
    )
    delta: Positive | None = Field(
        default=None,
        description="adwin: chance of a false alarm (0.002). page_hinkley: change that is let pass (0.005).",
    )
    clock: PositiveWholeNumber | None = Field(default=None, description="adwin: looks at every so many samples (32).")
    min_window_length: PositiveWholeNumber | None = Field(
        default=None, description="adwin: fewest samples in a part that is compared (5)."
    )
    grace_period: PositiveWholeNumber | None = Field(
        default=None, description="adwin: samples before the first look (10)."
    )
    min_instances: PositiveWholeNumber | None = Field(
        default=None, description="page_hinkley: samples before the first alarm (30)."
    )
    threshold: Positive | None = Field(
        default=None, description="page_hinkley: errors above the mean, summed up, that make an alarm (50)."
    )
    alpha: _Chance | None = Field(
        default=None, description="page_hinkley: weight of the past (0.9999). kswin: chance of a false alarm (0.005)."
    )
    warm_start: PositiveWholeNumber | None = Field(
        default=None, description="ddm: samples before the first alarm (30)."
    )
    drift_threshold: Positive | None = Field(
        default=None, description="ddm: standard deviations above the best error rate that make an alarm (3)."
    )
    window_size: PositiveWholeNumber | None = Field(default=None, description="kswin: samples that it keeps (100).")
    stat_size: PositiveWholeNumber | None = Field(
        default=None, description="kswin: the latest samples, compared with as many earlier ones (30)."
    )

    @property
    def oracle(self) -> bool:
        """Whether this is ``drift``."""
        return self.every is None and self.detector is None

    @property
    def needs_values(self) -> bool:
        """Whether it reads results: a detector reads errors."""
        return self.detector is not None

    def watch(self, world: World, device: Device) -> Watch:
        """Begin to watch one device, for what happens on it: ``watch.next()`` is the event of the next time."""
        from .watches import Watch

        return Watch(self, world, device)

    def act(
        self, world: World, device: Device, attempt: Attempt, *, collect_s: float = 0.0
    ) -> Generator[Event, Any, None]:
        """Let a device make an attempt each time, for ever: a process of a learner that adapts device by device.

        Parameters
        ----------
        world, device
            Where.
        attempt
            Called each time; a generator that adapts the device and returns whether that came about. Where it did not
            (no memory, no samples, the device left), it is made again: after half a minute, then after twice as long
            each time, until the trigger fires anew; with `every`, at the next interval.
        collect_s
            Waited after the trigger, to collect samples first. A device that is away then is waited for.
        """
        return self.watch(world, device).act(attempt, collect_s)

    def watch_all(self, world: World) -> FleetWatch:
        """Begin to watch all devices, for what happens in the cloud; a detector's alarms are sent there."""
        from .watches import FleetWatch

        return FleetWatch(self, world)

    @property
    def parameters(self) -> dict[str, float | int]:
        """The detector's parameters."""
        names = () if self.detector is None else DETECTORS[self.detector]
        return {name: getattr(self, name) for name in names}

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if value == "drift":
            return {}
        if isinstance(value, cls):
            return value
        if isinstance(value, dict):
            value = {key: given for key, given in value.items() if given is not None}
        if not isinstance(value, dict) or not value:
            raise wrong(f"found {found(value)}; write {_WAYS}")
        detector: str | None = value.get("detector")
        if detector is not None and "every" in value:
            raise wrong("found every and detector: choose one of them (a detector has `check_every`)", ("every",))
        if not isinstance(detector, str) or detector not in DETECTORS:
            own = [key for key in value if key in cls.model_fields and key not in ("every", "detector")]
            if own and detector is None:
                raise wrong(f"is a detector's; write {_WAYS}", (own[0],))
            return value
        known = ("detector", "check_every", *DETECTORS[detector])
        for key in value:
            if key in cls.model_fields and key not in known:
                raise wrong(f"{detector} has no such parameter{did_you_mean(key, known[1:])}", (key,))
        return {"check_every": CHECK_EVERY, **DETECTORS[detector], **value}

    @model_validator(mode="after")
    def _windows(self) -> Trigger:
        if self.window_size is not None and self.stat_size is not None and 2 * self.stat_size > self.window_size:
            raise wrong(
                f"found {self.stat_size}, must be at most half of window_size ({self.window_size})", ("stat_size",)
            )
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the word ``drift`` too, for editors."""
        mapping = handler.resolve_ref_schema(handler(schema))
        return {
            "description": mapping.pop("description"),
            "anyOf": [{"const": "drift"}, {**mapping, "minProperties": 1}],
        }

    @model_serializer(mode="wrap")
    def _write(self, handler: Any) -> Any:
        return "drift" if self.oracle else {key: value for key, value in handler(self).items() if value is not None}
