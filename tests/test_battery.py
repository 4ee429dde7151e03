"""Batteries: what goes in and out adds up, and they are empty at the very instant at which they are."""

from __future__ import annotations

from collections.abc import Generator
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simpy import Environment

import edgesim
from edgesim import Event, Learner, VerbFailure, World
from edgesim.scenario import Scenario
from edgesim.signals import Signal
from edgesim.testing import run_tiny, tiny_scenario
from edgesim.world.battery import Battery, Store
from edgesim.world.energy import Power

DEVICE: dict[str, Any] = {
    "name": "near",
    "count": 1,
    "compute": "1 MFLOP/s",
    "memory": "64 MiB",
    "uplink": "8 kbit/s",
    "downlink": "8 kbit/s",
    "power": {"idle": "1 W", "compute": "2 W", "radio": "500 mW"},
}
FLOPS_PER_EPOCH = 3 * 2 * (8 * 8 + 8 * 4) * 20  # 20 samples through a network of 8, 8 and 4


def battery_of(
    capacity_j: float, initial_j: float, charging_w: Signal | float = 0.0, restart_j: float = 1.0, **power: float
) -> tuple[Environment, Battery, list[tuple[float, str, float]]]:
    env = Environment()
    log: list[tuple[float, str, float]] = []
    charging = charging_w if isinstance(charging_w, Signal) else Signal.constant(charging_w)
    battery = Battery(
        env,
        Store(capacity_j, initial_j, charging, restart_j),
        Power(**power),
        lambda event, state: log.append((env.now, event, state.level_j)),
        lambda empty: battery.online(not empty),
    )
    return env, battery, log


def play(script: Any, scenario: Scenario) -> tuple[list[Any], dict[str, pd.DataFrame]]:
    log: list[Any] = []

    class Play(Learner):
        def run(self, world: World) -> Generator[Event, Any, None]:
            yield from script(log, world)

    return log, run_tiny(Play(Play.Params()), scenario, timing_only=True)


# The level by itself --------------------------------------------------------------------------------------------------


def test_a_constant_draw_empties_it_at_level_over_power() -> None:
    env, battery, log = battery_of(100.0, 60.0, idle_w=2.0)
    battery.start(True)
    env.run(1000.0)
    assert log == [(0.0, "start", 60.0), (30.0, "empty", 0.0), (30.0, "change", 0.0)]


def test_charging_makes_it_last_longer_and_brings_it_back_at_the_restart_level() -> None:
    charging = Signal.steps([0.0, 40.0], [1.0, 4.0])
    env, battery, log = battery_of(100.0, 60.0, charging, restart_j=20.0, idle_w=3.0)
    battery.start(True)
    env.run(60.0)  # 60 J at -2 W: empty at 30 s; then 10 J by 40 s, and 10 J more at 4 W
    assert [(time_s, event) for time_s, event, _ in log if event != "change"] == [
        (0.0, "start"),
        (30.0, "empty"),
        (42.5, "charged"),
    ]
    assert battery.draw_w == 3.0


def test_what_does_not_fit_is_not_charged() -> None:
    env, battery, _ = battery_of(100.0, 90.0, 5.0, idle_w=1.0)
    battery.start(True)
    env.run(50.0)
    battery.close()
    assert battery.level_j == pytest.approx(100.0)
    assert battery.spent_j == pytest.approx(50.0)
    assert battery.charged_j == pytest.approx(60.0)


def test_a_charging_power_that_changes_all_the_time_is_followed_without_a_wake_up_for_each_step() -> None:
    charging = Signal.steps([0.0, 0.5], [0.0, 2.0], period_s=1.0)  # 1 W on average
    env, battery, log = battery_of(1e6, 1000.0, charging, restart_j=1e5, idle_w=2.0)
    battery.start(True)
    steps = 0
    while env.peek() < 2000.0:
        env.step()
        steps += 1
    events = [(time_s, event) for time_s, event, _ in log if event == "empty"]
    assert events == [(999.5, "empty")]
    assert steps < 100  # of 4,000


def test_changes_of_the_draw_leave_few_wake_ups_behind() -> None:
    env, battery, _ = battery_of(1e9, 1e9, idle_w=1.0, compute_w=2.0)
    battery.start(True)
    for number in range(200):
        env.run(float(number + 1))
        battery.computing(number % 2 == 1)
    assert len(env._queue) < 5


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.01, 30.0), st.sampled_from(["compute", "idle", "away", "back"])), min_size=1, max_size=20
    ),
    st.lists(st.floats(0.0, 6.0), min_size=2, max_size=4),
)
def test_level_is_initial_plus_charged_minus_spent_and_stays_within_its_bounds(
    moves: list[tuple[float, str]], watts: list[float]
) -> None:
    charging = Signal.steps([7.0 * number for number in range(len(watts))], watts, period_s=7.0 * len(watts))
    env, battery, log = battery_of(50.0, 30.0, charging, restart_j=5.0, idle_w=1.0, compute_w=3.0)
    battery.start(True)
    for wait_s, move in moves:
        env.run(env.now + wait_s)
        if move == "compute":
            battery.computing(True)
        elif move == "idle":
            battery.computing(False)
        elif not battery.empty:
            battery.online(move == "back")
        assert battery.level_j == pytest.approx(30.0 + battery.charged_j - battery.spent_j, abs=1e-9)
        assert -1e-7 <= battery.level_j <= 50.0 + 1e-9
        assert battery.charged_j <= charging.integral(0.0, env.now) + 1e-9
    states = [event for _, event, _ in log if event in ("empty", "charged")]
    assert states == ["empty", "charged"] * (len(states) // 2) + ["empty"] * (len(states) % 2)


# In a world -----------------------------------------------------------------------------------------------------------


def test_an_empty_battery_kills_the_job_and_cuts_the_transfer_at_the_exact_instant() -> None:
    def script(log: list[Any], world: World) -> Generator[Event, Any, None]:
        device = world.devices[0]
        yield world.sleep(10.0)  # 10 J of 60
        gathered = yield world.gather(
            [device.train(world.initial, epochs=10_000), device.upload(edgesim.Message(10**6))]
        )
        log += [(world.now, type(failure).__name__) for _, failure in gathered.failures]
        log.append(device.online)
        try:
            yield device.train(world.initial)
        except VerbFailure as failure:
            log.append(str(failure))

    scenario = tiny_scenario(devices=[{**DEVICE, "battery": {"capacity": "60 J"}}], drifts=[])
    log, tables = play(script, scenario)
    empty_s = 10.0 + 50.0 / 3.5  # idle, computing and radio together
    assert log[0] == (pytest.approx(empty_s), "Killed")
    assert log[1] == (pytest.approx(empty_s), "Disconnected")
    assert log[2] is False
    assert log[3].startswith("killed (battery)")
    away = tables["availability"].iloc[-1]
    assert (away["state"], away["cause"], away["time_s"]) == ("offline", "battery", pytest.approx(empty_s))
    job = tables["computations"].query("status == 'killed'").iloc[0]
    assert (job["cause"], job["done_flops"]) == ("battery", pytest.approx(1e6 * 50.0 / 3.5))
    cut = tables["transfers"].iloc[0]
    assert (cut["status"], cut["cause"]) == ("cut", "battery")
    assert tables["energy"]["total_j"].iloc[0] == pytest.approx(60.0)


def test_energy_of_bytes_empties_it_too_to_a_billionth_of_its_capacity() -> None:
    def script(log: list[Any], world: World) -> Generator[Event, Any, None]:
        yield world.gather([world.devices[0].upload(edgesim.Message(10**6))])
        log.append(world.now)

    power = {"idle": "1 W", "per_byte": "1 mJ/B"}  # 1 W at the 1000 B/s of the uplink
    slow_cloud = {"compute": "1 GFLOP/s", "memory": "1 GiB", "ingress": "2 kbit/s", "egress": "1 Mbit/s"}
    for cloud, watts in ((None, 2.0), (slow_cloud, 1.25)):
        device = {**DEVICE, "power": power, "battery": {"capacity": "30 J"}}
        changes = {} if cloud is None else {"cloud": cloud}
        log, tables = play(script, tiny_scenario(devices=[device], drifts=[], **changes))
        assert log == [pytest.approx(30.0 / watts, rel=1e-8)]
        assert tables["energy"]["total_j"].iloc[0] == pytest.approx(30.0, rel=1e-8)


def test_an_overhead_of_a_step_draws_the_power_of_computing() -> None:
    def script(log: list[Any], world: World) -> Generator[Event, Any, None]:
        yield world.gather([world.devices[0].train(world.initial, epochs=10)])
        log.append(world.now)

    device = {**DEVICE, "step_overhead": "10 s", "battery": {"capacity": "90 J"}}
    log, _ = play(script, tiny_scenario(devices=[device], drifts=[]))
    assert log == [pytest.approx(30.0)]  # 3 W from the start, in FLOPs and in overhead


def test_overheads_at_the_same_time_draw_the_power_of_computing_once() -> None:
    def script(log: list[Any], world: World) -> Generator[Event, Any, None]:
        device = world.devices[0]
        yield world.gather([device.train(world.initial, tag=number) for number in range(4)])
        log.append(world.now)

    fast = {"compute": "1 GFLOP/s", "step_overhead": "10 s", "power": {"compute": "4 W"}}
    device = {**DEVICE, **fast, "battery": {"capacity": "10 kJ"}}
    log, tables = play(script, tiny_scenario(devices=[device], drifts=[]))
    assert log == [pytest.approx(20.0, rel=1e-4)]
    assert tables["battery"]["draw_w"].tolist() == [0.0, 4.0, 0.0, 0.0]
    assert tables["battery"]["spent_j"].iloc[-1] == pytest.approx(80.0, rel=1e-4)
    own = tables["computations"].query("node == 'near-0'")
    assert own["busy_s"].tolist() == pytest.approx([5.0] * 4, rel=1e-4)
    assert tables["energy"]["compute_j"].iloc[0] == pytest.approx(tables["battery"]["spent_j"].iloc[-1])


def test_transfers_that_end_together_give_nothing_back_to_a_full_battery() -> None:
    def script(log: list[Any], world: World) -> Generator[Event, Any, None]:
        device = world.devices[0]
        uploads = [device.upload(edgesim.Message(30_000)) for _ in range(3)]  # 333 B/s each, all until 90 s
        yield device.train(world.initial, epochs=1000)  # ends long before: the battery looks at the bytes then
        log.extend((yield world.gather(uploads)))
        log.append(world.now)

    power = {"idle": "1 W", "compute": "1 W", "radio": "1 W", "per_byte": "1 mJ/B"}  # 4 W at most, of 9 W offered
    device = {**DEVICE, "power": power, "battery": {"capacity": "1 kJ", "charging": "9 W"}}
    log, tables = play(script, tiny_scenario(devices=[device], drifts=[], horizon="2 min"))
    assert log[-1] == pytest.approx(90.0)
    battery = tables["battery"]
    assert battery["charged_j"].is_monotonic_increasing
    assert battery["level_j"].tolist() == pytest.approx([1000.0] * len(battery))
    assert battery["charged_j"].tolist() == pytest.approx(battery["spent_j"].tolist())
    assert battery["spent_j"].iloc[-1] == pytest.approx(tables["energy"]["total_j"].iloc[0])


def test_a_charged_battery_brings_the_device_back_unless_the_schedule_keeps_it_away() -> None:
    def script(log: list[Any], world: World) -> Generator[Event, Any, None]:
        device = world.devices[0]
        yield world.sleep(35.0)
        log.append(device.online)
        yield device.wait_until_online()
        log.append(world.now)

    charging = {"steps": {"0 s": "0 W", "40 s": "2 W"}}
    battery = {"capacity": "100 J", "initial": "30 %", "charging": charging, "restart": "20 %"}
    device = {**DEVICE, "battery": battery}
    log, tables = play(script, tiny_scenario(devices=[device], drifts=[], horizon="2 min"))
    assert log == [False, 50.0]
    assert tables["availability"]["cause"].tolist() == ["start", "battery", "charged"]
    longer = {**device, "away": [{"at": "45 s", "for": "15 s"}]}
    log, tables = play(script, tiny_scenario(devices=[longer], drifts=[], horizon="2 min"))
    assert log == [False, 60.0]
    assert tables["availability"]["time_s"].tolist() == [0.0, 30.0, 50.0, 60.0]
    assert tables["availability"]["cause"].iloc[2] == "schedule"  # charged, and away all the same


def test_a_device_that_is_away_draws_nothing() -> None:
    def script(log: list[Any], world: World) -> Generator[Event, Any, None]:
        yield world.sleep(0)

    device = {**DEVICE, "battery": {"capacity": "30 J"}, "away": [{"at": "10 s", "for": "100 s"}]}
    _, tables = play(script, tiny_scenario(devices=[device], drifts=[], horizon="5 min"))
    assert tables["availability"]["time_s"].tolist() == [0.0, 10.0, 110.0, 130.0]


class Chatters(Learner):
    """Sends and trains all the time."""

    def run(self, world: World) -> Generator[Event, Any, None]:
        for device in world.devices:
            for lane in range(2):
                world.process(self._chat(world, device, lane))
        yield world.sleep(0)

    def _chat(self, world: World, device: Any, lane: int) -> Generator[Event, Any, None]:
        while True:
            yield device.wait_until_online()
            try:
                model = yield device.train(world.initial, epochs=1 + lane)
                yield device.upload(model)
                yield device.download(world.initial)
                yield device.send(world.devices[device.index - 1], device.samples())
            except VerbFailure:
                yield world.sleep(1.0)


batteries = st.fixed_dictionaries(
    {
        "capacity": st.sampled_from(["40 J", "200 J", "1 kJ"]),
        "initial": st.sampled_from(["100 %", "20 %"]),
        "charging": st.sampled_from(
            ["0 W", "3 W", {"steps": {"0 s": "0 W", "20 s": "9 W"}, "repeat": "50 s"}],
        ),
        "restart": st.sampled_from(["10 %", "100 %"]),
    }
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(batteries, min_size=2, max_size=3), st.integers(0, 5))
def test_a_battery_holds_what_went_in_less_what_the_books_say_was_spent(fleet: list[dict[str, Any]], seed: int) -> None:
    devices = [
        {
            **DEVICE,
            "name": f"g{number}",
            "compute": "100 kFLOP/s",
            "latency": "100 ms",
            "step_overhead": "50 ms",
            "power": {"idle": "1 W", "compute": "3 W", "radio": "500 mW", "per_byte": "1 mJ/B"},
            "battery": battery,
            "availability": {"on_off": {"mean_on": "40 s", "mean_off": "10 s"}},
        }
        for number, battery in enumerate(fleet)
    ]
    scenario = tiny_scenario(devices=devices, horizon="3 min", drifts=[])
    tables = run_tiny(Chatters(Chatters.Params()), scenario, seed=seed, timing_only=True)
    levels, energy, availability = tables["battery"], tables["energy"], tables["availability"]
    for group in scenario.devices:
        assert group.battery is not None
        name = f"{group.name}-0"
        own = levels[levels["device"] == name]
        initial_j = own["level_j"].iloc[0]
        capacity_j = group.battery.capacity
        nothing = pytest.approx(0.0, abs=1e-8 * capacity_j + 1e-9)
        assert (own["level_j"] - initial_j - own["charged_j"] + own["spent_j"]).abs().max() == nothing
        assert own["level_j"].max() <= capacity_j * (1 + 1e-12)
        assert own["event"].iloc[-1] == "end"
        spent = energy[energy["device"] == name].iloc[0]
        assert own["spent_j"].iloc[-1] == pytest.approx(spent["total_j"], rel=1e-9)
        states = availability[availability["device"] == name][["state", "cause"]].values.tolist()
        assert all(before != after and "offline" in before + after for before, after in pairwise(states))
        empty = own[own["event"] == "empty"]
        assert (empty["level_ratio"] <= 1e-8).all()
        dead = availability[(availability["device"] == name) & (availability["cause"] == "battery")]
        assert set(dead["time_s"]) <= set(empty["time_s"])
