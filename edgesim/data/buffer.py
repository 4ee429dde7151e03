"""A device's bounded buffer of sample numbers: what stays, what is evicted, what a change rewrites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgesim.seeds import stream

Int64Array = npt.NDArray[np.int64]

_BLOCK = 128  # evictions drawn at once; part of what a seed means


class Buffer:
    """At most ``capacity`` sample numbers. What it holds depends on what was put in, not in how many calls.

    Parameters
    ----------
    capacity
        How many it holds, at least 1.
    eviction
        What it gives up when full: the ``oldest`` (lowest number), or a ``random`` one.
    seed, device
        Name the random draws.
    volume
        The numbers 0 to ``volume`` - 1 are in it at the start; at most ``capacity``.
    """

    __slots__ = ("_device", "_oldest", "_places", "_rising", "_seed", "capacity")

    def __init__(
        self, capacity: int, eviction: Literal["oldest", "random"], seed: int, device: str, volume: int
    ) -> None:
        self.capacity = capacity
        self._oldest = eviction == "oldest"
        self._seed = seed
        self._device = device
        self._places = np.arange(volume, dtype=np.int64)  # the number in each place; rising where `_oldest`
        self._rising: Int64Array | None = self._places  # as numbers() gave them, until they change

    def __len__(self) -> int:
        return len(self._places)

    def numbers(self) -> Int64Array:
        """The numbers held, rising; the same array until they change."""
        if self._rising is None:
            self._rising = self._places if self._oldest else np.sort(self._places)
        return self._rising

    def put(self, first: int, count: int, first_arrival: int) -> None:
        """Put in the numbers ``first`` on, one after the other; the first of them is the device's n-th arrival."""
        self._rising = None
        if self._oldest:
            fresh = np.arange(first + max(count - self.capacity, 0), first + count)
            evicted = max(len(self._places) + len(fresh) - self.capacity, 0)
            self._places = np.concatenate([self._places[evicted:], fresh])
            return
        fresh = np.arange(first, first + count)
        room = min(self.capacity - len(self._places), count)
        self._places = np.concatenate([self._places, fresh[:room]])
        if room < count:
            # assignment runs in order: of two numbers for one place the later one stays
            self._places[self._evictions(first_arrival + room, first_arrival + count)] = fresh[room:]

    def rewrite(self, ratio: float, first: int, phase: int, *, done: float = 0.0, spared: Sequence[range] = ()) -> int:
        """Replace a share of the numbers by the numbers ``first`` on; returns how many.

        These are round-half-up(``ratio`` x held), less what the share ``done`` came to in earlier steps, none of them
        among the numbers ``spared``: those that these steps wrote.
        """
        held = len(self._places)
        count = int(ratio * held + 0.5) - int(done * held + 0.5)
        if count:
            eligible = np.ones(held, dtype=np.bool_)
            for written in spared:
                eligible &= (self._places < written.start) | (self._places >= written.stop)
            old = np.flatnonzero(eligible)
            count = min(count, len(old))
        if count:
            random = stream(self._seed, "rewritten places", self._device, phase)
            chosen = old[random.choice(len(old), count, replace=False)]
            places = self._places.copy()
            places[chosen] = np.arange(first, first + count)
            if self._oldest:
                places.sort()
            self._places = places
            self._rising = None
        return count

    def _evictions(self, first: int, end: int) -> Int64Array:
        """The places that the arrivals ``first`` to ``end`` take in a full buffer."""
        parts = []
        for block in range(first // _BLOCK, (end - 1) // _BLOCK + 1):
            random = stream(self._seed, "evictions", self._device, block)
            places = random.integers(0, self.capacity, _BLOCK)
            start = block * _BLOCK
            parts.append(places[max(first - start, 0) : end - start])
        return np.concatenate(parts)
