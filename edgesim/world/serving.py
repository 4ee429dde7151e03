"""Inference requests as a fluid: how long they take under the current bandwidth and compute, and what they cost.

No event is spent on a request. Between two changes of what answers a device (its model, the cloud, nobody), the
signals are piecewise constant, so the latency is too: its quantiles over the requests are exact for this model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .. import models
from ..signals import Signal

if TYPE_CHECKING:
    from .device import Device
    from .world import World

QUANTILES = (0.5, 0.95, 0.99)


class Requests:
    """The requests of one device, recorded a stretch at a time.

    A request made on the device takes the model's forward FLOPs at the device's speed. Served from the cloud it takes
    the sample up, the forward FLOPs at the cloud's speed and the answer down, each at the capacity of the device's
    links at that time, and the latency twice. Without a connection (a link at zero, the device away) it is unserved.
    Requests neither slow down nor are slowed down by transfers and jobs.

    Parameters
    ----------
    world
        The world.
    device
        One whose hardware has requests.
    """

    __slots__ = ("_device", "_since_s", "_world")

    def __init__(self, world: World, device: Device) -> None:
        self._world = world
        self._device = device
        self._since_s = 0.0

    def close_interval(self, now_s: float) -> None:
        """Record the stretch that ends now, in rows of at most the scenario's serving interval."""
        longest_s = self._world.environment.scenario.record.serving_interval
        start_s = self._since_s
        while start_s < now_s:
            # Rows end at multiples of the interval, so that rows of different devices can be set side by side.
            end_s = min(now_s, (math.floor(start_s / longest_s) + 1) * longest_s)
            if end_s <= start_s:
                end_s = now_s
            self._record(start_s, end_s)
            start_s = end_s
        self._since_s = now_s

    def _record(self, start_s: float, end_s: float) -> None:
        device, environment = self._device, self._world.environment
        hardware = device.hardware
        rate = hardware.requests
        assert rate is not None
        requests = rate.integral(start_s, end_s)
        answered: list[tuple[float, float]] = []  # (latency, requests)
        if device.online:
            gateway = device.gateway
            links = () if gateway is None else (gateway.hardware.uplink, gateway.hardware.downlink)
            cloud = environment.cloud.compute
            signals = (rate, hardware.compute, hardware.uplink, hardware.downlink, cloud, *links)
            for piece_start_s, piece_end_s in _pieces(signals, start_s, end_s):
                latency_s = self._latency_s(piece_start_s)
                if math.isfinite(latency_s):
                    answered.append((latency_s, rate.integral(piece_start_s, piece_end_s)))
        served = math.fsum(count for _, count in answered)
        in_cloud = device.serving == "cloud"
        self._world.recorder.serving(
            device.name,
            start_s,
            end_s,
            device.serving,
            requests,
            served,
            max(0.0, requests - served),
            *_quantiles(answered, served),
            served * environment.sample_bytes if in_cloud else 0.0,
            served * environment.cloud.response_bytes if in_cloud else 0.0,
        )

    def _latency_s(self, time_s: float) -> float:
        device, environment = self._device, self._world.environment
        hardware = device.hardware
        flops = models.cost(device.model.architecture).forward_flops_per_sample
        if device.serving == "device":
            return _over(flops, hardware.compute.value(time_s))
        between = 0.0
        if device.gateway is not None:
            links = device.gateway.hardware
            between = _over(environment.sample_bytes, links.uplink.value(time_s))
            between += _over(environment.cloud.response_bytes, links.downlink.value(time_s))
        return (
            2 * device.latency_s
            + between
            + _over(environment.sample_bytes, hardware.uplink.value(time_s))
            + _over(flops, environment.cloud.compute.value(time_s))
            + _over(environment.cloud.response_bytes, hardware.downlink.value(time_s))
        )


def _over(amount: float, rate: float) -> float:
    return amount / rate if rate > 0 else math.inf


def _pieces(signals: Sequence[Signal], start_s: float, end_s: float) -> Iterator[tuple[float, float]]:
    """The stretches between ``start_s`` and ``end_s`` on which every signal is constant."""
    while start_s < end_s:
        stop_s = min(end_s, *(signal.next_change(start_s) for signal in signals))
        yield start_s, stop_s
        start_s = stop_s


def _quantiles(answered: list[tuple[float, float]], served: float) -> list[float | None]:
    """The latency that a share of the served requests stays at or below, for each of ``QUANTILES``."""
    if served <= 0:
        return [None for _ in QUANTILES]
    found: list[float | None] = []
    for quantile in QUANTILES:
        reached = 0.0
        for latency_s, count in sorted(answered):
            reached += count
            if reached >= quantile * served * (1 - 1e-12):
                found.append(latency_s)
                break
    return found
