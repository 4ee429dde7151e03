"""A device's data over virtual time: first samples, arrivals, labels, a bounded buffer, and drift.

Lazy: nothing happens per sample. What a device holds at a time is worked out when somebody asks, from closed forms
and named random streams, so it does not depend on who asked before. Sample *numbers* (when, labelled or not, before
or after which change) cost no random draw; *which* pool samples they are is drawn when a view is used.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgesim.data.arrivals import Arrival, Schedule
from edgesim.data.dataset import Dataset
from edgesim.data.draws import checked_prior, draw_block, draw_set
from edgesim.data.partitions import Share
from edgesim.data.pools import Pools
from edgesim.data.transforms import Transform
from edgesim.data.view import Content, Samples, View
from edgesim.errors import UserError
from edgesim.seeds import stream, stream_seed

__all__ = ["Arrival", "Change", "DataStream"]

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_BLOCK = 128  # arrivals drawn at once; part of what a seed means
_KEPT_BLOCKS = 256  # drawn blocks remembered a device; others are drawn again when needed


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """A drift as one device meets it.

    Attributes
    ----------
    prior
        The class prior from now on, (class,); ``None`` keeps it. Classes are the data set's own, before any swap.
    transform
        What samples taken from now on go through; ``None`` keeps it.
    replace_ratio
        The share of the samples held, labelled or not, that is rewritten at once (round half up) with samples of
        the new distribution. They count as taken at this moment and are labelled at once: the papers' protocol.
    """

    prior: npt.NDArray[np.floating] | None = None
    transform: Transform | None = None
    replace_ratio: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.replace_ratio <= 1:
            raise UserError(f"drift: replace is a share from 0 to 1, found {self.replace_ratio:g}")


@dataclass(frozen=True, slots=True, eq=False)
class _Phase:
    """The distribution between two changes."""

    prior: Float64Array
    prior_since: int  # the phase that brought this prior
    transform: Transform


@dataclass(frozen=True, slots=True)
class _Segment:
    """A run of consecutive sample numbers that came about in the same way."""

    first: int  # sample number
    phase: int
    arrives: bool  # one by one, or all at once at `time_s`
    first_arrival: int
    time_s: float


@dataclass(frozen=True, slots=True, eq=False)
class _Selection:
    """Some samples: rising numbers, when they were taken, and the phase of each."""

    numbers: Int64Array
    taken_s: Float64Array
    phase: Int64Array


class DataStream:
    """What one device sees and holds.

    At t = 0 it holds its share's ``volume`` labelled samples (at most as many as the buffer takes). Samples then
    arrive evenly at ``arrival.rate_per_s``: a class by the prior of the moment, then any pool sample of that class.
    A sample belongs to the phase (number of changes so far) in which it was taken; one that arrives at the very
    moment of a change still belongs to the old phase.

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
    """

    __slots__ = (
        "_arrived", "_blocks", "_noise_seed", "_numbers", "_phases", "_schedule", "_segments", "_slots",
        "_table", "_tests", "_time_s", "arrival", "dataset", "device", "pools", "sample_bytes", "seed",
        "share", "test_samples",
    )  # fmt: skip

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
        self._schedule = Schedule.of(arrival, seed, device)
        self._noise_seed = stream_seed(seed, "noise")  # the same for all devices: their views can be joined
        self._phases = [_Phase(self._usable(share.prior), 0, Transform.identity)]
        volume = min(share.volume, arrival.buffer)
        self._segments = [_Segment(0, 0, False, 0, 0.0), _Segment(volume, 0, True, 0, 0.0)]
        self._table: tuple[npt.NDArray[np.generic], ...] | None = None
        self._slots = np.arange(volume, dtype=np.int64)  # numbers of the samples held, by place in the buffer
        self._numbers = volume  # sample numbers given so far
        self._arrived = 0
        self._time_s = 0.0
        self._tests: dict[tuple[int, Transform], View] = {}
        self._blocks: dict[tuple[str, int, int], Int64Array] = {}

    # -- what has happened ----------------------------------------------------------------------------------

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
        """What samples that arrive now go through."""
        return self._phases[-1].transform

    def change(self, time_s: float, change: Change) -> None:
        """Apply a drift. Samples that have arrived by ``time_s``, that instant included, stay as they are.

        Raises
        ------
        ValueError
            ``time_s`` lies before a moment that has already been read.
        UserError
            The prior asks for a class that the device's pools lack, or the transform does not fit the data.
        """
        self._advance(time_s)
        last = self._phases[-1]
        transform = last.transform if change.transform is None else change.transform
        transform.check(self.dataset.kind, self.dataset.classes)
        number = len(self._phases)
        if change.prior is None:
            self._phases.append(_Phase(last.prior, last.prior_since, transform))
        else:
            self._phases.append(_Phase(self._usable(change.prior), number, transform))
        rewritten = int(change.replace_ratio * len(self._slots) + 0.5)
        self._segments.append(_Segment(self._numbers, number, False, self._arrived, time_s))
        if rewritten:
            random = stream(self.seed, "replacement places", self.device, number)
            places = random.choice(len(self._slots), rewritten, replace=False)
            self._slots[places] = np.arange(self._numbers, self._numbers + rewritten)
            if self.arrival.eviction == "oldest":
                self._slots.sort()
            self._numbers += rewritten
        self._segments.append(_Segment(self._numbers, number, True, self._arrived, time_s))
        self._table = None

    # -- what the device holds --------------------------------------------------------------------------------

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
            Only what is new since then: samples whose label became visible in (since_s, time_s]. A label that comes
            late is new when it comes, so taking what is new again and again loses none but evicted samples.
        labelled
            Only samples whose label is visible. ``False``: all samples held, new by when they were taken.
        since_phase
            With ``since_s``: the value of ``phase`` at that moment. Samples of later phases are then new even where
            a change at that very moment, but after the reading, brought them.

        Raises
        ------
        ValueError
            ``time_s`` lies before a moment already read: the buffer of the past is gone.
        """
        return self._as_samples(self._held(time_s, since_s, since_phase, "labelled" if labelled else "all"))

    def unlabelled(self, time_s: float, since_s: float | None = None) -> Samples:
        """The samples held whose label is not visible (yet), taken in (since_s, time_s].

        The labels in their view are the truth, which the device does not know: for scoring by an observer only.
        """
        return self._as_samples(self._held(time_s, since_s, None, "unlabelled"))

    def count(self, time_s: float, since_s: float | None = None) -> int:
        """How many samples with a visible label are held: the length of ``samples``."""
        return len(self._held(time_s, since_s, None, "labelled").numbers)

    def held(self, time_s: float) -> int:
        """How many samples are held, labelled or not; never more than ``arrival.buffer``."""
        self._advance(time_s)
        return len(self._slots)

    def labelled_between(self, start_s: float, end_s: float) -> Samples:
        """The labelled stream that a detector reads: labels that became visible in (start_s, end_s].

        In the order of sample numbers, whether the buffer still holds them or not. Samples that a change
        rewrote come at its time; the samples held at t = 0 come only where ``start_s`` is below 0.
        """
        if end_s > self._time_s:
            self._advance(end_s)
        delay = self._schedule.label_delay_s
        low = max(self._schedule.count(start_s - delay) - 1, 0)
        high = self._schedule.count(end_s - delay) + 1
        ranges = []
        for number, segment in enumerate(self._segments):
            end = self._segments[number + 1].first if number + 1 < len(self._segments) else self._numbers
            if segment.arrives:
                shift = segment.first - segment.first_arrival  # arrival number to sample number
                ranges.append(np.arange(max(segment.first, low + shift), min(end, high + shift)))
            elif start_s < segment.time_s <= end_s:
                ranges.append(np.arange(segment.first, end))
        numbers = np.concatenate(ranges).astype(np.int64) if ranges else np.empty(0, dtype=np.int64)
        taken_s, visible_s, marked, phase = self._records(numbers)
        chosen = marked & (visible_s > start_s) & (visible_s <= end_s)
        return self._as_samples(_Selection(numbers[chosen], taken_s[chosen], phase[chosen]))

    # -- what the device is scored on -------------------------------------------------------------------------

    def test_view(self, phase: int | None = None) -> View:
        """``test_samples`` from the test pool by a phase's class prior, through its transform.

        Without replacement unless a class has too few. Phases with the same prior have the same samples; the same
        phase, and phases that differ only in what was replaced, have the same view object. Logits are not masked.

        Parameters
        ----------
        phase
            A phase so far; ``None``: the current one.
        """
        chosen = self._phases[-1 if phase is None else phase]
        key = (chosen.prior_since, chosen.transform)
        if key not in self._tests:
            self._tests[key] = View.deferred(
                self.dataset, self.test_samples, lambda: self._test_content(chosen), self._noise_seed
            )
        return self._tests[key]

    def _test_content(self, phase: _Phase) -> Content:
        # named by the prior itself: a distribution that comes back is scored on the same samples
        name = hashlib.blake2b(phase.prior.tobytes(), digest_size=8).hexdigest()
        random = stream(self.seed, "test view", self.device, name)
        pool = self.pools.of_test(self.share.group)
        return draw_set(pool, phase.prior, self.test_samples, random), (phase.transform,), None

    # -- the buffer ---------------------------------------------------------------------------------------------

    def _advance(self, time_s: float) -> None:
        """Let everything arrive that arrives by ``time_s``."""
        if not time_s >= self._time_s:
            raise ValueError(
                f"{self.device}: data read at {time_s!r} s after it was read or changed at {self._time_s!r} s"
            )
        self._time_s = time_s
        arrived = self._schedule.count(time_s)
        new = arrived - self._arrived
        if new <= 0:
            return
        capacity = self.arrival.buffer
        if self.arrival.eviction == "oldest":
            fresh = np.arange(self._numbers + max(new - capacity, 0), self._numbers + new)
            kept = len(self._slots) - max(len(self._slots) + len(fresh) - capacity, 0)
            self._slots = np.concatenate([self._slots[len(self._slots) - kept :], fresh])
        else:
            room = min(capacity - len(self._slots), new)
            fresh = np.arange(self._numbers, self._numbers + new)
            self._slots = np.concatenate([self._slots, fresh[:room]])
            if room < new:
                # the last sample to take a place keeps it: assignment runs in order
                self._slots[self._evicted(self._arrived + room, arrived)] = fresh[room:]
        self._numbers += new
        self._arrived = arrived

    def _evicted(self, first: int, end: int) -> Int64Array:
        """The places that arrivals ``first`` to ``end`` take in a full buffer."""
        parts = []
        for block in range(first // _BLOCK, (end - 1) // _BLOCK + 1):
            random = stream(self.seed, "evictions", self.device, block)
            places = random.integers(0, self.arrival.buffer, _BLOCK)
            start = block * _BLOCK
            parts.append(places[max(first - start, 0) : end - start])
        return np.concatenate(parts)

    def _held(self, time_s: float, since_s: float | None, since_phase: int | None, which: str) -> _Selection:
        self._advance(time_s)
        numbers = self._slots if self.arrival.eviction == "oldest" else np.sort(self._slots)
        taken_s, visible_s, marked, phase = self._records(numbers)
        known = marked & (visible_s <= time_s)
        chosen = np.ones(len(numbers), dtype=np.bool_) if which == "all" else known
        if which == "unlabelled":
            chosen = ~known
        if since_s is not None:
            new = (visible_s if which == "labelled" else taken_s) > since_s
            if since_phase is not None:
                new |= phase > since_phase
            chosen = chosen & new
        return _Selection(numbers[chosen], taken_s[chosen], phase[chosen])

    def _records(self, numbers: Int64Array) -> tuple[Float64Array, Float64Array, BoolArray, Int64Array]:
        """When samples were taken, when their label is visible, whether they have one, and their phase."""
        if self._table is None:
            rows = [(s.first, s.phase, s.arrives, s.first_arrival, s.time_s) for s in self._segments]
            self._table = tuple(np.array(column) for column in zip(*rows, strict=True))
        first, phase, arrives, first_arrival, time_s = self._table
        segment = np.searchsorted(first, numbers, side="right") - 1
        by_itself: BoolArray = arrives[segment].astype(np.bool_)
        taken_s = time_s[segment].astype(np.float64)
        visible_s = taken_s.copy()
        marked = np.ones(len(numbers), dtype=np.bool_)
        if by_itself.any():
            mine = segment[by_itself]
            arrivals = (numbers[by_itself] - first[mine] + first_arrival[mine]).astype(np.int64)
            times_s = self._schedule.times_s(arrivals)
            taken_s[by_itself] = times_s
            visible_s[by_itself] = times_s + self._schedule.label_delay_s
            marked[by_itself] = self._schedule.labelled(arrivals)
        return taken_s, visible_s, marked, phase[segment].astype(np.int64)

    # -- which pool samples they are ------------------------------------------------------------------------------

    def _as_samples(self, selection: _Selection) -> Samples:
        count = len(selection.numbers)
        view = View.deferred(self.dataset, count, lambda: self._content(selection), self._noise_seed)
        nan = float("nan")
        return Samples(
            view=view,
            device=self.device,
            from_s=float(selection.taken_s[0]) if count else nan,  # numbers rise with time and phase
            to_s=float(selection.taken_s[-1]) if count else nan,
            phase=int(selection.phase[-1]) if count else 0,
            size_bytes=count * self.sample_bytes,
        )

    def _content(self, selection: _Selection) -> Content:
        numbers = selection.numbers
        firsts = np.array([segment.first for segment in self._segments])
        segments = np.searchsorted(firsts, numbers, side="right") - 1
        indices = np.empty(len(numbers), dtype=np.int64)
        for number in np.unique(segments).tolist():
            mine = segments == number
            segment = self._segments[number]
            places = numbers[mine] - segment.first
            if not segment.arrives:
                end = self._segments[number + 1].first
                indices[mine] = self._block(
                    "held" if number == 0 else "replaced", segment.phase, 0, end - segment.first
                )[places]
            else:
                blocks = places // _BLOCK
                drawn = np.empty(len(places), dtype=np.int64)
                for block in np.unique(blocks).tolist():
                    here = blocks == block
                    drawn[here] = self._block("arrivals", segment.phase, block, _BLOCK)[places[here] % _BLOCK]
                indices[mine] = drawn
        phases, which = np.unique(selection.phase, return_inverse=True)
        transforms = tuple(self._phases[phase].transform for phase in phases.tolist())
        return indices, transforms, which.astype(np.int64) if len(transforms) else None

    def _block(self, what: str, phase: int, block: int, count: int) -> Int64Array:
        key = (what, phase, block)
        if key not in self._blocks:
            if len(self._blocks) >= _KEPT_BLOCKS:
                self._blocks.clear()
            random = stream(self.seed, what, self.device, phase, block)
            share = self.share
            pool = self.pools.of_devices(share.group, share.part, share.parts)
            draw = draw_block if what == "arrivals" else draw_set
            self._blocks[key] = draw(pool, self._phases[phase].prior, count, random)
        return self._blocks[key]

    def _usable(self, prior: npt.NDArray[np.floating]) -> Float64Array:
        share = self.share
        checked_prior(prior, self.pools.of_test(share.group), f"{self.device}: its test pool")
        pool = self.pools.of_devices(share.group, share.part, share.parts)
        return checked_prior(prior, pool, f"{self.device}: its pool")
