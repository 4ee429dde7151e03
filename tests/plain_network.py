"""The plain oracle: after every change, all rates anew by progressive filling. The same face as the engine."""

import math
from collections.abc import Sequence

from simpy import Environment
from simpy.events import Event

from edgesim.signals import Signal
from edgesim.world.network import Transferred
from edgesim.world.network.reference import max_min_rates
from edgesim.world.priorities import COMPLETION, SETTLE
from edgesim.world.schedule import call_at

ROUNDING = 1e-12  # a transfer with less than this part of its bytes to go is done: two of its sums differ by rounding


class Transfer(Event):
    def __init__(self, network: "Network", links: tuple[int, ...], size_bytes: float) -> None:
        super().__init__(network.env)
        self.network = network
        self.links = links
        self.size_bytes = size_bytes
        self.start_s = network.env.now
        self.left = size_bytes
        self.rate = 0.0
        self.stopped = False

    @property
    def sent_bytes(self) -> float:
        self.network.advance()
        return self.size_bytes - self.left

    def stop(self) -> float:
        sent_bytes = self.sent_bytes
        self.stopped = True
        if self in self.network.flowing:
            self.network.flowing.remove(self)
            self.network.change()
        return sent_bytes


class Network:
    def __init__(self, env: Environment) -> None:
        self.env = env
        self.capacities: list[Signal] = []
        self.flowing: list[Transfer] = []
        self.at_s = env.now
        self.settling = False
        self.alarm: object = None

    def link(self, name: str, capacity: Signal) -> int:
        self.capacities.append(capacity)
        return len(self.capacities) - 1

    def transfer(self, links: Sequence[int], *, size_bytes: float, latency_s: float = 0.0) -> Transfer:
        transfer = Transfer(self, tuple(links), size_bytes)
        call_at(self.env, self.env.now + latency_s, COMPLETION, lambda: self.begin(transfer))
        return transfer

    def begin(self, transfer: Transfer) -> None:
        if not transfer.stopped:
            self.advance()
            self.flowing.append(transfer)
            self.change()

    def advance(self) -> None:
        elapsed_s = self.env.now - self.at_s
        self.at_s = self.env.now
        for transfer in self.flowing:
            transfer.left = max(0.0, transfer.left - transfer.rate * elapsed_s)

    def change(self) -> None:
        if not self.settling:
            self.settling = True
            call_at(self.env, self.env.now, SETTLE, self.settle)

    def settle(self) -> None:
        self.settling = False
        self.advance()
        now = self.env.now
        for transfer in list(self.flowing):
            if transfer.left <= ROUNDING * transfer.size_bytes:
                self.flowing.remove(transfer)
                transfer.left = 0.0
                transfer.succeed(Transferred(transfer.start_s, now, transfer.size_bytes))
        used = {link for transfer in self.flowing for link in transfer.links}
        capacities = {link: self.capacities[link].value(now) for link in used}
        wake_s = min([self.capacities[link].next_change(now) for link in used], default=math.inf)
        rates = max_min_rates(capacities, [transfer.links for transfer in self.flowing])
        for transfer, rate in zip(self.flowing, rates, strict=True):
            transfer.rate = rate
            if rate:
                wake_s = min(wake_s, now + transfer.left / rate)
        self.alarm = alarm = object()
        if wake_s < math.inf:
            call_at(self.env, wake_s, COMPLETION, lambda: self.wake(alarm))

    def wake(self, alarm: object) -> None:
        if alarm is self.alarm:
            self.change()
