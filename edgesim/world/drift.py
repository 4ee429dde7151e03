"""The drift schedule: which devices' data change when. Drawn once a seed, the same for every learner."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ..scenario import DriftTarget, FeatureDrift, LabelDrift, ReplacementDrift
from ..seeds import stream

if TYPE_CHECKING:
    from ..data import Change, DataStream
    from ..scenario import DriftSpec, Scenario


@dataclass(frozen=True, slots=True)
class Strike:
    """One instant at which one drift changes the data of some devices.

    Attributes
    ----------
    time_s
        When.
    name
        The drift's name in the scenario.
    occurrence
        From 1: a recurring drift strikes again.
    step, steps
        A gradual drift takes several steps; only the first opens an episode.
    kind
        ``label``, ``feature``, ``concept`` or ``replacement``.
    detail
        What changes, for people.
    devices
        Indices of the devices that are struck.
    change
        What it does to one device's data.
    """

    time_s: float
    name: str
    occurrence: int
    step: int
    steps: int
    kind: str
    detail: str
    devices: Sequence[int]
    change: Callable[[DataStream], Change]

    @property
    def cohort_id(self) -> str:
        """Shared by all devices that this occurrence strikes."""
        return f"{self.name}/{self.occurrence}"

    @property
    def opens_episode(self) -> bool:
        """Whether adaptation latencies are measured from here."""
        return self.step == 1

    def episode_id(self, device: str) -> str:
        """Shared by the steps of this occurrence on one device."""
        return f"{self.cohort_id}/{device}"

    def drift_id(self, device: str) -> str:
        """Unique within a world."""
        return f"{self.cohort_id}.{self.step}/{device}" if self.steps > 1 else self.episode_id(device)


def strikes(scenario: Scenario, seed: int) -> list[Strike]:
    """All strikes before the horizon, in the order of time and, at one instant, of the scenario."""
    found: list[Strike] = []
    for drift in scenario.drifts:
        devices = _targets(drift.devices, drift.name, scenario, seed)
        found += [
            Strike(
                time_s=time_s,
                name=drift.name,
                occurrence=occurrence,
                step=1,
                steps=1,
                kind=drift.kind,
                detail=_detail(drift),
                devices=devices,
                change=partial(_change, drift),
            )
            for occurrence, time_s in zip(itertools.count(1), drift.times(scenario.horizon), strict=False)
        ]
    return sorted(found, key=lambda strike: strike.time_s)


def _targets(target: DriftTarget, name: str, scenario: Scenario, seed: int) -> Sequence[int]:
    names = scenario.device_names()
    if target.names is not None:
        return sorted(names.index(device) for device in target.names)
    if target.group is not None:
        block = next(block for block in scenario.blocks if block.group.name == target.group)
        return range(block.start, block.stop)
    if target.share is not None:
        count = max(1, round(target.share * len(names)))
        drawn = stream(seed, "drift", name).choice(len(names), size=count, replace=False)
        return [int(index) for index in sorted(drawn)]
    return range(len(names))


def _change(drift: DriftSpec, stream_: DataStream) -> Change:
    """What one strike of ``drift`` does to one device's data."""
    from ..data import Change, Transform
    from ..data.priors import add_classes, given, only_classes

    match drift:
        case LabelDrift(add_classes=new) if new is not None:
            return Change(prior=add_classes(stream_.prior, new), replace_ratio=drift.replace)
        case LabelDrift(classes=classes) if classes is not None:
            return Change(prior=only_classes(classes, len(stream_.prior)), replace_ratio=drift.replace)
        case LabelDrift(prior=prior) if prior is not None:
            return Change(prior=given(prior, len(stream_.prior)), replace_ratio=drift.replace)
        case FeatureDrift():
            transform = Transform.feature(drift.transform, severity=drift.severity, amount=drift.amount)
            return Change(transform=transform, replace_ratio=drift.replace)
        case ReplacementDrift():
            return Change(replace_ratio=drift.replace)
    raise AssertionError(f"a drift of kind {drift.kind!r} without a change")


def _detail(drift: DriftSpec) -> str:
    """What changes, for people."""
    match drift:
        case LabelDrift(add_classes=new) if new is not None:
            what = f"classes {', '.join(map(str, new))} added"
        case LabelDrift(classes=classes) if classes is not None:
            what = f"classes {', '.join(map(str, classes))} only"
        case LabelDrift():
            what = f"class prior {dict(drift.prior or {})}"
        case FeatureDrift():
            strength = f"severity {drift.severity}" if drift.amount is None else f"amount {drift.amount:g}"
            what = f"{drift.transform}, {strength}"
        case ReplacementDrift():
            return f"{drift.replace:.0%} of the buffer replaced"
    return f"{what}; {drift.replace:.0%} of the buffer replaced" if drift.replace else what
