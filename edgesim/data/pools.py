"""Who may use which samples: the cloud's proxy set, the devices' pool and the test pool, disjoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgesim.data.dataset import Dataset
from edgesim.errors import UserError
from edgesim.seeds import stream

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ClassPool:
    """Sample numbers sorted by class: those of class c are ``indices[starts[c] : starts[c] + counts[c]]``."""

    indices: Int64Array
    starts: Int64Array  # (class,)
    counts: Int64Array  # (class,)


@dataclass(frozen=True, slots=True, eq=False)
class Pools:
    """Three disjoint sets of sample numbers, each in rising order.

    Attributes
    ----------
    dataset
        Whose samples they are.
    proxy
        The cloud's own samples.
    devices
        What devices draw from.
    test
        What test views are drawn from.
    """

    dataset: Dataset
    proxy: Int64Array
    devices: Int64Array
    test: Int64Array
    _sorted: dict[tuple[str, int | None, int, int], ClassPool] = field(default_factory=dict, init=False, repr=False)

    def of_devices(self, group: int | None = None, part: int = 0, parts: int = 1) -> ClassPool:
        """The devices' pool by class: all of it, a natural group's, or one of the group's disjoint parts."""
        return self._by_class("devices", self.devices, group, part, parts)

    def of_test(self, group: int | None = None) -> ClassPool:
        """The test pool by class: all of it, or a natural group's."""
        return self._by_class("test", self.test, group, 0, 1)

    def by_class(self, indices: Int64Array) -> ClassPool:
        """Some samples by class, in their order within each."""
        ordered = indices[np.argsort(self.dataset.y[indices], kind="stable")]
        counts = np.bincount(self.dataset.y[ordered], minlength=self.dataset.classes).astype(np.int64)
        return ClassPool(ordered, np.cumsum(counts) - counts, counts)

    def _by_class(self, which: str, indices: Int64Array, group: int | None, part: int, parts: int) -> ClassPool:
        key = (which, group, part, parts)
        if key not in self._sorted:
            if parts > 1:
                whole = self._by_class(which, indices, group, 0, 1)
                chosen = whole.indices[part::parts]  # still sorted by class: every class is dealt out evenly
            else:
                chosen = indices if group is None else indices[self._groups()[indices] == group]
            self._sorted[key] = self.by_class(chosen)
        return self._sorted[key]

    def _groups(self) -> Int64Array:
        if self.dataset.group is None:
            raise UserError(f"data {self.dataset.name} has no natural groups to divide devices by")
        return self.dataset.group


def split(
    dataset: Dataset,
    proxy_share: float,
    test_share: float | None = None,
    proxy_classes: Sequence[int] | None = None,
    seed: int = 0,
) -> Pools:
    """Split a data set into proxy, devices' and test pool.

    Every random cut is stratified by class (and by natural group where there is one): a share of the whole is that
    share of every stratum, up to one sample. Sizes are exact: share x samples, rounded half up.

    Parameters
    ----------
    dataset
        What to split.
    proxy_share
        The cloud's share of the training pool (of everything that is not test), 0 to 1 ...
    test_share
        The share held out for tests, re-drawn from the whole set. ``None``: the official test split, or where
        the source has none, its default share.
    proxy_classes
        ... or, with this, that share of the samples of these classes only; all others go to the devices.
    seed
        The run's seed; the cut has its own stream (``split``).

    Raises
    ------
    UserError
        A share out of range, an unknown class, no test split to be had, or an empty pool.
    """
    if not 0 <= proxy_share <= 1:
        raise UserError(f"data: the proxy share {proxy_share:g} is not between 0 and 1")
    is_test = _test_marks(dataset, test_share, seed)
    training = np.flatnonzero(~is_test)
    eligible = training
    if proxy_classes is not None:
        unknown = sorted(set(proxy_classes) - set(range(dataset.classes)))
        if unknown:
            raise UserError(f"data: proxy classes {unknown} do not exist: 0 to {dataset.classes - 1} do")
        eligible = training[np.isin(dataset.y[training], list(proxy_classes))]
    proxy = _draw_stratified(dataset, eligible, proxy_share, seed, "proxy")
    devices = np.setdiff1d(training, proxy, assume_unique=True)
    pools = Pools(dataset, proxy, devices, np.flatnonzero(is_test))
    for name, pool in (("devices' pool", pools.devices), ("test pool", pools.test)):
        if len(pool) == 0:
            raise UserError(
                f"data {dataset.name}: nothing is left for the {name} "
                f"(proxy {len(proxy)}, devices {len(devices)}, test {len(pools.test)} samples)"
            )
    for pool in (pools.proxy, pools.devices, pools.test):
        pool.setflags(write=False)
    return pools


def _test_marks(dataset: Dataset, test_share: float | None, seed: int) -> npt.NDArray[np.bool_]:
    if test_share is None:
        if dataset.is_test is not None:
            return dataset.is_test
        test_share = dataset.default_test_share
        if test_share is None:
            raise UserError(
                f"data {dataset.name} has no official test split: say how much to hold out, "
                "for instance `test_share: 20 %`"
            )
    if not 0 < test_share < 1:
        raise UserError(f"data: the test share {test_share:g} is not between 0 and 1")
    marks = np.zeros(len(dataset), dtype=np.bool_)
    marks[_draw_stratified(dataset, np.arange(len(dataset)), test_share, seed, "test")] = True
    return marks


def _draw_stratified(dataset: Dataset, indices: Int64Array, share: float, seed: int, name: str) -> Int64Array:
    """Round-half-up(share x n) of the samples, in rising order, each stratum its share up to one sample.

    The samples are shuffled, ordered by stratum, and every (1 / share)-th one is taken from a random start on:
    systematic sampling.
    """
    count = len(indices)
    wanted = int(share * count + 0.5)
    if count == 0 or wanted == 0:
        return np.empty(0, dtype=np.int64)
    random = stream(seed, "split", name)
    order = random.permutation(count)
    stratum = dataset.y[indices]
    if dataset.group is not None:
        groups = np.unique(dataset.group, return_inverse=True)[1]
        stratum = groups[indices] * dataset.classes + stratum
    order = order[np.argsort(stratum[order], kind="stable")]
    start = int(random.integers(count))
    places = np.arange(count, dtype=np.int64) * wanted + start
    taken = (places + wanted) // count > places // count
    return np.sort(indices[order[taken]])
