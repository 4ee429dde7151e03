"""What must fit together across the sections of a scenario: names, times, classes, kinds of data.

Works on the parts that could be read, so that a file's mistakes are told at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from edgesim.data.facts import TRANSFORMS
from edgesim.models import facts as model_facts
from edgesim.scenario.data import ClassesPartition, DataSpec, GroupPartition, NpzData, SplitPartition
from edgesim.scenario.devices import DeviceGroup, DeviceNames
from edgesim.scenario.drifts import ConceptDrift, DriftSpec, FeatureDrift, LabelDrift
from edgesim.scenario.findings import Finding, Path, did_you_mean
from edgesim.scenario.gateways import Gateway
from edgesim.scenario.model import FactoryModel, ModelSpec, Pretrain
from edgesim.scenario.units import TIME, format_quantity
from edgesim.scenario.windows import Window, Windows

MOST_REPETITIONS = 1_000_000
"""How often a drift, an outage or an absence may repeat: each is an event of the simulation."""


@dataclass(frozen=True)
class Parts:
    """The parts of a scenario that could be read; None or left out where one could not."""

    horizon_s: float | None = None
    data: DataSpec | None = None
    model: ModelSpec | None = None
    pretrain: Pretrain | None = None
    devices: Mapping[int, DeviceGroup] = field(default_factory=dict)
    all_devices: bool = False
    """Whether ``devices`` holds every group of the file."""
    gateways: Mapping[int, Gateway] = field(default_factory=dict)
    all_gateways: bool = False
    """Whether ``gateways`` holds every gateway of the file."""
    drifts: Mapping[int, DriftSpec] = field(default_factory=dict)


def check(parts: Parts) -> list[Finding]:
    """Return everything that does not fit together, in no particular order."""
    return [
        *_same_names("devices", ((index, group.name) for index, group in parts.devices.items())),
        *_same_names("gateways", ((index, gateway.name) for index, gateway in parts.gateways.items())),
        *_same_names("drifts", ((index, drift.name) for index, drift in parts.drifts.items())),
        *_times(parts),
        *_targets(parts),
        *_gateways(parts),
        *_classes(parts),
        *_kinds(parts),
        *_model(parts),
        *_buffers(parts),
        *_ratios(parts),
    ]


def _same_names(section: str, names: Iterable[tuple[int, str]]) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for index, name in names:
        if name in seen:
            yield Finding((section, index, "name"), f"{name!r} is already the name of {section}.{seen[name]}")
        else:
            seen[name] = index


def _times(parts: Parts) -> Iterator[Finding]:
    horizon_s = parts.horizon_s
    if horizon_s is None:
        return
    moments: list[tuple[Path, float]] = [
        (("drifts", index, "every" if drift.at is None else "at"), drift.first_s)
        for index, drift in parts.drifts.items()
    ]
    moments += [((*path, "at"), window.at) for path, window in _windows(parts)]
    moments += [
        (("devices", index, key), time_s)
        for index, group in parts.devices.items()
        for key, time_s in (("joins", group.joins), ("leaves", group.leaves))
        if isinstance(time_s, float)
    ]
    moments += [
        (("devices", index, "background", other, "windows", number, "at"), window.at)
        for index, group in parts.devices.items()
        for other, application in enumerate(group.background)
        for number, window in enumerate(application.windows)
    ]
    for path, time_s in moments:
        if time_s >= horizon_s:
            at, horizon = format_quantity(time_s, TIME), format_quantity(horizon_s, TIME)
            yield Finding(path, f"{at} is not before the horizon ({horizon}): it would never happen")
    for path, first_s, every_s in _periods(parts):
        if every_s is not None and (horizon_s - first_s) / every_s > MOST_REPETITIONS:
            often = f"more than {MOST_REPETITIONS:,} times before the horizon"
            yield Finding(path, f"it would happen {often}; a period that short is a mistake, or a rate")


def _periods(parts: Parts) -> Iterator[tuple[Path, float, float | None]]:
    for index, drift in parts.drifts.items():
        yield ("drifts", index, "every"), drift.first_s, drift.every
    for path, window in _windows(parts):
        yield (*path, "every"), window.at, window.every


def _windows(parts: Parts) -> Iterator[tuple[Path, Window]]:
    lists: list[tuple[Path, Windows]] = []
    for index, group in parts.devices.items():
        lists += [(("devices", index, "outages"), group.outages), (("devices", index, "away"), group.away)]
    lists += [(("gateways", index, "outages"), gateway.outages) for index, gateway in parts.gateways.items()]
    for path, windows in lists:
        for number, window in enumerate(windows):
            yield (*path, number), window


def _targets(parts: Parts) -> Iterator[Finding]:
    if not parts.all_devices:
        return
    groups = [group.name for group in parts.devices.values()]
    names = DeviceNames([(group.name, group.count) for group in parts.devices.values()])
    known = ", ".join(f"{group.name}-0 to {group.name}-{group.count - 1}" for group in parts.devices.values())
    for index, drift in parts.drifts.items():
        path, target = ("drifts", index, "devices"), drift.devices
        if target.group is not None and target.group not in groups:
            message = f"no group of devices is called {target.group!r}"
            message += did_you_mean(target.group, groups, "groups")
            yield Finding((*path, "group"), message)
        for number, name in enumerate(target.names or ()):
            if name not in names:
                yield Finding((*path, "names", number), f"no device is called {name!r}; there are {known}")
        there = sum(group.count for group in parts.devices.values() if target.group in (None, group.name))
        if target.sample is not None and target.sample > there > 0:
            of = "" if target.group is None else f" in {target.group}"
            yield Finding((*path, "sample"), f"found {target.sample}, but there are {there} devices{of}")


def _gateways(parts: Parts) -> Iterator[Finding]:
    """Groups name gateways that exist; every gateway has somebody behind it and a name that no other node has."""
    names = [gateway.name for gateway in parts.gateways.values()]
    groups = parts.devices.values()
    if parts.all_gateways:
        for index, group in parts.devices.items():
            if group.gateway is not None and group.gateway not in names:
                message = f"no gateway is called {group.gateway!r}{did_you_mean(group.gateway, names, 'gateways')}"
                yield Finding(("devices", index, "gateway"), message)
    devices = DeviceNames([(group.name, group.count) for group in groups])
    used = {group.gateway for group in groups}
    for index, gateway in parts.gateways.items():
        if gateway.name == "cloud" or gateway.name in devices:
            yield Finding(("gateways", index, "name"), f"{gateway.name!r} is the name of another node already")
        elif parts.all_devices and gateway.name not in used:
            message = f"no group of devices is behind it: `gateway: {gateway.name}` under `devices` puts one there"
            yield Finding(("gateways", index, "name"), message)


def _classes(parts: Parts) -> Iterator[Finding]:
    """Every class that is named must be one of the data's."""
    if parts.data is None or (classes := parts.data.facts.classes) is None:
        return
    source, partition = parts.data.source, parts.data.partition
    named: list[tuple[Path, int]] = [
        (("data", *path, index), label)
        for path, labels in (
            (("proxy", "classes"), parts.data.proxy.classes),
            (("partition", "classes"), partition.classes),
        )
        for index, label in enumerate(labels or ())
    ]
    if isinstance(partition, ClassesPartition):
        named += [
            (("data", "partition", "sets", place, index), label)
            for place, labels in enumerate(partition.sets or ())
            for index, label in enumerate(labels)
        ]
    for index, drift in parts.drifts.items():
        if isinstance(drift, LabelDrift | ConceptDrift):
            named += [(("drifts", index, *path), label) for path, label in drift.named_classes()]
    for path, label in named:
        if label >= classes:
            yield Finding(path, f"found class {label}, but {source} has the classes 0 to {classes - 1}")
    if isinstance(partition, ClassesPartition) and (partition.per_device or 0) > classes:
        message = f"found {partition.per_device} classes a device, but {source} has {classes}"
        yield Finding(("data", "partition", "per_device"), message)


def _kinds(parts: Parts) -> Iterator[Finding]:
    """Partitions by group need groups; a transform needs the kind of data that it is made for."""
    if parts.data is None:
        return
    source, facts = parts.data.source, parts.data.facts
    if parts.pretrain is not None and parts.pretrain.augment and facts.kind not in ("image", None):
        yield Finding(("pretrain", "augment"), f"only images can be varied; {source} has {facts.kind}s")
    if isinstance(parts.data.partition, GroupPartition):
        path = ("data", "partition", "kind")
        if facts.has_groups is False:
            yield Finding(path, f"{source} has no natural groups; the kinds iid, dirichlet, classes need none")
        elif isinstance(parts.data, NpzData) and parts.data.group is None:
            yield Finding(path, "needs `group_key` under `data`: the array that says which group a sample is of")
    for index, drift in parts.drifts.items():
        if isinstance(drift, FeatureDrift) and facts.kind is not None:
            kinds = TRANSFORMS[drift.transform].kinds
            if facts.kind not in kinds:
                fitting = ", ".join(name for name, known in TRANSFORMS.items() if facts.kind in known.kinds)
                message = f"{drift.transform} is for {' and '.join(kinds)}s; {source} has {facts.kind}s"
                yield Finding(("drifts", index, "transform"), f"{message}: choose from {fitting}")


def _model(parts: Parts) -> Iterator[Finding]:
    if parts.model is None or isinstance(parts.model, FactoryModel):
        return
    facts = parts.data.facts if parts.data is not None else None
    for mistake in model_facts.mistakes(
        parts.model.name,
        dict(parts.model.options),
        facts.sample_shape if facts else None,
        facts.classes if facts else None,
    ):
        yield Finding(("model", mistake.option), mistake.message)


def _buffers(parts: Parts) -> Iterator[Finding]:
    """What a device holds at first must fit its buffer."""
    if parts.data is None or parts.data.partition.samples is None:
        return
    samples = parts.data.partition.samples.high
    buffers: list[tuple[Path, int | None]] = [(("data", "arrival", "buffer"), parts.data.arrival.buffer)]
    buffers += [
        (("devices", index, "arrival", "buffer"), group.arrival.buffer)
        for index, group in parts.devices.items()
        if group.arrival is not None
    ]
    for path, buffer in buffers:
        if buffer is not None and buffer < samples:
            yield Finding(path, f"found {buffer}, but a device holds up to {samples} samples at first")


def _ratios(parts: Parts) -> Iterator[Finding]:
    """A pool is dealt out in one ratio a device, or in fewer that repeat."""
    if parts.data is None or not isinstance(parts.data.partition, SplitPartition) or not parts.all_devices:
        return
    ratios = len(parts.data.partition.ratios)
    devices = sum(group.count for group in parts.devices.values())
    if devices % ratios:
        message = f"found {ratios} ratios for {devices} devices: give one each, or a number that divides {devices}"
        yield Finding(("data", "partition", "ratios"), message)
