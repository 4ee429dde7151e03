"""A battery that is full while bytes cost energy: when they were sent decides what it could be charged with."""

from __future__ import annotations

import random
from collections.abc import Generator
from typing import Any

import pandas as pd
import pytest
from scripted_worlds import Scripted, scripted
from test_battery import DEVICE, Chatters

import edgesim
from edgesim import Event, VerbFailure, World
from edgesim.testing import run_tiny, tiny_scenario

SENDS: dict[str, Any] = {**DEVICE, "power": {"per_byte": "2 mJ/B"}, "battery": {"capacity": "1 kJ", "charging": "1 W"}}
"""At 1000 B/s its bytes draw 2 W, of which 1 W is charged meanwhile."""


def level_j(at_s: float, *, size_bytes: int = 100_000, others: int = 0, **changes: Any) -> float:
    """What the battery of a device that has sent so much from time 0 on holds then."""

    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        for other in world.devices[1:]:
            other.upload(edgesim.Message(20_000))
        world.devices[0].upload(edgesim.Message(size_bytes))
        yield world.sleep(at_s)
        battery = world.devices[0].meter.battery
        assert battery is not None
        battery.close()
        self.log.append(battery.level_j)

    cloud = {"compute": "1 GFLOP/s", "memory": "1 GiB", "ingress": changes.pop("ingress", "1 Gbit/s")}
    devices = [{**SENDS, **changes}]
    if others:
        devices.append({**DEVICE, "name": "other", "count": others, "power": {}})
    log, _ = scripted(script, tiny_scenario(devices=devices, drifts=[], cloud={**cloud, "egress": "1 Gbit/s"}))
    (level,) = log
    assert isinstance(level, float)
    return level


def test_what_is_sent_after_an_outage_is_not_taken_for_sent_all_the_time() -> None:
    waits = {"steps": {"0 s": "0 bit/s", "100 s": "8 kbit/s"}}
    assert level_j(201.0, uplink=waits) == pytest.approx(901.0)  # it sends from 100 s to 200 s
    assert level_j(401.0, uplink=waits) == pytest.approx(1000.0)


def test_nothing_is_spent_on_bytes_during_the_latency() -> None:
    assert level_j(150.0, latency="100 s") == pytest.approx(950.0)


def test_what_others_send_slows_the_spending_of_a_full_battery_down() -> None:
    # Three others have sent their 20 kB by 80 s. Until then 250 B/s draw half of what is charged, then 1000 B/s more.
    assert level_j(130.0, others=3, ingress="8 kbit/s") == pytest.approx(950.0)


def test_a_charging_power_that_falls_below_what_bytes_draw_empties_a_full_battery() -> None:
    falls = {"capacity": "1 kJ", "charging": {"steps": {"0 s": "3 W", "60 s": "1 W"}}}
    assert level_j(100.0, battery=falls) == pytest.approx(960.0)
    rises = {"capacity": "1 kJ", "initial": "96 %", "charging": {"steps": {"0 s": "3 W", "60 s": "1 W"}}}
    assert level_j(100.0, battery=rises) == pytest.approx(960.0)  # full at 40 s


def test_a_full_battery_whose_bytes_draw_more_than_is_charged_is_empty_when_it_is() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        try:
            yield world.devices[0].upload(edgesim.Message(520_000))
        except VerbFailure:
            self.log.append(world.now)

    late = {"steps": {"0 s": "0 bit/s", "900 s": "8 kbit/s"}}
    device = {**SENDS, "uplink": late, "power": {"per_byte": "3 mJ/B"}}
    log, _ = scripted(script, tiny_scenario(devices=[device], drifts=[], horizon="30 min"))
    assert log == [pytest.approx(1400.0)]  # 1 kJ at 3 W less 1 W


@pytest.mark.parametrize("seed", range(8))
def test_looking_at_the_level_more_often_changes_nothing(seed: int) -> None:
    rng = random.Random(seed)

    def steps(unit: str, *values: float) -> dict[str, Any]:
        return {
            "steps": {f"{7 * number} s": f"{rng.choice(values)} {unit}" for number in range(5)},
            "repeat": f"{rng.choice([35, 41])} s",
        }

    devices = [
        {
            **DEVICE,
            "name": f"g{number}",
            "compute": "100 kFLOP/s",
            "latency": rng.choice(["0 s", "700 ms"]),
            "uplink": steps("kbit/s", 0, 4, 16),
            "downlink": steps("kbit/s", 8, 16),
            "power": {"idle": "500 mW", "compute": "1 W", "radio": "500 mW", "per_byte": "2 mJ/B"},
            "battery": {"capacity": "60 J", "charging": steps("W", 0, 1, 2, 3, 6), "restart": "50 %"},
        }
        for number in range(3)
    ]
    cloud = {"compute": "1 GFLOP/s", "memory": "1 GiB", "ingress": "16 kbit/s", "egress": "16 kbit/s"}
    scenario = tiny_scenario(devices=devices, horizon="3 min", drifts=[], cloud=cloud)

    class Looks(Chatters):
        def run(self, world: World) -> Generator[Event, Any, None]:
            world.process(self._look(world))
            yield from super().run(world)

        def _look(self, world: World) -> Generator[Event, Any, None]:
            while True:
                yield world.sleep(0.05)
                for device in world.devices:
                    assert device.meter.battery is not None
                    device.meter.battery._settle()

    once, often = (
        run_tiny(learner(Chatters.Params()), scenario, timing_only=True)["battery"] for learner in (Chatters, Looks)
    )
    assert once["charged_j"].max() > 60.0
    numbers = ["time_s", "level_j", "charged_j", "spent_j"]
    pd.testing.assert_frame_equal(once[numbers], often[numbers], rtol=1e-6, atol=1e-5)
    assert once["event"].tolist() == often["event"].tolist()
