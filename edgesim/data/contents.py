"""Which pool samples a device's sample numbers stand for, and through what they are seen: all random draws."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgesim.data.blend import Gate
from edgesim.data.conditions import Conditions
from edgesim.data.draws import beside, checked_prior, draw_block, draw_set
from edgesim.data.partitions import Share
from edgesim.data.pools import ClassPool, Pools
from edgesim.data.timeline import Timeline
from edgesim.data.transforms import Transform
from edgesim.data.view import Content
from edgesim.seeds import stream

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

_BLOCK = 128  # arrivals drawn at once; part of what a seed means
_KEPT_BLOCKS = 256  # drawn blocks remembered a device; others are drawn again when needed


class Contents:
    """What one device's samples are, worked out when a view is used.

    Parameters
    ----------
    pools
        Where they come from.
    share
        The device's share of them.
    seed, device
        Name all draws.
    timeline
        Tells how and in which phase each number came about.

    Attributes
    ----------
    phases
        What holds in each phase so far; a change appends one.

    Raises
    ------
    UserError
        The share's prior asks for a class that the device's pool or test pool lacks.
    """

    __slots__ = ("_blocks", "_device", "_own_pool", "_pools", "_seed", "_share", "_timeline", "phases")

    def __init__(self, pools: Pools, share: Share, seed: int, device: str, timeline: Timeline) -> None:
        self._pools = pools
        self._share = share
        self._seed = seed
        self._device = device
        self._timeline = timeline
        self._own_pool: ClassPool | None = None
        self._blocks: dict[tuple[str, int, int], Int64Array] = {}
        self.phases = [Conditions.initial(self.usable(share.prior))]

    @property
    def obtainable(self) -> npt.NDArray[np.bool_]:
        """The classes that the pool and the test pool have, (class,)."""
        usable: npt.NDArray[np.bool_] = (self._pool().counts > 0) & (self._test_pool().counts > 0)
        return usable

    def usable(self, prior: npt.NDArray[np.floating]) -> Float64Array:
        """The prior adding up to 1; raises ``UserError`` where a pool lacks a class that it asks for."""
        checked_prior(prior, self._test_pool(), f"{self._device}: its test pool")
        return checked_prior(prior, self._pool(), f"{self._device}: its pool")

    def of(self, numbers: Int64Array) -> Content:
        """Which pool samples some numbers are, and which transforms they go through."""
        places = self._timeline.places(numbers)
        used = list(dict.fromkeys(places.tolist()))
        if len(used) == 1:
            return self._drawn(used[0], numbers), *self._transforms(numbers, places, used)
        indices = np.empty(len(numbers), dtype=np.int64)
        for place in used:
            mine = places == place
            indices[mine] = self._drawn(place, numbers[mine])
        return indices, *self._transforms(numbers, places, used)

    def _drawn(self, place: int, numbers: Int64Array) -> Int64Array:
        """Which pool samples some numbers of one segment are."""
        segment = self._timeline.segments[place]
        offsets = numbers - segment.first
        if not segment.arrives:
            return self._block("at once", segment.phase, 0, self._timeline.end(place) - segment.first)[offsets]
        indices = np.empty(len(numbers), dtype=np.int64)
        blocks = offsets // _BLOCK
        for block in dict.fromkeys(blocks.tolist()):
            here = blocks == block
            indices[here] = self._block("arrivals", segment.phase, block, _BLOCK)[offsets[here] % _BLOCK]
        return indices

    def _transforms(
        self, numbers: Int64Array, places: Int64Array, used: list[int]
    ) -> tuple[tuple[Transform, ...], Int64Array | None]:
        """Which transforms there are, and which one each sample takes, in segments of which ``used`` lists each once;
        None: the first for all."""
        segments = self._timeline.segments
        blends = {phase: self.phases[phase].transforms for phase in {segments[place].phase for place in used}}
        if not any(blend.gates for blend in blends.values()):
            outcomes = {blend.outcomes[0] for blend in blends.values()}
            if len(outcomes) <= 1:
                return tuple(outcomes) or (Transform.identity,), None
        found: list[Transform] = []
        which = np.zeros(len(numbers), dtype=np.int64)
        phases = self._timeline.phases(places)
        for phase, blend in blends.items():
            mine = (phases == phase).nonzero()[0]
            if blend.gates:
                of, taken = numbers[mine], places[mine]
                which[mine] = blend.which(len(mine), lambda gate: self._reached(gate, of, taken))  # noqa: B023
            which[mine] += len(found)
            found += blend.outcomes
        return tuple(found), which

    def _reached(self, gate: Gate, numbers: Int64Array, places: Int64Array) -> npt.NDArray[np.bool_]:
        """Which samples a gradual drift reaches: arrivals by lot, one by one; a rewritten set in exact share."""
        reached = np.zeros(len(numbers), dtype=np.bool_)
        for place in np.unique(places).tolist():
            segment = self._timeline.segments[place]
            mine = np.flatnonzero(places == place)
            offsets = numbers[mine] - segment.first
            name = ("reached", self._device, gate.name, segment.phase)
            if segment.arrives:
                blocks = offsets // _BLOCK
                for block in np.unique(blocks).tolist():
                    here = blocks == block
                    lots = stream(self._seed, *name, block).random(_BLOCK)
                    reached[mine[here]] = lots[offsets[here] % _BLOCK] < gate.share
            else:
                size = self._timeline.end(place) - segment.first
                reached[mine] = _first_reached(gate, size, stream(self._seed, *name, "at once"))[offsets]
        return reached

    def following(self, conditions: Conditions, count: int, purpose: Literal["test", "ideal"]) -> Content:
        """So many samples that follow a distribution, to test on or ideal ones; the same whenever it comes back.

        While a gradual drift is on its way, samples of before and of after share them: what both sets have is there
        once, and every class switches at the drift's pace.
        """
        pool = self._test_pool() if purpose == "test" else self._pool()
        labels = self._pools.dataset.y
        drawn: list[Int64Array] = []
        for prior in conditions.priors.outcomes:
            name = hashlib.blake2b(prior.tobytes(), digest_size=8).hexdigest()
            one = draw_set(pool, prior, count, stream(self._seed, f"{purpose} view", self._device, name))
            drawn.append(beside(drawn[0], one, labels) if drawn else one)
        sets = np.stack(drawn)

        def reached(gate: Gate) -> npt.NDArray[np.bool_]:  # always the same places first
            random = stream(self._seed, f"{purpose} switch", self._device, gate.name)
            return _first_reached(gate, count, random, labels[sets] if len(sets) > 1 else None)

        which = conditions.priors.which(count, reached)
        indices = sets[which, np.arange(count)]
        return indices, conditions.transforms.outcomes, conditions.transforms.which(count, reached)

    def _block(self, what: str, phase: int, block: int, count: int) -> Int64Array:
        key = (what, phase, block)
        if key not in self._blocks:
            if len(self._blocks) >= _KEPT_BLOCKS:
                self._blocks.clear()
            random = stream(self._seed, what, self._device, phase, block)
            pool = self._pool()
            if what == "at once" and phase == 0 and self._share.indices is not None and count == len(pool.indices):
                self._blocks[key] = random.permutation(pool.indices)  # all of what was dealt out to it
            else:
                draw = draw_block if what == "arrivals" else draw_set
                self._blocks[key] = draw(pool, self.phases[phase].prior, count, random)
        return self._blocks[key]

    def _pool(self) -> ClassPool:
        """The samples that it draws from, by class."""
        share = self._share
        if share.indices is None:
            return self._pools.of_devices(share.group, share.part, share.parts)
        if self._own_pool is None:
            self._own_pool = self._pools.by_class(share.indices)
        return self._own_pool

    def _test_pool(self) -> ClassPool:
        return self._pools.of_test(self._share.group)


def _first_reached(
    gate: Gate, count: int, random: np.random.Generator, kinds: Int64Array | None = None
) -> npt.NDArray[np.bool_]:
    """Mark a share of ``count`` samples, rounded half up, in one random order: a larger share holds a smaller one.

    Of those that are alike in ``kinds``, (what, sample), the same share is marked, as nearly as whole samples can be.
    """
    ranks = random.permutation(count)
    if kinds is not None:
        kind = np.unique(kinds, axis=1, return_inverse=True)[1].reshape(-1)
        sizes = np.bincount(kind)
        by_kind = np.lexsort((ranks, kind))
        within = np.empty(count)
        within[by_kind] = np.arange(count) - (np.cumsum(sizes) - sizes)[kind[by_kind]]
        ranks[np.lexsort((ranks, (within + 0.5) / sizes[kind]))] = np.arange(count)
    reached: npt.NDArray[np.bool_] = ranks < int(gate.share * count + 0.5)
    return reached
