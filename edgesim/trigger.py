"""When a device adapts: at fixed intervals, or at the true instant of a drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, model_serializer, model_validator

from .scenario.base import Spec
from .scenario.findings import found, wrong
from .scenario.units import PositiveSeconds

if TYPE_CHECKING:
    from simpy.events import Event

    from .world import Device, World


class Trigger(Spec):
    """What makes a device adapt: ``{every: 5 min}``, or ``drift``.

    ``drift`` wakes the device at the true instant of each of its drifts. No real device knows that: a learner that
    uses it is an oracle, and is marked so in every table.
    """

    every: PositiveSeconds | None = Field(None, description="Adapt at intervals of this.", examples=["5 min"])

    @property
    def oracle(self) -> bool:
        """Whether this is ``drift``."""
        return self.every is None

    def arm(self, world: World, device: Device) -> Event:
        """The event of the next time this triggers for ``device``, counted from now."""
        return device.wait_for_drift() if self.every is None else world.sleep(self.every)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if value == "drift":
            return {}
        if isinstance(value, dict) and value:
            return value
        if isinstance(value, cls):
            return value
        raise wrong(f"found {found(value)}; write `drift`, or {{every: 5 min}}")

    @model_serializer(mode="wrap")
    def _write(self, handler: Any) -> Any:
        return "drift" if self.every is None else handler(self)
