"""Label drift: from what a scenario says (new classes, given classes, a prior, a re-draw) to a class prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edgesim.errors import UserError

Prior = npt.NDArray[np.float64]


def only_classes(classes: Sequence[int], count: int) -> Prior:
    """Equal probability for these classes, none for the rest of ``count``.

    >>> only_classes([0, 2], 4)
    array([0.5, 0. , 0.5, 0. ])
    """
    prior = np.zeros(count)
    prior[_known(classes, count)] = 1
    return prior / float(prior.sum())


def add_classes(prior: npt.NDArray[np.floating], classes: Sequence[int]) -> Prior:
    """Mix new classes into a prior in equal parts by the number of classes.

    With k classes so far and m that are really new, the new ones get m / (k + m) of the probability, equally; the
    old ones keep their proportions among themselves. Classes that are there already are left as they are.

    >>> add_classes(np.array([0.75, 0.25, 0.0, 0.0]), [1, 2, 3])
    array([0.375, 0.125, 0.25 , 0.25 ])
    """
    new = [label for label in _known(classes, len(prior)) if prior[label] <= 0]
    held = int((prior > 0).sum())
    mixed = np.asarray(prior, dtype=np.float64) / float(prior.sum())
    if new:
        mixed *= held / (held + len(new))
        mixed[new] = 1 / (held + len(new))
    return mixed


def given(weights: Mapping[int, float], count: int) -> Prior:
    """A prior from weights by class; they need not add up to 1, classes left out get nothing.

    >>> given({1: 3, 2: 1}, 3)
    array([0.  , 0.75, 0.25])
    """
    prior = np.zeros(count)
    for label in _known(list(weights), count):
        weight = weights[label]
        if not 0 <= weight < float("inf"):
            raise UserError(f"prior: the weight of class {label} must not be negative, found {weight:g}")
        prior[label] = weight
    if prior.sum() <= 0:
        raise UserError("prior: at least one class needs a positive weight")
    return prior / float(prior.sum())


def redrawn(among: npt.NDArray[np.bool_], alpha: float, random: np.random.Generator) -> Prior:
    """A fresh Dirichlet draw.

    Parameters
    ----------
    among
        Marks the classes that take part, (class,): those that the device has, or all that it can have.
    alpha
        Of the symmetric Dirichlet distribution: the smaller, the more skewed.
    random
        A named stream of the environment (seed, "drift", name, device), never a learner's.
    """
    places = np.flatnonzero(among)
    drawn = np.zeros(len(among))
    drawn[places] = random.dirichlet(np.full(len(places), alpha))
    return drawn


def _known(classes: Sequence[int], count: int) -> list[int]:
    unknown = sorted(label for label in classes if not 0 <= label < count)
    if unknown or not classes:
        raise UserError(f"classes {unknown or 'of an empty list'} do not exist: 0 to {count - 1} do")
    return sorted(set(classes))
