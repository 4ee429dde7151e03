"""The environment of a seed: data, partition, hardware, drift. Made once, the same for every learner."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from ..data import Arrival, Dataset, DataStream, Partition, Pools, View, load_dataset, partition, split
from ..errors import UserError
from ..models import Architecture
from ..scenario import ClassesPartition, DirichletPartition, SplitPartition
from ..signals import Signal
from .cloud import CloudHardware
from .device import Hardware
from .drift import Strike, strikes
from .energy import Power
from .training import Training

if TYPE_CHECKING:
    from ..scenario import Scenario
    from ..scenario.devices import DeviceGroup, Window


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
        return CloudHardware(
            compute=spec.compute.signal(),
            memory=spec.memory.signal(),
            ingress=spec.ingress.signal(),
            egress=spec.egress.signal(),
            response_bytes=int(spec.response_bytes),
        )

    @cached_property
    def _groups(self) -> list[tuple[DeviceGroup, Hardware, Arrival]]:
        horizon_s = self.scenario.horizon
        return [
            (block.group, hardware(block.group, horizon_s), self._arrival(block.group))
            for block in self.scenario.blocks
        ]

    def devices(self) -> Iterator[tuple[str, str, Hardware]]:
        """Name, group and hardware of each device."""
        for group, parts, _ in self._groups:
            for name in group.names():
                yield name, group.name, parts

    def data_stream(self, index: int, name: str) -> DataStream:
        """A fresh stream of the device's samples: the same whoever asks."""
        position = next(i for i, block in enumerate(self.scenario.blocks) if index < block.stop)
        return DataStream(
            self.dataset,
            self.pools,
            self.partition[index],
            self._groups[position][2],
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
        initial = self.scenario.data.partition.samples
        spec = self.scenario.arrival(group)
        buffer = initial.high if spec.buffer is None and initial is not None else spec.buffer
        return Arrival(
            rate_per_s=spec.rate,
            labelled_ratio=spec.labelled,
            label_delay_s=spec.label_delay,
            buffer=buffer,
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


def hardware(group: DeviceGroup, horizon_s: float) -> Hardware:
    """The hardware of one group's devices."""
    open_ = _without(group.outages, horizon_s)
    power = group.power
    requests = group.requests.signal()
    return Hardware(
        compute=group.compute.signal(),
        memory=group.memory.signal(),
        uplink=Signal.product(group.uplink.signal(), open_) if open_ else group.uplink.signal(),
        downlink=Signal.product(group.downlink.signal(), open_) if open_ else group.downlink.signal(),
        latency_s=group.latency,
        step_overhead_s=group.step_overhead,
        memory_overhead_bytes=int(group.memory_overhead),
        power=None if power is None else Power(power.idle, power.compute, power.radio, power.per_byte),
        requests=requests if requests.highest > 0 else None,
        away=_merged(group.away, horizon_s),
    )


def _merged(windows: tuple[Window, ...], horizon_s: float) -> tuple[tuple[float, float], ...]:
    """All spans of the windows before the horizon, in order, touching ones joined."""
    joined: list[tuple[float, float]] = []
    for start_s, end_s in sorted(span for window in windows for span in window.spans(horizon_s)):
        if joined and start_s <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end_s, joined[-1][1]))
        else:
            joined.append((start_s, end_s))
    return tuple(joined)


def _without(windows: tuple[Window, ...], horizon_s: float) -> Signal | None:
    """1 outside the windows, 0 inside; None where there are none."""
    spans = _merged(windows, horizon_s)
    if not spans:
        return None
    knots: dict[float, float] = {0.0: 1.0}
    for start_s, end_s in spans:
        knots[start_s] = 0.0
        knots[end_s] = 1.0
    return Signal.steps(tuple(knots), tuple(knots.values()))
