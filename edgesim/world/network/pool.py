"""A pool: the transfers that cross the same bottlenecks, sharing them at one water level, each up to its own cap.

rate = min(cap, level). A transfer below the level runs at its constant cap and is ordered by real finish time; those
at the level are ordered by their finish on the pool's virtual clock, which runs at the level: nothing is touched when
the level moves. Only what crosses the level is moved, and transfers of equal cap move together, as one group.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from simpy import Environment
from simpy.events import Event

from ..priorities import COMPLETION
from .alarm import Alarm
from .exact import plus
from .fair_queue import ULPS, Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from .bottleneck import Bottleneck
    from .transfer import Transfer

HYSTERESIS = 1e-12
"""Relative width of the band around the level in which a cap counts as equal to it: nothing moves to and fro."""


class Group:
    """Transfers that have the same cap at all times, hence the same rate: one virtual clock for all of them."""

    __slots__ = (
        "anchor",
        "anchor_low",
        "at_level",
        "cap",
        "cap_order",
        "count",
        "demand",
        "finish_order",
        "heap",
        "low",
        "pool",
        "served",
    )

    def __init__(self, pool: Pool, cap: float) -> None:
        self.pool = pool
        self.cap = cap
        self.count = 0
        self.demand = 0.0  # count * cap, as it was added to the pool's sum
        self.heap: list[Entry] = []
        self.at_level = False
        self.served = self.low = 0.0  # this group's clock when the anchor was set
        self.anchor = self.anchor_low = 0.0  # at the level: the pool's clock then; below it: the time then
        self.cap_order = self.finish_order = 0  # which entries of the pool's heaps are this group's, 0 for none

    def left(self, transfer: Transfer) -> float:
        """The bytes that ``transfer`` still needs now; looking changes nothing."""
        return self.pool.left(self, transfer)

    def remove(self, transfer: Transfer) -> float:
        """Take ``transfer`` out; the bytes that it still needs."""
        return self.pool.remove(self, transfer)


class Pool:
    """Groups of transfers over the same bottlenecks.

    Parameters
    ----------
    env
        The SimPy environment.
    bottlenecks
        The links that all its transfers cross and share with others, at least one.
    finish
        Called with the transfers whose bytes have all arrived, at that instant, in order of their arrival.
    changed
        Called with this pool whenever its demand changed, so that its level is settled before time goes on.
    """

    __slots__ = (
        "_alarm",
        "_alarm_s",
        "_at_s",
        "_by_cap",
        "_caps_at_level",
        "_caps_below",
        "_changed",
        "_clock",
        "_clock_low",
        "_due_at_level",
        "_due_below",
        "_env",
        "_finish",
        "_fixed",
        "_fixed_low",
        "_groups_below",
        "_order",
        "at_level",
        "bottlenecks",
        "count",
        "follows",
        "level",
        "routes",
    )

    def __init__(
        self,
        env: Environment,
        bottlenecks: tuple[Bottleneck, ...],
        finish: Callable[[list[Transfer]], None],
        changed: Callable[[Pool], None],
    ) -> None:
        self._env = env
        self._finish = finish
        self._changed = changed
        self.bottlenecks = bottlenecks
        self.count = 0  # transfers
        self.at_level = 0  # transfers whose cap is above the level
        self.level = math.inf
        self.follows = False  # scratch of the bottleneck that is being settled
        self._groups_below = 0
        self.routes = 0
        self._fixed = self._fixed_low = 0.0  # sum of the demands of the groups below the level
        self._clock = self._clock_low = 0.0  # integral of the level, from when a group was last put at it
        self._at_s = float(env.now)
        self._order = 0
        self._by_cap: dict[float, Group] = {}
        self._caps_below: list[tuple[float, int, Group]] = []  # by -cap
        self._caps_at_level: list[tuple[float, int, Group]] = []  # by cap
        self._due_below: list[tuple[float, int, Group]] = []  # by time
        self._due_at_level: list[tuple[float, float, int, Group]] = []  # by the pool's clock
        self._alarm: Event | None = None
        self._alarm_s = math.inf

    # Who is in it. Clocks are brought up to now first; the level is settled later, once per instant.

    def group_of(self, cap: float) -> Group:
        """The group of the transfers that have the constant cap ``cap``."""
        group = self._by_cap.get(cap)
        if group is None:
            self._by_cap[cap] = group = self.new_group(cap)
        return group

    def new_group(self, cap: float) -> Group:
        """A group of its own, whose cap may change."""
        group = Group(self, cap)
        group.at_level = cap >= self.level
        return group

    def add(self, group: Group, transfer: Transfer, amount: float) -> None:
        """Let ``amount`` bytes of ``transfer`` flow, more than 0."""
        self.advance()
        if not group.count:
            self._enter(group)
        self._bring_up(group)
        self._order += 1
        transfer.entry = entry = (*plus(group.served, group.low, amount), self._order, transfer)
        transfer.holder = group
        heappush(group.heap, entry)
        self._recount(group, 1)
        if group.heap[0] is entry:
            self._requeue(group)
        self._changed(self)

    def remove(self, group: Group, transfer: Transfer) -> float:
        """Take ``transfer`` out of ``group``; the bytes that it still needs."""
        self.advance()
        self._bring_up(group)
        entry = transfer.entry
        assert entry is not None
        left = max(0.0, (entry[0] - group.served) + (entry[1] - group.low))
        transfer.entry = transfer.holder = None
        first = group.heap[0] is entry
        self._recount(group, -1)
        if not group.count:
            self._leave(group)
        elif first:
            self._requeue(group)
        elif len(group.heap) > 64 + 2 * group.count:
            group.heap = [entry for entry in group.heap if entry[3].entry is entry]
            heapify(group.heap)
        self._changed(self)
        return left

    def left(self, group: Group, transfer: Transfer) -> float:
        """The bytes that ``transfer`` still needs now; looking changes nothing."""
        entry = transfer.entry
        assert entry is not None
        ahead_s = self._env.now - (self._at_s if group.at_level else group.anchor)
        got = (self.level if group.at_level else group.cap) * ahead_s if ahead_s > 0.0 else 0.0
        if group.at_level:
            got += (self._clock - group.anchor) + (self._clock_low - group.anchor_low)
        return max(0.0, (entry[0] - group.served) + (entry[1] - group.low) - got)

    def set_cap(self, group: Group, cap: float) -> None:
        """Change the cap of a group, whose transfers all have it."""
        self.advance()
        self._bring_up(group)
        group.cap = cap
        if group.count:
            self._recount(group, 0)
            self._queue_cap(group)
            if not group.at_level:
                self._requeue(group)
            self._changed(self)

    def _enter(self, group: Group) -> None:
        group.at_level = group.cap >= self.level
        group.served = group.low = 0.0
        self._anchor(group)
        if not group.at_level:
            self._groups_below += 1
        self._queue_cap(group)

    def _leave(self, group: Group) -> None:
        if not group.at_level:
            self._groups_below -= 1
            if not self._groups_below:
                self._fixed = self._fixed_low = 0.0
        group.cap_order = group.finish_order = 0
        group.heap.clear()
        if self._by_cap.get(group.cap) is group:
            del self._by_cap[group.cap]

    def _recount(self, group: Group, by: int) -> None:
        self.count += by
        group.count += by
        if group.at_level:
            self.at_level += by
        else:
            demand = group.count * group.cap
            self._fixed, self._fixed_low = plus(*plus(self._fixed, self._fixed_low, demand), -group.demand)
            group.demand = demand

    # Clocks.

    def advance(self) -> None:
        """Let the pool's clock run up to now at the level that held until now."""
        now = self._env.now
        if now > self._at_s:
            if self.at_level:
                got = self.level * (now - self._at_s)
                self._clock, self._clock_low = plus(self._clock, self._clock_low, got)
            else:
                self._clock = self._clock_low = 0.0
            self._at_s = float(now)

    def _bring_up(self, group: Group) -> None:
        """Move a group's anchor to now; the pool's clock is there already."""
        if group.at_level:
            got = (self._clock - group.anchor) + (self._clock_low - group.anchor_low)
        else:
            got = group.cap * (self._at_s - group.anchor)
        if got:
            group.served, group.low = plus(group.served, group.low, got)
        self._anchor(group)

    def _anchor(self, group: Group) -> None:
        if group.at_level:
            group.anchor, group.anchor_low = self._clock, self._clock_low
        else:
            group.anchor, group.anchor_low = self._at_s, 0.0

    # The level.

    @property
    def fixed(self) -> float:
        """Bytes/s that the transfers below the level take together."""
        return self._fixed

    def largest_below(self) -> float:
        """The largest cap below the level, -1 if there is none."""
        heap = self._caps_below
        while heap and heap[0][2].cap_order != heap[0][1]:
            heappop(heap)
        return -heap[0][0] if heap else -1.0

    def smallest_at_level(self) -> float:
        """The smallest cap at the level, ``inf`` if there is none."""
        heap = self._caps_at_level
        while heap and heap[0][2].cap_order != heap[0][1]:
            heappop(heap)
        return heap[0][0] if heap else math.inf

    def raise_largest(self) -> None:
        """Put the group of the largest cap below the level at the level."""
        group = self._caps_below[0][2]
        self._bring_up(group)
        self._fixed, self._fixed_low = plus(self._fixed, self._fixed_low, -group.demand)
        group.demand = 0.0
        self._groups_below -= 1
        if not self._groups_below:
            self._fixed = self._fixed_low = 0.0
        self.at_level += group.count
        self._switch(group)

    def lower_smallest(self) -> None:
        """Put the group of the smallest cap at the level below the level."""
        group = self._caps_at_level[0][2]
        self._bring_up(group)
        group.demand = group.count * group.cap
        self._fixed, self._fixed_low = plus(self._fixed, self._fixed_low, group.demand)
        self._groups_below += 1
        self.at_level -= group.count
        self._switch(group)

    def _switch(self, group: Group) -> None:
        group.at_level = not group.at_level
        self._anchor(group)
        self._queue_cap(group)
        self._requeue(group)

    def settle_at(self, level: float) -> None:
        """Sort the groups by ``level``."""
        while self.largest_below() > level * (1.0 + HYSTERESIS):
            self.raise_largest()
        while self.smallest_at_level() < level * (1.0 - HYSTERESIS):
            self.lower_smallest()

    def fill(self, capacity: float) -> float:
        """Sort the groups by the level at which they take ``capacity`` together; that level, ``inf`` if less.

        Any split into "below" and "at the level" overestimates the demand, so its level is too low until the split
        is the right one: each move raises it, and nothing is moved twice.
        """
        while True:
            level = self.level_of(capacity - self._fixed, self.at_level, capacity)
            if self.largest_below() > level * (1.0 + HYSTERESIS):
                self.raise_largest()
            elif self.smallest_at_level() < level * (1.0 - HYSTERESIS):
                self.lower_smallest()
            else:
                return max(0.0, level)

    @staticmethod
    def level_of(free: float, sharers: int, capacity: float) -> float:
        """The level at which ``sharers`` take what is ``free``; -1 where those below take too much already."""
        if sharers:
            return free / sharers
        return math.inf if free >= -HYSTERESIS * capacity else -1.0

    def demand(self, level: float) -> float:
        """Bytes/s at ``level``; more than the true demand if the groups are sorted by another level."""
        return self._fixed + self.at_level * level if self.at_level else self._fixed

    def limits(self, asking: Bottleneck | None) -> tuple[float, float]:
        """What holds this pool back besides ``asking``: the lowest level of its shared bottlenecks, and the
        smallest capacity of those that it has for itself."""
        level = capacity = math.inf
        for bottleneck in self.bottlenecks:
            if len(bottleneck.pools) == 1:
                capacity = min(capacity, bottleneck.capacity)
            elif bottleneck is not asking:
                level = min(level, bottleneck.level)
        return level, capacity

    def bind(self, level: float, capacity: float) -> float:
        """Sort the groups by the lower of ``level`` and the level at which they take ``capacity``; that level."""
        if self.demand(level) > capacity * (1.0 + HYSTERESIS):  # or so it seems, until they are sorted
            own = self.fill(capacity)
            if own <= level:
                return own
        self.settle_at(level)
        return level

    # When transfers finish.

    def _queue_cap(self, group: Group) -> None:
        self._order += 1
        group.cap_order = self._order
        if group.at_level:
            heap, key = self._caps_at_level, group.cap
        else:
            heap, key = self._caps_below, -group.cap
        heappush(heap, (key, self._order, group))
        if len(heap) > 64 and len(heap) > 4 * self.count:
            heap[:] = [entry for entry in heap if entry[2].cap_order == entry[1]]
            heapify(heap)

    def _requeue(self, group: Group) -> None:
        """Tell the pool when the group's first transfer is due."""
        members = group.heap
        while members[0][3].entry is not members[0]:
            heappop(members)
        due, due_low, _, _ = members[0]
        left = (due - group.served) + (due_low - group.low)
        self._order += 1
        group.finish_order = self._order
        if group.at_level:
            key, key_low = plus(group.anchor, group.anchor_low, left)
            heappush(self._due_at_level, (key, key_low, self._order, group))
            if len(self._due_at_level) > 64 and len(self._due_at_level) > 4 * self.count:
                self._due_at_level[:] = [e for e in self._due_at_level if e[3].finish_order == e[2]]
                heapify(self._due_at_level)
        else:
            due_s = group.anchor + left / group.cap if group.cap else math.inf
            heappush(self._due_below, (due_s, self._order, group))
            if len(self._due_below) > 64 and len(self._due_below) > 4 * self.count:
                self._due_below[:] = [e for e in self._due_below if e[2].finish_order == e[1]]
                heapify(self._due_below)

    def arm(self) -> None:
        """Wake up when the next transfer is due, unless an earlier wake-up is set already."""
        due_s = math.inf
        below, at_level = self._due_below, self._due_at_level
        while below and below[0][2].finish_order != below[0][1]:
            heappop(below)
        if below:
            due_s = below[0][0]
        while at_level and at_level[0][3].finish_order != at_level[0][2]:
            heappop(at_level)
        if at_level and self.level:
            left = (at_level[0][0] - self._clock) + (at_level[0][1] - self._clock_low)
            due_s = min(due_s, self._at_s + max(0.0, left) / self.level)
        if due_s < self._alarm_s:
            self._alarm_s = due_s
            self._alarm = Alarm(self._env, due_s, COMPLETION, self._ring)

    def _ring(self, alarm: Event) -> None:
        if alarm is not self._alarm:
            return
        self._alarm, self._alarm_s = None, math.inf
        self.advance()
        latest_s = self._at_s + ULPS * math.ulp(self._at_s)
        due: list[Entry] = []
        below, at_level = self._due_below, self._due_at_level
        while below and (below[0][2].finish_order != below[0][1] or below[0][0] <= latest_s):
            _, order, group = heappop(below)
            if group.finish_order == order:
                self._collect(group, group.cap, latest_s, due)
        while at_level:
            key, key_low, order, group = at_level[0]
            if group.finish_order == order:
                left = (key - self._clock) + (key_low - self._clock_low)
                if left > 0.0 and (not self.level or self._at_s + left / self.level > latest_s):
                    break
                heappop(at_level)
                self._collect(group, self.level, latest_s, due)
            else:
                heappop(at_level)
        if due:
            due.sort(key=lambda entry: entry[2])
            self._changed(self)
            self._finish([entry[3] for entry in due])
        else:
            self.arm()

    def _collect(self, group: Group, rate: float, latest_s: float, due: list[Entry]) -> None:
        """Take out of ``group`` what is due, at least its first transfer."""
        self._bring_up(group)
        members = group.heap
        taken = 0
        while members:
            entry = members[0]
            transfer = entry[3]
            if transfer.entry is entry:
                left = (entry[0] - group.served) + (entry[1] - group.low)
                if taken and left > 0.0 and (not rate or self._at_s + left / rate > latest_s):
                    break
                transfer.entry = transfer.holder = None
                due.append(entry)
                taken += 1
            heappop(members)
        self._recount(group, -taken)
        if group.count:
            self._requeue(group)
        else:
            self._leave(group)
