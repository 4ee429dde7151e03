"""A link that several paths share and could overload, and the water levels of all such links together.

A bottleneck's level is what it leaves to a transfer that nothing else holds back; a pool's level is the lowest of its
bottlenecks'. These levels are the max-min fair allocation: every link that has a level is full, and no transfer on it
is faster than the level.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from .pool import ABOVE, BELOW, Pool, level_of

if TYPE_CHECKING:
    from simpy.events import Event

    from .transfer import Link


class Bottleneck:
    """A link whose paths could ask for more than it has."""

    __slots__ = ("alarm", "capacity", "level", "link", "pools")

    def __init__(self, link: Link, capacity: float) -> None:
        self.link = link
        self.capacity = capacity  # bytes/s, now
        self.level = math.inf
        self.pools: dict[Pool, None] = {}
        self.alarm: Event | None = None  # at the next step of the capacity

    def settle(self) -> list[Pool]:
        """Find the level, given the levels of the pools' other bottlenecks; the pools whose level changed.

        Each pool takes min(what it takes at the level, what is left to it elsewhere): concave in the level. Starting
        from any guess of who is held back where, the linear extrapolation is too low, and each correction raises it.
        """
        pools = list(self.pools)
        limits = [pool.limits(self) for pool in pools]
        bounds: list[float | None] = []  # a level where the pool is held back elsewhere, None where it follows ours
        for pool, (other, own) in zip(pools, limits, strict=True):
            pool.advance()
            held = pool.bind(other, own) if pool.level < self.level * BELOW else math.inf
            bounds.append(held if held < math.inf else None)
        while True:
            taken, sharers = 0.0, 0
            for pool, bound in zip(pools, bounds, strict=True):
                if bound is None:
                    taken += pool.fixed
                    sharers += pool.at_level
                else:
                    taken += pool.demand(bound)
            level = level_of(self.capacity - taken, sharers, self.capacity)
            largest, first = level * ABOVE, -1
            for index, (pool, bound) in enumerate(zip(pools, bounds, strict=True)):
                candidate = pool.largest_below() if bound is None else bound
                if candidate > largest:
                    largest, first = candidate, index
            if first >= 0:
                if bounds[first] is None:
                    pools[first].raise_largest()
                else:
                    bounds[first] = None
                continue
            settled = True
            for index, pool in enumerate(pools):
                if bounds[index] is None:
                    other, own = limits[index]
                    if other < level * BELOW:
                        bounds[index] = pool.bind(other, own)
                        settled = False
                    elif pool.smallest_at_level() < level * BELOW:
                        pool.settle_at(level)
                        settled = False
                    elif pool.demand(level) > own * ABOVE:
                        bounds[index] = pool.bind(other, own)
                        settled = False
            if settled:
                break
        self.level = level = max(0.0, level)
        moved = []
        for pool, bound in zip(pools, bounds, strict=True):
            new = level if bound is None else bound
            if new != pool.level and not (pool.level * BELOW <= new <= pool.level * ABOVE):
                pool.level = new
                moved.append(pool)
        return moved


def settle(changed: Collection[Pool], stepped: Collection[Bottleneck], patience: int = 100) -> None:
    """Bring all levels up to date after demands or capacities changed, and wake-ups with them.

    Parameters
    ----------
    changed
        Pools whose transfers or caps changed.
    stepped
        Bottlenecks whose capacity or whose set of pools changed.
    patience
        How often a bottleneck may be settled by itself, on average, before all connected ones are settled in order.

    Notes
    -----
    A pool alone on its bottlenecks is settled by itself. Otherwise a bottleneck is settled given its neighbours, then
    those neighbours whose pools were moved, the lowest level first, until nothing moves. The lowest level is right
    after one visit of its bottleneck, then the next lowest, and so on (Charny, Clark and Jain, "Congestion control
    with explicit rate indication", ICC 1995), so this ends; ``patience`` guards against rounding that goes in circles.
    """
    if not stepped and len(changed) == 1:  # by far the most frequent
        (pool,) = changed
        if len(pool.bottlenecks) == 1 and len(pool.bottlenecks[0].pools) == 1:
            pool.advance()
            pool.level = pool.fill(pool.bottlenecks[0].capacity)
            pool.arm()
            return
    touched = dict.fromkeys(changed)
    unsettled = dict.fromkeys(bottleneck for bottleneck in stepped if len(bottleneck.pools) > 1)
    for bottleneck in stepped:
        touched.update(bottleneck.pools)
    for pool in list(touched):
        pool.advance()
        shared = [bottleneck for bottleneck in pool.bottlenecks if len(bottleneck.pools) > 1]
        if shared:
            unsettled.update(dict.fromkeys(shared))
        else:
            pool.level = pool.fill(min([bottleneck.capacity for bottleneck in pool.bottlenecks]))
    if unsettled:
        touched.update(_settle_together(unsettled, patience))
    for pool in touched:
        pool.arm()


def _settle_together(unsettled: dict[Bottleneck, None], patience: int) -> dict[Pool, None]:
    """Settle bottlenecks that share pools until nothing moves; the pools whose level changed."""
    order = len(unsettled)
    queue = [(bottleneck.level, number, bottleneck) for number, bottleneck in enumerate(unsettled)]
    heapify(queue)
    met = set(unsettled)
    moved: dict[Pool, None] = {}
    visits = 0
    while queue:
        visits += 1
        if visits > patience * len(met):
            moved.update(settle_in_order(unsettled))
            break
        bottleneck = heappop(queue)[2]
        del unsettled[bottleneck]
        for pool in bottleneck.settle():
            moved[pool] = None
            for other in pool.bottlenecks:
                if other is not bottleneck and len(other.pools) > 1 and other not in unsettled:
                    order += 1
                    heappush(queue, (other.level, order, other))
                    unsettled[other] = None
                    met.add(other)
    return moved


def settle_in_order(start: Iterable[Bottleneck]) -> dict[Pool, None]:
    """Settle all bottlenecks connected to ``start`` by progressive filling, the lowest level first; their pools.

    Slow (each round looks at all of them) and sure to end.
    """
    open_ones = dict.fromkeys(start)
    pools: dict[Pool, None] = {}
    frontier = list(open_ones)
    while frontier:
        for pool in frontier.pop().pools:
            if pool not in pools:
                pools[pool] = None
                for other in pool.bottlenecks:
                    if len(other.pools) > 1 and other not in open_ones:
                        open_ones[other] = None
                        frontier.append(other)
    for bottleneck in open_ones:
        bottleneck.level = math.inf
    while open_ones:
        levels: dict[Bottleneck, float] = {}
        for bottleneck in open_ones:
            bottleneck.settle()
            levels[bottleneck] = bottleneck.level
            bottleneck.level = math.inf
        lowest = min(levels, key=levels.__getitem__)
        if levels[lowest] == math.inf:
            break
        lowest.level = levels[lowest]
        del open_ones[lowest]
    for pool in pools:
        pool.level = pool.bind(*pool.limits(None))
    return pools
