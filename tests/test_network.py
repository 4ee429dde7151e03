"""The network in tiny worlds worked by hand."""

import gc
import math
import sys
from collections.abc import Iterator

import pytest
from simpy import Environment
from simpy.events import Event

from edgesim.signals import Signal
from edgesim.world.network import Link, Network, Transfer, Transferred
from edgesim.world.network.alarm import Alarm
from edgesim.world.priorities import COMPLETION


class Wire:
    """A network and its environment, with ends written down by name."""

    def __init__(self, start_s: float = 0.0) -> None:
        self.env = Environment(initial_time=start_s)
        self.network = Network(self.env)
        self.log: list[tuple[float, str]] = []
        self.transfers: dict[str, Transfer] = {}

    def links(self, **capacities: Signal | float) -> list[Link]:
        return [self.network.link(name, capacity) for name, capacity in capacities.items()]

    def send(self, name: str, size: float, *links: Link, at: float | None = None, latency: float = 0.0) -> None:
        def run() -> Iterator[Event]:
            if at is not None:
                yield self.env.timeout(at - self.env.now)
            transfer = self.network.transfer(links, size_bytes=size, latency_s=latency)
            self.transfers[name] = transfer
            yield transfer
            self.log.append((self.env.now, name))

        self.env.process(run())

    def cut(self, name: str, at: float) -> None:
        def run() -> Iterator[Event]:
            yield self.env.timeout(at - self.env.now)
            self.log.append((self.transfers[name].stop(), f"{name} cut"))

        self.env.process(run())

    def play(self, until: float | None = None) -> list[tuple[float, str]]:
        self.env.run(until)
        return self.log


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_latency_comes_first_then_bytes_flow(wire: Wire) -> None:
    (link,) = wire.links(link=10)
    wire.send("a", 40, link, latency=2)
    assert wire.play() == [(6, "a")]
    assert wire.transfers["a"].value == Transferred(start_s=0, end_s=6, size_bytes=40)


def test_a_transfer_in_its_latency_takes_no_bandwidth(wire: Wire) -> None:
    (link,) = wire.links(link=10)
    wire.send("late", 50, link, latency=5)
    wire.send("now", 50, link)
    assert wire.play() == [(5, "now"), (10, "late")]


def test_nothing_to_send_takes_the_latency_only(wire: Wire) -> None:
    (link,) = wire.links(link=0)
    wire.send("empty", 0, link, latency=3)
    wire.send("local", 1e9, latency=4)
    wire.send("instant", 0, link)
    assert wire.play() == [(0, "instant"), (3, "empty"), (4, "local")]


@pytest.mark.parametrize("ingress", [math.inf, 3.0])  # by themselves, and in a pool
def test_of_transfers_that_end_together_the_first_to_be_told_finds_the_others_there(wire: Wire, ingress: float) -> None:
    seen: list[list[float]] = []

    class Curious(Transfer):
        def delivered(self) -> None:
            seen.append([transfer.sent_bytes for transfer in transfers])
            super().delivered()

    up, shared, other = wire.links(up=4, shared=ingress, other=4)
    wire.send("other", 1000, other, shared)  # what makes a narrow link a bottleneck
    transfers = [Curious(wire.network, (up, shared), 30.0, 0.0) for _ in range(2)]
    for transfer in transfers:
        wire.network.start(transfer)
    wire.play()
    assert seen == [[30.0, 30.0]] * 2


def test_a_transfer_stopped_as_another_ends_at_its_own_last_instant_is_not_delivered(wire: Wire) -> None:
    delivered: list[int] = []

    class Rival(Transfer):
        def delivered(self) -> None:
            delivered.append(transfers.index(self))
            assert transfers[1].stop() == 30.0

    (up,) = wire.links(up=4)
    transfers = [Rival(wire.network, (up,), 30.0, 0.0) for _ in range(2)]
    for transfer in transfers:
        wire.network.start(transfer)
    wire.play()
    assert delivered == [0]


def test_an_unlimited_link_is_never_a_bottleneck(wire: Wire) -> None:
    backbone, slow = wire.links(backbone=math.inf, slow=5)
    wire.send("a", 10, backbone, slow)
    wire.send("b", 1e12, backbone)
    assert wire.play() == [(0, "b"), (2, "a")]


def test_a_device_shares_its_access_link_before_the_cloud_shares_its_own(wire: Wire) -> None:
    up_1, up_2, ingress = wire.links(up_1=3, up_2=100, ingress=9)
    wire.send("a", 3, up_1, ingress)  # 1.5 each from device 1, 6 for c
    wire.send("b", 6, up_1, ingress)  # from 2 s on b alone has 3
    wire.send("c", 30, up_2, ingress)  # 12 by 2 s, 6 again by 3 s, then 9
    assert wire.play() == [(2, "a"), (3, "b"), (3 + 12 / 9, "c")]


def test_a_gateway_is_filled_before_the_ingress(wire: Wire) -> None:
    up = wire.links(**{f"up_{i}": 10 for i in range(3)})
    gateway_1, gateway_2, ingress = wire.links(gateway_1=4, gateway_2=10, ingress=9)
    wire.send("a", 8, up[0], gateway_1, ingress)  # 2
    wire.send("b", 12, up[1], gateway_1, ingress)  # 2, then 4 from 4 s on
    wire.send("c", 25, up[2], gateway_2, ingress)  # 5
    assert sorted(wire.play()) == [(4, "a"), (5, "b"), (5, "c")]


def test_a_gateway_that_slows_down_leaves_more_to_others(wire: Wire) -> None:
    up = wire.links(**{f"up_{i}": 10 for i in range(2)})
    gateway, ingress = wire.links(gateway=Signal.steps([0, 4, 8], [10, 2, 10]), ingress=10)
    wire.send("behind", 33, up[0], gateway, ingress)  # 5, 2, 5: 20 + 8 by 8 s, 5 more by 9 s
    wire.send("direct", 57, up[1], ingress)  # 5, 8, 5: 20 + 32 by 8 s, 5 more by 9 s
    assert sorted(wire.play()) == [(9, "behind"), (9, "direct")]


def test_peers_meet_at_the_slower_of_up_and_down(wire: Wire) -> None:
    up_a, up_b, down_c, down_d = wire.links(up_a=10, up_b=6, down_c=8, down_d=20)
    wire.send("ac", 40, up_a, down_c)  # 4: half of down_c
    wire.send("bc", 40, up_b, down_c)  # 4
    wire.send("ad", 60, up_a, down_d)  # 6: what ac leaves of up_a
    assert sorted(wire.play()) == [(10, "ac"), (10, "ad"), (10, "bc")]


def test_uploads_and_peers_of_one_device_share_its_uplink(wire: Wire) -> None:
    up_a, up_b, down_c, ingress = wire.links(up_a=6, up_b=10, down_c=2, ingress=10)
    wire.send("to the cloud", 40, up_a, ingress)  # 4
    wire.send("to a peer", 10, up_a, down_c)  # 2, until 5 s
    wire.send("other", 60, up_b, ingress)  # 6, then 5 while the first has 5
    assert wire.play() == [(5, "to a peer"), (9, "to the cloud"), (10, "other")]


def test_an_uplink_outage_stops_one_and_speeds_up_the_other(wire: Wire) -> None:
    up_1, up_2, ingress = wire.links(up_1=Signal.steps([0, 2, 6], [10, 0, 10]), up_2=10, ingress=10)
    wire.send("cut", 50, up_1, ingress)
    wire.send("lucky", 50, up_2, ingress)
    assert wire.play() == [(6, "lucky"), (10, "cut")]


def test_bytes_that_arrive_as_an_outage_starts_have_arrived(wire: Wire) -> None:
    shared = Signal.steps([0, 4], [10, 0])
    for share in (1, 3, 7):
        (link,) = wire.links(link=shared)
        for number in range(share):
            wire.send(f"{number} of {share}", 40 / share, link)
    assert [time_s for time_s, _ in wire.play(100)] == [4] * 11


def test_what_starts_as_another_ends_finds_the_link_free(wire: Wire) -> None:
    up_1, up_2, ingress = wire.links(up_1=10, up_2=10, ingress=10)
    wire.send("first", 50, up_1, ingress)
    wire.send("second", 50, up_2, ingress, at=5)
    assert wire.play() == [(5, "first"), (10, "second")]


def test_a_burst_of_equal_transfers_ends_at_one_instant(wire: Wire) -> None:
    (ingress,) = wire.links(ingress=1000)
    for number in range(3000):
        wire.send(str(number), 1.0, *wire.links(up=1 + number % 7), ingress)
    log = wire.play()
    assert {time_s for time_s, _ in log} == {3.0}
    assert [name for _, name in log] == [str(number) for number in range(3000)]


def test_transfers_that_end_together_end_at_one_instant(wire: Wire) -> None:
    up_1, up_2, up_3, ingress = wire.links(up_1=0.1, up_2=0.3, up_3=0.7, ingress=0.9)
    wire.send("a", 0.1 * 3, up_1, ingress)
    wire.send("b", 0.3 * 3, up_2, ingress)
    wire.send("c", 0.5 * 3, up_3, ingress)
    assert len({time_s for time_s, _ in wire.play()}) == 1


def test_bytes_can_be_read_at_any_time(wire: Wire) -> None:
    up_1, up_2, ingress = wire.links(up_1=2, up_2=100, ingress=10)
    wire.send("slow", 10, up_1, ingress, latency=1)
    wire.send("fast", 60, up_2, ingress)
    seen = []
    for time_s in (0.5, 1, 2, 4, 6, 7, 8):
        wire.env.run(time_s)
        seen.append([(t.sent_bytes, t.rate_bytes_per_s) for t in wire.transfers.values()])
    assert seen == [
        [(0, 0), (5, 10)],
        [(0, 0), (10, 10)],
        [(2, 2), (18, 8)],
        [(6, 2), (34, 8)],
        [(10, 2), (50, 8)],  # the horizon comes before what happens at it
        [(10, 0), (60, 10)],
        [(10, 0), (60, 0)],
    ]


def test_cancelling_frees_the_link_and_tells_what_was_sent(wire: Wire) -> None:
    (link,) = wire.links(link=10)
    wire.send("kept", 100, link)
    wire.send("dropped", 100, link)
    wire.cut("dropped", at=4)
    assert wire.play(50) == [(20, "dropped cut"), (12, "kept")]
    dropped = wire.transfers["dropped"]
    assert not dropped.triggered
    assert (dropped.stop(), dropped.sent_bytes, dropped.rate_bytes_per_s) == (20, 20, 0)


def test_cancelling_in_the_latency_sends_nothing(wire: Wire) -> None:
    (link,) = wire.links(link=10)
    wire.send("a", 100, link, latency=3)
    wire.cut("a", at=2)
    assert wire.play() == [(0, "a cut")]
    assert not wire.transfers["a"].triggered


@pytest.mark.parametrize("alike", [True, False])
def test_what_is_cut_as_it_starts_has_sent_nothing_whatever_rounding_says(alike: bool) -> None:
    for number in range(1, 200):
        wire = Wire()
        size = number / 7
        link, other = wire.links(link=0.1, other=0.3)
        wire.send("busy", 1000.0, *([link] if alike else [other, link]))
        wire.send("short", size, link, at=3.1)

        def look(wire: Wire = wire, size: float = size) -> Iterator[Event]:
            yield wire.env.timeout(3.1)
            yield wire.env.timeout(0.0)
            yield wire.env.timeout(0.0)
            assert 0.0 <= wire.transfers["short"].sent_bytes <= 1e-9 * size
            assert 0.0 <= wire.transfers["short"].stop() <= 1e-9 * size

        wire.env.process(look())
        wire.play(until=4.0)


def test_cancelling_what_has_arrived_changes_nothing(wire: Wire) -> None:
    (link,) = wire.links(link=10)
    wire.send("a", 100, link)
    wire.cut("a", at=11)
    assert wire.play() == [(10, "a"), (100, "a cut")]
    assert wire.transfers["a"].value.end_s == 10


def test_cancelling_as_the_last_byte_arrives_keeps_all_bytes(wire: Wire) -> None:
    up_1, up_2, ingress = wire.links(up_1=10, up_2=10, ingress=10)
    wire.send("a", 50, up_1, ingress)
    wire.send("b", 100, up_2, ingress)
    wire.cut("a", at=10)
    assert wire.play()[0] in [(50, "a cut"), (10, "a")]
    assert wire.log[-1] == (15, "b")


def test_one_of_several_transfers_of_a_device_can_be_cancelled(wire: Wire) -> None:
    up_1, up_2, ingress = wire.links(up_1=6, up_2=6, ingress=9)
    for name in "ab":
        wire.send(name, 30, up_1, ingress)  # 3 each of 6, ...
    wire.send("c", 40, up_2, ingress)  # ... 3 for c; then 4.5 each
    wire.cut("b", at=2)
    assert wire.play() == [(6, "b cut"), (2 + 24 / 4.5, "a"), (2 + 24 / 4.5 + 10 / 6, "c")]


def test_a_trace_costs_no_events_under_a_lone_transfer() -> None:
    def events(capacity: Signal) -> int:
        wire = Wire()
        (link,) = wire.links(link=capacity)
        wire.send("a", 1e5, link)
        number = 0
        while wire.env.peek() < math.inf:
            wire.env.step()
            number += 1
        return number

    trace = Signal.steps([k * 0.1 for k in range(10_000)], [k % 7 for k in range(10_000)], period_s=1000.0)
    assert events(trace) == events(Signal.constant(3)) < 8


def test_wake_ups_do_not_pile_up_behind_a_long_transfer() -> None:
    for others in (("up",), ("up", "other")):
        wire = Wire()
        up, other, ingress = wire.links(up=10, other=10, ingress=10)
        wire.send("long", 1e6, up, ingress)
        for number in range(300):
            wire.send(str(number), 1, {"up": up, "other": other}[others[number % len(others)]], ingress, at=number)
        wire.env.run(299.9)
        assert len(wire.log) == 300
        assert sum(isinstance(entry[-1], Alarm) for entry in wire.env._queue) < 10


def test_links_that_cannot_be_overloaded_cost_no_events() -> None:
    wire = Wire()
    (ingress,) = wire.links(ingress=1000)
    trace = Signal.steps([0, 1], [1, 9], period_s=2)
    for number in range(100):
        wire.send(str(number), 500, *wire.links(up=trace), ingress)
    wire.env.run(50)
    assert sum(isinstance(entry[-1], Alarm) for entry in wire.env._queue) == 100  # one end each, no steps
    assert ingress.bottleneck is None
    wire.send("one too many", 500, *wire.links(up=200), ingress)
    wire.env.run(60)
    assert ingress.bottleneck is not None


def test_a_link_recovers_from_having_been_a_bottleneck(wire: Wire) -> None:
    (ingress,) = wire.links(ingress=10)
    for number in range(8):
        wire.send(str(number), 10 + number, *wire.links(up=2), ingress)
    wire.env.run(1)
    assert ingress.bottleneck is not None
    wire.play()
    assert ingress.bottleneck is None
    assert [round(time_s, 9) for time_s, _ in wire.log[:2]] == [8.0, 8.7]


def test_idle_links_are_small_and_cost_no_events() -> None:
    env = Environment()
    network = Network(env)
    constant = Signal.constant(1e6)
    gc.collect()
    links = [network.link("up", constant) for _ in range(1000)]
    assert env.peek() == math.inf
    assert sys.getsizeof(links[0]) <= 112
    assert not hasattr(links[0], "__dict__")
    path = [links[0], links[1]]
    network.transfer(path, size_bytes=1)
    env.run()
    assert links[0].routes is None
    assert network._routes == {}
    assert network._pools == {}


def test_networks_in_one_process_do_not_notice_each_other() -> None:
    one, two = Wire(), Wire()
    for wire, size in ((one, 100), (two, 50)):
        up, ingress = wire.links(up=5, ingress=10)
        wire.send("a", size, up, ingress)
        wire.send("b", size, ingress)
    while (times := [wire.env.peek() for wire in (one, two)]) != [math.inf] * 2:
        (one if times[0] <= times[1] else two).env.step()
    assert one.log == [(20, "a"), (20, "b")]
    assert two.log == [(10, "a"), (10, "b")]


def test_the_same_world_plays_the_same_to_the_bit() -> None:
    def play() -> list[tuple[float, str]]:
        wire = Wire()
        ups = wire.links(**{f"up_{i}": 1 / (i + 1) for i in range(50)})
        gateway, ingress = wire.links(gateway=3.3, ingress=Signal.steps([0, 3], [1, 2], period_s=7))
        for i, up in enumerate(ups):
            wire.send(str(i), 1 + i % 11, *([up, gateway, ingress] if i % 3 else [up, ingress]), at=i / 7)
        return wire.play()

    assert play() == play()


@pytest.mark.parametrize("start_s", [1e7, 1e9, 4e15])
def test_a_late_start_ends_and_makes_progress(start_s: float) -> None:
    wire = Wire(start_s)
    up_1, up_2, ingress = wire.links(up_1=1e6, up_2=3e5, ingress=1.1e6)
    for number in range(30):
        wire.send(str(number), 1e-9 * 10 ** (number % 12), up_1 if number % 2 else up_2, ingress)
    events = 0
    while wire.env.peek() < math.inf:
        wire.env.step()
        events += 1
        assert events < 1000
    assert len(wire.log) == 30


def test_an_alarm_rings_at_exactly_its_time() -> None:
    env = Environment(initial_time=0.1)
    rung: list[float] = []
    times = sorted({0.1 + k / 7 for k in range(200)} | {1e7 + k / 3 for k in range(200)} | {math.nextafter(0.1, 1)})
    for time_s in times:
        Alarm(env, time_s, COMPLETION, lambda _: rung.append(env.now))
    env.run()
    assert rung == times


@pytest.mark.parametrize(
    ("size", "latency", "message"),
    [
        (-1, 0, "at least 0 bytes, found -1"),
        (math.inf, 0, "a size is finite"),
        (math.nan, 0, "a size is finite"),
        (1, -1, "at least 0 s, found -1"),
        (1, math.nan, "a latency is finite"),
    ],
)
def test_impossible_transfers_are_refused(wire: Wire, size: float, latency: float, message: str) -> None:
    (link,) = wire.links(link=1)
    with pytest.raises(ValueError, match=message):
        wire.network.transfer([link], size_bytes=size, latency_s=latency)


def test_a_path_crosses_each_link_once_and_one_network_only(wire: Wire) -> None:
    (link,) = wire.links(uplink=1)
    with pytest.raises(ValueError, match=r"crosses a link once, found \[<Link uplink>, <Link uplink>\]"):
        wire.network.transfer([link, link], size_bytes=1)
    with pytest.raises(ValueError, match="<Link uplink> belongs to another network"):
        Wire().network.transfer([link], size_bytes=1)


def test_a_capacity_is_never_negative(wire: Wire) -> None:
    with pytest.raises(ValueError, match="never negative"):
        wire.network.link("link", -1)
