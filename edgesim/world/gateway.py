"""A gateway: the links between the devices behind it and the rest of the world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..seeds import stream
from ..signals import Signal
from .hardware import merged, open_outside

if TYPE_CHECKING:
    from ..scenario import Gateway as GatewaySpec
    from .network import Network


@dataclass(frozen=True, slots=True)
class GatewayHardware:
    """What a gateway is made of.

    Attributes
    ----------
    uplink, downlink
        Bytes per second to and from the cloud over time; outages are zeros in them.
    latency_s
        One way, at least 0, on top of a device's own.
    """

    uplink: Signal
    downlink: Signal
    latency_s: float


class Gateway:
    """Where devices share a way to the cloud.

    What a device behind it sends to the cloud crosses the device's uplink, the gateway's and the cloud's ingress; what
    it fetches comes the other way. Two devices behind one gateway reach each other without leaving it: over the
    sender's uplink and the receiver's downlink only. To any other device the way leads over the gateway's links, and
    over the other's gateway, if any, but not through the cloud.

    Attributes
    ----------
    name
        As in the scenario.
    """

    __slots__ = ("downlink", "hardware", "name", "uplink")

    def __init__(self, network: Network, name: str, hardware: GatewayHardware) -> None:
        self.name = name
        self.hardware = hardware
        self.uplink = network.link(f"{name}/up", hardware.uplink)
        self.downlink = network.link(f"{name}/down", hardware.downlink)

    def __repr__(self) -> str:
        return f"<Gateway {self.name}>"


def gateway_hardware(spec: GatewaySpec, seed: int, horizon_s: float) -> GatewayHardware:
    """The hardware of one gateway under a seed."""
    from ..scenario.signal_specs import Own

    open_ = open_outside(merged(spec.outages, horizon_s)) or Signal.constant(1.0)

    def signal(quantity: str) -> Signal:
        number, start, file = stream(seed, "population of a gateway", spec.name, quantity).random(3).tolist()
        own = Own(spec.name, quantity, seed, horizon_s, number, start, file)
        made: Signal = getattr(spec, quantity).maker()(own)
        return Signal.product(made, open_)

    return GatewayHardware(signal("uplink"), signal("downlink"), spec.latency)
