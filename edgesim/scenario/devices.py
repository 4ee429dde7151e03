"""The ``devices`` and ``cloud`` sections, and the arithmetic from a device's index to its name and back."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Any, Self, overload

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from edgesim.profiles import PROFILES, DeviceProfile
from edgesim.scenario.availability import Availability, RecordedAvailability
from edgesim.scenario.background import Background
from edgesim.scenario.base import Name, PositiveWholeNumber, Spec
from edgesim.scenario.data import ArrivalOverride
from edgesim.scenario.distributions import OwnSeconds
from edgesim.scenario.findings import Finding, did_you_mean, several, wrong
from edgesim.scenario.population import Population
from edgesim.scenario.power import Battery, Power
from edgesim.scenario.signal_specs import (
    BytesPerSecondSignal,
    BytesSignal,
    Constant,
    FlopsPerSecondSignal,
    FromPopulation,
    PerSecondSignal,
)
from edgesim.scenario.units import Bytes, Seconds
from edgesim.scenario.windows import Windows


def _known(name: str) -> str:
    if name not in PROFILES:
        raise wrong(f"no device profile is called {name!r}{did_you_mean(name, PROFILES, 'there are')}")
    return name


ProfileName = Annotated[
    str,
    AfterValidator(_known),
    Field(
        description="A known device that fills in what is not said here; see docs/profiles.md.",
        examples=["raspberry-pi-4b"],
        json_schema_extra={"enum": list(PROFILES)},
    ),
]
"""The name of a device profile."""


def _profile_of(written: Mapping[str, Any]) -> DeviceProfile | None:
    """The profile that ``written`` names; any other, so that nothing is called missing, where the name is wrong."""
    name = written.get("profile")
    if name is None:
        return None
    return PROFILES.get(name) if isinstance(name, str) and name in PROFILES else next(iter(PROFILES.values()))


def _needs(*alternatives: Sequence[str]) -> dict[str, Any]:
    """JSON Schema of a mapping that has all keys of one of the ``alternatives``."""
    return {"anyOf": [{"required": list(keys)} for keys in alternatives]}


_GIVEN = ("compute", "memory", "uplink", "downlink")
"""What a group says itself, or its profile or population for it."""


def _group_schema(schema: dict[str, Any]) -> None:
    schema["required"] = [key for key in schema["required"] if key not in _GIVEN]
    schema |= _needs(_GIVEN, ("profile", "uplink", "downlink"), ("population",))


def _cloud_schema(schema: dict[str, Any]) -> None:
    schema["required"] = [key for key in schema["required"] if key not in ("compute", "memory")]
    schema |= _needs(("compute", "memory"), ("profile",))


class DeviceGroup(Spec):
    """A number of like devices, called ``NAME-0``, ``NAME-1``, ..."""

    model_config = ConfigDict(json_schema_extra=_group_schema)

    name: Name = Field(description="Name of the group; its devices are NAME-0, NAME-1, ...", examples=["fast"])
    count: PositiveWholeNumber = Field(description="How many devices.", examples=[4])
    profile: ProfileName | None = Field(
        default=None,
        description="A known device that fills in what is not said here: compute, memory, overheads, power.",
    )
    population: Population | None = Field(default=None, description="A table: each device is one of its rows.")
    compute: FlopsPerSecondSignal = Field(description="Speed of training, over time.", examples=["1 GFLOP/s"])
    memory: BytesSignal = Field(description="Memory free for training jobs, over time.", examples=["256 MiB"])
    uplink: BytesPerSecondSignal = Field(description="Data rate to the cloud, over time.", examples=["20 Mbit/s"])
    downlink: BytesPerSecondSignal = Field(description="Data rate from the cloud, over time.", examples=["50 Mbit/s"])
    latency: OwnSeconds = Field(default=0.0, description="Delay of a transfer, one way.", examples=["10 ms"])
    step_overhead: Seconds = Field(default=0.0, description="Added to every training step.", examples=["2 ms"])
    memory_overhead: Bytes = Field(
        default=0,
        description="What the training framework itself takes, in every training job.",
        examples=["50 MiB"],
    )
    background: tuple[Background, ...] = Field(
        default=(), description="Other applications that take compute and memory now and then."
    )
    power: Power | None = Field(default=None, description="Power draw; without it, energy is not measured.")
    battery: Battery | None = Field(default=None, description="Where the power comes from, if not from the mains.")
    gateway: Name | None = Field(
        default=None,
        description="The gateway that the devices are behind; without one they reach the cloud on their own.",
        examples=["shop"],
    )
    outages: Windows = Field(default=(), description="When the links carry nothing; transfers wait.")
    away: Windows = Field(default=(), description="When the devices are gone: jobs killed, transfers cut.")
    availability: Availability | None = Field(
        default=None,
        description="How devices come and go, each on its own: at random, by the time of day, as recorded.",
    )
    joins: OwnSeconds | None = Field(
        default=None, description="When a device comes for the first time.", examples=["5 min"]
    )
    leaves: OwnSeconds | None = Field(default=None, description="When a device goes for good.", examples=["20 min"])
    requests: PerSecondSignal = Field(
        default=Constant(0.0), description="Inference requests per second, over time.", examples=["2 /s"]
    )
    arrival: ArrivalOverride | None = Field(default=None, description="What differs from `data.arrival`, key by key.")

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, written: Any) -> Any:
        """What is not written comes from the population, and then from the profile."""
        if not isinstance(written, Mapping):
            return written
        filled = dict(written)
        population = written.get("population")
        if isinstance(population, Mapping):
            filled |= {key: FromPopulation() for key in _GIVEN if key in population and key not in written}
        elif isinstance(population, Population):
            filled |= {key: FromPopulation() for key in _GIVEN if key in population.columns and key not in written}
        if (profile := _profile_of(written)) is not None:
            keys = profile.group_keys
            own_power = written.get("power")
            if isinstance(own_power, Mapping):
                filled["power"] = {**keys["power"], **own_power}  # type: ignore[dict-item]  # it is a mapping
            filled = {**keys, **filled}
        return filled

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        findings = [
            Finding(("population", key), f"`{key}` is given twice: here and in the group itself")
            for key in (self.population.columns if self.population else ())
            if key in _GIVEN and not isinstance(getattr(self, key), FromPopulation)
        ]
        if self.population is not None and "latency" in self.population.columns and "latency" in self.model_fields_set:
            findings.append(
                Finding(("population", "latency"), "`latency` is given twice: here and in the group itself")
            )
        if self.battery is not None and self.power is None:
            findings.append(Finding(("battery",), "needs `power`: nothing else empties it"))
        if isinstance(self.joins, float) and isinstance(self.leaves, float) and self.leaves <= self.joins:
            findings.append(Finding(("leaves",), "is not after `joins`"))
        findings += self._short_tables()
        if findings:
            raise several(findings)
        return self

    def _short_tables(self) -> Iterator[Finding]:
        """A table that is used in order needs a row for each device."""
        if self.population is not None and self.population.sample == "in_order":
            rows = len(next(iter(self.population.rows().values())))
            if rows < self.count:
                yield Finding(("population", "sample"), _too_few(rows, "rows", self.count))
        if isinstance(self.availability, RecordedAvailability) and self.availability.sample == "in_order":
            clients = len(self.availability.spans())
            if clients < self.count:
                yield Finding(("availability", "sample"), _too_few(clients, "clients", self.count))

    @model_serializer(mode="wrap")
    def _without_what_the_population_says(self, write: SerializerFunctionWrapHandler) -> Any:
        written = write(self)
        from_table = () if self.population is None else self.population.columns
        return {
            key: value
            for key, value in written.items()
            if key not in from_table or not (key == "latency" or isinstance(getattr(self, key), FromPopulation))
        }

    def names(self) -> Iterator[str]:
        """Names of the group's devices, made one at a time."""
        return (f"{self.name}-{member}" for member in range(self.count))


def _too_few(there: int, what: str, count: int) -> str:
    return f"found {there} {what} for {count} devices: `sample: random` draws them with replacement"


class Cloud(Spec):
    """The cloud: a processor with memory behind one shared link each way."""

    model_config = ConfigDict(json_schema_extra=_cloud_schema)

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
    profile: ProfileName | None = Field(
        default=None, description="A known device that fills in compute and memory where they are not said here."
    )

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, written: Any) -> Any:
        """What is not written comes from the profile."""
        if not isinstance(written, Mapping) or (profile := _profile_of(written)) is None:
            return written
        return {**profile.cloud_keys, **written}


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
