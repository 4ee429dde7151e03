"""What drift does to a sample: a frozen chain of operations on features, and a renaming of labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgesim.data.facts import TRANSFORMS, Kind, amount_of
from edgesim.errors import UserError
from edgesim.seeds import stream_seed


@dataclass(frozen=True, slots=True)
class Step:
    """One operation with its parameters spelled out.

    Attributes
    ----------
    operation
        A name of ``edgesim.data.facts.TRANSFORMS``.
    amount
        Its amount; what that means stands there.
    per_feature
        ``scale`` and ``offset`` only: a drawn amount a feature instead of one for all.
    seed
        Names that draw.
    """

    operation: str
    amount: float
    per_feature: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Transform:
    """A chain of operations on features, and a renaming of labels. Hashable; equal when it does the same.

    Attributes
    ----------
    steps
        Operations in the order in which they are applied.
    labels
        The labels that change, as sorted pairs (old, new); all others stay.

    Examples
    --------
    >>> dusk = Transform.feature("brightness", amount=-0.3)
    >>> fog = Transform.feature("contrast", severity=2)
    >>> dusk.then(fog).key
    'brightness(-0.3) contrast(0.5)'
    >>> Transform.swap_labels([(4, 9)]).relabel(np.array([4, 5, 9]))
    array([9, 5, 4])
    """

    identity: ClassVar[Transform]

    steps: tuple[Step, ...] = ()
    labels: tuple[tuple[int, int], ...] = ()

    @classmethod
    def feature(
        cls,
        operation: str,
        *,
        severity: float | None = None,
        amount: float | None = None,
        per_feature: bool = False,
        seed: int = 0,
    ) -> Transform:
        """One operation on features, by severity (0 to 5) or by an explicit amount.

        Raises
        ------
        UserError
            Unknown operation, neither or both of severity and amount, or one out of its range.
        """
        if operation not in TRANSFORMS:
            raise UserError(f"transform {operation!r} is unknown (known: {', '.join(sorted(TRANSFORMS))})")
        if (severity is None) == (amount is None):
            raise UserError(f"transform {operation}: give either a severity (1 to 5) or an amount")
        facts = TRANSFORMS[operation]
        if severity is not None:
            if not 0 <= severity <= 5:
                raise UserError(f"transform {operation}: severity {severity:g} is not between 0 and 5")
            amount = amount_of(operation, severity)
        assert amount is not None
        if not (math.isfinite(amount) and facts.low <= amount <= facts.high):
            raise UserError(
                f"transform {operation}: amount {amount:g} is not between {facts.low:g} and {facts.high:g} "
                f"({facts.meaning})"
            )
        if per_feature and operation not in ("scale", "offset"):
            raise UserError(f"transform {operation}: per_feature belongs to scale and offset only")
        step = Step(operation, float(amount), per_feature, seed if per_feature else 0)
        return cls((step,))

    @classmethod
    def swap_labels(cls, pairs: Iterable[tuple[int, int]]) -> Transform:
        """Concept drift: the two labels of each pair trade places."""
        renamed: dict[int, int] = {}
        for one, other in pairs:
            if one == other or one in renamed or other in renamed:
                raise UserError(f"labels to swap must be pairs of different labels, each named once: ({one}, {other})")
            renamed |= {one: other, other: one}
        return cls(labels=tuple(sorted(renamed.items())))

    @classmethod
    def permute_labels(cls, renamed: Mapping[int, int]) -> Transform:
        """Concept drift: each label becomes another one; the new ones must be the old ones in another order.

        >>> Transform.permute_labels({1: 2, 2: 3, 3: 1}).relabel(np.array([0, 1, 2, 3]))
        array([0, 2, 3, 1])
        """
        if sorted(renamed) != sorted(renamed.values()):
            raise UserError(f"labels to permute must be the same before and after: {dict(renamed)}")
        return cls(labels=tuple(sorted((old, new) for old, new in renamed.items() if old != new)))

    def then(self, other: Transform) -> Transform:
        """This transform, and after it the other."""
        mine, theirs = dict(self.labels), dict(other.labels)
        renamed = {old: theirs.get(mine.get(old, old), mine.get(old, old)) for old in {*mine, *theirs}}
        labels = tuple(sorted((old, new) for old, new in renamed.items() if old != new))
        return Transform((*self.steps, *other.steps), labels)

    @property
    def key(self) -> str:
        """Stable text: equal transforms have equal keys, in every process."""
        words = []
        for step in self.steps:
            each = f" per feature, seed {step.seed}" if step.per_feature else ""
            words.append(f"{step.operation}({step.amount!r}{each})")
        words += [f"label({old}->{new})" for old, new in self.labels]
        return " ".join(words)

    @property
    def noisy(self) -> bool:
        """Whether the seed of the view takes part in it."""
        return any(step.operation == "noise" for step in self.steps)

    def check(self, kind: Kind, classes: int) -> None:
        """Raise ``UserError`` where an operation does not fit this kind of data, or a label is unknown."""
        for step in self.steps:
            if kind not in TRANSFORMS[step.operation].kinds:
                fitting = sorted(name for name, facts in TRANSFORMS.items() if kind in facts.kinds)
                raise UserError(f"transform {step.operation} does not fit {kind} data (these do: {', '.join(fitting)})")
        for old, _ in self.labels:
            if not 0 <= old < classes:
                raise UserError(f"label {old} cannot be swapped: there are {classes} classes, 0 to {classes - 1}")

    def apply(
        self,
        x: npt.NDArray[np.float32],
        indices: npt.NDArray[np.int64],
        kind: Kind,
        seed: int,
    ) -> npt.NDArray[np.float32]:
        """Transform features.

        Parameters
        ----------
        x
            Images (sample, channel, height, width) on a scale from 0 to 1, or vectors (sample, feature).
        indices
            Each sample's number in its data set, (sample,): its noise depends on that and on ``seed`` alone.
        kind
            What ``x`` is.
        seed
            Names the noise.

        Returns
        -------
        numpy.ndarray
            Same shape, ``x`` itself where nothing is to be done; ``x`` is never written to. The bits of a sample do
            not depend on the other samples.
        """
        if not self.steps:
            return x
        from edgesim.data.corruptions import OPERATIONS, Setting

        noises = 0
        for step in self.steps:
            noise_seed = 0
            if step.operation == "noise":
                noise_seed = stream_seed(seed, "noise", noises)
                noises += 1
            setting = Setting(step.amount, step.per_feature, step.seed, noise_seed, indices, kind)
            x = OPERATIONS[step.operation](x, setting)
        return x

    def relabel(self, y: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Rename labels; a fresh array where anything is renamed."""
        if not self.labels:
            return y
        renamed = y.copy()
        for old, new in self.labels:
            renamed[y == old] = new
        return renamed


Transform.identity = Transform()
