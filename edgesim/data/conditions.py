"""What one device's samples are like between two changes: class priors and transforms, of whichever drifts hold.

Label drifts are layers over the class prior, feature and concept drifts layers over the transform; the two do not
meet. Several feature drifts compose in the order in which they came; taking one back leaves the others.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgesim.data.blend import Blend, Layer, blend, lift, put
from edgesim.data.transforms import Transform
from edgesim.errors import UserError

Float64Array = npt.NDArray[np.float64]
Prior = npt.NDArray[np.floating]

PriorShift = Callable[[Float64Array], Prior]
"""What a label drift makes of the prior that there was before; a pure function."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """A drift, or a step of one, as one device meets it.

    Attributes
    ----------
    prior
        The class prior from now on, (class,), or a function of the prior that there was; ``None``: no label drift.
        Classes are the data set's own, before any swap of labels.
    transform
        What samples taken from now on go through, after the transforms of the other drifts that hold; ``None``: no
        feature or concept drift.
    replace_ratio
        The share of the samples held, labelled or not, that the drift has rewritten (round half up) with samples of
        the new distribution once this step is done. They count as taken at this moment and are labelled at once: the
        papers' protocol.
    replaced_before
        The share that its earlier steps had rewritten: these samples are left alone.
    name
        Whose change this is. It takes the place of an earlier one of the same drift and leaves others alone.
    occurrence
        Which occurrence of that drift. A later one takes over where it reaches.
    share
        Of the samples, more than 0 and at most 1, that it reaches from now on: less than 1 while a drift comes or
        goes gradually.
    undo
        The occurrence is over: what held without it holds again. Needs neither ``prior`` nor ``transform``.
    """

    prior: Prior | PriorShift | None = None
    transform: Transform | None = None
    replace_ratio: float = 0.0
    replaced_before: float = 0.0
    name: str = ""
    occurrence: int = 1
    share: float = 1.0
    undo: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.replace_ratio <= 1:
            raise UserError(f"drift: replace is a share from 0 to 1, found {self.replace_ratio:g}")
        if not 0 <= self.replaced_before <= self.replace_ratio:
            raise UserError(f"drift: of {self.replace_ratio:g} no {self.replaced_before:g} can be replaced before")
        if not 0 < self.share <= 1:
            raise UserError(f"drift: a share that it reaches lies above 0 and up to 1, found {self.share:g}")
        if self.undo and not (self.prior is None and self.transform is None):
            raise UserError("drift: what takes a change back brings no prior and no transform of its own")


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """The distribution of a device's samples between two changes.

    Attributes
    ----------
    base
        The class prior without any drift, (class,).
    labels, features
        The drifts that hold, from the lowest layer.
    priors
        The class priors that hold side by side.
    transforms
        The transforms that hold side by side.
    prior
        The class prior of the whole, (class,): what arriving samples follow.
    """

    base: Float64Array
    labels: tuple[Layer[Float64Array], ...]
    features: tuple[Layer[Transform], ...]
    priors: Blend[Float64Array]
    transforms: Blend[Transform]
    prior: Float64Array

    @classmethod
    def initial(cls, prior: Float64Array) -> Conditions:
        """Before any drift."""
        return cls._of(prior, (), ())

    def after(self, change: Change, checked: Callable[[Prior], Float64Array]) -> Conditions:
        """What holds after a change; ``checked`` is given every prior before it is used, and makes it sum to 1."""
        labels, features = self.labels, self.features
        if change.undo:
            labels = lift(labels, change.name, change.occurrence)
            features = lift(features, change.name, change.occurrence)
        if change.prior is not None:
            shift = _shift(change.prior)
            labels = put(
                labels,
                Layer(change.name, change.occurrence, change.share, lambda prior: checked(shift(prior))),
            )
        if change.transform is not None:
            transform = change.transform
            features = put(
                features,
                Layer(change.name, change.occurrence, change.share, lambda before: before.then(transform)),
            )
        return self._of(self.base, labels, features)

    @classmethod
    def _of(
        cls, base: Float64Array, labels: tuple[Layer[Float64Array], ...], features: tuple[Layer[Transform], ...]
    ) -> Conditions:
        priors = _priors(base, labels)
        transforms = blend(Transform.identity, features, lambda transform: transform)
        return cls(base, labels, features, priors, transforms, _mixed(priors))

    def has_label_drift(self, name: str, occurrence: int) -> bool:
        """Whether this occurrence of a label drift holds."""
        return any((layer.name, layer.occurrence) == (name, occurrence) for layer in self.labels)

    def prior_without(self, name: str) -> Float64Array:
        """The class prior of the whole as it would be without any occurrence of a label drift, (class,)."""
        return _mixed(_priors(self.base, tuple(layer for layer in self.labels if layer.name != name)))

    @property
    def key(self) -> Hashable:
        """Equal for conditions under which samples are alike: a distribution that comes back has its old key."""
        priors = tuple(prior.tobytes() for prior in self.priors.outcomes)
        return self.priors.gates, priors, self.transforms.gates, self.transforms.outcomes


def _priors(base: Float64Array, labels: tuple[Layer[Float64Array], ...]) -> Blend[Float64Array]:
    return blend(base, labels, lambda prior: prior.tobytes())


def _mixed(priors: Blend[Float64Array]) -> Float64Array:
    """The class prior of the whole, (class,)."""
    if not priors.gates:
        return priors.outcomes[0]
    weighted = [weight * prior for weight, prior in zip(priors.weights(), priors.outcomes, strict=True)]
    mixed: Float64Array = np.sum(weighted, axis=0)
    return mixed


def _shift(prior: Prior | PriorShift) -> PriorShift:
    if callable(prior):
        return prior
    fixed = prior
    return lambda _: fixed
