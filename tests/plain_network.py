"""A first, plain engine: after every change all rates are computed anew by progressive filling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from simpy import Environment
from simpy.events import Event

from edgesim.signals import Signal
from edgesim.world.priorities import COMPLETION, SETTLE
from edgesim.world.schedule import call_at


class Link:
    """A link that transfers share: bytes per second over time. Made by :meth:`Network.link`."""

    __slots__ = ("_network", "capacity", "name")

    def __init__(self, network: Network, name: str, capacity: Signal) -> None:
        self._network = network
        self.name = name
        self.capacity = capacity

    def __repr__(self) -> str:
        return f"<Link {self.name}>"


@dataclass(frozen=True, slots=True)
class Transferred:
    """A transfer that has arrived: when it started (before its latency), when it ended, its size."""

    start_s: float
    end_s: float
    size_bytes: float


class Transfer(Event):
    """Bytes on their way over a path of links; succeeds with :class:`Transferred`."""

    def __init__(self, network: Network, links: tuple[Link, ...], size_bytes: float, latency_s: float) -> None:
        super().__init__(network.env)
        self._network = network
        self.links = links
        self.size_bytes = size_bytes
        self.latency_s = latency_s
        self.start_s = float(network.env.now)
        self._remaining = float(size_bytes)
        self._rate = 0.0
        self._cancelled = False

    @property
    def sent_bytes(self) -> float:
        """Bytes that have arrived by now; at most ``size_bytes``."""
        return self._network._sent(self)

    def cancel(self) -> float:
        """Stop; the bytes sent so far. A cancelled transfer never triggers; a delivered one stays."""
        return self._network._cancel(self)


class Network:
    """Links and what flows over them.

    Parameters
    ----------
    env
        The SimPy environment whose time it lives in.
    """

    def __init__(self, env: Environment) -> None:
        self.env = env
        self._flowing: dict[Transfer, None] = {}
        self._at_s: float = env.now
        self._settling = False
        self._alarm: object = None

    def link(self, name: str, capacity: Signal | float) -> Link:
        """Add a link of ``capacity`` bytes per second; zero is an outage, during which transfers wait."""
        return Link(self, name, capacity if isinstance(capacity, Signal) else Signal.constant(capacity))

    def transfer(self, links: Sequence[Link], *, size_bytes: float, latency_s: float = 0.0) -> Transfer:
        """Send ``size_bytes`` over all of ``links``: first the latency passes, then bytes flow.

        Raises
        ------
        ValueError
            A negative or infinite size or latency, a link twice, or a link of another network.
        """
        path = tuple(links)
        if not 0.0 <= size_bytes < math.inf:
            raise ValueError(f"a size is finite and at least 0 bytes, found {size_bytes!r}")
        if not 0.0 <= latency_s < math.inf:
            raise ValueError(f"a latency is finite and at least 0 s, found {latency_s!r}")
        if len(set(path)) != len(path):
            raise ValueError(f"a path crosses a link once, found {list(path)}")
        if any(link._network is not self for link in path):
            raise ValueError("a transfer crosses links of its own network only")
        transfer = Transfer(self, path, size_bytes, latency_s)
        if latency_s:
            call_at(self.env, self.env.now + latency_s, COMPLETION, lambda: self._begin(transfer))
        else:
            self._begin(transfer)
        return transfer

    def _begin(self, transfer: Transfer) -> None:
        if transfer._cancelled:
            return
        if not transfer._remaining:
            self._deliver(transfer)
            return
        self._advance()
        self._flowing[transfer] = None
        self._change()

    def _deliver(self, transfer: Transfer) -> None:
        transfer._remaining = 0.0
        transfer.succeed(Transferred(transfer.start_s, float(self.env.now), transfer.size_bytes))

    def _advance(self) -> None:
        elapsed_s = self.env.now - self._at_s
        self._at_s = self.env.now
        if elapsed_s:
            for transfer in self._flowing:
                transfer._remaining = max(0.0, transfer._remaining - transfer._rate * elapsed_s)

    def _sent(self, transfer: Transfer) -> float:
        if transfer in self._flowing:
            self._advance()
        return transfer.size_bytes - transfer._remaining

    def _cancel(self, transfer: Transfer) -> float:
        sent_bytes = self._sent(transfer)
        transfer._cancelled = True
        if transfer in self._flowing:
            del self._flowing[transfer]
            self._change()
        return sent_bytes

    def _change(self) -> None:
        if not self._settling:
            self._settling = True
            call_at(self.env, self.env.now, SETTLE, self._settle)

    def _settle(self) -> None:
        self._settling = False
        self._advance()
        now = self.env.now
        links = dict.fromkeys(link for transfer in self._flowing for link in transfer.links)
        rates = fill({link: link.capacity.value(now) for link in links}, {t: t.links for t in self._flowing})
        wake_s = min((link.capacity.next_change(now) for link in links), default=math.inf)
        for transfer, rate in rates.items():
            transfer._rate = rate
            if rate:
                wake_s = min(wake_s, now + transfer._remaining / rate)
        self._alarm = alarm = object()
        if wake_s < math.inf:
            call_at(self.env, wake_s, COMPLETION, lambda: self._wake(alarm))

    def _wake(self, alarm: object) -> None:
        if alarm is not self._alarm:
            return
        self._advance()
        now = self.env.now
        for transfer in list(self._flowing):
            if transfer._rate and now + transfer._remaining / transfer._rate <= now + 4 * math.ulp(now):
                del self._flowing[transfer]
                self._deliver(transfer)
        self._change()


def fill(capacities: dict[Link, float], paths: dict[Transfer, tuple[Link, ...]]) -> dict[Transfer, float]:
    """Max-min fair rates by progressive filling: links saturate one after the other."""
    rates: dict[Transfer, float] = {t: math.inf for t, path in paths.items() if not path}
    left = dict(capacities)
    users: dict[Link, dict[Transfer, None]] = {link: {} for link in capacities}
    for transfer, path in paths.items():
        for link in path:
            users[link][transfer] = None
    while open_links := [link for link in left if users[link]]:
        tightest = min(open_links, key=lambda link: left[link] / len(users[link]))
        share = max(0.0, left[tightest] / len(users[tightest]))
        for transfer in list(users[tightest]):
            rates[transfer] = share
            for link in paths[transfer]:
                left[link] -= share
                del users[link][transfer]
    return rates
