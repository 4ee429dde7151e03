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
from .crowd import Stay
from .lines import Line, inside
from .queueing import Batch, Demand, Wait, mean_s, quantiles_s
from .shared_way import Passed, Sent, SharedWay

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
    requests: float = 0.0
    unserved: float = 0.0
    batches: list[Batch] = field(default_factory=list)  # made in it
    through: list[Batch] = field(default_factory=list)  # whose answer's instant is known since then
    held: float = 0.0  # in line at its end on the way to the cloud and back, the answer's instant not known

    def add(self, start_s: float, end_s: float, per_s: float, first_s: float, last_s: float, wait: Wait) -> list[Batch]:
        """Count requests that were made in between, at a constant rate, and found a connection."""
        made = [Batch((end_s - start_s) * per_s, start_s, end_s, first_s, last_s, wait)] if per_s else []
        self.batches += made
        return made

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

    __slots__ = ("_changes", "_held", "_since_s", "_unanswered", "device", "processor", "rate", "stay")

    def __init__(self, device: Device, rate: Signal) -> None:
        self.device = device
        self.rate = rate
        self.processor = Line(device.hardware.compute)
        self.stay = Stay(device.hardware)
        self._since_s = 0.0
        self._changes: list[Row] = []  # since the last :meth:`rows`, up to `_since_s`
        self._unanswered: list[Batch] = []
        self._held = 0.0  # at the end of the row that was settled last

    def note(self, now_s: float) -> None:
        """Keep how it has been served until now: that is about to change."""
        if now_s > self._since_s:
            device = self.device
            flops = models.cost(device.model.architecture).forward_flops_per_sample
            self._changes.append(Row(self, self._since_s, now_s, device.serving, device.online, flops))
            self._since_s = now_s

    def rows(self, end_s: float) -> list[Row]:
        """Its rows since the last time, up to ``end_s``; nothing is counted in them yet."""
        self.note(end_s)
        rows, self._changes = self._changes, []
        return rows

    def settle(self, row: Row) -> tuple[float, float]:
        """How many requests were answered in a row, and how many wait for their answer at its end.

        Those that waited when the device left are lost: unserved.
        """
        before = self._held + self._waiting(row.start_s)
        if not row.online:
            row.unserved += before
            self._unanswered.clear()
        self._unanswered += row.through
        self._held = row.held
        after = self._held + self._waiting(row.end_s)
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
        asking = set()
        for row in rows:
            if not row.online:
                row.requests = row.unserved = row.client.rate.integral(row.start_s, row.end_s)
                row.client.processor = Line(row.client.processor.capacity)
            elif row.mode == "device":
                _answer_on_device(row)
            else:
                asking.add(row.client)
            if row.client.stay.asking:
                asking.add(row.client)
        if asking:
            in_cloud = [row for row in rows if row.client in asking]
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
        passed = self._shared.pass_time(start_s, end_s, [sent for _, sent in asked])
        for row, sent in asked:
            self._answer(row, sent, passed)
            row.held = sent.stay.held
        shared = self._shared.holds_any
        for stay, row in {sent.stay: row for row, sent in asked}.items():
            if not (shared or stay.uplink.backlog or stay.downlink.backlog):
                stay.held = row.held = 0.0  # but for what rounding left
            stay.asking = stay.held > 0.0

    def _send(self, row: Row, start_s: float, end_s: float) -> Iterator[Sent]:
        """Send a row's requests over its device's uplink, as far as there is a connection."""
        client, device = row.client, row.client.device
        if start_s >= end_s:
            return
        if not row.online:
            if start_s == row.start_s:
                client.stay = Stay(device.hardware)
            return
        stay, asks = client.stay, row.mode == "cloud"
        stay.asking = stay.asking or asks
        if not stay.asking:
            return
        up, down = device.hardware.uplink, device.hardware.downlink
        while start_s < end_s:
            until_s = min(end_s, *(signal.next_change(start_s) for signal in (client.rate, up, down)))
            per_s = client.rate.value(start_s) if asks else 0.0
            requests = per_s * (until_s - start_s)
            row.requests += requests
            if not (up.value(start_s) and down.value(start_s) and self._shared.connects(device.gateway, start_s)):
                row.unserved += requests
                per_s = 0.0
            uplink = stay.uplink.pass_time(start_s, until_s, Demand.of(per_s, self._sample_bytes))
            for piece in uplink.pieces:
                times_s = piece.start_s, piece.end_s
                yield Sent(*times_s, per_s, row.flops, device.gateway, stay, uplink, piece.leaving_per_s)
            start_s = until_s

    def _answer(self, row: Row, sent: Sent, passed: Passed) -> None:
        """Bring the answers back, and count how long it all took."""
        stay, way = sent.stay, passed.ways[sent.gateway, sent.flops]
        back_per_s = sent.leaving_per_s * passed.shares.get(sent.origin, 1.0) + passed.early_per_s.get(stay, 0.0)
        down = stay.downlink.pass_time(sent.start_s, sent.end_s, Demand.of(back_per_s, self._response_bytes))
        passages = (sent.uplink, *way.passages, down)
        resting = not stay.held and all(passage.rests for passage in passages)
        if resting and not sent.per_s:
            return
        fixed_s = 2.0 * row.client.device.latency_s
        fixed_s += _time_s(self._sample_bytes, sent.uplink.speed, way.up_bytes_per_s)
        fixed_s += _time_s(self._response_bytes, down.speed, way.down_bytes_per_s)
        answer_s = _time_s(way.flops, way.processor.speed)
        if resting:
            wait = Wait.sum([passage.wait(sent.start_s) for passage in passages])
            takes_s = fixed_s + answer_s
            row.through += row.add(sent.start_s, sent.end_s, sent.per_s, takes_s, takes_s, wait)
            stay.due_s = sent.end_s + takes_s + wait.mean_s
            return

        def whole_s(time_s: float) -> float:
            up_s = sent.uplink.takes_s(time_s)
            way_s, back_s = way.takes_s(time_s + up_s)
            return fixed_s + up_s + way_s + down.takes_s(back_s)

        each_s = 0.0  # what an answer takes at least, where the device's own link is full
        if not down.rests:
            each_s = _time_s(self._response_bytes, down.speed)
        elif not sent.uplink.rests:
            each_s = _time_s(self._sample_bytes, sent.uplink.speed)
        cuts = {piece.start_s for passage in passages for piece in passage.pieces}
        inner = sorted(cut_s for cut_s in cuts if sent.start_s < cut_s < sent.end_s)
        for from_s, to_s in pairwise((sent.start_s, *inner, sent.end_s)):
            wait = Wait.sum([passage.wait(from_s) for passage in passages])
            if sent.per_s:
                first_s, last_s = map(whole_s, inside(from_s, to_s))
                row.add(from_s, to_s, sent.per_s, first_s, last_s, wait)
            after_s = fixed_s + answer_s + wait.mean_s
            answers = down.leaving_per_s(from_s) * (to_s - from_s)
            stay.held = max(0.0, stay.held + sent.per_s * (to_s - from_s) - answers)
            if answers:
                row.through.append(stay.answer(answers, from_s + after_s, to_s + after_s, each_s))


def _time_s(work: float, *speeds: float) -> float:
    """At the slowest of some speeds; nothing that waits in an outage has begun."""
    slowest = min(speeds)
    return work / slowest if slowest else 0.0


def _answer_on_device(row: Row) -> None:
    """Count what was asked of a device's own processor."""
    client, start_s = row.client, row.start_s
    compute = client.device.hardware.compute
    while start_s < row.end_s:
        until_s = min(row.end_s, client.rate.next_change(start_s), compute.next_change(start_s))
        per_s = client.rate.value(start_s)
        row.requests += per_s * (until_s - start_s)
        passage = client.processor.pass_time(start_s, until_s, Demand.of(per_s, row.flops))
        for piece in passage.pieces:
            first_s, last_s = (passage.takes_s(time_s, row.flops) for time_s in inside(piece.start_s, piece.end_s))
            row.through += row.add(piece.start_s, piece.end_s, per_s, first_s, last_s, piece.wait)
        start_s = until_s
