"""What the environment offers, written out: every step of every signal, whatever a learner makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..signals import Signal

if TYPE_CHECKING:
    from .cloud import CloudHardware
    from .device import Device
    from .gateway import GatewayHardware
    from .recorder import Recorder

ROWS_AT_ONCE = 131_072
"""Rows that are put together before they are recorded: bounds the memory that they take on their way."""

Offer = tuple[str, str, Signal]
"""A node, a resource of it, and how much of that there is over time."""


def offers(cloud: CloudHardware, gateways: Mapping[str, GatewayHardware], devices: Iterable[Device]) -> Iterator[Offer]:
    """Everything that an environment offers."""
    yield "cloud", "compute", cloud.compute
    yield "cloud", "memory", cloud.memory
    yield "cloud", "ingress", cloud.ingress
    yield "cloud", "egress", cloud.egress
    for gateway, links in gateways.items():
        yield gateway, "uplink", links.uplink
        yield gateway, "downlink", links.downlink
    for device in devices:
        name, hardware = device.name, device.hardware
        yield name, "compute", hardware.compute
        yield name, "memory", hardware.memory
        yield name, "uplink", hardware.uplink
        yield name, "downlink", hardware.downlink


def record(recorder: Recorder, found: Iterable[Offer], until_s: float) -> None:
    """Record all steps before ``until_s``, in the order of ``found``."""
    known: dict[str, tuple[Signal, Steps]] = {}  # of each resource the latest: devices of a group share their signals
    nodes: list[str] = []
    resources: list[str] = []
    parts: list[Steps] = []
    rows = 0
    for node, resource, signal in found:
        latest = known.get(resource)
        if latest is None or latest[0] is not signal:
            known[resource] = latest = signal, _steps(signal, until_s)
        nodes.append(node)
        resources.append(resource)
        parts.append(latest[1])
        rows += latest[1].shape[1]
        if rows >= ROWS_AT_ONCE:
            _write(recorder, nodes, resources, parts)
            nodes, resources, parts, rows = [], [], [], 0
    if rows:
        _write(recorder, nodes, resources, parts)


Steps = npt.NDArray[np.float64]
"""Times and values of a signal, (2, step)."""


def _steps(signal: Signal, until_s: float) -> Steps:
    return np.array([(start_s, value) for start_s, _, value in signal.pieces(0.0, until_s)]).T


def _write(recorder: Recorder, nodes: Sequence[str], resources: Sequence[str], parts: Sequence[Steps]) -> None:
    lengths = [part.shape[1] for part in parts]
    times_s, values = np.concatenate(parts, axis=1)
    of_nodes = np.repeat(np.array(nodes, dtype=object), lengths)
    recorder.environment(of_nodes, np.repeat(np.array(resources, dtype=object), lengths), times_s, values)
