"""Requests as a fluid: their latencies against queueing theory and against queues played request by request."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from served_worlds import FLOPS, SAMPLE_BYTES, device, serve

from edgesim import Event, World
from edgesim.world.queueing import NO_WAIT, Batch, Demand, Wait, mean_s, quantiles_s

QUANTILES = ["latency_p50_s", "latency_p95_s", "latency_p99_s"]
CASES = Path(__file__).parents[2] / "shared" / "reference" / "analytic_cases.json"

Floats = npt.NDArray[np.float64]


# The law of a wait -----------------------------------------------------------------------------------------------


def fifo(arrivals_s: Floats, services_s: Floats) -> Floats:
    """When each request leaves a server that takes one at a time, in order of arrival (Lindley's recursion)."""
    done_s = np.cumsum(services_s)
    left_s: Floats = done_s + np.maximum.accumulate(arrivals_s - done_s + services_s)
    return left_s


def at_rest(demand: Demand) -> Batch:
    return Batch(1.0, 0.0, 1.0, 0.0, 0.0, Wait.of(demand, 1.0, math.inf))


@pytest.mark.skipif(not CASES.exists(), reason="the analytic reference is not beside this checkout")
@pytest.mark.parametrize("kind", ["mm1_fifo", "md1_fifo", "mg1_fifo"])
def test_waits_are_those_of_queueing_theory(kind: str) -> None:
    moments = {"mm1_fifo": (1, 2, 6), "md1_fifo": (1, 1, 1), "mg1_fifo": (1, math.e, math.e**3)}[kind]
    for case in (case for case in json.loads(CASES.read_text())["cases"] if case["kind"] == kind):
        rate = case["arrival_rate"]
        wait = Wait.of(Demand(rate, *(rate * moment for moment in moments)), 1.0, math.inf)
        expected_s = case["mean_sojourn_s"] - 1.0
        assert wait.mean_s == pytest.approx(expected_s, rel=1e-9)
        assert wait.probability == pytest.approx(rate)


@pytest.mark.parametrize("load", [0.3, 0.7, 0.95])
def test_the_wait_of_an_mm1_queue_has_its_exact_law(load: float) -> None:
    found = quantiles_s([at_rest(Demand(load, load, 2 * load, 6 * load))], (0.2, 0.95, 0.99))
    expected = [max(0.0, math.log(load / (1 - level)) / (1 - load)) for level in (0.2, 0.95, 0.99)]
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("sizes", "tolerance"), [((1.0,), 0.04), ((0.5, 0.5, 2.0), 0.1)])
@pytest.mark.parametrize("load", [0.2, 0.5, 0.8, 0.9])
def test_quantiles_are_near_those_of_a_queue_played_request_by_request(
    sizes: tuple[float, ...], tolerance: float, load: float
) -> None:
    rng = np.random.default_rng(1)
    arrivals_s = np.cumsum(rng.exponential(1.0 / load, 1_000_000))
    services_s = rng.choice(sizes, len(arrivals_s))
    waits_s = fifo(arrivals_s, services_s) - arrivals_s - services_s
    batch = at_rest(Demand.sum(Demand.of(load / len(sizes), size) for size in sizes))
    found, played = quantiles_s([batch], (0.5, 0.95, 0.99)), np.quantile(waits_s, (0.5, 0.95, 0.99))
    assert [1.0 + wait_s for wait_s in found] == pytest.approx(list(1.0 + played), rel=tolerance)
    assert mean_s([batch]) == pytest.approx(waits_s.mean(), rel=0.05)


def test_a_queue_at_its_capacity_waits_no_longer_than_it_had_time_to_gather() -> None:
    played_s = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        arrivals_s = np.cumsum(rng.exponential(1.0, 1000))
        played_s.append((fifo(arrivals_s, np.ones(1000)) - arrivals_s - 1.0)[-50:].mean())
    assert Wait.of(Demand.of(1.0, 1.0), 1.0, 1000.0).mean_s == pytest.approx(np.mean(played_s), rel=0.1)
    assert Wait.of(Demand.of(0.9999, 1.0), 1.0, 1000.0).mean_s == pytest.approx(np.mean(played_s), rel=0.1)


def test_quantiles_of_growing_latencies_are_those_of_the_line_between() -> None:
    growing, steady = Batch(30.0, 0.0, 1.0, 0.0, 10.0, NO_WAIT), Batch(10.0, 0.0, 1.0, 20.0, 20.0, NO_WAIT)
    assert quantiles_s([growing], (0.5, 0.95)) == pytest.approx([5.0, 9.5])
    assert quantiles_s([growing, steady], (0.5, 0.75, 0.76)) == pytest.approx([20 / 3, 10.0, 20.0])
    assert mean_s([growing, steady]) == pytest.approx((30 * 5.0 + 10 * 20.0) / 40)


@pytest.mark.parametrize("spread", [0.0, 1e-6, 3.0])
def test_quantiles_of_several_waits_lie_where_their_laws_say(spread: float) -> None:
    one, two = Wait(0.5, 1.0, 1.5), Wait(0.9, 3.0, 4.0)
    batches = [Batch(1.0, 0.0, 1.0, 2.0, 2.0 + spread, one), Batch(3.0, 0.0, 1.0, 0.0, 0.0, two)]
    rng = np.random.default_rng(0)

    def draw(wait: Wait, count: int) -> Floats:
        p, delay_s, spread_s = wait.law
        return np.where(rng.random(count) < p, delay_s + rng.exponential(spread_s, count), 0.0)

    count = 1_000_000
    drawn = np.concatenate([2.0 + spread * rng.random(count) + draw(one, count), draw(two, 3 * count)])
    levels = (0.25, 0.5, 0.95, 0.99)
    assert quantiles_s(batches, levels) == pytest.approx(list(np.quantile(drawn, levels)), rel=0.01)
    assert mean_s(batches) == pytest.approx(drawn.mean(), rel=0.01)


# Worlds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_cloud", [False, True])
def test_a_device_or_its_uplink_is_an_md1_queue(in_cloud: bool) -> None:
    rows = serve([device(requests="8 /s")], in_cloud=in_cloud)
    assert rows["latency_mean_s"].tolist() == pytest.approx([0.1 + 0.1 * 0.8 / (2 * 0.2)] * 3, rel=1e-5)
    rng = np.random.default_rng(0)
    arrivals_s = np.cumsum(rng.exponential(1 / 8, 1_000_000))
    played_s = np.quantile(fifo(arrivals_s, np.full(len(arrivals_s), 0.1)) - arrivals_s, (0.5, 0.95, 0.99))
    assert rows.iloc[1][QUANTILES].tolist() == pytest.approx(list(played_s), rel=0.03)


def test_devices_share_the_processor_of_the_cloud() -> None:
    cloud = {"compute": f"{100 * FLOPS} FLOP/s", "memory": "1 GiB", "ingress": "1 Tbit/s", "egress": "1 Tbit/s"}
    wide = {"uplink": "1 Tbit/s", "latency": "50 ms"}
    rows = serve([device(16, requests="5 /s", **wide)], in_cloud=True, cloud=cloud)
    assert rows["latency_mean_s"].to_numpy() == pytest.approx(0.1 + 0.01 + 0.01 * 0.8 / (2 * 0.2), rel=1e-5)
    alone = serve([device(1, requests="5 /s", **wide)], in_cloud=True, cloud=cloud)
    assert alone["latency_mean_s"].to_numpy() == pytest.approx(0.1 + 0.01 + 0.01 * 0.05 / (2 * 0.95), rel=1e-5)


def test_the_whole_way_is_near_queues_in_a_row_played_request_by_request() -> None:
    devices, rate = 12, 4.0
    uplink_s, gateway_s, processor_s = 1 / 10, 1 / 60, 1 / 80
    link = f"{8 * 60 * SAMPLE_BYTES} bit/s"
    cloud = {"compute": f"{80 * FLOPS} FLOP/s", "memory": "1 GiB", "ingress": "1 Tbit/s", "egress": "1 Tbit/s"}
    rows = serve(
        [device(devices, requests=f"{rate} /s", gateway="shop")],
        in_cloud=True,
        gateways=[{"name": "shop", "uplink": link, "downlink": "1 Tbit/s"}],
        cloud=cloud,
    )
    rng = np.random.default_rng(0)
    count = 200_000
    made_s = np.cumsum(rng.exponential(1 / rate, (devices, count)), axis=1)
    sent_s = np.array([fifo(arrivals_s, np.full(count, uplink_s)) for arrivals_s in made_s]).ravel()
    order = np.argsort(sent_s)
    passed_s = fifo(sent_s[order], np.full(sent_s.size, gateway_s))
    done_s = fifo(passed_s, np.full(sent_s.size, processor_s))
    # A fluid crosses the gateway while it still crosses the uplink: its own bytes count once, at the slowest.
    played_s = done_s - made_s.ravel()[order] - gateway_s
    # What leaves a line comes more evenly than at random, so the waits in the later lines are a little too long.
    found_s = rows.iloc[-1][["latency_mean_s", *QUANTILES]].tolist()
    for found, played in zip(found_s, (played_s.mean(), *np.quantile(played_s, (0.5, 0.95, 0.99))), strict=True):
        assert played < found < 1.2 * played


def test_what_exceeds_a_capacity_waits_in_a_backlog_that_is_answered_later() -> None:
    rows = serve([device(requests={"steps": {"0 s": "20 /s", "60 s": "0 /s"}})])
    assert rows["requests"].tolist() == [1200.0, 0.0, 0.0]
    # 600 of them are in line after a minute; they and the last ones' random wait and answer take another minute.
    assert rows["waiting"].tolist() == pytest.approx([602.0, 2.0, 0.0], abs=1.5)
    assert rows["served"].sum() == pytest.approx(1200.0)
    played_s = []
    for seed in range(200):
        arrivals_s = np.cumsum(np.random.default_rng(seed).exponential(1 / 20, 2000))
        arrivals_s = arrivals_s[arrivals_s < 60.0]
        played_s.append(fifo(arrivals_s, np.full(len(arrivals_s), 0.1)) - arrivals_s)
    everyone_s = np.concatenate(played_s)
    assert rows["latency_mean_s"].iloc[0] == pytest.approx(everyone_s.mean(), rel=0.02)
    assert rows.iloc[0][QUANTILES].tolist() == pytest.approx(list(np.quantile(everyone_s, (0.5, 0.95, 0.99))), rel=0.04)
    assert pd.isna(rows["latency_mean_s"].iloc[1])


def test_what_waits_when_its_device_leaves_is_unserved() -> None:
    rows = serve([device(requests="20 /s", away=[{"at": "30 s", "for": "60 s"}])])
    assert rows["start_s"].tolist() == [0.0, 30.0, 60.0, 90.0, 120.0]
    waiting = rows["waiting"].iloc[0]
    assert waiting == pytest.approx(300.0, abs=3.0)
    assert rows["unserved"].tolist() == pytest.approx([0.0, 600.0 + waiting, 600.0, 0.0, 0.0])
    assert rows["latency_p50_s"].iloc[3] == pytest.approx(15.1, abs=0.2)  # back with nobody in line


def test_in_an_outage_those_in_line_wait_and_new_requests_find_no_connection() -> None:
    rows = serve([device(requests="15 /s", outages=[{"at": "60 s", "for": "60 s"}])], in_cloud=True)
    waiting = rows["waiting"].tolist()
    assert waiting[:2] == pytest.approx([300.0, 300.0], abs=3.0)
    assert rows["unserved"].tolist() == pytest.approx([0.0, 900.0, 0.0])
    assert rows["served"].iloc[1] == pytest.approx(0.0, abs=3.0)
    # The 301st request comes in the 21st second, and waits for the outage too.
    assert rows["latency_p99_s"].iloc[0] == pytest.approx(60.0 + 29.7, rel=0.01)
    assert rows["up_bytes"].tolist() == pytest.approx((rows["served"] * SAMPLE_BYTES).tolist())


def test_who_waits_while_the_link_slows_down_waits_longer() -> None:
    slower = {"steps": {"0 s": f"{8 * 10 * SAMPLE_BYTES} bit/s", "60 s": f"{8 * SAMPLE_BYTES} bit/s"}}
    rows = serve([device(requests={"steps": {"0 s": "15 /s", "60 s": "0 /s"}}, uplink=slower)], in_cloud=True)
    assert rows["served"].tolist() == pytest.approx([600.0, 60.0, 60.0], abs=3.0)
    assert rows["waiting"].tolist() == pytest.approx([300.0, 240.0, 180.0], abs=3.0)
    # Who comes at t waits until 1.5 t, and after 40 s until 60 + 15 (t - 40), one a second.
    mean_wait_s = (0.5 * 40**2 / 2 + 20 * 20 + 14 * 20**2 / 2) / 60
    assert rows["latency_mean_s"].iloc[0] == pytest.approx(mean_wait_s, rel=0.01)


def test_a_gateway_that_is_too_thin_holds_back_those_behind_it_only() -> None:
    wide = {"uplink": "1 Gbit/s"}
    rows = serve(
        [device(2, requests="10 /s", gateway="shop", **wide), {**device(2, requests="10 /s", **wide), "name": "free"}],
        in_cloud=True,
        gateways=[{"name": "shop", "uplink": f"{8 * 15 * SAMPLE_BYTES} bit/s", "downlink": "1 Gbit/s"}],
    )
    last = rows[rows["start_s"] == 120.0].set_index("device")
    # 5 of 20 a second stay in line, for three minutes.
    assert last["waiting"].to_dict() == pytest.approx(
        {"cam-0": 450.0, "cam-1": 450.0, "free-0": 0, "free-1": 0}, abs=3.0
    )
    assert last["latency_p50_s"]["cam-0"] == pytest.approx(150.0 / 3, rel=0.01)
    assert last["latency_p99_s"]["free-0"] < 1e-3


def test_what_one_line_holds_back_does_not_wait_in_the_next_one_again() -> None:
    narrow = {"uplink": f"{8 * 10 * SAMPLE_BYTES} bit/s", "downlink": f"{8 * 12 * 100} bit/s"}
    rows = serve([device(requests="20 /s", **narrow)], in_cloud=True, horizon="1 min")
    assert rows["waiting"].iloc[0] == pytest.approx(600.0, abs=6.0)  # not 600 and then 480 more


def test_a_processor_that_stands_still_keeps_its_line() -> None:
    rows = serve([device(requests="5 /s", compute={"steps": {"0 s": "0 FLOP/s", "60 s": f"{10 * FLOPS} FLOP/s"}})])
    assert rows["served"].tolist() == pytest.approx([0.0, 600.0, 300.0], abs=3.0)  # 10 a second, then as they come
    assert rows["unserved"].sum() == 0.0
    # Who comes at t waits for 60 - t s and for 5 t requests at 10 a second.
    assert rows["latency_p50_s"].iloc[0] == pytest.approx(45.1, rel=0.01)


@pytest.mark.parametrize("seed", range(15))
def test_every_request_is_served_unserved_or_waiting(seed: int) -> None:
    rng = random.Random(seed)

    def steps(*values: str) -> dict[str, Any]:
        times = (0, *sorted(rng.sample(range(1, 170), 4)))
        return {"steps": {f"{second} s": rng.choice(values) for second in times}}

    def windows() -> list[dict[str, str]]:
        return rng.choice([[], [{"at": f"{rng.randint(1, 90)} s", "for": f"{rng.randint(1, 80)} s"}]])

    def group(name: str, **more: Any) -> dict[str, Any]:
        links = {way: steps("2640 bit/s", "20 kbit/s", "8 kbit/s") for way in ("uplink", "downlink")}
        compute = steps("0 FLOP/s", "960 FLOP/s", "19200 FLOP/s")
        requests = steps("0 /s", "3 /s", "12 /s")
        own = {"compute": compute, "requests": requests, "outages": windows(), "away": windows(), **links}
        return {**device(2, **own), "name": name, "latency": "1 s", **more}

    def script(world: World) -> Generator[Event, Any, None]:
        for _ in range(6):
            yield world.sleep(rng.uniform(1, 40))
            some = [device for device in world.devices if device.online and rng.random() < 0.5]
            if rng.random() < 0.6:
                world.cloud.serve(world.initial, some)
            else:
                for one in some:
                    yield one.deploy(world.initial)

    ingress = steps("4 kbit/s", "1 Mbit/s", "0 bit/s")
    cloud = {"compute": steps("1920 FLOP/s", "1 MFLOP/s"), "memory": "1 GiB", "ingress": ingress, "egress": "1 Mbit/s"}
    shop = {"name": "shop", "uplink": steps("4 kbit/s", "1 Mbit/s"), "downlink": "1 Mbit/s", "outages": windows()}
    devices = [group("cam", gateway="shop"), group("free")]
    rows = serve(devices, in_cloud=seed % 2 == 0, script=script, gateways=[shop], cloud=cloud)
    for _, own in rows.groupby("device"):
        assert own["end_s"].tolist()[:-1] == own["start_s"].tolist()[1:]
        before = [0.0, *own["waiting"].tolist()[:-1]]
        came, went = before + own["requests"], own["served"] + own["unserved"] + own["waiting"]
        assert went.tolist() == pytest.approx(came.tolist(), abs=1e-6)
        assert (own[["requests", "served", "unserved", "waiting"]] >= 0.0).all(axis=None)
        answered = own.dropna(subset=["latency_mean_s"])
        assert (answered["latency_p50_s"] <= answered["latency_p95_s"]).all()
        assert (answered["latency_p95_s"] <= answered["latency_p99_s"]).all()
