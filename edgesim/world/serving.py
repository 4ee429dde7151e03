"""Inference requests as a fluid: how long they take under the current bandwidth, compute and load, and what they cost.

No event is spent on a request. Time is cut where something changes: a rate, a speed, what answers a device. In between
a device's requests see lines (``lines``) under a constant load, some its own, some shared (``shared_way``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from .. import models
from ..signals import Signal
from .lines import Line, inside
from .queueing import Batch, Demand, Wait, mean_s, quantiles_s
from .shared_way import Sent, SharedWay, Way

if TYPE_CHECKING:
    from .device import Device
    from .world import World

LEVELS = (0.5, 0.95, 0.99)
"""Of the latencies in the table ``serving``."""


@dataclass(slots=True)
class Row:
    """A stretch of time during which a device's requests were served in one way: a row of the table ``serving``."""

    client: Client
    start_s: float
    end_s: float
    mode: str
    online: bool
    flops: float  # of one answer
    back: bool  # whether the device was away until then
    requests: float = 0.0
    unserved: float = 0.0
    batches: list[Batch] = field(default_factory=list)

    def add(self, start_s: float, end_s: float, per_s: float, first_s: float, last_s: float, wait: Wait) -> None:
        """Count requests that were made in between, at a constant rate, and found a connection."""
        if per_s:
            self.batches.append(Batch((end_s - start_s) * per_s, start_s, end_s, first_s, last_s, wait))

    def latencies_s(self) -> list[float | None]:
        """The mean and ``LEVELS``; None where nothing was or ever will be answered."""
        answered = [batch for batch in self.batches if math.isfinite(batch.first_s + batch.last_s)]
        return [mean_s(answered), *quantiles_s(answered, LEVELS)] if answered else [None] * (1 + len(LEVELS))


class Client:
    """A device with requests: the lines that are its own, and its requests that are not answered yet.

    Parameters
    ----------
    device
        The device.
    rate
        Requests per second.
    """

    __slots__ = (
        "_changes",
        "_online",
        "_since_s",
        "_unanswered",
        "device",
        "downlink",
        "processor",
        "rate",
        "uplink",
    )

    def __init__(self, device: Device, rate: Signal) -> None:
        self.device = device
        self.rate = rate
        self.processor = Line(device.hardware.compute)
        self.uplink, self.downlink = Line(device.hardware.uplink), Line(device.hardware.downlink)
        self._since_s = 0.0
        self._changes: list[Row] = []  # since the last :meth:`rows`, up to `_since_s`
        self._online = True
        self._unanswered: list[Batch] = []

    def note(self, now_s: float) -> None:
        """Keep how it has been served until now: that is about to change."""
        if now_s > self._since_s:
            device = self.device
            flops = models.cost(device.model.architecture).forward_flops_per_sample
            back = device.online and not self._online
            self._changes.append(Row(self, self._since_s, now_s, device.serving, device.online, flops, back))
            self._since_s, self._online = now_s, device.online

    def rows(self, end_s: float) -> list[Row]:
        """Its rows since the last time, up to ``end_s``; nothing is counted in them yet."""
        self.note(end_s)
        rows, self._changes = self._changes, []
        return rows

    def settle(self, row: Row) -> tuple[float, float]:
        """How many requests were answered in a row, and how many wait for their answer at its end.

        Those that waited when the device left are lost: unserved.
        """
        before = self._waiting(row.start_s)
        if not row.online:
            row.unserved += before
            self._unanswered.clear()
        self._unanswered += row.batches
        after = self._waiting(row.end_s)
        return max(0.0, before + row.requests - row.unserved - after), after

    def _waiting(self, now_s: float) -> float:
        waiting = [(batch, batch.waiting(now_s)) for batch in self._unanswered]
        self._unanswered = [batch for batch, left in waiting if left]
        return math.fsum(left for _, left in waiting)


class Serving:
    """The requests of all devices, recorded a row interval at a time.

    A request that is made on the device waits in line for its processor, and takes the model's forward FLOPs there.
    Served from the cloud it takes the latency, its sample's bytes at the narrowest link of the way up (device, gateway,
    ingress), the forward FLOPs at the cloud's speed, the answer's bytes at the narrowest link of the way down, and the
    latency again; and it waits in line at each link and at the cloud's processor. While a link of the way is at zero,
    or the device is away, new requests find no connection and are unserved; those in line wait. Who is in line when its
    device leaves is unserved too.

    Each line serves in the order of arrival. Requests neither slow down the learner's jobs and transfers nor wait for
    them, and draw no energy.

    Parameters
    ----------
    world
        The world, with its devices.
    """

    def __init__(self, world: World) -> None:
        self._recorder = world.recorder
        self._interval_s = world.environment.scenario.record.serving_interval
        self._recorded_s = 0.0
        self._sample_bytes = float(world.environment.sample_bytes)
        self._response_bytes = float(world.cloud.hardware.response_bytes)
        self._shared = SharedWay(world.cloud.hardware, world.gateways.values(), self._sample_bytes)
        self._clients = {
            device.index: Client(device, device.hardware.requests)
            for device in world.devices
            if device.hardware.requests is not None
        }

    def changing(self, device: Device, now_s: float) -> None:
        """What answers a device's requests, or whether anything can, is about to change."""
        client = self._clients.get(device.index)
        if client is not None:
            self._catch_up(now_s)
            client.note(now_s)

    def close(self, now_s: float) -> None:
        """Record what is left at the end."""
        self._catch_up(now_s)
        if now_s > self._recorded_s:
            self._record(now_s)

    def _catch_up(self, now_s: float) -> None:
        """Record the row intervals that are over: they end at multiples, so that rows of devices can be compared."""
        while self._clients:
            end_s = (round(self._recorded_s / self._interval_s) + 1) * self._interval_s
            if end_s > now_s:
                break
            self._record(end_s)

    def _record(self, end_s: float) -> None:
        rows = [row for client in self._clients.values() for row in client.rows(end_s)]
        in_cloud = []
        for row in rows:
            if not row.online:
                row.requests = row.unserved = row.client.rate.integral(row.start_s, row.end_s)
            elif row.mode == "device":
                _answer_on_device(row)
            else:
                in_cloud.append(row)
        if in_cloud:
            for from_s, to_s in self._shared.stretches(self._recorded_s, end_s):
                self._answer_in_cloud(in_cloud, from_s, to_s)
        self._recorded_s = end_s
        for row in rows:
            served, waiting = row.client.settle(row)
            self._recorder.serving(
                row.client.device.name,
                row.start_s,
                row.end_s,
                row.mode,
                row.requests,
                served,
                row.unserved,
                waiting,
                *row.latencies_s(),
                served * self._sample_bytes if row.mode == "cloud" else 0.0,
                served * self._response_bytes if row.mode == "cloud" else 0.0,
            )

    def _answer_in_cloud(self, rows: Sequence[Row], start_s: float, end_s: float) -> None:
        """Count what was asked of the cloud in between; all shared capacities are constant."""
        asked = [
            (row, sent) for row in rows for sent in self._send(row, max(start_s, row.start_s), min(end_s, row.end_s))
        ]
        ways = self._shared.pass_time(start_s, end_s, [sent for _, sent in asked])
        for row, sent in asked:
            self._answer(row, sent, ways[sent.gateway, sent.flops])

    def _send(self, row: Row, start_s: float, end_s: float) -> Iterator[Sent]:
        """Send a row's requests over its device's uplink, as far as there is a connection."""
        client, device = row.client, row.client.device
        up, down = device.hardware.uplink, device.hardware.downlink
        if row.back and start_s == row.start_s:
            client.uplink, client.downlink = Line(up), Line(down)
        while start_s < end_s:
            until_s = min(end_s, *(signal.next_change(start_s) for signal in (client.rate, up, down)))
            per_s = client.rate.value(start_s)
            requests = per_s * (until_s - start_s)
            row.requests += requests
            if not (up.value(start_s) and down.value(start_s) and self._shared.connects(device.gateway, start_s)):
                row.unserved += requests
                per_s = 0.0
            uplink = client.uplink.pass_time(start_s, until_s, Demand.of(per_s, self._sample_bytes))
            yield Sent(start_s, until_s, per_s, row.flops, device.gateway, uplink)
            start_s = until_s

    def _answer(self, row: Row, sent: Sent, way: Way) -> None:
        """Bring the answers back, and count how long it all took."""
        client = row.client
        answers = Demand.of(sent.uplink.leaving_per_s * way.share, self._response_bytes)
        down = client.downlink.pass_time(sent.start_s, sent.end_s, answers)
        if not sent.per_s:
            return
        passages = (sent.uplink, *way.passages, down)
        fixed_s = 2.0 * client.device.latency_s
        fixed_s += self._sample_bytes / min(sent.uplink.speed, way.up_bytes_per_s)
        fixed_s += self._response_bytes / min(down.speed, way.down_bytes_per_s)

        def takes_s(time_s: float) -> float:
            return fixed_s + sent.uplink.takes_s(time_s) + way.takes_s(time_s) + down.takes_s(time_s)

        cuts = {piece.start_s for passage in passages for piece in passage.pieces}
        inner = sorted(cut_s for cut_s in cuts if sent.start_s < cut_s < sent.end_s)
        for from_s, to_s in pairwise((sent.start_s, *inner, sent.end_s)):
            wait = Wait.sum([passage.wait(from_s) for passage in passages])
            first_s, last_s = map(takes_s, inside(from_s, to_s))
            row.add(from_s, to_s, sent.per_s, first_s, last_s, wait)


def _answer_on_device(row: Row) -> None:
    """Count what was asked of a device's own processor."""
    client, start_s = row.client, row.start_s
    compute = client.device.hardware.compute
    if row.back:
        client.processor = Line(compute)
    while start_s < row.end_s:
        until_s = min(row.end_s, client.rate.next_change(start_s), compute.next_change(start_s))
        per_s = client.rate.value(start_s)
        row.requests += per_s * (until_s - start_s)
        passage = client.processor.pass_time(start_s, until_s, Demand.of(per_s, row.flops))
        for piece in passage.pieces:
            first_s, last_s = (passage.takes_s(time_s, row.flops) for time_s in inside(piece.start_s, piece.end_s))
            row.add(piece.start_s, piece.end_s, per_s, first_s, last_s, piece.wait)
        start_s = until_s
