"""What must fit together across the sections of a scenario: names, times, classes.

Works on the parts that could be read, so that a file's mistakes are told at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgesim.scenario.devices import DeviceGroup, DeviceNames
from edgesim.scenario.findings import Finding, Path, did_you_mean
from edgesim.scenario.units import TIME, format_quantity

if TYPE_CHECKING:
    from edgesim.scenario.data import DataSpec
    from edgesim.scenario.drifts import DriftSpec


@dataclass(frozen=True)
class Parts:
    """The parts of a scenario that could be read; None or left out where one could not."""

    horizon_s: float | None = None
    data: DataSpec | None = None
    devices: Mapping[int, DeviceGroup] = field(default_factory=dict)
    all_devices: bool = False
    """Whether ``devices`` holds every group of the file."""
    drifts: Mapping[int, DriftSpec] = field(default_factory=dict)


def check(parts: Parts) -> list[Finding]:
    """Return everything that does not fit together, in no particular order."""
    return [
        *_same_names("devices", ((index, group.name) for index, group in parts.devices.items())),
        *_same_names("drifts", ((index, drift.name) for index, drift in parts.drifts.items())),
        *_times(parts),
        *_targets(parts),
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
    moments += [
        (("devices", index, key, number, "at"), window.at)
        for index, group in parts.devices.items()
        for key, windows in (("outages", group.outages), ("away", group.away))
        for number, window in enumerate(windows)
    ]
    for path, time_s in moments:
        if time_s >= horizon_s:
            at, horizon = format_quantity(time_s, TIME), format_quantity(horizon_s, TIME)
            yield Finding(path, f"{at} is not before the horizon ({horizon}): it would never happen")


def _targets(parts: Parts) -> Iterator[Finding]:
    if not parts.all_devices:
        return
    groups = [group.name for group in parts.devices.values()]
    names = DeviceNames([(group.name, group.count) for group in parts.devices.values()])
    for index, drift in parts.drifts.items():
        target = drift.devices
        if target.group is not None and target.group not in groups:
            yield Finding(
                ("drifts", index, "devices", "group"),
                f"no group of devices is called {target.group!r}{did_you_mean(target.group, groups)} "
                f"Groups: {', '.join(groups)}",
            )
        for number, name in enumerate(target.names or ()):
            if name not in names:
                yield Finding(("drifts", index, "devices", "names", number), _no_device(name, parts))


def _no_device(name: str, parts: Parts) -> str:
    for group in parts.devices.values():
        if name.rpartition("-")[0] == group.name:
            return f"no device is called {name!r}: those of {group.name} are {group.name}-0 to {group.name}-{group.count - 1}"
    groups = [group.name for group in parts.devices.values()]
    known = ", ".join(f"{group.name}-0 to {group.name}-{group.count - 1}" for group in parts.devices.values())
    return f"no device is called {name!r}{did_you_mean(name.rpartition('-')[0] or name, groups)} Devices: {known}"
