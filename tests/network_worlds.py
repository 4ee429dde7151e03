"""Random worlds for the network: stars, trees, peers and tangles, with steps, outages, latencies and cancellations.

A world is plain data, so the engine, the plain oracle and changed copies of a world can all play it.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from simpy import Environment
from simpy.events import Event

from edgesim.signals import Signal
from edgesim.world import network as engine

SHAPES = ("star", "gateways", "three_tiers", "peers", "star_and_peers", "tangle")


@dataclass(frozen=True)
class Flow:
    """One transfer: when it starts, over which links (numbers), and when it is cancelled, if it still runs then."""

    start_s: float
    path: tuple[int, ...]
    size_bytes: float
    latency_s: float = 0.0
    cancel_s: float = math.inf


@dataclass(frozen=True)
class World:
    """Capacities of all links, and what flows."""

    links: tuple[Signal, ...]
    flows: tuple[Flow, ...]
    start_s: float = 0.0


class Dice:
    """Draws either round numbers, which make ties, or any."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.round = self.rng.random() < 0.5
        self.kinds = self.rng.choice([("constant",), ("constant", "steps"), ("constant", "steps", "loop"), ("loop",)])

    def number(self, low: int, high: int) -> float:
        return self.rng.randint(low, high) if self.round else self.rng.uniform(low + 0.01, high)

    def capacity(self, scale: float = 1.0) -> Signal:
        kind = self.rng.choice(self.kinds)
        if kind == "constant":
            return Signal.constant(self.number(1, 12) * scale)
        times = [0.0]
        for _ in range(self.rng.randint(1, 4)):
            times.append(times[-1] + self.number(1, 5))
        values = [self.rng.choice([0.0, self.number(1, 12), self.number(1, 12)]) * scale for _ in times]
        values[-1] = values[-1] or 1.0
        return Signal.steps(times, values, times[-1] + self.number(1, 4) if kind == "loop" else None)


def random_world(seed: int, shape: str, devices: int = 12) -> World:
    dice = Dice(seed)
    rng = dice.rng
    devices = rng.randint(1, devices)
    links: list[Signal] = []

    def add(number: int, scale: float = 1.0) -> list[int]:
        alike = dice.capacity(scale) if rng.random() < 0.3 else None
        links.extend(alike or dice.capacity(scale) for _ in range(number))
        return list(range(len(links) - number, len(links)))

    up, down = add(devices), add(devices)
    ingress, egress = add(2, rng.choice([1, 2, max(1, devices // 3)]))
    gateways, regions = add(rng.randint(1, 4), rng.choice([1, 2])), add(2, 2)

    def path() -> tuple[int, ...]:
        device, other = rng.randrange(devices), rng.randrange(devices)
        gateway = gateways[device % len(gateways)]
        match shape:
            case "star":
                return (up[device], ingress) if rng.random() < 0.9 else (ingress,)
            case "gateways":
                return (up[device], gateway, ingress)
            case "three_tiers":
                tiers = (up[device], gateway, regions[gateway % 2], ingress)
                return tiers if rng.random() < 0.9 else tiers[: rng.randint(1, 4)]
            case "peers":
                return (up[device], down[other])
            case "star_and_peers":
                return rng.choice([(up[device], ingress), (egress, down[device]), (up[device], down[other])])
        return tuple(rng.sample(range(len(links)), rng.randint(1, 4)))

    span_s = rng.choice([0, 3, 20])
    flows = []
    for _ in range(rng.randint(1, 2 * devices)):
        start_s = dice.number(0, span_s) if span_s else 0.0
        size_bytes = rng.choice([dice.number(1, 80), dice.number(1, 80), 5, 300, 0])
        latency_s = rng.choice([0, 0, dice.number(0, 3)])
        cancel_s = start_s + dice.number(0, 9) + math.pi / 7 if rng.random() < 0.1 else math.inf
        flows.append(Flow(start_s, path(), size_bytes, latency_s, cancel_s))
    return World(tuple(links), tuple(flows))


def later(world: World, by_s: float) -> World:
    """The same world, ``by_s`` later."""
    return replace(world, links=tuple(link.shifted(by_s) for link in world.links), start_s=by_s)


class Play:
    """A world being played on an engine (or on the plain oracle, which has the same face)."""

    def __init__(self, world: World, module: Any = engine) -> None:
        self.env = Environment(initial_time=world.start_s)
        self.world = world
        self.network = module.Network(self.env)
        self.links = [self.network.link(str(number), capacity) for number, capacity in enumerate(world.links)]
        self.transfers: dict[int, Any] = {}
        self.ends: dict[int, tuple[str, float, float]] = {}
        for number, flow in enumerate(world.flows):
            self.env.process(self._send(number, flow))

    def _send(self, number: int, flow: Flow) -> Iterator[Event]:
        yield self.env.timeout(flow.start_s)
        path = [self.links[link] for link in flow.path]
        transfer = self.network.transfer(path, size_bytes=flow.size_bytes, latency_s=flow.latency_s)
        self.transfers[number] = transfer
        if flow.cancel_s < math.inf:
            yield transfer | self.env.timeout(max(0.0, self.world.start_s + flow.cancel_s - self.env.now))
            if not transfer.triggered:
                self.ends[number] = ("cut", self.env.now, transfer.stop())
                return
        else:
            yield transfer
        assert transfer.value.end_s == self.env.now
        self.ends[number] = ("delivered", transfer.value.end_s, transfer.sent_bytes)

    def to_the_end(self, horizon_s: float = 600.123) -> dict[int, tuple[str, float, float]]:
        """How, when and after how many bytes each flow ended; those that never end are missing."""
        self.env.run(self.world.start_s + horizon_s)
        return self.ends


def assert_same(found: dict[int, Any], expected: dict[int, Any], shift_s: float = 0.0) -> None:
    """Compare two plays, flow by flow, to 1e-9 of the time since the start."""
    assert found.keys() == expected.keys()
    for number, (how, end_s, sent_bytes) in expected.items():
        assert found[number][0] == how, number
        assert abs(found[number][1] - shift_s - end_s) <= 1e-9 * max(end_s, 1e-3) + 1e-15 * shift_s, number
        assert abs(found[number][2] - sent_bytes) <= 1e-9 * max(sent_bytes, 1.0) + 1e-13 * shift_s, number
