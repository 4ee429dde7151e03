"""The drift schedule: which devices' data change when, and how. Drawn once a seed, the same for every learner.

An occurrence of a drift comes in one step or several, and may go again the way it came. Each step on each device is
a strike; the first one that comes opens an episode, and so does the first one that goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ..scenario import ConceptDrift, DriftTarget, FeatureDrift, LabelDrift, ReplacementDrift
from ..seeds import stream, stream_seed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..data import Change, DataStream, Transform
    from ..data.conditions import Prior, PriorShift
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
    undo
        The drift goes: what held before holds again. An episode of its own.
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
    undo: bool = False

    @property
    def cohort_id(self) -> str:
        """Shared by all devices that this occurrence strikes."""
        return f"{self.name}/{self.occurrence}{'-undo' if self.undo else ''}"

    @property
    def opens_episode(self) -> bool:
        """Whether adaptation latencies are measured from here."""
        return self.step == 1

    def is_same_step(self, other: Strike) -> bool:
        """Whether this is the same step of the same occurrence, on other devices: a drift may come spread over time."""
        return (self.name, self.occurrence, self.step, self.undo) == (
            other.name,
            other.occurrence,
            other.step,
            other.undo,
        )

    def episode_id(self, device: str) -> str:
        """Shared by the steps of this occurrence on one device."""
        return f"{self.cohort_id}/{device}"

    def drift_id(self, device: str) -> str:
        """Unique within a world."""
        return f"{self.cohort_id}.{self.step}/{device}" if self.steps > 1 else self.episode_id(device)


def strikes(scenario: Scenario, seed: int) -> list[Strike]:
    """All strikes before the horizon, in the order of time and, at one instant, of the scenario."""
    found = [
        strike
        for drift in scenario.drifts
        for number, time_s in enumerate(drift.times(scenario.horizon), start=1)
        for strike in _occurrence(drift, number, time_s, scenario, seed)
        if strike.time_s < scenario.horizon
    ]
    return sorted(found, key=lambda strike: strike.time_s)


def _occurrence(drift: DriftSpec, number: int, start_s: float, scenario: Scenario, seed: int) -> Iterator[Strike]:
    """The strikes of one occurrence: for all its devices together, or for each at its own time."""
    devices = _targets(drift, number, scenario, seed)
    if drift.spread is None:
        yield from _steps(drift, number, start_s, devices)
        return
    delays_s = stream(seed, "drift", drift.name, "delays", number).uniform(0.0, drift.spread, len(devices))
    for device, delay_s in zip(devices, delays_s.tolist(), strict=True):
        yield from _steps(drift, number, start_s + delay_s, [device])


def _steps(drift: DriftSpec, number: int, start_s: float, devices: Sequence[int]) -> Iterator[Strike]:
    ramp = drift.profile.ramp
    offsets_s = (0.0,) if ramp is None else ramp.times_s()
    count = len(offsets_s)
    for undo in (False, True) if drift.lasting_s is not None else (False,):
        begin_s = start_s + drift.lasting_s if undo and drift.lasting_s is not None else start_s
        for step, offset_s in enumerate(offsets_s, start=1):
            reach = 1.0 - step / count if undo else step / count
            yield Strike(
                time_s=begin_s + offset_s,
                name=drift.name,
                occurrence=number,
                step=step,
                steps=count,
                kind=drift.kind,
                detail=_detail(drift, reach, undo),
                devices=devices,
                change=partial(_change, drift, number, reach, step, count),
                undo=undo,
            )


def _targets(drift: DriftSpec, occurrence: int, scenario: Scenario, seed: int) -> Sequence[int]:
    target: DriftTarget = drift.devices
    names = scenario.device_names()
    if target.names is not None:
        return sorted(names.index(device) for device in target.names)
    eligible = range(len(names))
    if target.group is not None:
        block = next(block for block in scenario.blocks if block.group.name == target.group)
        eligible = range(block.start, block.stop)
    if target.share is not None:
        count = max(1, int(target.share * len(eligible) + 0.5))
        drawn = stream(seed, "drift", drift.name).choice(len(eligible), size=count, replace=False)
    elif target.sample is not None:
        random = stream(seed, "drift", drift.name, "sample", occurrence)
        drawn = random.choice(len(eligible), size=target.sample, replace=False)
    else:
        return eligible
    return [eligible[int(place)] for place in sorted(drawn)]


def _change(drift: DriftSpec, occurrence: int, reach: float, step: int, steps: int, data: DataStream) -> Change:
    """What a step does to one device's data; ``reach`` is how far the drift is there afterwards, 0 to 1."""
    from ..data import Change

    prior: Prior | PriorShift | None = None
    transform: Transform | None = None
    incremental = drift.profile.incremental is not None
    if reach > 0:
        if isinstance(drift, LabelDrift):
            prior = partial(_shifted, drift) if drift.dirichlet is None else _redrawn(drift, occurrence, data)
        elif isinstance(drift, FeatureDrift | ConceptDrift):
            transform = _transform(drift, reach if incremental else 1.0, data)
    return Change(
        prior=prior,
        transform=transform,
        replace_ratio=drift.replace * step / steps,
        replaced_before=drift.replace * (step - 1) / steps,
        name=drift.name,
        occurrence=occurrence,
        share=1.0 if incremental or reach == 0 else reach,
        undo=reach == 0,
    )


def _shifted(drift: LabelDrift, prior: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The class prior that a label drift makes of the one there was."""
    from ..data.priors import add_classes, given, only_classes

    if drift.add_classes is not None:
        return add_classes(prior, drift.add_classes)
    if drift.classes is not None:
        return only_classes(drift.classes, len(prior))
    assert drift.prior is not None
    return given(drift.prior, len(prior))


def _redrawn(drift: LabelDrift, occurrence: int, data: DataStream) -> npt.NDArray[np.float64]:
    """The class prior that an occurrence draws for one device: the same at each of its steps."""
    from ..data.priors import redrawn

    assert drift.dirichlet is not None
    present = drift.dirichlet.among == "present"
    among = data.prior_met_by(drift.name, occurrence) > 0 if present else data.obtainable
    random = stream(data.seed, "drift", drift.name, "prior", occurrence, data.device)
    return redrawn(among, drift.dirichlet.alpha, random)


def _transform(drift: FeatureDrift | ConceptDrift, strength: float, data: DataStream) -> Transform:
    """What a feature or concept drift does to samples, at a part of its strength, 0 to 1."""
    from ..data import Transform

    if isinstance(drift, ConceptDrift):
        if drift.swap is not None:
            return Transform.swap_labels(drift.swap.items())
        return Transform.permute_labels(drift.permute or {})
    own = drift.per_feature
    return Transform.feature(
        drift.transform,
        amount=drift.amount_at(strength),
        per_feature=own,
        seed=stream_seed(data.seed, "drift", drift.name, data.device) if own else 0,
    )


def _detail(drift: DriftSpec, reach: float, undo: bool) -> str:
    """What changes, for people."""
    steps = 1 if drift.profile.ramp is None else drift.profile.ramp.steps
    replaced = f"{drift.replace / steps:.0%} of the buffer replaced"
    if isinstance(drift, ReplacementDrift):
        return replaced
    what = _what(drift)
    if drift.profile.incremental is not None and reach > 0:
        assert isinstance(drift, FeatureDrift)
        what += f", now amount {drift.amount_at(reach):g}"
    elif 0 < reach < 1:
        what += f", {reach:.0%} of the samples"
    if undo:
        what += ", taken back" if reach == 0 else ", going"
    return f"{what}; {replaced}" if drift.replace else what


def _what(drift: LabelDrift | FeatureDrift | ConceptDrift) -> str:
    match drift:
        case LabelDrift(add_classes=new) if new is not None:
            return f"classes {', '.join(map(str, new))} added"
        case LabelDrift(classes=classes) if classes is not None:
            return f"classes {', '.join(map(str, classes))} only"
        case LabelDrift(prior=prior) if prior is not None:
            return f"class prior {dict(prior)}"
        case LabelDrift(dirichlet=redraw) if redraw is not None:
            return f"class prior drawn anew, Dirichlet({redraw.alpha:g}) over {redraw.among} classes"
        case FeatureDrift():
            strength = f"severity {drift.severity}" if drift.amount is None else f"amount {drift.amount:g}"
            return f"{drift.transform}, {strength}{' per feature' if drift.per_feature else ''}"
        case ConceptDrift(swap=swap) if swap is not None:
            return f"labels swapped: {', '.join(f'{one} and {other}' for one, other in swap.items())}"
        case ConceptDrift(permute=permute) if permute is not None:
            return f"labels renamed: {', '.join(f'{old} to {new}' for old, new in permute.items())}"
    raise AssertionError(f"a drift of kind {drift.kind!r} without a change")
