"""What a device's radio sends: sizes that can be, and what of a bundle has been sent when it is cut."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import pytest

from edgesim.errors import Disconnected
from edgesim.world.energy import EnergyMeter
from edgesim.world.network import Network
from edgesim.world.payload import Bundle, Message
from edgesim.world.priorities import ENVIRONMENT, LEARNER
from edgesim.world.radio import Radio, Shipment
from edgesim.world.recorder import Recorder
from edgesim.world.schedule import Clock, call_at
from edgesim.world.verbs import Verb


class Rows:
    """Takes the rows of transfers."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, str, str]] = []

    def transfer(
        self, shipment: Shipment, start_s: float, sent_bytes: float, status: str, cause: str, energy_j: float | None
    ) -> None:
        self.rows.append((shipment.transfer_id, sent_bytes, status, cause))


class Air:
    """A radio on a link of 2 bytes a second."""

    def __init__(self) -> None:
        self.env = Clock()
        network, self.log = Network(self.env), Rows()
        self.radio = Radio(self.env, network, EnergyMeter(None), cast(Recorder, self.log))
        self.up = network.link("up", 2.0)

    def send(self, *sizes: float) -> Verb[Any]:
        shipments = [
            Shipment(f"up/{number}", "camera", "cloud", "up", "control", cast(int, size))
            for number, size in enumerate(sizes)
        ]
        return self.radio.carry(Bundle(()), shipments, (self.up,), 0.0, None)

    def at(self, time_s: float, act: Callable[[], object], priority: int = LEARNER) -> None:
        call_at(self.env, time_s, priority, lambda: act() and None)


@pytest.mark.parametrize("size", [-5, math.nan, math.inf])
def test_a_size_that_cannot_be_is_refused_where_it_is_said_and_where_it_would_flow(size: float) -> None:
    with pytest.raises(ValueError, match="a size is finite and at least 0 bytes, found"):
        Message(cast(int, size))
    air = Air()
    with pytest.raises(ValueError, match="a size is finite and at least 0 bytes, found"):
        air.send(size)
    air.radio.close()
    assert air.log.rows == []


def test_a_bundle_cancelled_twice_at_one_instant_tells_once_what_was_sent() -> None:
    air = Air()
    bundle = air.send(100, 100)
    air.at(10.0, bundle.cancel)
    air.at(10.0, bundle.cancel)
    air.env.run()
    assert air.log.rows == [("up/0", 20.0, "cut", "cancelled")]
    assert isinstance(bundle.value, Disconnected)
    assert bundle.value.args == (20, 100)


def test_a_bundle_cut_by_its_device_and_cancelled_at_that_instant_tells_what_was_sent() -> None:
    air = Air()
    bundle = air.send(100, 100)
    air.at(10.0, lambda: (air.radio.cut_all("left"), bundle.cancel()), ENVIRONMENT)
    air.env.run()
    assert air.log.rows == [("up/0", 20.0, "cut", "left")]
    assert isinstance(bundle.value, Disconnected)
    assert bundle.value.args == (20, 100)


def test_a_bundle_cancelled_between_two_parts_sends_no_more_and_one_that_is_there_stays() -> None:
    for sizes, outcome in (((100, 60), Disconnected), ((100,), Bundle), ((40, 60), Bundle)):
        air = Air()
        bundle = air.send(*sizes)
        delivered = air.log.transfer

        def cancel_at_the_end(*row: Any, air: Air = air, bundle: Verb[Any] = bundle, then: Any = delivered) -> None:
            then(*row)
            if air.env.now == 50.0:
                air.at(50.0, bundle.cancel, ENVIRONMENT)  # before anybody hears that the part has arrived

        air.log.transfer = cancel_at_the_end  # type: ignore[method-assign]  # to act at an instant within an instant
        air.env.run()
        assert isinstance(bundle.value, outcome)
        assert [row[1:] for row in air.log.rows] == [(s, "delivered", "") for s in sizes][: len(air.log.rows)]
        assert len(air.log.rows) == (1 if outcome is Disconnected else len(sizes))


def test_an_empty_bundle_arrives_at_once() -> None:
    air = Air()
    empty = air.send()
    assert isinstance(air.env.run(empty), Bundle)
    assert (air.env.now, air.log.rows) == (0.0, [])
