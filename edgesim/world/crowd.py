"""Whose requests are in the lines on the way to the cloud and back: who leaves a shared line is told apart."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from .lines import Line
from .queueing import NO_WAIT, Batch

if TYPE_CHECKING:
    from .gateway import Gateway
    from .hardware import Hardware


class Stay:
    """A device's requests to the cloud from when it comes until it leaves: what is in line then is lost.

    Parameters
    ----------
    hardware
        Of the device.

    Attributes
    ----------
    uplink, downlink
        Its own lines.
    held
        Requests in any line of the way, its own or shared.
    due_s
        When the last of those that have left all lines is answered.
    asking
        Whether any are held, or were sent in the stretch of time that is being looked at.
    """

    __slots__ = ("asking", "downlink", "due_s", "held", "uplink")

    def __init__(self, hardware: Hardware) -> None:
        self.uplink, self.downlink = Line(hardware.uplink), Line(hardware.downlink)
        self.held = 0.0
        self.due_s = 0.0
        self.asking = False

    def answer(self, number: float, first_s: float, last_s: float, each_s: float) -> Batch:
        """Answer so many from ``first_s`` to ``last_s``, but after those before; then one each ``each_s`` at most."""
        if first_s < self.due_s:
            first_s = self.due_s
            last_s = max(last_s, first_s + number * each_s)
        self.due_s = last_s
        return Batch(number, first_s, last_s, 0.0, 0.0, NO_WAIT)


class Origin(NamedTuple):
    """Where requests come from.

    Attributes
    ----------
    stay
        Whose they are.
    gateway
        Which they pass, if any.
    flops
        What one answer costs.
    early
        Whether they were in a shared line before the stretch of time that is being looked at.
    """

    stay: Stay
    gateway: Gateway | None
    flops: float
    early: bool


Flow = dict[Origin, float]
"""How many requests of each origin pass during a stretch of time."""


class Crowd:
    """Who is in one shared line. They leave in the order of arrival; who came in one stretch of time leaves evenly.

    Parameters
    ----------
    work
        Of one request of an origin.
    """

    __slots__ = ("_parcels", "_work")

    def __init__(self, work: Callable[[Origin], float]) -> None:
        self._work = work
        self._parcels: deque[tuple[float, Flow]] = deque()  # work and requests that came in one stretch

    def __bool__(self) -> bool:
        return bool(self._parcels)

    def pass_time(self, coming: Flow, backlog: float) -> Flow:
        """Let ``coming`` join those in line; who leaves, so that a ``backlog`` of work is left."""
        parcels = self._parcels
        if coming:
            parcels.append((math.fsum(number * self._work(origin) for origin, number in coming.items()), coming))
        done = math.fsum(work for work, _ in parcels) - backlog
        leaving: Flow = {}
        while parcels and (done > 0.0 or not backlog):
            work, flow = parcels.popleft()
            share = min(1.0, done / work) if backlog else 1.0
            for origin, number in flow.items():
                leaving[origin] = leaving.get(origin, 0.0) + share * number
            if share < 1.0:
                parcels.appendleft((work - done, {origin: (1.0 - share) * number for origin, number in flow.items()}))
            done -= work
        if parcels:  # only the last ones came in this stretch
            work, flow = parcels.pop()
            aged: Flow = {}
            for origin, number in flow.items():
                before = origin._replace(early=True)
                aged[before] = aged.get(before, 0.0) + number
            parcels.append((work, aged))
        return leaving
