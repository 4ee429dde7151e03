"""Requests where more come than can be done: who waits where, and that no link carries more than it can."""

from __future__ import annotations

import random
from collections.abc import Generator
from typing import Any

import pytest
from served_worlds import FLOPS, RESPONSE_BYTES, SAMPLE_BYTES, device, serve

from edgesim import Event, World

WIDE = "1 Tbit/s"


def up(per_s: float) -> str:
    """A link that takes so many requests a second."""
    return f"{8 * per_s * SAMPLE_BYTES} bit/s"


def down(per_s: float) -> str:
    """A link that takes so many answers a second."""
    return f"{8 * per_s * RESPONSE_BYTES} bit/s"


def cloud(**changes: Any) -> dict[str, Any]:
    return {"compute": "1 PFLOP/s", "memory": "1 GiB", "ingress": WIDE, "egress": WIDE, **changes}


@pytest.mark.parametrize("rate", [40, 400])
def test_a_line_behind_another_full_one_is_waited_for_as_it_is_when_it_is_reached(rate: int) -> None:
    requests = {"steps": {"0 s": f"{rate} /s", "120 s": "0 /s"}}
    rows = serve([device(requests=requests, uplink=up(30), downlink=down(10))], in_cloud=True, horizon="5 min")
    assert (rows["served"] <= 600.0 + 1e-6).all()
    assert rows["served"].tolist() == pytest.approx([600.0] * 5, abs=3.0)
    assert rows["down_bytes"].tolist() == pytest.approx((rows["served"] * RESPONSE_BYTES).tolist())
    # Who comes at t is number rate * t, and has its answer when that many have been over the downlink.
    longer = rate / 10 - 1
    assert rows["latency_mean_s"].iloc[:2].tolist() == pytest.approx([longer * 30.0, longer * 90.0], rel=0.01)
    assert rows["latency_p95_s"].iloc[0] == pytest.approx(longer * 57.0, rel=0.01)


def test_a_wide_line_behind_a_full_one_is_not_waited_for() -> None:
    rows = serve([device(requests="40 /s", uplink=up(10), downlink=down(30))], in_cloud=True)
    assert rows["served"].tolist() == pytest.approx([600.0] * 3, abs=3.0)
    assert rows["latency_mean_s"].tolist() == pytest.approx([90.0, 270.0, 450.0], rel=0.01)


@pytest.mark.parametrize(
    ("full", "gateway"),
    [
        ({"ingress": up(20), "egress": down(10)}, {}),
        ({"ingress": up(30), "compute": f"{10 * FLOPS} FLOP/s"}, {}),
        ({"egress": down(30)}, {"downlink": down(10)}),
        ({"egress": down(10)}, {"uplink": up(30)}),
    ],
)
def test_devices_that_share_full_lines_get_no_more_answers_than_the_slowest_carries(
    full: dict[str, Any], gateway: dict[str, Any]
) -> None:
    wide = {"uplink": up(40), "requests": "30 /s", "gateway": "shop"}
    shop = {"name": "shop", "uplink": WIDE, "downlink": WIDE, **gateway}
    rows = serve([device(2, **wide)], in_cloud=True, gateways=[shop], cloud=cloud(**full))
    served = rows.groupby("end_s")["served"].sum()
    assert (served <= 600.0 + 1e-6).all()
    assert served.tolist() == pytest.approx([600.0] * 3, abs=6.0)
    assert rows.groupby("device")["served"].sum().tolist() == pytest.approx([900.0, 900.0], abs=3.0)
    # Both make 60 a second: who comes at t has its answer at 6 t.
    assert rows["latency_mean_s"].iloc[:2].tolist() == pytest.approx([150.0, 150.0], rel=0.02)


def test_who_stopped_asking_still_has_the_answers_that_wait_in_a_shared_line() -> None:
    asks = {"steps": {"0 s": "20 /s", "60 s": "0 /s"}}
    devices = [device(uplink=WIDE, requests=asks), {**device(uplink=WIDE, requests="5 /s"), "name": "late"}]
    rows = serve(devices, in_cloud=True, cloud=cloud(egress=down(10)), horizon="6 min")
    own, late = rows[rows["device"] == "cam-0"], rows[rows["device"] == "late-0"]
    # 1500 come in the first minute, four fifths of them of the first: 10 a second are answered for 150 s.
    assert own["served"].tolist() == pytest.approx([480.0, 480.0, 240.0, 0.0, 0.0, 0.0], abs=3.0)
    assert own["waiting"].tolist() == pytest.approx([720.0, 240.0, 0.0, 0.0, 0.0, 0.0], abs=3.0)
    # Then it is the turn of what the other asked from 60 s on: 5 a second come, 10 a second are done until 240 s.
    assert late["served"].tolist() == pytest.approx([120.0, 120.0, 360.0, 600.0, 300.0, 300.0], abs=3.0)
    assert late["waiting"].tolist() == pytest.approx([180.0, 360.0, 300.0, 0.0, 0.0, 0.0], abs=3.0)


def test_answers_without_bytes_pass_a_link_that_is_down() -> None:
    ends = {"steps": {"0 s": down(10), "90 s": "0 bit/s"}}
    rows = serve([device(requests="20 /s", downlink=ends)], in_cloud=True, cloud=cloud(response_bytes="0 B"))
    assert rows["served"].tolist() == pytest.approx([600.0, 600.0, 600.0], abs=3.0)  # who is in line at 90 s
    assert rows["unserved"].tolist() == pytest.approx([0.0, 600.0, 1200.0])  # no connection to ask over
    assert (rows["down_bytes"] == 0.0).all()


@pytest.mark.parametrize("full", ["uplink", "downlink", "compute"])
def test_a_device_that_is_back_finds_nobody_in_line_however_it_is_served_then(full: str) -> None:
    def script(world: World) -> Generator[Event, Any, None]:
        (one,) = world.devices
        yield world.sleep(60.0)
        yield one.wait_until_online()
        if full == "compute":
            world.cloud.serve(world.initial)
        else:
            yield one.deploy(world.initial)
        yield world.sleep(9.0)
        if full == "compute":
            yield one.deploy(world.initial)
        else:
            world.cloud.serve(world.initial)

    narrow = {"uplink": up(20), "downlink": down(20), "compute": f"{20 * FLOPS} FLOP/s"}
    narrow[full] = {"uplink": up(10), "downlink": down(10), "compute": f"{10 * FLOPS} FLOP/s"}[full]
    requests = {"steps": {"0 s": "18 /s", "60 s": "1 /s"}}
    devices = [device(requests=requests, away=[{"at": "60 s", "for": "1 s"}], **narrow)]
    rows = serve(devices, in_cloud=full != "compute", script=script)
    assert rows["start_s"].tolist() == [0.0, 60.0, 61.0, 70.0, 120.0]
    assert rows["waiting"].iloc[0] == pytest.approx(480.0, abs=5.0)
    assert rows["unserved"].iloc[1] == pytest.approx(481.0, abs=5.0)
    assert (rows["latency_mean_s"].iloc[2:] < 1.0).all()
    assert rows["served"].iloc[2:].sum() == pytest.approx(119.0, abs=0.5)


@pytest.mark.parametrize("seed", range(20))
def test_no_link_carries_more_than_its_capacity(seed: int) -> None:
    rng = random.Random(seed)

    def rate(*per_s: float) -> float:
        return rng.choice(per_s)

    shared = {"ingress": rate(15, 40, 1e6), "egress": rate(15, 40, 1e6), "shop": rate(10, 1e6)}
    own = [(rate(5, 20), rate(5, 20)) for _ in range(3)]
    stop = {"steps": {"0 s": "25 /s", f"{rng.randint(20, 150)} s": "1 /s"}}
    devices = [
        {
            **device(uplink=up(there), downlink=down(back), requests=rng.choice(["25 /s", "4 /s", stop])),
            "name": f"cam{number}",
            **({"gateway": "shop"} if number else {}),
        }
        for number, (there, back) in enumerate(own)
    ]
    shop = {"name": "shop", "uplink": up(shared["shop"]), "downlink": down(rate(10, 1e6))}
    way = cloud(ingress=up(shared["ingress"]), egress=down(shared["egress"]))
    rows = serve(devices, in_cloud=True, gateways=[shop], cloud=way, horizon="5 min")
    at_random = 30.0  # that waited below capacity, and are answered on top when the load falls
    for number, rates in enumerate(own):
        served = rows[rows["device"] == f"cam{number}-0"]["served"]
        assert (served <= 60.0 * min(rates) + 1e-6).all()
    together = rows.groupby("end_s")["served"].sum()
    most = 60.0 * min(shared["ingress"], shared["egress"])
    assert (together <= most + at_random).all()
    assert (together.cumsum() <= most * (together.reset_index().index + 1) + 1e-6).all()
