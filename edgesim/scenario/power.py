"""What a device draws from its supply, and the battery that it may draw it from."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt
from pydantic import Field

from edgesim.scenario.base import Spec
from edgesim.scenario.distributions import OwnRatio
from edgesim.scenario.signal_specs import Constant, PowerSignal
from edgesim.scenario.units import Joules, JoulesPerByte, Ratio, Watts


class Power(Spec):
    """What a device draws from its supply."""

    idle: Watts = Field(default=0.0, description="Power whenever the device is on.", examples=["2 W"])
    compute: Watts = Field(default=0.0, description="Power while it computes, beside `idle`.", examples=["4 W"])
    radio: Watts = Field(default=0.0, description="Power while it sends or receives, beside `idle`.", examples=["1 W"])
    per_byte: JoulesPerByte = Field(
        default=0.0, description="Energy of each byte sent or received.", examples=["100 nJ/B"]
    )


class Battery(Spec):
    """A store of energy that everything in `power` is taken from; empty, the device is gone."""

    capacity: Annotated[Joules, Gt(0)] = Field(description="What it holds when it is full.", examples=["40 kJ"])
    initial: OwnRatio = Field(default=1.0, description="How full it is at first.", examples=["60 %"])
    charging: PowerSignal = Field(
        default=Constant(0.0), description="Power that it is charged with, over time.", examples=["5 W"]
    )
    restart: Annotated[Ratio, Gt(0)] = Field(
        default=0.1, description="An empty one has to be this full before the device comes back.", examples=["20 %"]
    )
