"""The ``drifts`` section: when and where the data that devices see changes, and how."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from annotated_types import Gt, MinLen
from pydantic import Field, model_validator

from edgesim.data.facts import TRANSFORMS, amount_of
from edgesim.scenario.base import (
    ClassLabel,
    ClassList,
    Flag,
    Name,
    Positive,
    PositiveWholeNumber,
    Spec,
    Tagged,
    Weight,
    WholeNumber,
    repeated,
)
from edgesim.scenario.drift_parts import DriftTarget, Profile
from edgesim.scenario.findings import Finding, Path, several, wrong
from edgesim.scenario.units import TIME, PositiveSeconds, Ratio, Seconds, format_quantity

FeatureTransform = Literal["brightness", "contrast", "blur", "noise", "rotation", "pixelate", "jpeg", "scale", "offset"]


class _Drift(Spec):
    kind: str
    name: Name = Field(description="What it is called in the tables.", examples=["dusk"])
    at: Seconds | None = Field(
        default=None,
        description="When it happens (first); by default after one `every`.",
        examples=["15 min"],
    )
    every: PositiveSeconds | None = Field(
        default=None, description="It happens again after this time.", examples=["1 min"]
    )
    until: PositiveSeconds | None = Field(
        default=None, description="It happens no more from then on.", examples=["1 h"]
    )
    profile: Profile = Field(
        default_factory=Profile,
        description="How it comes: abrupt, or {gradual: {over: 5 min, steps: 5}}, or incremental likewise.",
    )
    devices: DriftTarget = Field(
        default_factory=DriftTarget,
        description="Which devices: all, {share: 50 %}, {group: NAME}, {names: [...]} or {sample: 3}.",
    )
    correlated: Flag = Field(
        default=True, description="All devices at the same time; false: each at its own time, within `spread`."
    )
    spread: PositiveSeconds | None = Field(
        default=None, description="Time within which each device drifts at a random moment.", examples=["5 min"]
    )
    replace: Ratio = Field(
        default=0.0,
        description="Share of what a device holds that is replaced by new samples at once.",
        examples=["50 %"],
    )

    @property
    def lasting_s(self) -> float | None:
        """How long it lasts before it is taken back; ``None``: for good."""
        return None

    @property
    def longest_s(self) -> float:
        """From the moment it happens to the last step of its last device, the return included."""
        over_s = 0.0 if self.profile.ramp is None else self.profile.ramp.over
        return (self.spread or 0.0) + (self.lasting_s or 0.0) + over_s

    @model_validator(mode="after")
    def _happens(self) -> Self:
        if self.at is None and self.every is None:
            raise wrong("is missing: when the drift happens, for example `at: 10 min` (or `every: 1 min`)", ("at",))
        if self.until is not None:
            if self.every is None:
                raise wrong("ends something that happens once: leave it out, or add `every`", ("until",))
            if self.until <= self.first_s:
                raise wrong("ends the drift before it first happens", ("until",))
        if self.correlated and self.spread is not None:
            raise wrong("is for devices that drift each at its own time: add `correlated: false`", ("spread",))
        if not self.correlated and self.spread is None:
            raise wrong(
                "is missing: the time within which each device drifts, for example `spread: 5 min`", ("spread",)
            )
        if self.profile.incremental is not None and not isinstance(self, FeatureDrift):
            message = "is for feature drifts, whose strength rises; here a rising share is meant: write `gradual`"
            raise wrong(message, ("profile", "incremental"))
        if self.every is not None and self.every < self.longest_s:
            every, longest = format_quantity(self.every, TIME), format_quantity(self.longest_s, TIME)
            message = f"found {every}, but it takes {longest} (spread, lasts and profile together) to be over"
            raise wrong(message, ("every",))
        return self

    @property
    def first_s(self) -> float:
        """When it first happens."""
        if self.at is not None:
            return self.at
        assert self.every is not None
        return self.every

    def times(self, horizon_s: float) -> tuple[float, ...]:
        """All times in seconds at which it happens before ``horizon_s``."""
        end_s = horizon_s if self.until is None else min(self.until, horizon_s)
        return repeated(self.first_s, self.every, end_s)


class _Reversible(_Drift):
    lasts: PositiveSeconds | None = Field(
        default=None,
        description="It is taken back after this time, the way it came; by default it stays.",
        examples=["10 min"],
    )

    @property
    def lasting_s(self) -> float | None:
        """How long it lasts before it is taken back; ``None``: for good."""
        return self.lasts

    @model_validator(mode="after")
    def _is_there_in_full(self) -> Self:
        ramp = self.profile.ramp
        if self.lasts is not None and ramp is not None and self.lasts < ramp.over:
            lasts, over = format_quantity(self.lasts, TIME), format_quantity(ramp.over, TIME)
            raise wrong(f"found {lasts}, but it takes {over} to come in full", ("lasts",))
        return self


class Redraw(Spec):
    """A fresh draw of each device's class prior from a Dirichlet distribution, each time that the drift happens."""

    alpha: Positive = Field(description="Concentration: small means few classes a device, large means alike.")
    among: Literal["present", "all"] = Field(
        default="present", description="Among the classes that the device has met, or all that it can meet."
    )


class LabelDrift(_Reversible):
    """Which classes a device meets, and how often, changes."""

    kind: Literal["label"] = Field(description="Which classes devices meet changes.")
    add_classes: ClassList | None = Field(
        default=None, description="Classes that come to the present ones.", examples=[[7, 8, 9]]
    )
    classes: ClassList | None = Field(
        default=None, description="Classes that occur from now on, equally often.", examples=[[0, 1]]
    )
    prior: Annotated[dict[ClassLabel, Weight], MinLen(1)] | None = Field(
        default=None, description="Probability of each class from now on.", examples=[{"7": 0.5, "8": 0.5}]
    )
    dirichlet: Redraw | None = Field(
        default=None, description="Draw each device's class probabilities anew.", examples=[{"alpha": 0.5}]
    )

    @model_validator(mode="after")
    def _one_change(self) -> Self:
        known = ("add_classes", "classes", "prior", "dirichlet")
        chosen = [key for key in known if getattr(self, key) is not None]
        if not chosen:
            raise wrong(f"a label drift says one of {', '.join(known)}")
        if len(chosen) > 1:
            raise wrong(f"found {' and '.join(chosen)}: choose one of them", (chosen[1],))
        if self.prior is not None and abs(total := sum(self.prior.values()) - 1.0) > 1e-6:
            raise wrong(f"the probabilities sum to {total + 1.0:g}, not to 1", ("prior",))
        return self

    def named_classes(self) -> tuple[tuple[Path, int], ...]:
        """Each class that the drift names, with the path at which it does."""
        listed = [
            ((key, index), label)
            for key, labels in (("add_classes", self.add_classes), ("classes", self.classes))
            for index, label in enumerate(labels or ())
        ]
        return (*listed, *((("prior", label), label) for label in self.prior or ()))


class FeatureDrift(_Reversible):
    """What samples look like changes."""

    kind: Literal["feature"] = Field(description="What samples look like changes.")
    transform: FeatureTransform = Field(
        description="What happens: scale, offset for vectors, noise for both, the others for images."
    )
    severity: Annotated[PositiveWholeNumber, Field(le=5)] | None = Field(
        default=None, description="Strength from 1 to 5.", examples=[3]
    )
    amount: float | None = Field(
        default=None, description="Strength as the transform's own number, instead of `severity`."
    )
    per_feature: Flag = Field(
        default=False,
        description="Of scale and offset: each feature of each device has its own, drawn up to this strength.",
    )

    def amount_at(self, part: float) -> float:
        """The transform's amount at a part of the drift's strength, from 0 (neutral) to 1."""
        if self.severity is not None:
            return amount_of(self.transform, self.severity * part)
        assert self.amount is not None
        neutral = TRANSFORMS[self.transform].neutral
        return self.amount if part == 1 else neutral + (self.amount - neutral) * part

    @model_validator(mode="after")
    def _one_strength(self) -> Self:
        if self.per_feature and self.transform not in ("scale", "offset"):
            raise wrong(f"is for scale and offset, not for {self.transform}", ("per_feature",))
        if self.severity is None and self.amount is None:
            raise wrong("is missing: the strength, from 1 to 5 (or `amount`)", ("severity",))
        if self.severity is not None and self.amount is not None:
            raise wrong("`severity` already gives the strength; leave one of them out", ("amount",))
        facts = TRANSFORMS[self.transform]
        if self.amount is not None and not facts.low <= self.amount <= facts.high:
            bounds = f"from {facts.low:g} to {facts.high:g}"
            raise wrong(f"found {self.amount:g}, must be {bounds}: {facts.meaning}", ("amount",))
        return self


class ConceptDrift(_Reversible):
    """What a sample is called changes, not what it looks like."""

    kind: Literal["concept"] = Field(description="What samples are called changes.")
    swap: Annotated[dict[ClassLabel, WholeNumber], MinLen(1)] | None = Field(
        default=None, description="Pairs of classes that trade their labels.", examples=[{"3": 5}]
    )
    permute: Annotated[dict[ClassLabel, WholeNumber], MinLen(2)] | None = Field(
        default=None,
        description="New label of each class named; the same labels, in another order.",
        examples=[{"3": 5, "5": 8, "8": 3}],
    )

    @model_validator(mode="after")
    def _one_renaming(self) -> Self:
        if (self.swap is None) == (self.permute is None):
            both = self.swap is not None
            raise (
                wrong("found swap and permute: choose one of them", ("permute",))
                if both
                else wrong("a concept drift says one of swap, permute")
            )
        findings: list[Finding] = []
        seen: set[int] = set()
        for one, other in (self.swap or {}).items():
            if one == other:
                findings.append(Finding(("swap", one), f"class {one} cannot trade its label with itself"))
            elif one in seen or other in seen:
                twice = one if one in seen else other
                findings.append(Finding(("swap", one), f"class {twice} is in two pairs; `permute` says it one by one"))
            seen |= {one, other}
        if self.permute is not None:
            new = list(self.permute.values())
            for place, (old, label) in enumerate(self.permute.items()):
                if label in new[:place]:
                    findings.append(Finding(("permute", old), f"two classes would be called {label}"))
                elif label not in self.permute:
                    message = f"class {label} has no new label of its own; add `{label}: ...`"
                    findings.append(Finding(("permute", old), message))
            if all(old == label for old, label in self.permute.items()):
                findings.append(Finding(("permute",), "every class keeps its label: nothing would change"))
        if findings:
            raise several(findings)
        return self

    def named_classes(self) -> tuple[tuple[Path, int], ...]:
        """Each class that the drift names, with the path at which it does."""
        return tuple(
            ((key, old), label)
            for key, renamed in (("swap", self.swap), ("permute", self.permute))
            for old, new in (renamed or {}).items()
            for label in dict.fromkeys((old, new))
        )


class ReplacementDrift(_Drift):
    """A share of what a device holds is replaced by new samples of the same distribution."""

    kind: Literal["replacement"] = Field(description="A share of what devices hold is replaced by new samples.")
    replace: Annotated[Ratio, Gt(0)] = Field(
        description="Share of what a device holds that is replaced by new samples at once.", examples=["50 %"]
    )


DriftSpec = Annotated[LabelDrift | FeatureDrift | ConceptDrift | ReplacementDrift, Tagged("kind")]
"""One drift; ``kind`` says which."""
