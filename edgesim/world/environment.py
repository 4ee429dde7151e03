"""The environment of a seed: data, partition, hardware, drift. Made once, the same for every learner."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from ..data import Arrival, Dataset, DataStream, Partition, Pools, View, load_dataset, partition, split
from ..errors import UserError
from ..models import Architecture
from ..scenario import ClassesPartition, DirichletPartition, SplitPartition
from .cloud import CloudHardware
from .drift import Strike, strikes
from .gateway import GatewayHardware, gateway_hardware
from .hardware import Fleet, Hardware, cloud_signals
from .presence import Part
from .training import Training

if TYPE_CHECKING:
    from ..scenario import Scenario
    from ..scenario.devices import DeviceGroup


class Environment:
    """What the scenario and a seed say, before any learner acts.

    Parameters
    ----------
    scenario
        The scenario.
    seed
        The seed: partition, arrivals, drift targets and test views draw from its named streams.
    dataset
        The loaded data set.
    pools
        Its proxy, device and test pools.
    partition
        Each device's share of the device pool.
    architecture
        The scenario's model for this data set.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        dataset: Dataset,
        pools: Pools,
        partition: Partition,
        architecture: Architecture,
    ) -> None:
        self.scenario = scenario
        self.seed = seed
        self.dataset = dataset
        self.pools = pools
        self.partition = partition
        self.architecture = architecture
        self.strikes: list[Strike] = strikes(scenario, seed)
        self.training = Training(
            batch_size=scenario.training.batch_size,
            learning_rate=scenario.training.learning_rate,
            optimizer=scenario.training.optimizer,
        )

    @cached_property
    def cloud(self) -> CloudHardware:
        """The cloud's hardware."""
        spec = self.scenario.cloud
        signals = cloud_signals(spec, self.seed, self.scenario.horizon)
        return CloudHardware(**signals, response_bytes=int(spec.response_bytes))

    @cached_property
    def gateways(self) -> dict[str, GatewayHardware]:
        """The hardware of each gateway, by name."""
        horizon_s = self.scenario.horizon
        return {spec.name: gateway_hardware(spec, self.seed, horizon_s) for spec in self.scenario.gateways}

    @cached_property
    def _groups(self) -> list[tuple[Fleet, Arrival]]:
        return [
            (Fleet(block.group, self.seed, self.scenario.horizon), self._arrival(block.group))
            for block in self.scenario.blocks
        ]

    def devices(self) -> Iterator[tuple[str, str, Hardware]]:
        """Name, group and hardware of each device."""
        for fleet, _ in self._groups:
            for member, name in enumerate(fleet.group.names()):
                yield name, fleet.group.name, fleet.hardware(member)

    def presences(self) -> Iterator[tuple[int, list[Part]]]:
        """Index of each device that comes and goes, and what makes it do so."""
        for block, (fleet, _) in zip(self.scenario.blocks, self._groups, strict=True):
            if fleet.comes_and_goes:
                for member in range(fleet.group.count):
                    yield block.start + member, fleet.presence(member)

    def data_stream(self, index: int, name: str) -> DataStream:
        """A fresh stream of the device's samples: the same whoever asks."""
        position = next(i for i, block in enumerate(self.scenario.blocks) if index < block.stop)
        return DataStream(
            self.dataset,
            self.pools,
            self.partition[index],
            self._groups[position][1],
            seed=self.seed,
            device=name,
            test_samples=self.scenario.data.test_samples,
            sample_bytes=self.sample_bytes,
        )

    @cached_property
    def proxy(self) -> View:
        """The cloud's proxy data."""
        return View(self.dataset, self.pools.proxy)

    @cached_property
    def sample_bytes(self) -> int:
        """Bytes of one raw sample on the wire."""
        spec = self.scenario.data
        return self.dataset.wire_bytes(sample_bytes=spec.sample_bytes, codec_ratio=spec.codec_ratio)

    def _arrival(self, group: DeviceGroup) -> Arrival:
        spec = self.scenario.arrival(group)
        return Arrival(
            rate_per_s=spec.rate,
            labelled_ratio=spec.labelled,
            label_delay_s=spec.label_delay,
            buffer=spec.buffer,  # None: as many as the device itself holds at first
            eviction=spec.eviction,
        )


def load_data(scenario: Scenario) -> Dataset:
    """Load the scenario's data set: once, whatever the number of seeds and learners."""
    spec = scenario.data
    return load_dataset(spec.source, **spec.options)


def draw_environment(scenario: Scenario, seed: int, dataset: Dataset, *, allow_code: bool = False) -> Environment:
    """Draw the environment of ``seed``.

    Raises
    ------
    UserError
        The data cannot be split or shared out as the scenario says, or the model does not fit it.
    """
    spec = scenario.data
    pools = split(
        dataset,
        spec.proxy.share,
        spec.test_share,
        proxy_classes=spec.proxy.classes,
        seed=seed,
    )
    how = spec.partition
    shares = partition(
        pools,
        scenario.device_count,
        how.kind,
        samples=None if how.samples is None else (how.samples.low, how.samples.high),
        alpha=how.alpha if isinstance(how, DirichletPartition) else None,
        per_device=how.per_device if isinstance(how, ClassesPartition) else None,
        sets=how.sets if isinstance(how, ClassesPartition) else None,
        ratios=how.ratios if isinstance(how, SplitPartition) else None,
        classes=how.classes,
        seed=seed,
    )
    for block in scenario.blocks:
        buffer, most = scenario.arrival(block.group).buffer, int(shares.volumes[block.start : block.stop].max())
        if buffer is not None and buffer < most:
            raise UserError(
                f"arrival.buffer is {buffer}, but a device of {block.group.name} holds {most} samples at first"
            )
    architecture = Architecture.of(
        scenario.model.name,
        dict(scenario.model.options),
        input_shape=dataset.sample_shape,
        classes=dataset.classes,
        allow_code=allow_code,
    )
    return Environment(scenario, seed, dataset, pools, shares, architecture)
