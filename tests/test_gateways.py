"""Gateways: devices behind one share its links to the cloud, after their own."""

import random
from collections.abc import Generator
from typing import Any

import pandas as pd
import plain_network
import pytest
import simpy
from scripted_worlds import Scripted, scripted

import edgesim
from edgesim import Event, World
from edgesim.scenario import Scenario
from edgesim.testing import tiny_scenario


def group(name: str, gateway: str | None, count: int = 1, **changes: Any) -> dict[str, Any]:
    """Devices with 1,000 bytes per second each way."""
    behind = {} if gateway is None else {"gateway": gateway}
    links = {"uplink": "8 kbit/s", "downlink": "8 kbit/s", "latency": "250 ms"}
    return {"name": name, "count": count, "compute": "1 MFLOP/s", "memory": "64 MiB", **links, **behind, **changes}


def shop(name: str = "shop", **changes: Any) -> dict[str, Any]:
    """800 bytes per second up, 2,000 down."""
    return {"name": name, "uplink": "6400 bit/s", "downlink": "16 kbit/s", "latency": "750 ms", **changes}


def world_of(devices: list[dict[str, Any]], gateways: list[dict[str, Any]], **changes: Any) -> Scenario:
    return tiny_scenario(devices=devices, gateways=gateways, drifts=[], **changes)


def test_devices_share_their_gateway_and_latencies_add() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        one, two, free = world.devices
        verbs = [device.upload(edgesim.Message(800)) for device in (one, two, free)]
        for verb in verbs:
            yield verb
            self.log.append(world.now)
        yield world.gather(device.download(edgesim.Message(1000)) for device in (one, two))
        self.log.append(world.now)

    log, _ = scripted(script, world_of([group("cam", "shop", 2), group("free", None)], [shop()]))
    # Up: 800 B at 400 B/s each after 1 s; without a gateway at 1,000 B/s after 0.25 s, which is over by then.
    # Down the gateway is wide enough for both: 1,000 B at 1,000 B/s after 1 s.
    assert log == pytest.approx([3.0, 3.0, 3.0, 5.0], rel=1e-12)


def test_a_transfer_that_has_the_gateway_to_itself_takes_its_whole_width() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        one, two = world.devices
        late = two.upload(edgesim.Message(1200))
        yield one.upload(edgesim.Message(400))
        self.log.append(world.now)
        yield late
        self.log.append(world.now)

    log, _ = scripted(script, world_of([group("cam", "shop", 2)], [shop()]))
    assert log == pytest.approx([2.0, 1.0 + 1.0 + 800 / 800], rel=1e-12)  # 400 B each in 1 s, then 800 B at 800 B/s


def test_peers_behind_one_gateway_reach_each_other_while_it_is_cut_off() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        one, two, away = world.devices
        up = one.upload(edgesim.Message(800))
        yield one.send(two, edgesim.Message(1000))
        self.log.append(world.now)
        yield up
        self.log.append(world.now)
        yield one.send(away, edgesim.Message(800))
        self.log.append(world.now)

    cut = shop(outages=[{"at": "0 s", "for": "10 s"}])
    log, tables = scripted(script, world_of([group("cam", "shop", 2), group("till", "depot")], [cut, shop("depot")]))
    assert log[0] == pytest.approx(1.5)  # below the gateway: two latencies of devices and 1,000 B at 1,000 B/s
    assert log[1] == pytest.approx(11.0)  # 800 B at 800 B/s, once the gateway is back
    assert log[2] - log[1] == pytest.approx(3.0)  # through both gateways: 2 x (0.25 + 0.75) s and 800 B at 800 B/s
    assert tables["transfers"]["status"].tolist() == ["delivered"] * 3


def test_from_behind_a_gateway_to_a_device_without_one_only_its_own_links_are_crossed() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        cam, free = world.devices
        yield cam.send(free, edgesim.Message(800))
        self.log.append(world.now)
        yield free.send(cam, edgesim.Message(1000))
        self.log.append(world.now)

    log, _ = scripted(script, world_of([group("cam", "shop"), group("free", None)], [shop()]))
    assert log == pytest.approx([1.25 + 1.0, 2.25 + 1.25 + 1.0], rel=1e-12)


def test_what_gateways_offer_is_recorded_and_the_same_for_every_learner() -> None:
    uplink = {"steps": {"0 s": "1 kbit/s", "60 s": "2 kbit/s"}}
    scenario = world_of([group("cam", "shop")], [shop(uplink=uplink, outages=[{"at": "90 s", "for": "30 s"}])])
    _, tables = scripted(lambda self, world: iter([world.sleep(0)]), scenario)
    rows = tables["environment"].query("device == 'shop'")
    offered = {name: list(zip(of["time_s"], of["value"], strict=True)) for name, of in rows.groupby("resource")}
    assert offered["uplink"] == [(0.0, 125.0), (60.0, 250.0), (90.0, 0.0), (120.0, 250.0)]
    assert offered["downlink"] == [(0.0, 2000.0), (90.0, 0.0), (120.0, 2000.0)]


def test_a_gateway_wide_enough_changes_nothing() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        yield world.gather(device.upload(edgesim.Message(700 + device.index)) for device in world.devices)

    wide = {"name": "wide", "uplink": "1 Gbit/s", "downlink": "1 Gbit/s"}
    with_gateway = scripted(script, world_of([group("cam", "wide", 3)], [wide]))[1]["transfers"]
    without = scripted(script, world_of([group("cam", None, 3)], []))[1]["transfers"]
    pd.testing.assert_frame_equal(with_gateway.drop(columns="sequence"), without.drop(columns="sequence"))


@pytest.mark.parametrize("seed", range(12))
def test_ends_are_those_of_the_plain_reference(seed: int) -> None:
    rng = random.Random(seed)

    def rate(most: int) -> Any:
        times = (0, *sorted(rng.sample(range(1, 40), 3)))
        return {"steps": {f"{second} s": f"{8 * rng.randint(100, most)} bit/s" for second in times}}

    def ways(most: int) -> dict[str, Any]:
        cut = {"at": f"{rng.randint(1, 30)} s", "for": f"{rng.randint(1, 9)} s"}
        return {"uplink": rate(most), "downlink": rate(most), "outages": rng.choice([[], [cut]])}

    gateways = [{"name": name, "latency": "30 ms", **ways(3000)} for name in ("shop", "depot")]
    devices = [group(name, name, 3, **ways(1500)) for name in ("shop", "depot")] + [group("free", None, 2, **ways(900))]
    for number, spec in enumerate(devices):
        spec["name"] = f"group{number}"
    cloud = {"compute": "1 GFLOP/s", "memory": "1 GiB", "ingress": rate(4000), "egress": rate(4000)}
    flows = [
        (rng.uniform(0, 30), rng.choice(["up", "down", "peer"]), rng.sample(range(8), 2), rng.randint(1, 9000))
        for _ in range(30)
    ]

    offered: list[Any] = []

    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        def flow(number: int) -> Generator[Event, Any, None]:
            start_s, way, (one, other), size_bytes = flows[number]
            yield world.sleep(start_s)
            device, message = world.devices[one], edgesim.Message(size_bytes)
            match way:
                case "up":
                    yield device.upload(message)
                case "down":
                    yield device.download(message)
                case _:
                    yield device.send(world.devices[other], message)
            self.log.append((number, world.now))

        offered.append(world.environment)
        yield world.gather(world.process(flow(number)) for number in range(len(flows)))

    log, _ = scripted(script, world_of(devices, gateways, cloud=cloud, horizon="20 min"))

    environment = offered[0]
    env = simpy.Environment()
    network = plain_network.Network(env)
    hardware = [hardware for _, _, hardware in environment.devices()]
    up = [network.link("", one.uplink) for one in hardware]
    down = [network.link("", one.downlink) for one in hardware]
    shops = [environment.gateways[name] for name in ("shop", "depot")]
    gateway_up = [network.link("", one.uplink) for one in shops]
    gateway_down = [network.link("", one.downlink) for one in shops]
    ingress = network.link("", environment.cloud.ingress)
    egress = network.link("", environment.cloud.egress)
    ends: dict[int, float] = {}

    def play(number: int) -> Generator[Event, Any, None]:
        start_s, way, (one, other), size_bytes = flows[number]
        near, far = one // 3, other // 3  # 0 and 1 are behind the gateways, 2 is not
        leaving = [up[one], *gateway_up[near : near + 1]]
        latency_s = 0.25 + 0.03 * (near < 2)
        match way:
            case "up":
                path = [*leaving, ingress]
            case "down":
                path = [egress, *gateway_down[near : near + 1], down[one]]
            case _ if near == far:
                path, latency_s = [up[one], down[other]], 0.5
            case _:
                path = [*leaving, *gateway_down[far : far + 1], down[other]]
                latency_s += 0.25 + 0.03 * (far < 2)
        yield env.timeout(start_s)
        yield network.transfer(path, size_bytes=size_bytes, latency_s=latency_s)
        ends[number] = env.now

    for number in range(len(flows)):
        env.process(play(number))
    env.run(1200)
    assert len(ends) == len(flows)
    assert dict(log) == pytest.approx(ends, rel=1e-9)


def test_requests_served_in_the_cloud_wait_for_the_gateway_too() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        world.cloud.serve(world.initial)
        yield world.sleep(0)

    fast = {"uplink": "1 Gbit/s", "downlink": "1 Gbit/s", "requests": "0.001 /s"}
    scenario = world_of(
        [group("cam", "shop", **fast), group("free", None, **fast)], [shop()], horizon="1 min", record={}
    )
    _, tables = scripted(script, scenario)
    serving = tables["serving"].set_index("device")["latency_p50_s"]
    # Both latencies; 33 B up and 100 B down at the narrowest link: the gateway's, or the cloud's 1.25 MB/s.
    gateway_s = 2 * 0.75 + 33 / 800 + 100 / 2000 - 133 / 1.25e6
    assert serving["cam-0"] - serving["free-0"] == pytest.approx(gateway_s, rel=1e-9)


def test_links_that_are_never_open_at_the_same_time_let_a_transfer_wait() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        yield world.devices[0].upload(edgesim.Message(800))

    open_first = {"steps": {"0 s": "8 kbit/s", "5 s": "0 bit/s"}, "repeat": "10 s"}
    open_last = {
        "steps": {"0 s": "0 bit/s", "5 s": "8 kbit/s", "10 s": "0 bit/s", "15 s": "9 kbit/s"},
        "repeat": "20 s",
    }
    world = world_of([group("cam", "shop", uplink=open_first)], [shop(uplink=open_last)], horizon="5 min")
    _, tables = scripted(script, world)
    (sent,) = tables["transfers"].to_dict("records")
    assert (sent["status"], sent["sent_bytes"]) == ("in_flight", 0.0)
