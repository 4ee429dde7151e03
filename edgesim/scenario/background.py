"""Other applications on a device: while one runs, it takes its share of the processor and its memory, at once."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from edgesim.scenario.availability import OnOff
from edgesim.scenario.base import Name, Spec
from edgesim.scenario.findings import wrong
from edgesim.scenario.units import Bytes, Ratio
from edgesim.scenario.windows import Windows


class Background(Spec):
    """One application in the background of each device of a group."""

    name: Name = Field(default="application", description="What it is called.", examples=["video"])
    cpu: Ratio = Field(default=0.0, description="Share of the processor that it takes while it runs.")
    memory: Bytes = Field(default=0, description="Memory that it takes while it runs.", examples=["200 MiB"])
    on_off: OnOff | None = Field(
        default=None, description="It runs now and then, on each device at other times, exponentially distributed."
    )
    windows: Windows = Field(default=(), description="It runs at these times, on all devices of the group.")

    @model_validator(mode="after")
    def _runs_and_takes_something(self) -> Self:
        if (self.on_off is None) == (not self.windows):
            raise wrong("says when it runs: either `on_off` or `windows`")
        if not self.cpu and not self.memory:
            raise wrong("takes nothing: say `cpu`, `memory` or both")
        return self
