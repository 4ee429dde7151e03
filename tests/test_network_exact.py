"""The network against exact rational arithmetic: no rounding in the oracle, so ties are ties."""

import math
import random
from fractions import Fraction

import pytest
from network_worlds import Flow, Play, World

from edgesim.signals import Signal

Steps = dict[Fraction, Fraction]  # time -> bytes/s from there on
NEVER = Fraction(10**9)


def exact_rates(capacities: list[Fraction], paths: dict[int, tuple[int, ...]]) -> dict[int, Fraction]:
    """Progressive filling, by raising one common level."""
    rates: dict[int, Fraction] = {}
    while open_paths := {flow: path for flow, path in paths.items() if flow not in rates}:
        shares = {}
        for link in {link for path in open_paths.values() for link in path}:
            taken = sum(rate for flow, rate in rates.items() if link in paths[flow])
            shares[link] = (capacities[link] - taken) / sum(link in path for path in open_paths.values())
        level = min(shares.values())
        full = {link for link, share in shares.items() if share == level}
        rates.update({flow: level for flow, path in open_paths.items() if full & set(path)})
    return rates


def exact_ends(links: list[Steps], flows: list[tuple[Fraction, tuple[int, ...], Fraction]]) -> dict[int, Fraction]:
    """When each (start, path, size) ends, from event to event."""
    left = {number: size for number, (_, _, size) in enumerate(flows)}
    ends: dict[int, Fraction] = {}
    now = Fraction(0)
    while left and now < NEVER:
        capacities = [steps[max(time for time in steps if time <= now)] for steps in links]
        flowing = {number: flows[number][1] for number in left if flows[number][0] <= now}
        rates = exact_rates(capacities, flowing)
        events = [flows[number][0] for number in left] + [time for steps in links for time in steps]
        events += [now + left[number] / rate for number, rate in rates.items() if rate]
        then = min((time for time in events if time > now), default=NEVER)
        for number, rate in rates.items():
            left[number] -= rate * (then - now)
            if not left[number]:
                ends[number] = then
                del left[number]
        now = then
    return ends


def random_case(seed: int) -> tuple[list[Steps], list[tuple[Fraction, tuple[int, ...], Fraction]]]:
    rng = random.Random(seed)
    devices, gateways = rng.randint(1, 6), rng.randint(1, 2)

    def steps(most: int) -> Steps:
        times = sorted(rng.sample(range(1, 12), rng.choice([0, 0, 1, 2])))
        values = {Fraction(0): Fraction(rng.randint(1, most))}
        values.update({Fraction(time): Fraction(rng.randint(0, most)) for time in times})
        return values | {Fraction(12): Fraction(rng.randint(1, most))}

    up, down = range(devices), range(devices, 2 * devices)
    middle = range(2 * devices, 2 * devices + gateways)
    ingress = 2 * devices + gateways
    links = [steps(6) for _ in (*up, *down)] + [steps(9) for _ in middle] + [steps(3 * devices)]
    flows = []
    for _ in range(rng.randint(1, 9)):
        device = rng.randrange(devices)
        path = rng.choice(
            [(up[device], ingress), (up[device], middle[device % gateways], ingress), (up[device], rng.choice(down))]
        )
        flows.append((Fraction(rng.randint(0, 8)), path, Fraction(rng.randint(1, 30))))
    return links, flows


def test_the_exact_oracle_solves_a_case_worked_by_hand() -> None:
    up, ingress = {Fraction(0): Fraction(3)}, {Fraction(0): Fraction(9), Fraction(2): Fraction(4)}
    flows = [(Fraction(0), (0, 1), Fraction(10)), (Fraction(0), (1,), Fraction(20))]
    # 3 and 6 until 2 s, then 2 each: 4 left take 2 s; the other has 4 left at 4 s and then 4 B/s
    assert exact_ends([up, ingress], flows) == {0: 4, 1: 5}


@pytest.mark.parametrize("block", range(10))
def test_ends_are_exact_to_1e_minus_9(block: int) -> None:
    for seed in range(25 * block, 25 * block + 25):
        links, flows = random_case(seed)
        world = World(
            tuple(Signal.steps(steps, steps.values()) for steps in links),
            tuple(Flow(float(start), path, float(size)) for start, path, size in flows),
        )
        ends = Play(world).to_the_end(1e6)
        expected = exact_ends(links, flows)
        assert ends.keys() == expected.keys()
        for number, end in expected.items():
            assert math.isclose(ends[number][1], end, rel_tol=1e-12), (seed, number)
