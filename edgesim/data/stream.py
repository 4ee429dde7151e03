"""A device's data over virtual time: first samples, arrivals, labels, a bounded buffer, and drift.

Lazy: nothing happens per sample. What a device holds at a time is worked out when somebody asks, from closed
forms and named random streams, so it does not depend on who asked before. How many samples there are, since when
and from which phase costs no random draw; *which* pool samples they are is drawn when a view is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable

import numpy as np
import numpy.typing as npt

from edgesim.data.arrivals import Arrival, Schedule
from edgesim.data.blend import Gate
from edgesim.data.buffer import Buffer
from edgesim.data.conditions import Change, Conditions
from edgesim.data.dataset import Dataset
from edgesim.data.draws import checked_prior, draw_block, draw_set
from edgesim.data.partitions import Share
from edgesim.data.pools import ClassPool, Pools
from edgesim.data.timeline import Records, Timeline
from edgesim.data.transforms import Transform
from edgesim.data.view import Content, Samples, View
from edgesim.seeds import stream, stream_seed

__all__ = ["Arrival", "Change", "DataStream"]

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

_BLOCK = 128  # arrivals drawn at once; part of what a seed means
_KEPT_BLOCKS = 256  # drawn blocks remembered a device; others are drawn again when needed


class DataStream:
    """What one device sees and holds.

    At t = 0 it holds its share's ``volume`` labelled samples (at most as many as the buffer takes). Samples then
    arrive evenly at ``arrival.rate_per_s``: a class by the prior of the moment, then any pool sample of that
    class. A sample belongs to the phase (number of changes so far) in which it was taken; one that arrives at the
    very moment of a change still belongs to the old phase. Time must not run backwards.

    While a drift comes or goes gradually it reaches a share of the arriving samples, drawn one by one, and the same
    share of the test view, whose samples switch one after the other: one that has switched stays switched until the
    drift goes again.

    Parameters
    ----------
    dataset
        The data set.
    pools
        Its pools.
    share
        The device's share: prior, volume, group.
    arrival
        How samples arrive.
    seed
        The run's seed. All draws are named by it and the device, never by a learner.
    device
        The device's name.
    test_samples
        Samples in a test view.
    sample_bytes
        Bytes of a sample on the wire; default: the data set's own.

    Raises
    ------
    UserError
        The share's prior asks for a class that the device's pool or test pool lacks.
    """

    __slots__ = (
        "_blocks",
        "_buffer",
        "_noise_seed",
        "_own_pool",
        "_phases",
        "_tests",
        "_time_s",
        "_timeline",
        "arrival",
        "dataset",
        "device",
        "pools",
        "sample_bytes",
        "seed",
        "share",
        "test_samples",
    )

    def __init__(
        self,
        dataset: Dataset,
        pools: Pools,
        share: Share,
        arrival: Arrival,
        seed: int,
        device: str,
        test_samples: int,
        *,
        sample_bytes: int | None = None,
    ) -> None:
        self.dataset = dataset
        self.pools = pools
        self.share = share
        self.arrival = arrival
        self.seed = seed
        self.device = device
        self.test_samples = test_samples
        self.sample_bytes = dataset.sample_bytes if sample_bytes is None else sample_bytes
        self._own_pool: ClassPool | None = None
        capacity = share.volume if arrival.buffer is None else arrival.buffer
        volume = min(share.volume, capacity)
        self._timeline = Timeline(Schedule.of(arrival, seed, device), volume)
        self._buffer = Buffer(capacity, arrival.eviction, seed, device, volume)
        self._noise_seed = stream_seed(seed, "noise")  # the same for all devices: their views can be joined
        self._phases = [Conditions.initial(self._usable(share.prior))]
        self._time_s = 0.0
        self._tests: dict[Hashable, View] = {}
        self._blocks: dict[tuple[str, int, int], Int64Array] = {}

    @property
    def phase(self) -> int:
        """How many changes have been applied."""
        return len(self._phases) - 1

    @property
    def prior(self) -> Float64Array:
        """The class prior of samples that arrive now, (class,)."""
        return self._phases[-1].prior

    @property
    def transform(self) -> Transform:
        """What samples that arrive now go through, where every drift that is on its way has reached them."""
        return self._phases[-1].transforms.outcomes[-1]

    @property
    def obtainable(self) -> npt.NDArray[np.bool_]:
        """The classes that the device can meet and be tested on, (class,): its pool and its test pool have them."""
        usable: npt.NDArray[np.bool_] = (self._pool().counts > 0) & (self.pools.of_test(self.share.group).counts > 0)
        return usable

    def change(self, time_s: float, change: Change) -> int:
        """Apply a drift; returns how many samples were rewritten.

        Samples that have arrived by ``time_s``, that instant included, stay as they are unless rewritten.

        Raises
        ------
        ValueError
            ``time_s`` lies before a moment that has already been read.
        UserError
            The prior asks for a class that the device's pools lack, or the transform does not fit the data.
        """
        number = len(self._phases)
        fresh = self._phases[-1].after(change, self._usable)
        for transform in fresh.transforms.outcomes:
            transform.check(self.dataset.kind, self.dataset.classes)
        self._advance(time_s)
        self._phases.append(fresh)
        rewritten = self._buffer.rewrite(change.replace_ratio, self._timeline.numbers, number)
        self._timeline.begin_phase(number, time_s, rewritten)
        return rewritten

    def samples(
        self,
        time_s: float,
        since_s: float | None = None,
        labelled: bool = True,
        *,
        since_phase: int | None = None,
    ) -> Samples:
        """The samples held at ``time_s``, in the order in which they were taken.

        Parameters
        ----------
        time_s
            Now; not before any moment already read.
        since_s
            Only what is new since then: samples whose label became visible in (since_s, time_s]. A label that
            comes late is new when it comes, so asking for what is new again and again misses evicted samples only.
        labelled
            Only samples whose label is visible. ``False``: all samples held, new by when they were taken.
        since_phase
            With ``since_s``: the ``phase`` at that moment. Samples of later phases are then new even where a
            change at that very moment, but after the reading, brought them.

        Raises
        ------
        ValueError
            ``time_s`` lies before a moment already read: the buffer of the past is gone.
        """
        held = self._held(time_s)
        if labelled:
            held = held.where(held.labelled & (held.visible_s <= time_s))
        if since_s is not None:
            new = (held.visible_s if labelled else held.taken_s) > since_s
            if since_phase is not None:
                new |= held.phase > since_phase
            held = held.where(new)
        return self._as_samples(held)

    def unlabelled(self, time_s: float, since_s: float | None = None) -> Samples:
        """The samples held whose label is not visible (yet), taken in (since_s, time_s].

        The labels in their view are the truth, which the device does not know: for an observer's scoring only.
        """
        held = self._held(time_s)
        chosen = ~(held.labelled & (held.visible_s <= time_s))
        if since_s is not None:
            chosen &= held.taken_s > since_s
        return self._as_samples(held.where(chosen))

    def count(self, time_s: float) -> int:
        """How many samples with a visible label are held: the length of ``samples(time_s)``."""
        held = self._held(time_s)
        return int(np.count_nonzero(held.labelled & (held.visible_s <= time_s)))

    def held(self, time_s: float) -> int:
        """How many samples are held, labelled or not; never more than the buffer takes."""
        self._advance(time_s)
        return len(self._buffer)

    def labelled_between(self, start_s: float, end_s: float) -> Samples:
        """The labelled stream that a detector reads: labels that became visible in (start_s, end_s].

        In the order in which their labels became visible, whether the buffer still holds them or not. Samples
        that a change rewrote come at its time, those held at t = 0 only where ``start_s`` is below 0.
        """
        if end_s > self._time_s:
            self._advance(end_s)
        return self._as_samples(self._timeline.visible_between(start_s, end_s))

    def test_view(self, phase: int | None = None) -> View:
        """``test_samples`` from the test pool by a phase's class prior, through its transform.

        Without replacement unless a class has too few. The same prior has the same samples; the same phase, and
        phases that differ only in what was replaced, have the same view object. Logits are not masked.

        Parameters
        ----------
        phase
            0 to ``self.phase``; ``None``: the current one.
        """
        if phase is None:
            phase = self.phase
        if not 0 <= phase <= self.phase:
            raise ValueError(f"{self.device}: there is no phase {phase} (0 to {self.phase})")
        chosen = self._phases[phase]
        if chosen.key not in self._tests:
            self._tests[chosen.key] = View.deferred(
                self.dataset,
                self.test_samples,
                lambda: self._set(chosen, self.pools.of_test(self.share.group), self.test_samples, "test"),
                self._noise_seed,
            )
        return self._tests[chosen.key]

    def ideal_view(self, count: int) -> View:
        """``count`` samples of the device's pool as the present distribution gives them: what only an oracle has."""
        conditions = self._phases[-1]
        pool = self._pool()
        return View.deferred(self.dataset, count, lambda: self._set(conditions, pool, count, "ideal"), self._noise_seed)

    def _set(self, conditions: Conditions, pool: ClassPool, count: int, purpose: str) -> Content:
        """So many samples of a distribution; the same ones whenever it comes back."""

        def reached(gate: Gate) -> npt.NDArray[np.bool_]:  # by a gradual drift: always the same places first
            return _first_reached(gate, count, stream(self.seed, f"{purpose} switch", self.device, gate.name))

        drawn = []
        for prior in conditions.priors.outcomes:
            name = hashlib.blake2b(prior.tobytes(), digest_size=8).hexdigest()
            drawn.append(draw_set(pool, prior, count, stream(self.seed, f"{purpose} view", self.device, name)))
        which = conditions.priors.which(count, reached)
        indices = np.stack(drawn)[which, np.arange(count)]
        return indices, conditions.transforms.outcomes, conditions.transforms.which(count, reached)

    def _advance(self, time_s: float) -> None:
        """Let everything arrive that arrives by ``time_s``."""
        if not time_s >= self._time_s:
            raise ValueError(
                f"{self.device}: its data at {time_s!r} s is gone, it was read or changed at {self._time_s!r} s"
            )
        self._time_s = time_s
        timeline = self._timeline
        count = timeline.schedule.count(time_s) - timeline.arrived
        if count:
            self._buffer.put(timeline.numbers, count, timeline.arrived)
            timeline.arrive(count)

    def _held(self, time_s: float) -> Records:
        self._advance(time_s)
        return self._timeline.records(self._buffer.numbers())

    def _as_samples(self, records: Records) -> Samples:
        numbers = records.numbers  # all that the view keeps: many views may be waiting
        count = len(numbers)
        view = View.deferred(self.dataset, count, lambda: self._content(numbers), self._noise_seed)
        return Samples(
            view=view,
            device=self.device,
            from_s=float(records.taken_s.min()) if count else float("nan"),
            to_s=float(records.taken_s.max()) if count else float("nan"),
            phase=int(records.phase.max()) if count else 0,
            size_bytes=count * self.sample_bytes,
            as_of_s=self._time_s,
            as_of_phase=self.phase,
        )

    def _content(self, numbers: Int64Array) -> Content:
        """Which pool samples some numbers are, and which transforms they go through."""
        places = self._timeline.places(numbers)
        indices = np.empty(len(numbers), dtype=np.int64)
        for place in np.unique(places).tolist():
            segment = self._timeline.segments[place]
            mine = np.flatnonzero(places == place)
            offsets = numbers[mine] - segment.first
            if segment.arrives:
                blocks = offsets // _BLOCK
                for block in np.unique(blocks).tolist():
                    here = blocks == block
                    drawn = self._block("arrivals", segment.phase, block, _BLOCK)
                    indices[mine[here]] = drawn[offsets[here] % _BLOCK]
            else:
                size = self._timeline.end(place) - segment.first
                indices[mine] = self._block("at once", segment.phase, 0, size)[offsets]
        return indices, *self._transforms(numbers, places)

    def _transforms(self, numbers: Int64Array, places: Int64Array) -> tuple[tuple[Transform, ...], Int64Array]:
        """Which transforms there are, and which one each sample takes."""
        found: list[Transform] = []
        which = np.zeros(len(numbers), dtype=np.int64)
        phases = self._timeline.phases(places)
        for phase in np.unique(phases).tolist():
            mine = np.flatnonzero(phases == phase)
            blend = self._phases[phase].transforms
            if blend.gates:
                of, taken = numbers[mine], places[mine]
                which[mine] = blend.which(len(mine), lambda gate: self._reached(gate, of, taken))  # noqa: B023
            which[mine] += len(found)
            found += blend.outcomes
        return tuple(found) or (Transform.identity,), which

    def _reached(self, gate: Gate, numbers: Int64Array, places: Int64Array) -> npt.NDArray[np.bool_]:
        """Which samples a gradual drift reaches: arrivals by lot, one by one; a rewritten set in exact share."""
        reached = np.zeros(len(numbers), dtype=np.bool_)
        for place in np.unique(places).tolist():
            segment = self._timeline.segments[place]
            mine = np.flatnonzero(places == place)
            offsets = numbers[mine] - segment.first
            name = ("reached", self.device, gate.name, segment.phase)
            if segment.arrives:
                blocks = offsets // _BLOCK
                for block in np.unique(blocks).tolist():
                    here = blocks == block
                    lots = stream(self.seed, *name, block).random(_BLOCK)
                    reached[mine[here]] = lots[offsets[here] % _BLOCK] < gate.share
            else:
                size = self._timeline.end(place) - segment.first
                reached[mine] = _first_reached(gate, size, stream(self.seed, *name, "at once"))[offsets]
        return reached

    def _block(self, what: str, phase: int, block: int, count: int) -> Int64Array:
        key = (what, phase, block)
        if key not in self._blocks:
            if len(self._blocks) >= _KEPT_BLOCKS:
                self._blocks.clear()
            random = stream(self.seed, what, self.device, phase, block)
            pool = self._pool()
            if what == "at once" and phase == 0 and self.share.indices is not None and count == len(pool.indices):
                self._blocks[key] = random.permutation(pool.indices)  # all of what was dealt out to it
            else:
                draw = draw_block if what == "arrivals" else draw_set
                self._blocks[key] = draw(pool, self._phases[phase].prior, count, random)
        return self._blocks[key]

    def _pool(self) -> ClassPool:
        """The samples that it draws from, by class."""
        share = self.share
        if share.indices is None:
            return self.pools.of_devices(share.group, share.part, share.parts)
        if self._own_pool is None:
            self._own_pool = self.pools.by_class(share.indices)
        return self._own_pool

    def _usable(self, prior: npt.NDArray[np.floating]) -> Float64Array:
        checked_prior(prior, self.pools.of_test(self.share.group), f"{self.device}: its test pool")
        return checked_prior(prior, self._pool(), f"{self.device}: its pool")


def _first_reached(gate: Gate, count: int, random: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Mark a share of ``count`` samples, rounded half up, in one random order: a larger share holds a smaller one."""
    reached: npt.NDArray[np.bool_] = random.permutation(count) < int(gate.share * count + 0.5)
    return reached
