"""How the devices' pool is shared out at t = 0: each device's class prior, volume and natural group, vectorised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgesim.data.facts import PARTITIONS
from edgesim.data.pools import Pools
from edgesim.errors import UserError
from edgesim.seeds import stream

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]

_ROWS = 65_536  # devices worked on at once: bounds the temporary arrays


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """What one device starts with.

    Attributes
    ----------
    prior
        Probability of each class among its samples, (class,).
    volume
        Labelled samples it holds at t = 0.
    group
        The natural group whose samples it draws, or ``None`` for the whole pool.
    part, parts
        Where several devices share a group: which of the group's disjoint parts it draws from.
    indices
        The samples that were dealt out to this device alone, or ``None``: it then holds and draws from no others.
    """

    prior: npt.NDArray[np.floating]
    volume: int
    group: int | None = None
    part: int = 0
    parts: int = 1
    indices: Int64Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """One share a device, as arrays.

    Attributes
    ----------
    priors
        (device, class), float32; rows may be the same memory.
    volumes
        (device,).
    groups, part, parts
        (device,) each, or ``None`` where devices draw from the whole pool.
    dealt
        The samples of each device alone, where the pool was dealt out; otherwise ``None``.
    """

    priors: Float32Array
    volumes: Int64Array
    groups: Int64Array | None = None
    part: Int64Array | None = None
    parts: Int64Array | None = None
    dealt: tuple[Int64Array, ...] | None = None

    def __len__(self) -> int:
        return len(self.volumes)

    def __getitem__(self, device: int) -> Share:
        prior, volume = self.priors[device], int(self.volumes[device])
        if self.dealt is not None:
            return Share(prior, volume, indices=self.dealt[device])
        if self.groups is None or self.part is None or self.parts is None:
            return Share(prior, volume)
        group, part, parts = self.groups[device], self.part[device], self.parts[device]
        return Share(prior, volume, int(group), int(part), int(parts))

    def __iter__(self) -> Iterator[Share]:
        return (self[device] for device in range(len(self)))


def partition(
    pools: Pools,
    devices: int,
    kind: Literal["iid", "dirichlet", "classes", "group", "split"] = "iid",
    *,
    samples: int | tuple[int, int] | None = None,
    alpha: float | None = None,
    per_device: int | None = None,
    sets: Sequence[Sequence[int]] | None = None,
    ratios: Sequence[float] | None = None,
    classes: Sequence[int] | None = None,
    seed: int = 0,
) -> Partition:
    """Share the devices' pool out among devices.

    Devices may hold the same sample: 500 devices with 100 samples each cannot be served disjointly from 35,000.
    A class that is missing from the devices' pool or from the test pool belongs to nobody.

    Parameters
    ----------
    pools
        The pools; their labels decide which classes there are.
    devices
        How many.
    kind
        ``iid``: everybody has the pool's own class frequencies. ``dirichlet``: each device's prior is one draw from
        the symmetric Dirichlet distribution (Hsu et al. 2019, arXiv 1909.06335, with a uniform base). ``classes``:
        ``per_device`` classes each, drawn without replacement, equally likely (the papers' m of n), or one of the
        ``sets`` of classes that occur together, each on as many devices as nearly as possible. ``group``: one
        natural group a device, with the group's own class frequencies. With more devices than groups, every group
        is cut into as many disjoint parts as it has devices (never into more than leaves each part a sample of
        each of its classes: then devices share parts). With fewer, as many groups as there are devices take part,
        drawn at random, and the samples of the others are not used. ``split``: the whole pool is dealt out, every
        sample to one device, each class in the same ratios as nearly as whole samples can (ECAvg's halves).
    samples
        Volume of a device: a number, or a range (low, high) to draw from uniformly, both included (the papers'
        50 to 150). ``None``: 50 to 150; for ``split`` all that was dealt to it, which a number only caps.
    alpha
        Of ``dirichlet``: the smaller, the more skewed.
    per_device, sets
        Of ``classes``: one of the two.
    ratios
        Of ``split``: sizes of the devices' shares relative to each other, one a device, or for fewer and repeated.
    classes
        Only these classes appear at t = 0.
    seed
        The run's seed; the partition has its own streams.

    Raises
    ------
    UserError
        A parameter missing, out of range or not of this kind; classes or groups that the pools lack.
    """
    if kind not in PARTITIONS:
        raise UserError(f"partition {kind!r} is unknown (known: {', '.join(PARTITIONS)})")
    _check_parameters(kind, alpha, per_device, sets, ratios)
    if devices < 1:
        raise UserError(f"a partition among {devices} devices: at least one is needed")
    if samples is None:
        samples = len(pools.devices) if kind == "split" else (50, 150)
    low, high = (samples, samples) if isinstance(samples, int) else samples
    if not 0 < low <= high:
        raise UserError(f"partition: samples must be at least 1 and rising, found {low} to {high}")
    volumes = stream(seed, "partition", "volumes").integers(low, high, devices, endpoint=True)
    if sets is not None:
        classes = sorted({label for labels in sets for label in labels})
    allowed = _allowed(pools, classes)
    if ratios is not None:
        return _dealt(pools, devices, volumes, allowed, ratios, seed)
    if kind == "group":
        return _by_group(pools, devices, volumes, allowed, seed)
    random = stream(seed, "partition", kind)
    if kind == "iid":
        prior = _frequencies(pools.of_devices().counts, allowed)
        return Partition(np.broadcast_to(prior, (devices, len(prior))), volumes)
    if kind == "dirichlet":
        assert alpha is not None
        return Partition(_dirichlet(devices, allowed, alpha, random), volumes)
    if sets is not None:
        return Partition(_one_of(sets, devices, len(allowed), random), volumes)
    assert per_device is not None
    if per_device > allowed.sum():
        raise UserError(f"partition: {per_device} classes a device, but only {int(allowed.sum())} are to be had")
    return Partition(_some_classes(devices, allowed, per_device, random), volumes)


def _check_parameters(
    kind: str,
    alpha: float | None,
    per_device: int | None,
    sets: Sequence[Sequence[int]] | None,
    ratios: Sequence[float] | None,
) -> None:
    for name, value, owner in (
        ("alpha", alpha, "dirichlet"),
        ("per_device or sets", per_device if sets is None else sets, "classes"),
        ("ratios", ratios, "split"),
    ):
        if (kind == owner) != (value is not None):
            verb = "belong" if name == "ratios" else "belongs"
            raise UserError(f"partition {kind}: {name} {verb} to `{owner}`, which needs it")
    if per_device is not None and sets is not None:
        raise UserError("partition classes: per_device or sets, not both")
    if sets is not None and not (sets and all(sets)):
        raise UserError("partition classes: sets must be at least one, and none of them empty")
    if alpha is not None and not 0 < alpha < float("inf"):
        raise UserError(f"partition dirichlet: alpha must be positive, found {alpha:g}")
    if per_device is not None and per_device < 1:
        raise UserError(f"partition classes: per_device must be at least 1, found {per_device}")
    if ratios is not None and not (ratios and all(0 < ratio < float("inf") for ratio in ratios)):
        raise UserError(f"partition split: ratios must be positive numbers, at least one, found {list(ratios)}")


def _allowed(pools: Pools, classes: Sequence[int] | None) -> npt.NDArray[np.bool_]:
    """Which classes devices may have at t = 0, (class,)."""
    usable: npt.NDArray[np.bool_] = (pools.of_devices().counts > 0) & (pools.of_test().counts > 0)
    if classes is None:
        return usable
    wanted = np.zeros(len(usable), dtype=np.bool_)
    for label in classes:
        if not 0 <= label < len(usable):
            raise UserError(f"partition: class {label} does not exist: 0 to {len(usable) - 1} do")
        wanted[label] = True
    lacking = np.flatnonzero(wanted & ~usable).tolist()
    if lacking or not wanted.any():
        raise UserError(f"partition: the devices' pool or the test pool has no samples of classes {lacking}")
    return wanted


def _frequencies(counts: Int64Array, allowed: npt.NDArray[np.bool_]) -> Float32Array:
    kept = np.where(allowed, counts, 0).astype(np.float64)
    return (kept / float(kept.sum())).astype(np.float32)


def _dirichlet(devices: int, allowed: npt.NDArray[np.bool_], alpha: float, random: np.random.Generator) -> Float32Array:
    priors = np.zeros((devices, len(allowed)), dtype=np.float32)
    places = np.flatnonzero(allowed)
    for first in range(0, devices, _ROWS):
        rows = slice(first, min(first + _ROWS, devices))
        drawn = random.dirichlet(np.full(len(places), alpha), rows.stop - rows.start)
        priors[rows, places] = drawn
    return priors


def _some_classes(
    devices: int, allowed: npt.NDArray[np.bool_], per_device: int, random: np.random.Generator
) -> Float32Array:
    priors = np.zeros((devices, len(allowed)), dtype=np.float32)
    places = np.flatnonzero(allowed)
    for first in range(0, devices, _ROWS):
        rows = np.arange(first, min(first + _ROWS, devices))
        lots = random.random((len(rows), len(places)), dtype=np.float32)
        chosen = np.argpartition(lots, per_device - 1, axis=1)[:, :per_device]  # the smallest lots win
        priors[rows[:, None], places[chosen]] = 1 / per_device
    return priors


def _one_of(sets: Sequence[Sequence[int]], devices: int, classes: int, random: np.random.Generator) -> Float32Array:
    """Each device's set, all sets on as many devices as nearly as possible; its classes are equally likely."""
    priors = np.zeros((len(sets), classes), dtype=np.float32)
    for place, labels in enumerate(sets):
        own = sorted(set(labels))
        priors[place, own] = 1 / len(own)
    found: Float32Array = priors[random.permutation(devices) % len(sets)]
    return found


def _by_group(pools: Pools, devices: int, volumes: Int64Array, allowed: npt.NDArray[np.bool_], seed: int) -> Partition:
    if pools.dataset.group is None:
        raise UserError(f"partition group: data {pools.dataset.name} has no natural groups")
    names = np.unique(pools.dataset.group[pools.devices])
    untested = np.setdiff1d(names, pools.dataset.group[pools.test])
    if len(untested):
        raise UserError(
            f"partition group: {len(untested)} of {len(names)} groups have no samples in the test pool, because "
            "the official split keeps groups apart. Re-split within groups with `test_share`, for instance 30 %"
        )
    chosen = stream(seed, "partition", "group").permutation(names)[:devices]
    place = np.arange(devices) % len(chosen)  # devices are dealt to the groups in turn
    part = np.arange(devices) // len(chosen)
    holders = np.bincount(place, minlength=len(chosen))
    priors = np.empty((len(chosen), len(allowed)), dtype=np.float32)
    for number, group in enumerate(chosen.tolist()):
        counts = pools.of_devices(group).counts
        mine = allowed & (counts > 0) & (pools.of_test(group).counts > 0)
        if not mine.any():
            raise UserError(f"partition group: group {group} has no samples of the classes asked for")
        priors[number] = _frequencies(counts, mine)
        holders[number] = min(holders[number], counts[mine].min())
    parts = holders[place]
    return Partition(priors[place], volumes, chosen[place], part % parts, parts)


def _dealt(
    pools: Pools,
    devices: int,
    volumes: Int64Array,
    allowed: npt.NDArray[np.bool_],
    ratios: Sequence[float],
    seed: int,
) -> Partition:
    """Deal the pool out, shuffled and class after class: the next sample goes to whoever is due first.

    With the share w of all, a device is due for its j-th sample after (j - 1/2) / w samples (Webster's method), so
    after any number of samples, and so within every class, each device has about its share.
    """
    if devices % len(ratios):
        raise UserError(f"partition split: {len(ratios)} ratios for {devices} devices: one each, or a divisor of it")
    pool = stream(seed, "partition", "split").permutation(pools.devices)
    pool = pools.by_class(pool[allowed[pools.dataset.y[pool]]]).indices
    weights = np.tile(np.asarray(ratios, dtype=np.float64), devices // len(ratios))
    weights /= float(weights.sum())
    most = [int(weight * len(pool)) + 2 for weight in weights.tolist()]
    due = np.concatenate([(np.arange(count) + 0.5) / weight for count, weight in zip(most, weights, strict=True)])
    owner = np.repeat(np.arange(devices), most)[np.argsort(due, kind="stable")][: len(pool)]
    dealt = tuple(np.sort(pool[owner == device]) for device in range(devices))
    smallest = min(map(len, dealt))
    if smallest == 0:
        raise UserError(f"partition split: {len(pool)} samples cannot be dealt out to {devices} devices in such ratios")
    classes = len(allowed)
    priors = np.stack([np.bincount(pools.dataset.y[own], minlength=classes) / len(own) for own in dealt])
    volumes = np.minimum(volumes, [len(own) for own in dealt])
    return Partition(priors.astype(np.float32), volumes, dealt=dealt)
