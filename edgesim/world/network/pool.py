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
from .alarm import ROUNDING, Alarm
from .fair_queue import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from .bottleneck import Bottleneck
    from .transfer import Transfer

HYSTERESIS = 1e-12
"""Relative width of the band around the level in which a cap counts as equal to it: nothing moves to and fro."""

ABOVE = 1.0 + HYSTERESIS
BELOW = 1.0 - HYSTERESIS


class Group:
    """Transfers that have the same cap at all times, hence the same rate: one virtual clock for all of them."""

    __slots__ = (
        "anchor",
        "at_level",
        "cap",
        "cap_order",
        "count",
        "demand",
        "finish_order",
        "heap",
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
        self.served = 0.0  # this group's clock when the anchor was set: bytes that each transfer got
        self.anchor = 0.0  # at the level: the pool's clock then; below it: the time then
        self.cap_order = self.finish_order = 0  # which entries of the pool's heaps are this group's, 0 for none

    def left(self, transfer: Transfer) -> float:
        """The bytes that ``transfer`` still needs now; looking changes nothing."""
        assert transfer.entry is not None
        return max(0.0, transfer.entry[0] - self.pool.clock_of(self))

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
        Called with this pool when its demand changed, so that :meth:`arm` is called before time goes on.
    """

    __slots__ = (
        "_alarms_s",
        "_at_s",
        "_by_cap",
        "_caps_at_level",
        "_caps_below",
        "_changed",
        "_clock",
        "_done",
        "_due_at_level",
        "_due_below",
        "_env",
        "_finish",
        "_fixed_low",
        "_groups_below",
        "_order",
        "at_level",
        "bottlenecks",
        "count",
        "fixed",
        "level",
        "routes",
        "unsettled",
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
        self.routes = 0  # how many paths put their transfers here
        self.count = 0  # transfers
        self.at_level = 0  # transfers whose cap is above the level
        self.level = math.inf
        self.fixed = 0.0  # bytes/s that the transfers below the level take together ...
        self._fixed_low = 0.0  # ... and what that sum lost to rounding: it must not drift
        self._groups_below = 0
        self._clock = 0.0  # integral of the level up to _at_s
        self._at_s: float = env.now
        self._order = 0
        self._by_cap: dict[float, Group] = {}
        self._caps_below: list[tuple[float, int, Group]] = []  # by -cap
        self._caps_at_level: list[tuple[float, int, Group]] = []  # by cap
        self._due_below: list[tuple[float, int, Group]] = []  # by time
        self._due_at_level: list[tuple[float, int, Group]] = []  # by the pool's clock
        self._done: list[Entry] = []
        self.unsettled = False  # has told that it changed, and was not settled since
        self._alarms_s = [math.inf]  # alarms that will ring, the next one last

    # Who is in it. Clocks are brought up to now first; the level is settled later, once per instant.

    def group_of(self, cap: float) -> Group:
        """The group of the transfers that have the constant cap ``cap``."""
        group = self._by_cap.get(cap)
        if group is None:
            self._by_cap[cap] = group = Group(self, cap)
        return group

    def add(self, group: Group, transfer: Transfer, amount: float) -> None:
        """Let ``amount`` bytes of ``transfer`` flow, more than 0."""
        self.advance()
        self._order = order = self._order + 1
        transfer.holder = group
        if not group.count:
            transfer.entry = (amount, order, transfer)
            self._enter(group, transfer.entry)
        else:
            self._bring_up(group)
            transfer.entry = entry = (group.served + amount, order, transfer)
            heappush(group.heap, entry)
            self._recount(group, 1)
            if group.heap[0] is entry:
                self._requeue(group)
        if not self.unsettled:
            self._change()

    def remove(self, group: Group, transfer: Transfer) -> float:
        """Take ``transfer`` out of ``group``; the bytes that it still needs."""
        self.advance()
        entry = transfer.entry
        if entry is None:  # advance() found that it is done
            return 0.0
        self._bring_up(group)
        left = max(0.0, entry[0] - group.served)
        transfer.entry = transfer.holder = None
        first = group.heap[0] is entry
        self._recount(group, -1)
        if not group.count:
            self._leave(group)
        elif first:
            self._requeue(group)
        elif len(group.heap) > 64 + 2 * group.count:
            group.heap = [entry for entry in group.heap if entry[2].entry is entry]
            heapify(group.heap)
        self._change()
        return left

    def set_cap(self, group: Group, cap: float) -> None:
        """Change the cap of a group, whose transfers all have it."""
        self.advance()
        if not group.count:
            group.cap = cap
            return
        self._bring_up(group)
        group.cap = cap
        self._recount(group, 0)
        self._queue_cap(group)
        if not group.at_level:
            self._requeue(group)
        self._change()

    def _change(self) -> None:
        if not self.unsettled:
            self.unsettled = True
            self._changed(self)

    def _enter(self, group: Group, entry: Entry) -> None:
        """Begin a group with its first transfer (what the other methods do, at once: most groups are of one)."""
        amount, order, _ = entry
        group.cap_order = group.finish_order = order
        group.served = 0.0
        group.heap.append(entry)
        group.count = 1
        self.count += 1
        cap = group.cap
        if cap >= self.level:
            group.at_level = True
            self.at_level += 1
            group.anchor = key = self._clock
            caps, dues = self._caps_at_level, self._due_at_level
            heappush(caps, (cap, order, group))
            heappush(dues, (key + amount, order, group))
        else:
            group.at_level = False
            self._groups_below += 1
            group.anchor = key = self._at_s
            group.demand = cap
            self._add_fixed(cap)
            caps, dues = self._caps_below, self._due_below
            heappush(caps, (-cap, order, group))
            heappush(dues, (key + amount / cap if cap else math.inf, order, group))
        most = 64 + 4 * self.count
        if len(caps) > most:
            _compact_caps(caps)
        if len(dues) > most:
            _compact_dues(dues)

    def _leave(self, group: Group) -> None:
        if not group.at_level:
            self._groups_below -= 1
            if not self._groups_below:
                self.fixed = self._fixed_low = 0.0
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
            self._set_demand(group, group.count * group.cap)

    def _set_demand(self, group: Group, demand: float) -> None:
        """Change what a group adds to ``fixed``."""
        if group.demand:
            self._add_fixed(-group.demand)
        if demand:
            self._add_fixed(demand)
        group.demand = demand

    def _add_fixed(self, term: float) -> None:
        """Keep the digits that the sum loses (two-sum: Knuth, The Art of Computer Programming 2, 4.2.2)."""
        fixed = self.fixed
        total = fixed + term
        back = total - fixed
        low = self._fixed_low + (fixed - (total - back)) + (term - back)
        self.fixed = fixed = total + low
        self._fixed_low = low - (fixed - total)

    # Clocks.

    def advance(self) -> None:
        """Let the pool's clock run up to now at the level that held until now, and set aside what is done."""
        now = self._env._now  # not `.now`: asked several times a transfer
        if now > self._at_s:
            if self.at_level:
                self._clock += self.level * (now - self._at_s)
            else:
                self._clock = 0.0
            self._at_s = now
        if self._alarms_s[-1] <= now * (1.0 + ROUNDING):
            self._collect()

    def clock_of(self, group: Group) -> float:
        """A group's clock now: bytes that a transfer got which was there all the time; looking changes nothing."""
        now = self._env.now
        if group.at_level:
            ahead = self.level * (now - self._at_s) if now > self._at_s else 0.0
            return group.served + ((self._clock - group.anchor) + ahead)
        return group.served + (group.cap * (now - group.anchor) if now > group.anchor else 0.0)

    def _bring_up(self, group: Group) -> None:
        """Move a group's anchor to now; the pool's clock is there already."""
        if group.at_level:
            group.served += self._clock - group.anchor
            group.anchor = self._clock
        else:
            at_s = self._at_s
            if at_s > group.anchor:
                group.served += group.cap * (at_s - group.anchor)
                group.anchor = at_s

    # The level.

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
        self._set_demand(group, 0.0)
        self._groups_below -= 1
        if not self._groups_below:
            self.fixed = self._fixed_low = 0.0
        self.at_level += group.count
        group.at_level = True
        group.anchor = self._clock
        self._queue_cap(group)
        self._requeue(group)

    def lower_smallest(self) -> None:
        """Put the group of the smallest cap at the level below the level."""
        group = self._caps_at_level[0][2]
        self._bring_up(group)
        self._set_demand(group, group.count * group.cap)
        self._groups_below += 1
        self.at_level -= group.count
        group.at_level = False
        group.anchor = self._at_s
        self._queue_cap(group)
        self._requeue(group)

    def settle_at(self, level: float) -> None:
        """Sort the groups by ``level``."""
        while self.largest_below() > level * ABOVE:
            self.raise_largest()
        while self.smallest_at_level() < level * BELOW:
            self.lower_smallest()

    def fill(self, capacity: float) -> float:
        """Sort the groups by the level at which they take ``capacity`` together; that level, ``inf`` if less.

        Any split into "below" and "at the level" overestimates the demand, so its level is too low until the split
        is the right one: each move raises it, and nothing is moved twice.
        """
        below, at_level = self._caps_below, self._caps_at_level
        while True:
            level = level_of(capacity - self.fixed, self.at_level, capacity)
            while below and below[0][2].cap_order != below[0][1]:
                heappop(below)
            if below and -below[0][0] > level * ABOVE:
                self.raise_largest()
                continue
            while at_level and at_level[0][2].cap_order != at_level[0][1]:
                heappop(at_level)
            if not at_level or at_level[0][0] >= level * BELOW:
                return level if level > 0.0 else 0.0
            self.lower_smallest()

    def demand(self, level: float) -> float:
        """Bytes/s at ``level``; more than the true demand if the groups are sorted by another level."""
        return self.fixed + self.at_level * level if self.at_level else self.fixed

    def limits(self, asking: Bottleneck | None) -> tuple[float, float]:
        """What holds this pool back besides ``asking``: a level and a capacity.

        The lowest level of its other bottlenecks that it shares with other pools, and the smallest capacity of those
        that it has for itself.
        """
        level = capacity = math.inf
        for bottleneck in self.bottlenecks:
            if len(bottleneck.pools) == 1:
                capacity = min(capacity, bottleneck.capacity)
            elif bottleneck is not asking:
                level = min(level, bottleneck.level)
        return level, capacity

    def bind(self, level: float, capacity: float) -> float:
        """Sort the groups by the lower of ``level`` and the level at which they take ``capacity``; that level."""
        if self.demand(level) > capacity * ABOVE:  # or so it seems, until they are sorted
            own = self.fill(capacity)
            if own <= level:
                return own
        self.settle_at(level)
        return level

    # When transfers finish.

    def _queue_cap(self, group: Group) -> None:
        self._order = group.cap_order = order = self._order + 1
        heap = self._caps_at_level if group.at_level else self._caps_below
        heappush(heap, (group.cap if group.at_level else -group.cap, order, group))
        if len(heap) > 64 + 4 * self.count:
            _compact_caps(heap)

    def _requeue(self, group: Group) -> None:
        """Tell the pool when the group's first transfer is due."""
        members = group.heap
        while members[0][2].entry is not members[0]:
            heappop(members)
        key = members[0][0] - group.served
        self._order = group.finish_order = order = self._order + 1
        if group.at_level:
            heap = self._due_at_level
        else:
            heap = self._due_below
            key = key / group.cap if group.cap else math.inf
        heappush(heap, (group.anchor + key, order, group))
        if len(heap) > 64 + 4 * self.count:
            _compact_dues(heap)

    def arm(self) -> None:
        """The level is settled: wake up when the next transfer is due, if no earlier wake-up is set already."""
        self.unsettled = False
        due_s = math.inf
        heap = self._due_below
        while heap and heap[0][2].finish_order != heap[0][1]:
            heappop(heap)
        if heap:
            due_s = heap[0][0]
        heap = self._due_at_level
        while heap and heap[0][2].finish_order != heap[0][1]:
            heappop(heap)
        if heap and self.level:
            due_s = min(due_s, self._at_s + (heap[0][0] - self._clock) / self.level)
        if due_s < self._alarms_s[-1]:  # one that rings too early is no loss, and saves setting another
            self._alarms_s.append(due_s)
            Alarm(self._env, due_s, COMPLETION, self._ring)

    def _ring(self, _: Event) -> None:
        self._alarms_s[-1] = self._env.now
        self.advance()  # sets aside what is due, since an alarm is set for now
        self._alarms_s.pop()
        if self._done:
            done, self._done = self._done, []
            if len(done) > 1:
                done.sort(key=_arrival)
            self._finish([entry[2] for entry in done])
        else:
            self.arm()

    def _collect(self) -> None:
        """Take out what is due now, and let the alarm ring to hand it over."""
        at_s, clock, level = self._at_s, self._clock, self.level
        found = len(self._done)
        latest_s = at_s * (1.0 + ROUNDING)
        heap = self._due_below
        while heap and (heap[0][2].finish_order != heap[0][1] or heap[0][0] <= latest_s):
            _, order, group = heappop(heap)
            if group.finish_order == order:
                self._take_due(group, group.cap * (latest_s - at_s))
        latest = max(clock * (1.0 + ROUNDING), clock + level * (latest_s - at_s)) if level < math.inf else clock
        heap = self._due_at_level
        while heap and (heap[0][2].finish_order != heap[0][1] or heap[0][0] <= latest):
            _, order, group = heappop(heap)
            if group.finish_order == order:
                self._take_due(group, latest - clock)
        if len(self._done) > found:
            self._change()
            if self._alarms_s[-1] > at_s:
                self._alarms_s.append(at_s)
                Alarm(self._env, at_s, COMPLETION, self._ring)

    def _take_due(self, group: Group, margin: float) -> None:
        """Take the first transfer out of ``group``, and any others with no more than ``margin`` bytes to go."""
        members, done = group.heap, self._done
        if group.count == 1:
            entry = members[0]
            transfer = entry[2]
            transfer.entry = transfer.holder = None
            transfer.left = 0.0
            transfer.arrived = True
            done.append(entry)
            group.count = 0
            self.count -= 1
            if group.at_level:
                self.at_level -= 1
            elif group.demand:
                self._add_fixed(-group.demand)
                group.demand = 0.0
            self._leave(group)
            return
        self._bring_up(group)
        latest = max(members[0][0], group.served + margin)
        taken = 0
        while members and members[0][0] <= latest:
            entry = heappop(members)
            transfer = entry[2]
            if transfer.entry is entry:
                transfer.entry = transfer.holder = None
                transfer.left = 0.0
                transfer.arrived = True
                done.append(entry)
                taken += 1
        self._recount(group, -taken)
        if group.count:
            self._requeue(group)
        else:
            self._leave(group)


def level_of(free: float, sharers: int, capacity: float) -> float:
    """The level at which ``sharers`` take what is ``free``; -1 where those below take too much already."""
    if sharers:
        return free / sharers
    return math.inf if free >= -HYSTERESIS * capacity else -1.0


def _compact_caps(heap: list[tuple[float, int, Group]]) -> None:
    heap[:] = [entry for entry in heap if entry[2].cap_order == entry[1]]
    heapify(heap)


def _compact_dues(heap: list[tuple[float, int, Group]]) -> None:
    heap[:] = [entry for entry in heap if entry[2].finish_order == entry[1]]
    heapify(heap)


def _arrival(entry: Entry) -> int:
    return entry[1]
