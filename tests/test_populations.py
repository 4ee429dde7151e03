"""Devices that differ: drawn from distributions, rows of a table, signals and comings and goings of their own."""

from __future__ import annotations

import math
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pandas as pd
import pytest

import edgesim
from edgesim import Event, Learner, World
from edgesim.scenario import Scenario
from edgesim.signals import Signal
from edgesim.tables import read_tables
from edgesim.testing import run_tiny, tiny_scenario
from edgesim.world.environment import Environment, draw_environment, load_data
from edgesim.world.hardware import Fleet

GROUP: dict[str, Any] = {
    "name": "many",
    "count": 400,
    "compute": "1 MFLOP/s",
    "memory": "64 MiB",
    "uplink": "8 kbit/s",
    "downlink": "8 kbit/s",
}
INDIVIDUAL: dict[str, Any] = {
    **GROUP,
    "count": 3,
    "compute": {"random_walk": {"low": "1 MFLOP/s", "high": "9 MFLOP/s", "step": "1 MFLOP/s", "every": "10 s"}},
    "memory": {"lognormal": {"median": "64 MiB", "sigma": 0.2}},
    "uplink": {"markov": {"states": ["8 kbit/s", "80 kbit/s"], "mean_holding": "20 s"}},
    "downlink": {"on_off": {"on": "80 kbit/s", "mean_on": "1 min", "mean_off": "10 s"}},
    "latency": {"uniform": ["1 ms", "9 ms"]},
    "availability": {"on_off": {"mean_on": "5 min", "mean_off": "1 min"}},
    "joins": {"uniform": ["0 s", "1 min"]},
    "background": [{"cpu": "50 %", "memory": "1 MiB", "on_off": {"mean_on": "30 s", "mean_off": "30 s"}}],
    "power": {"idle": "1 W"},
    "battery": {"capacity": "10 kJ", "initial": {"uniform": ["20 %", "90 %"]}},
}


def fleet(seed: int = 0, **changes: Any) -> Fleet:
    scenario = tiny_scenario(devices=[{**GROUP, **changes}], drifts=[])
    return Fleet(scenario.devices[0], seed, scenario.horizon)


def environment(scenario: Scenario, seed: int = 0) -> Environment:
    return draw_environment(scenario, seed, load_data(scenario))


def test_like_devices_share_one_piece_of_hardware() -> None:
    same = fleet()
    assert same.hardware(0) is same.hardware(399)
    assert same.hardware(7).uplink is same.hardware(8).uplink


def test_a_quantity_may_be_drawn_from_a_distribution() -> None:
    drawn = fleet(
        uplink={"uniform": ["8 kbit/s", "80 kbit/s"]},
        downlink={"lognormal": {"median": "80 kbit/s", "sigma": 0.5}},
        compute={"choice": ["1 MFLOP/s", "5 MFLOP/s"]},
        latency={"uniform": ["0 ms", "100 ms"]},
    )
    devices = [drawn.hardware(member) for member in range(400)]
    uplinks = [device.uplink.value(0.0) for device in devices]
    assert 1000.0 <= min(uplinks) < 1500.0 < 9500.0 < max(uplinks) <= 10_000.0
    assert fmean(uplinks) == pytest.approx(5500.0, rel=0.06)
    downlinks = [math.log(device.downlink.value(0.0)) for device in devices]
    assert median(downlinks) == pytest.approx(math.log(10_000.0), abs=0.08)
    assert math.sqrt(fmean((x - fmean(downlinks)) ** 2 for x in downlinks)) == pytest.approx(0.5, rel=0.1)
    assert {device.compute.value(0.0) for device in devices} == {1e6, 5e6}
    assert fmean(device.latency_s for device in devices) == pytest.approx(0.05, rel=0.1)
    correlation = fmean((a / 5500.0 - 1) * (b - fmean(downlinks)) for a, b in zip(uplinks, downlinks, strict=True))
    assert abs(correlation) < 0.05


def test_more_devices_leave_the_others_as_they_were() -> None:
    few, many = (fleet(**{**INDIVIDUAL, "count": count}) for count in (2, 5))
    for member in range(2):
        one, other = few.hardware(member), many.hardware(member)
        assert one.uplink == other.uplink
        assert one.compute.values == other.compute.values
        assert one.latency_s == other.latency_s
        assert one.battery == other.battery


def test_an_environment_is_the_same_whoever_asks_and_another_for_another_seed() -> None:
    scenario = tiny_scenario(devices=[INDIVIDUAL], drifts=[])

    def told(seed: int) -> list[Any]:
        devices = environment(scenario, seed).devices()
        return [
            (
                name,
                *[list(getattr(hardware, signal).pieces(0.0, 1200.0)) for signal in ("compute", "memory", "uplink")],
                hardware.latency_s,
            )
            for name, _, hardware in devices
        ]

    first = told(0)
    assert told(0) == first
    assert all(one[1:] != other[1:] for one, other in zip(first, told(1), strict=True))
    assert first[0][1:] != first[1][1:]


class Sends(Learner):
    """Looks at other things in another order than a learner that does nothing."""

    def run(self, world: World) -> Generator[Event, Any, None]:
        for device in reversed(world.devices):
            yield world.gather([device.upload(edgesim.Message(3000))])
        world.rng("anything").random(7)


def test_whatever_a_learner_does_its_environment_is_the_one_of_the_seed() -> None:
    scenario = tiny_scenario(devices=[INDIVIDUAL], horizon="5 min", drifts=[])
    runs = [run_tiny(learner(learner.Params()), scenario, timing_only=True) for learner in (Learner_, Sends)]
    for table in ("environment", "availability"):
        one, other = (run[table].drop(columns=["sequence"]) for run in runs)
        pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))


class Learner_(Learner):
    """Does nothing."""

    def run(self, world: World) -> Generator[Event, Any, None]:
        yield world.sleep(0)


def test_signals_of_devices_that_nobody_looks_at_are_never_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgesim import traces

    made: list[int] = []
    original = traces.markov_modulated
    monkeypatch.setattr(traces, "markov_modulated", lambda *args, **kw: made.append(1) or original(*args, **kw))
    scenario = tiny_scenario(
        devices=[{**INDIVIDUAL, "count": 200}], horizon="5 min", drifts=[], record={"environment": False}
    )

    class One(Learner):
        def run(self, world: World) -> Generator[Event, Any, None]:
            device = world.devices[7]
            yield device.wait_until_online()
            yield world.gather([device.upload(edgesim.Message(10))])

    run_tiny(One(One.Params()), scenario, timing_only=True)
    assert len(made) == 1  # the uplink of that one device


# Tables of devices ----------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "devices.csv"
    path.write_text("id,ram_gb,ms,kbps\na,1,100,800\nb,2,50,\nc,4,25,1600\nd,8,10,2400\n")
    return path


def population(path: Path, **changes: Any) -> dict[str, Any]:
    return {
        "csv": str(path),
        "compute": {"column": "ms", "unit": "ms", "work": "1 MFLOP"},
        "memory": {"column": "ram_gb", "unit": "GB"},
        "uplink": {"column": "kbps", "unit": "kbit/s"},
        **changes,
    }


def drawn_from(path: Path, count: int, **changes: Any) -> list[tuple[float, ...]]:
    group = {key: value for key, value in GROUP.items() if key not in ("compute", "memory", "uplink")}
    scenario = tiny_scenario(devices=[{**group, "count": count, "population": population(path, **changes)}], drifts=[])
    made = Fleet(scenario.devices[0], 0, scenario.horizon)
    devices = [made.hardware(member) for member in range(count)]
    return [(device.compute.value(0.0), device.memory.value(0.0), device.uplink.value(0.0)) for device in devices]


def test_devices_are_rows_of_a_table_and_rows_with_gaps_are_left_out(table: Path) -> None:
    rows = [(1e7, 1e9, 1e5), (4e7, 4e9, 2e5), (1e8, 8e9, 3e5)]
    in_order = drawn_from(table, 3, sample="in_order")
    assert [value for row in in_order for value in row] == pytest.approx([value for row in rows for value in row])
    drawn = drawn_from(table, 300)
    assert {tuple(map(round, row)) for row in drawn} == {tuple(map(round, row)) for row in rows}
    counts = [sum(1 for row in drawn if row[1] == ram) for ram in (1e9, 4e9, 8e9)]
    assert min(counts) > 70


def test_a_population_survives_being_written_and_read(table: Path) -> None:
    group = {key: value for key, value in GROUP.items() if key not in ("compute", "memory", "uplink")}
    scenario = tiny_scenario(
        devices=[
            {
                **group,
                "profile": "phone-mid",
                "population": population(table, latency={"column": "ms", "unit": "ms"}),
            }
        ],
        drifts=[],
    )
    written = scenario.to_document()
    assert not {"compute", "memory", "uplink", "latency"} & written["devices"][0].keys()
    assert written["devices"][0]["step_overhead"] == "10 ms"
    assert Scenario.model_validate(written) == scenario


# What a profile fills in ----------------------------------------------------------------------------------------------


def test_a_profile_fills_in_what_the_group_does_not_say() -> None:
    scenario = tiny_scenario(
        devices=[
            {
                "name": "pi",
                "count": 2,
                "profile": "raspberry-pi-4b",
                "uplink": "8 Mbit/s",
                "downlink": "8 Mbit/s",
                "memory": "100 MB",
                "power": {"idle": "5 W"},
            }
        ],
        cloud={"profile": "cloud-gpu", "ingress": "1 Gbit/s", "egress": "1 Gbit/s"},
        drifts=[],
    )
    (group,) = scenario.devices
    assert group.compute.signal() == Signal.constant(10.2e9)
    assert group.memory.signal() == Signal.constant(1e8)
    assert group.step_overhead == pytest.approx(0.0428)
    assert group.memory_overhead == 8_610_000
    assert group.power is not None
    assert (group.power.idle, group.power.compute) == (5.0, 3.7)
    assert scenario.cloud.compute.signal() == Signal.constant(12.6e12)
    assert Scenario.model_validate(scenario.to_document()) == scenario


# In worlds ------------------------------------------------------------------------------------------------------------


def play(script: Any, scenario: Scenario) -> tuple[list[Any], dict[str, pd.DataFrame]]:
    log: list[Any] = []

    class Play(Learner):
        def run(self, world: World) -> Generator[Event, Any, None]:
            yield from script(log, world)

    return log, run_tiny(Play(Play.Params()), scenario, timing_only=True)


def test_an_application_in_the_background_slows_jobs_and_takes_memory_at_the_same_times() -> None:
    def script(log: list[Any], world: World) -> Generator[Event, Any, None]:
        device = world.devices[0]
        log.append((device.compute_flops_per_s, device.free_memory_bytes))
        yield world.sleep(10.0)
        log.append((device.compute_flops_per_s, device.free_memory_bytes))
        yield world.gather([device.train(world.initial, epochs=1000)])
        log.append(world.now)

    background = [{"name": "video", "cpu": "75 %", "memory": "60 MiB", "windows": [{"at": "10 s", "for": "8 s"}]}]
    log, tables = play(script, tiny_scenario(devices=[{**GROUP, "count": 1, "background": background}], drifts=[]))
    assert log[0] == (1e6, 64 * 2**20)
    assert log[1] == (0.25e6, 4 * 2**20)
    flops = tables["computations"].iloc[-1]["flops"]
    assert log[2] == pytest.approx(18.0 + (flops - 8 * 0.25e6) / 1e6)


def test_two_applications_together_take_no_more_than_there_is() -> None:
    windows = [{"at": "10 s", "for": "10 s"}]
    background = [{"cpu": "75 %", "memory": "60 MiB", "windows": windows}] * 2
    hardware = fleet(background=background).hardware(0)
    assert (hardware.compute.value(15.0), hardware.memory.value(15.0)) == (0.0, 0.0)
    assert (hardware.compute.value(25.0), hardware.memory.value(25.0)) == (1e6, 64 * 2**20)


def test_random_applications_run_at_other_times_on_each_device_and_at_one_time_for_both_resources() -> None:
    background = [{"cpu": "50 %", "memory": "1 MiB", "on_off": {"mean_on": "20 s", "mean_off": "40 s"}}]
    made = fleet(background=background)
    shares = []
    for member in range(40):
        hardware = made.hardware(member)
        assert hardware.compute.times_s == hardware.memory.times_s
        shares.append((1.0 - hardware.compute.integral(0.0, 1200.0) / 1.2e9) / 0.5)
    assert fmean(shares) == pytest.approx(1 / 3, abs=0.05)
    assert made.hardware(0).compute.times_s != made.hardware(1).compute.times_s


def test_devices_join_late_and_leave_for_good_and_both_are_told() -> None:
    def script(log: list[Any], world: World) -> Generator[Event, Any, None]:
        device = world.devices[0]
        log.append((device.online, device.away_cause))
        yield device.wait_until_online()
        log.append(world.now)
        gathered = yield world.gather([device.train(world.initial, epochs=10**6)])
        log += [(world.now, type(failure).__name__) for _, failure in gathered.failures]

    devices = [{**GROUP, "count": 1, "joins": "1 min", "leaves": "2 min"}]
    log, tables = play(script, tiny_scenario(devices=devices, horizon="5 min", drifts=[]))
    assert log == [(False, "joins"), 60.0, (120.0, "Killed")]
    rows = tables["availability"][["time_s", "state", "cause"]].itertuples(index=False, name=None)
    assert list(rows) == [(0.0, "offline", "joins"), (60.0, "online", "joins"), (120.0, "offline", "leaves")]
    killed = tables["computations"].query("status == 'killed'").iloc[0]
    assert killed["cause"] == "leaves"
    assert tables["energy"]["online_s"].tolist() == [60.0]


def test_availability_rows_alternate_and_add_up_to_the_time_online(tmp_path: Path) -> None:
    trace = tmp_path / "spans.csv"
    trace.write_text("client,start,end\nx,0,20\nx,50,70\ny,10,90\n")
    recorded = {"csv": str(trace), "device": "client", "repeat": "100 s", "random_start": True}
    groups = [
        {"availability": {"on_off": {"mean_on": "30 s", "mean_off": "20 s"}}, "away": [{"at": "1 min", "for": "40 s"}]},
        {"availability": {"diurnal": {"low": "0 %", "high": "100 %", "period": "5 min", "redraw": "10 s"}}},
        {"availability": recorded, "joins": {"uniform": ["0 s", "2 min"]}, "leaves": {"uniform": ["2 min", "9 min"]}},
    ]
    devices = [{**GROUP, "name": f"g{number}", "count": 5, **group} for number, group in enumerate(groups)]
    scenario = tiny_scenario(devices=devices, horizon="10 min", drifts=[])
    tables = run_tiny(Sends(Sends.Params()), scenario, timing_only=True)
    energy = tables["energy"].set_index("device")
    for name, own in tables["availability"].groupby("device"):
        states = own["state"].tolist()
        told = zip(states, own["cause"], strict=True)
        assert all(before != after and "offline" in (before[0], after[0]) for before, after in pairwise(told))
        ends = [*own["time_s"].tolist()[1:], 600.0]
        online_s = sum(
            end - start for start, end, state in zip(own["time_s"], ends, states, strict=True) if state == "online"
        )
        assert energy.loc[name, "online_s"] == pytest.approx(online_s)


def test_memory_in_use_is_never_more_than_there_is_whatever_the_trace_and_the_jobs() -> None:
    class Greedy(Learner):
        def run(self, world: World) -> Generator[Event, Any, None]:
            for device in world.devices:
                for lane in range(4):
                    world.process(self._train(world, device, lane))
            yield world.sleep(0)

        def _train(self, world: World, device: Any, lane: int) -> Generator[Event, Any, None]:
            while True:
                yield device.wait_until_online()
                yield world.gather([device.train(world.initial, epochs=20 * (lane + 1), batch_size=4 * lane + 2)])
                yield world.sleep(0.5)

    walk = {"random_walk": {"low": "1 kB", "high": "20 kB", "step": "4 kB", "every": "3 s"}}
    devices = [{**GROUP, "count": 4, "memory": walk, "compute": "100 kFLOP/s"}]
    tables = run_tiny(
        Greedy(Greedy.Params()), tiny_scenario(devices=devices, horizon="3 min", drifts=[]), timing_only=True
    )
    memory, jobs = tables["memory"], tables["computations"]
    assert {"start", "end", "killed", "refused"} <= set(memory["event"])
    memory = memory[memory["time_s"] < 180.0]  # at the horizon everything is given back, in some order
    during = memory[memory["event"] != "killed"]
    assert (during["used_bytes"] <= during["available_bytes"]).all()
    killings = memory[memory["event"] == "killed"]  # one after the other, until the rest fits
    last = killings.groupby(["device", "time_s"]).last()
    assert (last["used_bytes"] <= last["available_bytes"]).all()
    killed = jobs[(jobs["status"] == "killed") & (jobs["cause"] == "memory")]
    assert len(killed) == (memory["event"] == "killed").sum()
    refused = jobs[jobs["status"] == "out_of_memory"]
    assert (refused["peak_memory_bytes"] > refused["available_bytes"]).all()
    environment = tables["environment"].query("resource == 'memory'")
    for device, rows in memory[memory["event"] == "killed"].groupby("device"):
        steps = set(environment[environment["device"] == device]["time_s"])
        assert set(rows["time_s"]) <= steps  # memory shrinks only where its signal steps


def test_the_resolved_scenario_of_a_run_gives_the_same_run(tmp_path: Path) -> None:
    scenario = tiny_scenario(devices=[INDIVIDUAL], horizon="2 min", drifts=[])
    first = edgesim.run(scenario, out=tmp_path / "first", timing_only=True)
    again = edgesim.run(first / "scenario.yaml", out=tmp_path / "again", timing_only=True)
    for name, frame in read_tables(first).items():
        pd.testing.assert_frame_equal(frame, read_tables(again)[name])


def test_the_data_of_devices_do_not_depend_on_their_hardware() -> None:
    plain = environment(tiny_scenario(devices=[{**GROUP, "count": 3}], drifts=[]))
    other = environment(tiny_scenario(devices=[INDIVIDUAL], drifts=[]))
    for index in range(3):
        one, two = (env.data_stream(index, f"many-{index}").samples(30.0) for env in (plain, other))
        assert one.view.key == two.view.key


def test_a_device_keeps_as_many_samples_as_it_held_at_first_unless_told_otherwise() -> None:
    data = {**tiny_scenario().to_document()["data"], "arrival": {"rate": "1 /s"}}
    data["partition"] = {"kind": "iid", "samples": "5-20"}
    made = environment(tiny_scenario(data=data, devices=[{**GROUP, "count": 8}], drifts=[]))
    streams = [made.data_stream(index, f"many-{index}") for index in range(8)]
    first = [stream.held(0.0) for stream in streams]
    assert len(set(first)) > 3
    assert [stream.held(600.0) for stream in streams] == first
