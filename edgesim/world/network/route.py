"""A path in use: the transfers on it, and what serves them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...signals import Signal

if TYPE_CHECKING:
    from simpy.events import Event

    from .fair_queue import FairQueue
    from .pool import Group, Pool
    from .transfer import Link, Transfer

NO_CAP = Signal.constant(math.inf)


class Route:
    """A path with transfers on it; when they are gone the narrower of its ends keeps it, for the next ones."""

    __slots__ = ("alarm", "cap", "free_queue", "group", "path", "peak", "pool", "queue", "steady", "transfers")

    def __init__(self, path: tuple[Link, ...]) -> None:
        self.path = path
        self.peak = min([link.capacity.highest for link in path])  # bytes/s, at most
        self.free_queue: FairQueue[Transfer] | None = None  # what serves it where no link is a bottleneck
        self.transfers: dict[Transfer, None] = {}
        self.cap = NO_CAP  # bytes/s for all transfers together, by the links that merely cap
        self.steady: float | None = math.inf  # the same where it is constant, None where it is not
        self.queue: FairQueue[Transfer] | None = None  # without bottlenecks
        self.pool: Pool | None = None  # with bottlenecks
        self.group: Group | None = None  # in the pool, where the cap of a transfer changes over time
        self.alarm: Event | None = None  # at the next step of the cap, in a pool
