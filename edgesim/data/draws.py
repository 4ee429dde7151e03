"""Which pool samples a device gets: draws by class prior, one named stream a set or a block."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgesim.data.pools import ClassPool
from edgesim.errors import UserError

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

_FEW = 20  # samples a class up to which NumPy's own call, one a class, takes longer than drawing for all at once
_FLOYD_ALWAYS = 10_000  # samples of a class up to which NumPy draws by Floyd's algorithm, however many it draws


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
    edges = np.floor(prior.cumsum() / prior.sum() * count + random.random()).astype(np.int64)
    np.minimum(edges, count, out=edges)  # a sum just below 1 may have been rounded up
    edges[prior.nonzero()[0][-1] :] = count
    wanted = edges.copy()
    wanted[1:] -= edges[:-1]
    labels = wanted.nonzero()[0]
    if not len(labels):
        return np.empty(0, dtype=np.int64)
    needed, there = wanted[labels], pool.counts[labels]
    if count <= _FEW * len(labels) and (needed <= there).all() and there.max() <= _FLOYD_ALWAYS:
        places = np.array(_distinct(there.tolist(), needed.tolist(), random))
        return random.permutation(pool.indices[pool.starts[labels].repeat(needed) + places])
    drawn = []
    for start, most, some in zip(pool.starts[labels].tolist(), there.tolist(), needed.tolist(), strict=True):
        drawn.append(pool.indices[start + random.choice(most, some, replace=some > most)])
    return random.permutation(np.concatenate(drawn))


def _distinct(pools: list[int], counts: list[int], random: np.random.Generator) -> list[int]:
    """What ``random.choice(pool, count, replace=False)`` draws for one pool after the other, in one call for all.

    Robert Floyd's sample (Bentley, Floyd: Programming pearls, a sample of brilliance, CACM 30(9), 1987), shuffled.
    """
    tops: list[int] = []
    for pool, count in zip(pools, counts, strict=True):
        tops += range(pool - count, pool)
        tops += range(count - 1, 0, -1)
    lots = iter(random.integers(0, tops, endpoint=True).tolist())
    drawn: list[int] = []
    for pool, count in zip(pools, counts, strict=True):
        mine: dict[int, None] = {}
        for top in range(pool - count, pool):
            lot = next(lots)
            mine[top if lot in mine else lot] = None
        shuffled = list(mine)
        for last in range(count - 1, 0, -1):
            lot = next(lots)
            shuffled[last], shuffled[lot] = shuffled[lot], shuffled[last]
        drawn += shuffled
    return drawn


def beside(first: Int64Array, other: Int64Array, labels: Int64Array) -> Int64Array:
    """Put a set beside another of the same size: what both have in the same places, then what is of the same class.

    Parameters
    ----------
    first, other
        Pool samples, (sample,).
    labels
        The class of every pool sample.
    """
    placed = np.full(len(first), -1, dtype=np.int64)
    rest = other.tolist()
    keys: tuple[Int64Array, ...] = (np.arange(len(labels)), labels, np.zeros_like(labels))
    for key in keys:
        free: dict[int, list[int]] = {}
        for place in np.flatnonzero(placed < 0)[::-1].tolist():
            free.setdefault(int(key[first[place]]), []).append(place)
        left = []
        for sample in rest:
            if places := free.get(int(key[sample])):
                placed[places.pop()] = sample
            else:
                left.append(sample)
        rest = left
    return placed


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
