"""The network against its definition: max-min fair at every instant, and what follows from that."""

import itertools
import math
import random
from dataclasses import replace

import plain_network
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_worlds import SHAPES, Flow, Play, World, assert_same, later, random_world

from edgesim.signals import Signal
from edgesim.world.network import bottleneck, network
from edgesim.world.network.reference import max_min_rates

SEEDS = st.integers(0, 2**32)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_rates_are_max_min_fair_at_every_instant(shape: str, seed: int) -> None:
    world = random_world(seed, shape)
    play = Play(world)
    moments = sorted({k * 0.37 for k in range(40)} | {k * 3.1 for k in range(20)})
    for time_s in moments[1:]:
        play.env.run(time_s)
        flowing = [n for n, t in play.transfers.items() if t.entry is not None]
        capacities = {link: signal.value(time_s) for link, signal in enumerate(world.links)}
        if any(signal.next_change(time_s - 1e-9) <= time_s for signal in world.links):
            continue  # a step at this very instant is settled after it
        paths = [world.flows[n].path for n in flowing]
        rates = [play.transfers[n].rate_bytes_per_s for n in flowing]
        assert rates == pytest.approx(max_min_rates(capacities, paths), rel=1e-9, abs=1e-9)

        load = dict.fromkeys(capacities, 0.0)
        fastest = dict.fromkeys(capacities, 0.0)
        for path, rate in zip(paths, rates, strict=True):
            for link in path:
                load[link] += rate
                fastest[link] = max(fastest[link], rate)
        assert all(load[link] <= capacity * (1 + 1e-9) for link, capacity in capacities.items())
        for path, rate in zip(paths, rates, strict=True):
            full = [link for link in path if load[link] >= capacities[link] * (1 - 1e-9)]
            assert any(rate >= fastest[link] * (1 - 1e-9) for link in full), "held back by nothing"


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_the_engine_agrees_with_plain_progressive_filling(shape: str, seed: int) -> None:
    world = random_world(seed, shape)
    assert_same(Play(world).to_the_end(), Play(world, plain_network).to_the_end())


@pytest.mark.parametrize("shape", ["gateways", "peers", "star_and_peers", "tangle"])
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_settling_in_order_gives_the_same_levels(shape: str, seed: int) -> None:
    world = random_world(seed, shape)
    expected = Play(world).to_the_end()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "settle", lambda pools, stepped: bottleneck.settle(pools, stepped, patience=-1))
        assert_same(Play(world).to_the_end(), expected)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, shape=st.sampled_from(SHAPES))
def test_bytes_are_the_integral_of_the_rate(seed: int, shape: str) -> None:
    world = random_world(seed, shape)
    play = Play(world)
    moved = dict.fromkeys(range(len(world.flows)), 0.0)
    time_s = 0.0
    while (next_s := play.env.peek()) < 500.0:
        if next_s > time_s:  # between events nothing changes, unless a capacity steps under a lone transfer
            for number, transfer in play.transfers.items():
                if transfer.entry is not None and transfer.holder is not None:
                    moved[number] += transfer.rate_bytes_per_s * (next_s - time_s)
                elif transfer.entry is not None:
                    before_bytes = transfer.sent_bytes
                    steps = Signal.minimum(*[world.links[link] for link in world.flows[number].path])
                    sharers = sum(other.links == transfer.links for other in play.transfers.values() if other.entry)
                    moved[number] += steps.integral(time_s, next_s) / sharers
                    assert transfer.sent_bytes == before_bytes
            time_s = next_s
        play.env.step()
    for number, (_, _, sent_bytes) in play.ends.items():
        assert moved[number] == pytest.approx(sent_bytes, rel=1e-9, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, shape=st.sampled_from(SHAPES))
def test_permuting_flows_permutes_completions(seed: int, shape: str) -> None:
    world = random_world(seed, shape)
    order = list(range(len(world.flows)))
    random.Random(seed).shuffle(order)
    shuffled = World(world.links, tuple(world.flows[number] for number in order))
    ends = Play(shuffled).to_the_end()
    assert_same({order[number]: end for number, end in ends.items()}, Play(world).to_the_end())


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, shape=st.sampled_from(SHAPES), by_s=st.sampled_from([1.0, 1e3, 1e7]))
def test_a_later_start_delays_everything_by_as_much(seed: int, shape: str, by_s: float) -> None:
    world = random_world(seed, shape)
    links = [Signal.steps(link.times_s, link.values) for link in world.links]  # a shifted loop would turn
    flows = tuple(replace(flow, cancel_s=math.inf) for flow in world.flows)
    world = World(tuple(links), flows)
    assert_same(Play(later(world, by_s)).to_the_end(), Play(world).to_the_end(), shift_s=by_s)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, shape=st.sampled_from(SHAPES), scale=st.sampled_from([1e-3, 8.0, 1e9]))
def test_other_units_of_data_change_no_time(seed: int, shape: str, scale: float) -> None:
    world = random_world(seed, shape)
    flows = tuple(replace(flow, size_bytes=flow.size_bytes * scale) for flow in world.flows)
    scaled = Play(World(tuple(link.scaled(scale) for link in world.links), flows)).to_the_end()
    ends = {number: (how, end_s, sent_bytes / scale) for number, (how, end_s, sent_bytes) in scaled.items()}
    assert_same(ends, Play(world).to_the_end())


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, factor=st.floats(1.0, 5.0))
def test_a_faster_shared_link_never_delivers_later(seed: int, factor: float) -> None:
    rng = random.Random(seed)
    devices = rng.randint(1, 10)
    access = [Signal.constant(rng.uniform(1, 10)) for _ in range(devices)]
    flows = tuple(Flow(rng.uniform(0, 5), (d, devices), rng.uniform(1, 50)) for d in range(devices))
    shared = Signal.steps([0, 3, 6], [rng.uniform(1, 20), rng.uniform(0, 20), rng.uniform(1, 20)])
    slow = Play(World((*access, shared), flows)).to_the_end()
    fast = Play(World((*access, shared.scaled(factor)), flows)).to_the_end()
    assert all(fast[n][1] <= slow[n][1] * (1 + 1e-9) for n in slow)


@given(size=st.floats(1, 1e4), capacity=st.floats(0.1, 100), more=st.floats(0, 100), outage=st.floats(0.1, 9))
def test_an_outage_delays_a_lone_transfer_by_its_length_and_loses_nothing(
    size: float, capacity: float, more: float, outage: float
) -> None:
    alone_s = size / capacity
    cut_s = alone_s / 2
    steps = Signal.steps([0, cut_s, cut_s + outage], [capacity, 0, capacity])
    (how, end_s, sent_bytes), *_ = Play(World((steps,), (Flow(0, (0,), size),))).to_the_end(1e9).values()
    assert (how, sent_bytes) == ("delivered", size)
    assert end_s == pytest.approx(alone_s + outage, rel=1e-9)
    faster = Signal.steps([0, cut_s, cut_s + outage], [capacity + more, 0, capacity + more])
    ends = Play(World((faster,), (Flow(0, (0,), size),))).to_the_end(1e9)
    assert ends[0][1] <= end_s * (1 + 1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_looking_changes_nothing(seed: int) -> None:
    world = random_world(seed, SHAPES[seed % len(SHAPES)])
    unseen, seen = Play(world), Play(world)
    for time_s in itertools.takewhile(lambda t: t < 30, itertools.count(0.1, 0.21)):
        seen.env.run(time_s)
        for transfer in seen.transfers.values():
            assert 0.0 <= transfer.sent_bytes <= transfer.size_bytes
    assert seen.to_the_end() == unseen.to_the_end()
