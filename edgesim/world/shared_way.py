"""What requests that are served from the cloud share: the gateways' links, the cloud's links and its processor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .lines import Line, Passage
from .queueing import Demand

if TYPE_CHECKING:
    from .cloud import CloudHardware
    from .gateway import Gateway


class Sent(NamedTuple):
    """Requests of one device on their way to the cloud, made at a constant rate.

    Attributes
    ----------
    start_s, end_s
        When they were made.
    per_s
        How many a second.
    flops
        What one answer costs.
    gateway
        Which they pass, if any.
    uplink
        How they went over the device's uplink.
    """

    start_s: float
    end_s: float
    per_s: float
    flops: float
    gateway: Gateway | None
    uplink: Passage


class Way(NamedTuple):
    """How requests that have left their device's uplink fared during a stretch of time.

    Attributes
    ----------
    links
        Of the way to the cloud and back.
    processor
        The cloud's.
    flops
        What one answer costs.
    up_bytes_per_s, down_bytes_per_s
        The narrowest of the links, each way.
    share
        Answers that came back to the device's downlink for each request that left its uplink.
    """

    links: tuple[Passage, ...]
    processor: Passage
    flops: float
    up_bytes_per_s: float
    down_bytes_per_s: float
    share: float

    @property
    def passages(self) -> tuple[Passage, ...]:
        """All of it."""
        return (*self.links, self.processor)

    def takes_s(self, time_s: float) -> float:
        """The backlogs that who comes at ``time_s`` finds, and its answer."""
        return math.fsum(link.takes_s(time_s) for link in self.links) + self.processor.takes_s(time_s, self.flops)


class SharedWay:
    """The lines that devices share when they are served from the cloud.

    What all of them ask of a line is averaged over each call of :meth:`pass_time`. What a line holds back does not
    reach the next one.

    Parameters
    ----------
    cloud
        What the cloud is made of.
    gateways
        All gateways.
    sample_bytes
        Of one request.
    """

    def __init__(self, cloud: CloudHardware, gateways: Iterable[Gateway], sample_bytes: float) -> None:
        self._sample_bytes = sample_bytes
        self._response_bytes = float(cloud.response_bytes)
        self._ingress, self._processor, self._egress = map(Line, (cloud.ingress, cloud.compute, cloud.egress))
        self._up = {gateway: Line(gateway.hardware.uplink) for gateway in gateways}
        self._down = {gateway: Line(gateway.hardware.downlink) for gateway in self._up}

    def stretches(self, start_s: float, end_s: float) -> Iterator[tuple[float, float]]:
        """Cut a time where a capacity changes."""
        lines = (self._ingress, self._processor, self._egress, *self._up.values(), *self._down.values())
        while start_s < end_s:
            until_s = min(end_s, *(line.capacity.next_change(start_s) for line in lines))
            yield start_s, until_s
            start_s = until_s

    def connects(self, gateway: Gateway | None, time_s: float) -> bool:
        """Whether no link between a gateway (or a device without one) and the cloud is at zero."""
        links = [self._ingress, self._egress]
        links += [] if gateway is None else [self._up[gateway], self._down[gateway]]
        return all(link.capacity.value(time_s) for link in links)

    def pass_time(self, start_s: float, end_s: float, sent: Sequence[Sent]) -> dict[tuple[Gateway | None, float], Way]:
        """Let requests come in between, where all capacities are constant; the way of each (gateway, FLOPs)."""

        def over(line: Line, demand: Demand) -> tuple[Passage, float]:
            passage = line.pass_time(start_s, end_s, demand)
            return passage, passage.leaving_per_s / demand.per_s if demand.per_s else 1.0

        asked: dict[Gateway | None, list[Demand]] = {gateway: [] for gateway in (None, *self._up)}
        for part in sent:
            requests = part.uplink.leaving_per_s * (part.end_s - part.start_s)
            asked[part.gateway].append(Demand.of(requests / (end_s - start_s), part.flops))
        answers = {gateway: Demand.sum(demands) for gateway, demands in asked.items()}
        ups: dict[Gateway | None, tuple[Passage, ...]] = {None: ()}
        downs: dict[Gateway | None, tuple[Passage, ...]] = {None: ()}
        shares: dict[Gateway | None, float] = {None: 1.0}
        for gateway, line in self._up.items():
            up, shares[gateway] = over(line, Demand.of(answers[gateway].per_s, self._sample_bytes))
            ups[gateway] = (up,)
        arriving = Demand.sum(answers[gateway].times(shares[gateway]) for gateway in asked)
        ingress, through = over(self._ingress, Demand.of(arriving.per_s, self._sample_bytes))
        processor, done = over(self._processor, arriving.times(through))
        egress, out = over(self._egress, Demand.of(processor.leaving_per_s, self._response_bytes))
        for gateway, line in self._down.items():
            shares[gateway] *= through * done * out
            down, back = over(line, Demand.of(answers[gateway].per_s * shares[gateway], self._response_bytes))
            downs[gateway] = (down,)
            shares[gateway] *= back
        shares[None] = through * done * out

        def way(gateway: Gateway | None, flops: float) -> Way:
            up, down = (*ups[gateway], ingress), (egress, *downs[gateway])
            slowest_up, slowest_down = (min(link.speed for link in links) for links in (up, down))
            return Way((*up, *down), processor, flops, slowest_up, slowest_down, shares[gateway])

        return {key: way(*key) for key in {(part.gateway, part.flops) for part in sent}}
