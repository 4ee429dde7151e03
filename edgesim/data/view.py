"""What a job is given to train or be scored on: a spec of samples, never a copy of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from edgesim.data.dataset import Dataset
from edgesim.data.transforms import Transform
from edgesim.records import record

Int64Array = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]

#: What a deferred view resolves to: sample numbers, transforms, and which transform each sample takes.
Content = tuple[Int64Array, tuple[Transform, ...], Int64Array | None]

_BLANK = (Transform.identity,)


class View:
    """Some samples of a data set, each through one of a few transforms: indices, transforms, a seed.

    Immutable. Two views with the same content have the same ``key``, whoever made them and when; a seed that no
    transform uses, transforms that no sample takes and the order of the transforms make no difference.

    Parameters
    ----------
    dataset
        The samples' home.
    indices
        Sample numbers, (sample,); repetitions are allowed.
    transforms
        One transform, or several with ``which``.
    which
        The transform of each sample, (sample,) numbers into ``transforms``; ``None``: the first for all.
    seed
        Names the noise of noisy transforms.

    Examples
    --------
    >>> from edgesim.data import load_dataset
    >>> digits = load_dataset("digits")
    >>> blurred = View(digits, np.array([3, 5]), (Transform.feature("blur", severity=3),))
    >>> x, y = blurred.materialise()
    >>> x.shape, x.dtype, y
    ((2, 1, 8, 8), dtype('float32'), array([3, 5]))
    """

    __slots__ = ("_content", "_key", "_length", "_resolve", "dataset", "seed")

    def __init__(
        self,
        dataset: Dataset,
        indices: Int64Array,
        transforms: tuple[Transform, ...] = _BLANK,
        which: Int64Array | None = None,
        seed: int = 0,
    ) -> None:
        self.dataset = dataset
        self.seed = seed
        self._length = len(indices)
        self._resolve: Callable[[], Content] | None = None
        self._content: Content | None = _checked(indices, transforms, which)
        self._key: str | None = None

    @classmethod
    def deferred(cls, dataset: Dataset, length: int, resolve: Callable[[], Content], seed: int = 0) -> View:
        """A view whose content is worked out when somebody first asks for it.

        ``resolve`` must be a pure function of what is known now: timing-only runs never call it.
        """
        view = cls.__new__(cls)
        view.dataset = dataset
        view.seed = seed
        view._length = length
        view._resolve = resolve
        view._content = None
        view._key = None
        return view

    @classmethod
    def concat(cls, views: Sequence[View]) -> View:
        """The samples of several views of one data set, in order, as one view.

        Raises
        ------
        ValueError
            No views, different data sets, or noisy views with different seeds.
        """
        if len(views) == 1:
            return views[0]
        if len({view.dataset.fingerprint for view in views}) != 1:
            raise ValueError("views to join must be of one data set, and at least one view")
        parts = tuple(views)
        seeds = {view.seed for view in parts}
        if len(seeds) > 1:  # a seed matters only where there is noise
            seeds = {view.seed for view in parts if any(t.noisy for t in view.transforms)} or {0}
            if len(seeds) > 1:
                raise ValueError("noisy views to join must have one seed")
        return cls.deferred(parts[0].dataset, sum(map(len, parts)), lambda: _joined(parts), seeds.pop())

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"View({self.dataset.name!r}, {len(self)} samples)"

    def __reduce__(self) -> tuple[object, ...]:
        return View, (self.dataset, self.indices, self.transforms, self.which, self.seed)

    @property
    def indices(self) -> Int64Array:
        """Sample numbers in the data set, (sample,), read-only."""
        return self._resolved()[0]

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """The transforms that samples take."""
        return self._resolved()[1]

    @property
    def which(self) -> Int64Array | None:
        """The transform of each sample, (sample,); ``None``: the first for all."""
        return self._resolved()[2]

    @property
    def key(self) -> str:
        """Hash of the content, worked out once: 32 hexadecimal digits."""
        if self._key is None:
            indices, transforms, which = self._resolved()
            digest = hashlib.blake2b(digest_size=16)
            seed = self.seed if any(transform.noisy for transform in transforms) else None
            head = (self.dataset.fingerprint, seed, tuple(transform.key for transform in transforms))
            digest.update(repr(head).encode())
            digest.update(indices.astype("<i8", copy=False).data)
            if which is not None:
                digest.update(which.astype("<i8", copy=False).data)
            self._key = digest.hexdigest()
        return self._key

    def materialise(self) -> tuple[Float32Array, Int64Array]:
        """The samples as arrays: features float32 (sample, ...), images from 0 to 1, and labels (sample,).

        The bits of a sample depend on the sample, its transform and the seed, never on the rest of the view.
        """
        indices, transforms, which = self._resolved()
        x = self.dataset.features(indices)
        y = self.dataset.y[indices]
        kind = self.dataset.kind
        if which is None:
            return transforms[0].apply(x, indices, kind, self.seed), transforms[0].relabel(y)
        for number, transform in enumerate(transforms):
            if transform != Transform.identity:
                rows = np.flatnonzero(which == number)
                x[rows] = transform.apply(x[rows], indices[rows], kind, self.seed)
                y[rows] = transform.relabel(y[rows])
        return x, y

    def labels(self) -> Int64Array:
        """The labels alone, (sample,): no features are touched."""
        indices, transforms, which = self._resolved()
        y = self.dataset.y[indices]
        if which is None:
            return transforms[0].relabel(y)
        for number, transform in enumerate(transforms):
            rows = np.flatnonzero(which == number)
            y[rows] = transform.relabel(y[rows])
        return y

    def take(self, places: Int64Array) -> View:
        """The samples at some places of this view (a random subset, a fold), as a view."""
        indices, transforms, which = self._resolved()
        return View(
            self.dataset,
            indices[places],
            transforms,
            None if which is None else which[places],
            self.seed,
        )

    def _resolved(self) -> Content:
        if self._content is None:
            assert self._resolve is not None
            content = _checked(*self._resolve())
            if len(content[0]) != self._length:
                raise ValueError(f"a view of {self._length} samples resolved to {len(content[0])}")
            self._content = content
            self._resolve = None
        return self._content


@record
class Samples:
    """Samples that a device holds: what they are, when they were taken, what they weigh.

    Attributes
    ----------
    view
        The samples.
    device
        Who took them.
    from_s, to_s
        When the first and the last of them was taken, in virtual seconds; NaN where there are none.
    phase
        The highest number of data changes that had been applied on the device before any of them was taken.
    size_bytes
        What they weigh on the wire, labels included.
    as_of_s, as_of_phase
        When they were read, and how many changes there had been: what ``since_s`` and ``since_phase`` of the next
        reading must be to miss nothing.
    """

    view: View
    device: str
    from_s: float
    to_s: float
    phase: int
    size_bytes: int
    as_of_s: float
    as_of_phase: int

    def __len__(self) -> int:
        return len(self.view)


def _checked(indices: Int64Array, transforms: tuple[Transform, ...], which: Int64Array | None) -> Content:
    """Read-only arrays, and the transforms in the order of their first use, each once."""
    indices = _frozen(indices)
    if which is None:
        if not transforms:
            raise ValueError("a view needs at least one transform: Transform.identity changes nothing")
        return indices, transforms[:1], None
    if len(which) != len(indices):
        raise ValueError(f"{len(indices)} samples, but transforms for {len(which)}")
    kept: dict[Transform, int] = {}
    numbers = np.full(len(transforms), -1, dtype=np.int64)
    used, first = np.unique(which, return_index=True)
    for number in used[np.argsort(first)].tolist():
        numbers[number] = kept.setdefault(transforms[number], len(kept))
    if len(kept) <= 1:
        return indices, tuple(kept) or _BLANK, None
    return indices, tuple(kept), _frozen(numbers[which])


def _frozen(array: Int64Array) -> Int64Array:
    frozen = np.array(array, dtype=np.int64)
    frozen.setflags(write=False)
    return frozen


def _joined(views: tuple[View, ...]) -> Content:
    transforms: list[Transform] = []
    which = []
    for view in views:
        mine = np.zeros(len(view), dtype=np.int64) if view.which is None else view.which
        which.append(mine + len(transforms))
        transforms += view.transforms
    return np.concatenate([view.indices for view in views]), tuple(transforms), np.concatenate(which)
