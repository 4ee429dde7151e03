"""The whole scenario: what one YAML file says, checked, in SI units."""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from typing import Annotated, Any, Literal, Self

from annotated_types import MinLen
from pydantic import BeforeValidator, Field, model_validator

from edgesim.scenario.base import Flag, Name, PositiveWholeNumber, Spec, TorchDevice, WholeNumber
from edgesim.scenario.checks import Parts, check
from edgesim.scenario.data import Arrival, DataSpec
from edgesim.scenario.devices import Block, Cloud, DeviceGroup, DeviceNames
from edgesim.scenario.document import write_yaml
from edgesim.scenario.drifts import DriftSpec
from edgesim.scenario.findings import found, several, wrong
from edgesim.scenario.gateways import Gateway
from edgesim.scenario.learners import LearnerSpec, LearnersType
from edgesim.scenario.model import ModelSpec, Pretrain, Training
from edgesim.scenario.units import Bytes, PositiveSeconds

FORMAT = 1
"""Version of the scenario format that this edgesim reads."""


def _this_version(value: object) -> object:
    if value != FORMAT or isinstance(value, bool):
        raise wrong(f"found {found(value)}; this edgesim reads format {FORMAT}, write `edgesim: {FORMAT}`")
    return value


class Evaluation(Spec):
    """What accuracy is measured on beside the current data."""

    forgetting_views: WholeNumber = Field(
        default=0, description="How many earlier data views of a device are evaluated too, for forgetting."
    )


class Record(Spec):
    """What the run folder holds beside the results."""

    environment: Flag = Field(default=True, description="Write what the environment did: bandwidth, memory, compute.")
    serving_interval: PositiveSeconds = Field(
        default=60.0,
        description="Longest stretch of time that one row of the table `serving` covers.",
        examples=["1 min"],
    )


class Work(Spec):
    """How training is computed on this machine; changes no virtual time.

    Of these only ``threads_per_job`` and ``device`` change the last bits of what is learned.
    """

    threads_per_job: PositiveWholeNumber = Field(default=1, description="torch threads a job computes with.")
    executor: Literal["inline", "processes", "ray"] = Field(
        default="inline", description="Where jobs are computed: in the process of the run, in several, or on Ray."
    )
    workers: PositiveWholeNumber | None = Field(
        default=None, description="Processes that compute jobs; by default one a core."
    )
    device: TorchDevice = Field(
        default="cpu",
        description="PyTorch's device that jobs compute on: cpu, cuda, cuda:N, or auto for CUDA where there is any.",
        examples=["cuda"],
    )
    memory: Bytes = Field(
        default=2 * 2**30,
        description="What models and other results may take in memory; the others go into files.",
        examples=["2 GiB"],
    )


class Scenario(Spec):
    """An edge environment, the data in it, and the learners to compare.

    Quantities are plain SI numbers: seconds, bytes, bytes per second, FLOP/s, watts, joules. What changes
    over time is a :data:`~edgesim.scenario.SignalSpec`, whose ``.signal()`` makes the signal. Paths are
    absolute.
    """

    edgesim: Annotated[int, BeforeValidator(_this_version)] = Field(
        description="Version of the scenario format.", examples=[FORMAT], json_schema_extra={"const": FORMAT}
    )
    name: Name = Field(description="Name of the scenario; run folders are called after it.", examples=["quickstart"])
    description: str = Field(default="", description="What the scenario shows, for people.")
    seed: WholeNumber = Field(default=0, description="Seed of everything random, where none is given to the command.")
    horizon: PositiveSeconds = Field(description="How much virtual time the run lasts.", examples=["30 min"])
    data: DataSpec = Field(description="Where samples come from and how they reach devices.")
    model: ModelSpec = Field(description="The model that is adapted.", examples=[{"name": "mlp", "hidden": [64]}])
    pretrain: Pretrain = Field(
        default_factory=Pretrain, description="How the first model is trained on the cloud's proxy data."
    )
    training: Training = Field(default_factory=Training, description="What learners train with by default.")
    devices: Annotated[tuple[DeviceGroup, ...], MinLen(1)] = Field(description="Groups of devices.")
    gateways: tuple[Gateway, ...] = Field(default=(), description="Gateways between groups of devices and the cloud.")
    cloud: Cloud = Field(description="The cloud.")
    drifts: tuple[DriftSpec, ...] = Field(default=(), description="Changes of the data.")
    learners: Annotated[tuple[LearnerSpec, ...], LearnersType()] = Field(
        description="Learners to compare: label -> parameters.", examples=[{"no_adaptation": {}}]
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
                model=self.model,
                pretrain=self.pretrain,
                devices=dict(enumerate(self.devices)),
                all_devices=True,
                gateways=dict(enumerate(self.gateways)),
                all_gateways=True,
                drifts=dict(enumerate(self.drifts)),
            )
        )
        if findings:
            raise several(findings)
        return self

    @property
    def device_count(self) -> int:
        """How many devices there are."""
        return sum(group.count for group in self.devices)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The device groups with the device indices they cover, in order."""
        stops = accumulate(group.count for group in self.devices)
        return tuple(Block(group, stop - group.count, stop) for group, stop in zip(self.devices, stops, strict=True))

    def device_names(self) -> DeviceNames:
        """Names of all devices in order of their index; a sequence that makes each name when asked."""
        return DeviceNames([(group.name, group.count) for group in self.devices])

    def arrival(self, group: DeviceGroup) -> Arrival:
        """How samples arrive at a group: ``data.arrival`` with what the group changes in it."""
        return self.data.arrival if group.arrival is None else group.arrival.over(self.data.arrival)

    def to_document(self) -> dict[str, Any]:
        """Everything that holds, defaults included, as plain data with units, the way a file says it."""
        document: dict[str, Any] = self.model_dump(
            mode="json", by_alias=True, exclude_none=True, context={"with_units": True}
        )
        return document

    def to_yaml(self) -> str:
        """The scenario as YAML, defaults included; loading it gives an equal scenario."""
        return write_yaml(self.to_document())
