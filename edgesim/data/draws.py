"""Which pool samples a device gets: draws by class prior, one named stream a set or a block."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgesim.data.pools import ClassPool
from edgesim.errors import UserError

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]


def checked_prior(prior: npt.NDArray[np.floating], pool: ClassPool, where: str) -> Float64Array:
    """The prior as float64 adding up to 1.

    Raises
    ------
    UserError
        It is not a distribution over the classes, or gives weight to a class that the pool lacks.
    """
    checked = np.asarray(prior, dtype=np.float64)
    if checked.shape != pool.counts.shape:
        raise UserError(f"{where}: a prior over {len(pool.counts)} classes is needed, found {checked.shape}")
    total = float(checked.sum())
    if not (checked.min() >= 0 and 0 < total < float("inf")):
        raise UserError(f"{where}: a class prior must not be negative, NaN or all zero, found {prior}")
    if not (pool.counts[checked > 0]).all():
        lacking = np.flatnonzero((checked > 0) & (pool.counts == 0)).tolist()
        raise UserError(f"{where} has no samples of classes {lacking}, which its prior asks for")
    return checked / total


def draw_set(pool: ClassPool, prior: Float64Array, count: int, random: np.random.Generator) -> Int64Array:
    """A set of samples that follows the prior as closely as whole samples can, in random order.

    Class c gets count x prior[c] samples rounded up or down at random (systematic sampling: the expectation is
    exact, the error below one sample); within a class samples are drawn without replacement, with replacement only
    where it has too few.
    """
    edges = np.floor(np.cumsum(prior) / prior.sum() * count + random.random()).astype(np.int64)
    edges = np.minimum(edges, count)  # a sum just below 1 may have been rounded up
    edges[np.flatnonzero(prior)[-1] :] = count
    wanted = np.diff(edges, prepend=0)
    drawn = []
    for label in np.flatnonzero(wanted).tolist():
        there, needed = int(pool.counts[label]), int(wanted[label])
        places = random.choice(there, needed, replace=needed > there)
        drawn.append(pool.indices[pool.starts[label] + places])
    return random.permutation(np.concatenate(drawn)) if drawn else np.empty(0, dtype=np.int64)


def draw_block(pool: ClassPool, prior: Float64Array, count: int, random: np.random.Generator) -> Int64Array:
    """Independent samples, (count,): a class by the prior, then any of its samples, with replacement."""
    lots = random.random((2, count))
    bounds = np.cumsum(prior)
    labels = np.searchsorted(bounds, lots[0] * bounds[-1], side="right")
    labels = np.minimum(labels, np.flatnonzero(prior)[-1])  # where lot x bound rounded up to the last bound
    there = pool.counts[labels]
    places = np.minimum((lots[1] * there).astype(np.int64), there - 1)
    drawn: Int64Array = pool.indices[pool.starts[labels] + places]
    return drawn
