"""When devices are away, for which reason, and when learners wake."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pandas as pd
import pytest
from scripted_worlds import Scripted, scripted

import edgesim
from edgesim import Event, World
from edgesim.testing import tiny_scenario

CAM: dict[str, Any] = {
    "name": "cam",
    "count": 1,
    "compute": "1 MFLOP/s",
    "memory": "64 MiB",
    "uplink": "8 kbit/s",
    "downlink": "8 kbit/s",
}


def test_a_device_that_stays_away_after_its_battery_is_charged_says_why() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        (device,) = world.devices
        yield world.sleep(150.0)
        self.log.append(device.away_cause)
        yield world.sleep(200.0)
        self.log.append(device.away_cause)
        yield world.gather([device.upload(edgesim.Message(1))])

    device = {
        **CAM,
        "power": {"idle": "1 W"},
        "battery": {"capacity": "100 J", "charging": {"steps": {"0 s": "0 W", "300 s": "10 W"}}, "restart": 0.5},
        "away": [{"at": "200 s", "for": "20 min"}],
    }
    log, tables = scripted(script, tiny_scenario(devices=[device], drifts=[]))
    assert log == ["battery", "schedule"]
    told = tables["availability"][["time_s", "state", "cause"]].to_records(index=False).tolist()
    assert told == [(0.0, "online", "start"), (100.0, "offline", "battery"), (305.0, "offline", "schedule")]
    assert tables["transfers"]["cause"].tolist() == ["schedule"]


@pytest.mark.parametrize("period_s", [3.3, 0.7, 12.3])
def test_rounds_come_once_each_and_exactly_at_their_time(period_s: float) -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        while True:
            yield world.sleep_to_multiple(period_s)
            self.log.append(world.now)

    log, _ = scripted(script, tiny_scenario(drifts=[], horizon="20 min"))
    assert log == [number * period_s for number in range(1, len(log) + 1)]
    assert len(log) == int(1200 / period_s)


@pytest.mark.parametrize(("power", "joules"), [({}, None), ({"power": {"idle": "1 W"}}, 0.0)])
def test_joules_of_what_is_refused_are_missing_where_the_power_is_unknown(
    power: dict[str, Any], joules: float | None
) -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        (device,) = world.devices
        yield world.gather([device.upload(edgesim.Message(1)), device.train(world.initial)])

    device = {**CAM, **power, "away": [{"at": "0 s", "for": "20 min"}]}
    _, tables = scripted(script, tiny_scenario(devices=[device], drifts=[]))
    for rows in (tables["transfers"], tables["computations"].query("status != 'offline'")):
        (spent_j,) = rows["energy_j"]
        assert pd.isna(spent_j) if joules is None else spent_j == joules
