"""The ``gateways`` section: what stands between groups of devices and the cloud."""

from __future__ import annotations

from pydantic import Field

from edgesim.scenario.base import Name, Spec
from edgesim.scenario.signal_specs import BytesPerSecondSignal
from edgesim.scenario.units import Seconds
from edgesim.scenario.windows import Windows


class Gateway(Spec):
    """A link each way to the cloud that all devices behind it share, after the links of their own."""

    name: Name = Field(description="Name of the gateway; groups of devices say `gateway: NAME`.", examples=["shop"])
    uplink: BytesPerSecondSignal = Field(description="Data rate to the cloud, over time.", examples=["50 Mbit/s"])
    downlink: BytesPerSecondSignal = Field(description="Data rate from the cloud, over time.", examples=["100 Mbit/s"])
    latency: Seconds = Field(
        default=0.0, description="Delay between gateway and cloud, one way, on top of a device's.", examples=["10 ms"]
    )
    outages: Windows = Field(
        default=(), description="When it is cut off from the cloud; what stays behind it goes on, the rest waits."
    )
