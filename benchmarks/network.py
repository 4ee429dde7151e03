"""Microseconds per transfer at n concurrent transfers, beside what a bare SimPy timeout costs. Run it by itself."""

import argparse
import gc
import random
import time
from collections.abc import Callable, Iterator

from simpy import Environment
from simpy.events import Event

from edgesim.signals import Signal
from edgesim.stage import COLLECTOR
from edgesim.world.network import Link, Network

Route = Callable[[int], list[Link]]


def star(network: Network, devices: int, rng: random.Random, ingress_ratio: float = 0.5) -> Route:
    """Each device has an uplink of its own; the ingress has a part of what all of them ask for."""
    speeds = [rng.uniform(0.2e6, 2e6) for _ in range(devices)]
    ingress = network.link("ingress", sum(speeds) * ingress_ratio)
    uplinks = [network.link("uplink", speed) for speed in speeds]
    return lambda device: [uplinks[device], ingress]


def star_of_equals(network: Network, devices: int, rng: random.Random) -> Route:
    """All uplinks alike, and an ingress that just fills them: all cross the level at once."""
    ingress = network.link("ingress", devices * 0.95e6)
    uplinks = [network.link("uplink", 1e6) for _ in range(devices)]
    return lambda device: [uplinks[device], ingress]


def idle_ingress(network: Network, devices: int, rng: random.Random) -> Route:
    """An ingress that cannot be overloaded."""
    return star(network, devices, rng, ingress_ratio=1.1)


def fading_star(network: Network, devices: int, rng: random.Random) -> Route:
    """A star whose uplinks follow a trace with a step every 10 s, each from another moment on."""
    trace = Signal.steps([10.0 * k for k in range(100)], [rng.uniform(0, 2e6) for _ in range(100)], 1000.0)
    ingress = network.link("ingress", devices * 0.5e6)
    uplinks = [network.link("uplink", trace.shifted(rng.uniform(0, 1000))) for _ in range(devices)]
    return lambda device: [uplinks[device], ingress]


def gateways(network: Network, devices: int, rng: random.Random) -> Route:
    """Ten gateways between the uplinks and the ingress, each with 80 % of what its devices ask for."""
    speeds = [rng.uniform(0.2e6, 2e6) for _ in range(devices)]
    ingress = network.link("ingress", sum(speeds) * 0.5)
    middle = [network.link("gateway", sum(speeds[number::10]) * 0.8) for number in range(10)]
    uplinks = [network.link("uplink", speed) for speed in speeds]
    return lambda device: [uplinks[device], middle[device % 10], ingress]


def peers(network: Network, devices: int, rng: random.Random) -> Route:
    """Each transfer from a random uplink to a random downlink: as many bottlenecks as devices."""
    up = [network.link("uplink", rng.uniform(0.2e6, 2e6)) for _ in range(devices)]
    down = [network.link("downlink", rng.uniform(0.2e6, 2e6)) for _ in range(devices)]
    return lambda device: [rng.choice(up), rng.choice(down)]


WORLDS = (star, star_of_equals, idle_ingress, fading_star, gateways, peers)


def us_per_transfer(build: Callable[[Network, int, random.Random], Route], concurrent: int, transfers: int) -> float:
    """Each device sends one transfer after the other; CPU time per transfer, start of all included."""
    rng = random.Random(0)
    env = Environment()
    network = Network(env)
    route = build(network, concurrent, rng)
    paths = [route(device) for device in range(concurrent)]
    sizes = [rng.expovariate(1e-6) for _ in range(transfers)]

    def device(path: list[Link]) -> Iterator[Event]:
        while sizes:
            yield network.transfer(path, size_bytes=sizes.pop())

    for path in paths:
        env.process(device(path))
    start_s = time.process_time()
    env.run()
    return (time.process_time() - start_s) / transfers * 1e6


def us_per_timeout(processes: int, timeouts: int = 100_000) -> float:
    """What SimPy itself takes for one event and one step of a process."""
    env = Environment()

    def wait(number: int) -> Iterator[Event]:
        for _ in range(timeouts // processes):
            yield env.timeout(1.0 + number / processes)

    for number in range(processes):
        env.process(wait(number))
    start_s = time.process_time()
    env.run()
    return (time.process_time() - start_s) / timeouts * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concurrent", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--repeat", type=int, default=3, help="the least of so many runs is shown")
    arguments = parser.parse_args()
    gc.set_threshold(*COLLECTOR)  # as in a run
    print(f"{'us per transfer at n =':24}" + "".join(f"{n:>10,}" for n in arguments.concurrent))
    for build in WORLDS:
        cells = []
        for concurrent in arguments.concurrent:
            slow = build in (gateways, peers, fading_star) and concurrent > 10_000  # minutes
            repeat = arguments.repeat if concurrent < 100_000 else 1
            runs = [
                us_per_transfer(build, concurrent, max(5_000, 3 * concurrent)) for _ in range(0 if slow else repeat)
            ]
            cells.append(f"{min(runs):10.1f}" if runs else f"{'-':>10}")
        print(f"{build.__name__:24}" + "".join(cells), flush=True)
    bare = [min(us_per_timeout(n) for _ in range(arguments.repeat)) for n in arguments.concurrent]
    print(f"{'a bare timeout':24}" + "".join(f"{us:10.2f}" for us in bare))


if __name__ == "__main__":
    main()
