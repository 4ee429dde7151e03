"""The ``devices`` and ``cloud`` sections, and the arithmetic from a device's index to its name and back."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import overload

from pydantic import Field

from edgesim.scenario.base import Name, PositiveWholeNumber, Spec
from edgesim.scenario.data import ArrivalOverride
from edgesim.scenario.power import Power
from edgesim.scenario.signal_specs import (
    BytesPerSecondSignal,
    BytesSignal,
    Constant,
    FlopsPerSecondSignal,
    PerSecondSignal,
)
from edgesim.scenario.units import Bytes, Seconds
from edgesim.scenario.windows import Windows


class DeviceGroup(Spec):
    """A number of like devices, called ``NAME-0``, ``NAME-1``, ..."""

    name: Name = Field(description="Name of the group; its devices are NAME-0, NAME-1, ...", examples=["fast"])
    count: PositiveWholeNumber = Field(description="How many devices.", examples=[4])
    compute: FlopsPerSecondSignal = Field(description="Speed of training, over time.", examples=["1 GFLOP/s"])
    memory: BytesSignal = Field(description="Memory free for training jobs, over time.", examples=["256 MiB"])
    uplink: BytesPerSecondSignal = Field(description="Data rate to the cloud, over time.", examples=["20 Mbit/s"])
    downlink: BytesPerSecondSignal = Field(description="Data rate from the cloud, over time.", examples=["50 Mbit/s"])
    latency: Seconds = Field(default=0.0, description="Delay of a transfer, one way.", examples=["10 ms"])
    step_overhead: Seconds = Field(default=0.0, description="Added to every training step.", examples=["2 ms"])
    memory_overhead: Bytes = Field(
        default=0,
        description="What the training framework itself takes, in every training job.",
        examples=["50 MiB"],
    )
    power: Power | None = Field(default=None, description="Power draw; without it, energy is not measured.")
    outages: Windows = Field(default=(), description="When the links carry nothing; transfers wait.")
    away: Windows = Field(default=(), description="When the devices are gone: jobs killed, transfers cut.")
    requests: PerSecondSignal = Field(
        default=Constant(0.0), description="Inference requests per second, over time.", examples=["2 /s"]
    )
    arrival: ArrivalOverride | None = Field(default=None, description="What differs from `data.arrival`, key by key.")

    def names(self) -> Iterator[str]:
        """Names of the group's devices, made one at a time."""
        return (f"{self.name}-{member}" for member in range(self.count))


class Cloud(Spec):
    """The cloud: a processor with memory behind one shared link each way."""

    compute: FlopsPerSecondSignal = Field(description="Speed of training, over time.", examples=["1 TFLOP/s"])
    memory: BytesSignal = Field(description="Memory free for training jobs, over time.", examples=["16 GiB"])
    ingress: BytesPerSecondSignal = Field(
        description="Data rate that all uploads share, over time.", examples=["1 Gbit/s"]
    )
    egress: BytesPerSecondSignal = Field(
        description="Data rate that all downloads share, over time.", examples=["1 Gbit/s"]
    )
    response_bytes: Bytes = Field(
        default=100, description="Size of an answer to an inference request.", examples=["100 B"]
    )


@dataclass(frozen=True, slots=True)
class Block:
    """The devices of one group as a range of device indices, ``start`` included, ``stop`` not."""

    group: DeviceGroup
    start: int
    stop: int


class DeviceNames(Sequence[str]):
    """The names of all devices, by index: a sequence that computes each name when it is asked for.

    >>> from edgesim.scenario.devices import DeviceNames
    >>> names = DeviceNames([("fast", 2), ("slow", 1_000_000)])
    >>> len(names), names[2], names.index("slow-5")
    (1000002, 'slow-0', 7)
    """

    def __init__(self, groups: Sequence[tuple[str, int]]) -> None:
        self._groups = tuple(groups)
        self._starts = (0, *accumulate(count for _, count in self._groups))

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"there are {len(self)} devices, no device {index}")
        group = bisect_right(self._starts, position) - 1
        return f"{self._groups[group][0]}-{position - self._starts[group]}"

    def __iter__(self) -> Iterator[str]:
        for name, count in self._groups:
            for member in range(count):
                yield f"{name}-{member}"

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def index(self, value: str, start: int = 0, stop: int | None = None) -> int:
        """Index of the device called ``value``.

        Raises
        ------
        ValueError
            No device is called so.
        """
        position = self._find(value)
        if position is None or not start <= position < (len(self) if stop is None else stop):
            raise ValueError(f"no device is called {value!r}")
        return position

    def _find(self, name: str) -> int | None:
        group, _, member = name.rpartition("-")
        if not (member.isascii() and member.isdigit()) or str(int(member)) != member:
            return None
        for (candidate, count), start in zip(self._groups, self._starts, strict=False):
            if candidate == group:
                return start + int(member) if int(member) < count else None
        return None
