"""A device's data over virtual time: first samples, arrivals, labels, a bounded buffer, and drift.

Lazy: nothing happens per sample. What a device holds at a time is worked out when somebody asks, from closed
forms and named random streams, so it does not depend on who asked before. How many samples there are, since when
and from which phase costs no random draw; *which* pool samples they are is drawn when a view is used.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import numpy.typing as npt

from edgesim.data.arrivals import Arrival, Schedule
from edgesim.data.buffer import Buffer
from edgesim.data.conditions import Change, Conditions
from edgesim.data.contents import Contents
from edgesim.data.dataset import Dataset
from edgesim.data.partitions import Share
from edgesim.data.pools import Pools
from edgesim.data.timeline import Records, Timeline
from edgesim.data.transforms import Transform
from edgesim.data.view import Samples, View
from edgesim.seeds import stream_seed

__all__ = ["Arrival", "Change", "DataStream"]

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]


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
        "_buffer",
        "_contents",
        "_latest",
        "_noise_seed",
        "_phases",
        "_rewriting",
        "_tests",
        "_tests_of",
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
        capacity = share.volume if arrival.buffer is None else arrival.buffer
        volume = min(share.volume, capacity)
        self._timeline = Timeline(Schedule.of(arrival, seed, device), volume)
        self._buffer = Buffer(capacity, arrival.eviction, seed, device, volume)
        self._noise_seed = stream_seed(seed, "noise")  # the same for all devices: their views can be joined
        self._contents = Contents(pools, share, seed, device, self._timeline)
        self._phases = self._contents.phases
        self._time_s = 0.0
        self._rewriting: dict[str, list[range]] = {}  # the numbers that each drift's present occurrence wrote, by step
        self._latest: tuple[Int64Array, Samples] | None = None  # what `samples` gave, of which numbers
        self._tests: dict[Hashable, View] = {}
        self._tests_of: list[View] = []  # by phase

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
        return self._contents.obtainable

    def prior_met_by(self, name: str, occurrence: int) -> Float64Array:
        """The class prior that an occurrence of a label drift met, or would meet now, (class,).

        It stays what it was however the drifts below move later. Earlier occurrences of the same drift are left out:
        the new one takes their place.
        """
        before = next(phase for phase in reversed(self._phases) if not phase.has_label_drift(name, occurrence))
        return before.prior_without(name)

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
        fresh = self._phases[-1].after(change, self._contents.usable)
        for transform in fresh.transforms.outcomes:
            transform.check(self.dataset.kind, self.dataset.classes)
        self._advance(time_s)
        self._phases.append(fresh)
        first = self._timeline.numbers
        if change.replace_ratio and not change.replaced_before:
            self._rewriting[change.name] = []
        done, written = change.replaced_before, self._rewriting.get(change.name, [])
        rewritten = self._buffer.rewrite(change.replace_ratio, first, number, done=done, spared=written)
        written.append(range(first, first + rewritten))
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
        if since_s is None and labelled:
            return self._labelled(time_s)
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
        for known in range(len(self._tests_of), phase + 1):
            self._tests_of.append(self._test_view(self._phases[known]))
        return self._tests_of[phase]

    def _test_view(self, conditions: Conditions) -> View:
        key = conditions.key
        if key not in self._tests:
            self._tests[key] = View.deferred(
                self.dataset,
                self.test_samples,
                lambda: self._contents.following(conditions, self.test_samples, "test"),
                self._noise_seed,
            )
        return self._tests[key]

    def ideal_view(self, count: int) -> View:
        """``count`` samples of the device's pool as the present distribution gives them: what only an oracle has."""
        conditions = self._phases[-1]
        return View.deferred(
            self.dataset, count, lambda: self._contents.following(conditions, count, "ideal"), self._noise_seed
        )

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

    def _labelled(self, time_s: float) -> Samples:
        """The samples with a visible label; the same view until others are held."""
        self._advance(time_s)
        numbers = self._buffer.numbers()
        if self._latest is not None and self._latest[0] is numbers:
            known = self._latest[1]
            if known.as_of_s == time_s and known.as_of_phase == self.phase:
                return known
            return Samples(
                view=known.view,
                device=self.device,
                from_s=known.from_s,
                to_s=known.to_s,
                phase=known.phase,
                size_bytes=known.size_bytes,
                as_of_s=time_s,
                as_of_phase=self.phase,
            )
        held = self._timeline.records(numbers)
        seen = held.where(held.labelled & (held.visible_s <= time_s))
        samples = self._as_samples(seen)
        if seen is held:  # else more labels may become visible
            self._latest = numbers, samples
        return samples

    def _held(self, time_s: float) -> Records:
        self._advance(time_s)
        return self._timeline.records(self._buffer.numbers())

    def _as_samples(self, records: Records) -> Samples:
        numbers = records.numbers  # all that the view keeps: many views may be waiting
        count = len(numbers)
        view = View.deferred(self.dataset, count, lambda: self._contents.of(numbers), self._noise_seed)
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
