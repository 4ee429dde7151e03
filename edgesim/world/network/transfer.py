"""The two things that a user of the network holds: links and transfers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from simpy.events import Event

from ...signals import Signal
from .fair_queue import Entry

if TYPE_CHECKING:
    from .bottleneck import Bottleneck
    from .network import Network
    from .pool import Group
    from .route import Route


class Link:
    """Bytes per second over time, shared by what crosses it. Made by :meth:`Network.link`.

    Attributes
    ----------
    name
        For people; need not be unique.
    capacity
        Bytes per second over time; zero is an outage.
    """

    __slots__ = ("bottleneck", "capacity", "idle", "load", "name", "network", "routes")

    def __init__(self, network: Network, name: str, capacity: Signal) -> None:
        self.network = network
        self.name = name
        self.capacity = capacity
        self.routes: Route | dict[Route, None] | None = None  # in use: one is kept bare, a million links are idle
        self.idle: Route | None = (
            None  # the latest route that it was an end of, and the narrower one: they are often used again
        )
        self.load = 0.0  # bytes/s that its routes could take at most, together
        self.bottleneck: Bottleneck | None = None  # while that is more than it has

    def __repr__(self) -> str:
        return f"<Link {self.name}>"


class Transferred(NamedTuple):
    """A transfer that has arrived.

    Attributes
    ----------
    start_s
        When it was started, before its latency.
    end_s
        When its last byte arrived.
    size_bytes
        All of which arrived.
    """

    start_s: float
    end_s: float
    size_bytes: float


class Transfer(Event):
    """Bytes on their way over a path of links; succeeds with :class:`Transferred`, unless a subclass says otherwise.

    See :meth:`Network.transfer`.

    Attributes
    ----------
    links, size_bytes, latency_s
        As they were given.
    start_s
        When it was started.
    """

    left: float  # bytes to go, while it is in no queue
    entry: Entry | None = None  # its place in a queue
    holder: Group | None = None  # the group that it is in, where bottlenecks are on its way
    route: Route | None = None  # while bytes flow
    arrived = False
    stopped = False

    def __init__(self, network: Network, links: tuple[Link, ...], size_bytes: float, latency_s: float) -> None:
        self.env = env = network.env
        self.callbacks = []
        self.network = network
        self.links = links
        self.size_bytes = self.left = size_bytes
        self.latency_s = latency_s
        self.start_s = float(env._now)

    @property
    def sent_bytes(self) -> float:
        """Bytes that have arrived by now, from 0 to ``size_bytes``; looking changes nothing."""
        return self.size_bytes - self.network.left(self)

    @property
    def rate_bytes_per_s(self) -> float:
        """How fast its bytes flow now: 0 during its latency, an outage, or once it has ended.

        What started, ended or stepped at this very instant counts once the instant is over.
        """
        return self.network.rate(self)

    def delivered(self) -> None:
        """All its bytes have arrived."""
        self.succeed(Transferred(self.start_s, self.env.now + 0.0, self.size_bytes))

    def stop(self) -> float:
        """Stop; the bytes that have arrived by now, at most ``size_bytes``.

        A stopped transfer never arrives. One that has arrived stays so, and stopping twice changes nothing.
        """
        return self.network.stop(self)
