"""What requests that are served from the cloud share: the gateways' links, the cloud's links and its processor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .crowd import Crowd, Flow, Origin, Stay
from .lines import Line, Passage
from .queueing import Demand

if TYPE_CHECKING:
    from ..signals import Signal
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
    stay
        The device's lines.
    uplink
        How they went over the device's uplink.
    leaving_per_s
        How many left that, a second.
    """

    start_s: float
    end_s: float
    per_s: float
    flops: float
    gateway: Gateway | None
    stay: Stay
    uplink: Passage
    leaving_per_s: float

    @property
    def origin(self) -> Origin:
        """Where they come from."""
        return Origin(self.stay, self.gateway, self.flops, early=False)


class Way(NamedTuple):
    """How requests that have left their device's uplink fared during a stretch of time.

    Attributes
    ----------
    up, down
        The links of the way to the cloud and back.
    processor
        The cloud's.
    flops
        What one answer costs.
    up_bytes_per_s, down_bytes_per_s
        The narrowest of the links, each way.
    """

    up: tuple[Passage, ...]
    processor: Passage
    down: tuple[Passage, ...]
    flops: float
    up_bytes_per_s: float
    down_bytes_per_s: float

    @property
    def passages(self) -> tuple[Passage, ...]:
        """All of it."""
        return (*self.up, self.processor, *self.down)

    def takes_s(self, time_s: float) -> tuple[float, float]:
        """What who comes at ``time_s`` takes, its answer among it; and when it has been through all the lines.

        Each line is found as it is when one reaches it. The work itself delays nobody on the way to the next line: a
        fluid passes all lines at once.
        """
        waits_s = []
        for line in self.up:
            waits_s.append(line.takes_s(time_s))
            time_s += waits_s[-1]
        answer_s = self.processor.takes_s(time_s, self.flops)
        time_s += self.processor.takes_s(time_s)
        for line in self.down:
            waits_s.append(line.takes_s(time_s))
            time_s += waits_s[-1]
        return math.fsum(waits_s) + answer_s, time_s


class Passed(NamedTuple):
    """What all devices' requests met in a stretch of time, and whose answers came back.

    Attributes
    ----------
    ways
        The way of each gateway and FLOPs.
    shares
        Of those that left their uplink in the stretch, how many came back in it. Missing: all.
    early_per_s
        Answers a second to requests that left their uplink before.
    """

    ways: dict[tuple[Gateway | None, float], Way]
    shares: dict[Origin, float]
    early_per_s: dict[Stay, float]


class _Place:
    """A shared line and who is in it."""

    __slots__ = ("crowd", "line")

    def __init__(self, capacity: Signal, work: Callable[[Origin], float]) -> None:
        self.line = Line(capacity)
        self.crowd = Crowd(work)


class SharedWay:
    """The lines that devices share when they are served from the cloud.

    What all of them ask of a line is averaged over each call of :meth:`pass_time`. What a line holds back does not
    reach the next one before it has left this one; then its device has the answer, not whoever asks at the time.

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
        self._response_bytes = response_bytes = float(cloud.response_bytes)
        self._ingress = _Place(cloud.ingress, lambda _: sample_bytes)
        self._processor = _Place(cloud.compute, lambda origin: origin.flops)
        self._egress = _Place(cloud.egress, lambda _: response_bytes)
        self._up = {gateway: _Place(gateway.hardware.uplink, lambda _: sample_bytes) for gateway in gateways}
        self._down = {gateway: _Place(gateway.hardware.downlink, lambda _: response_bytes) for gateway in self._up}
        self._places = (self._ingress, self._processor, self._egress, *self._up.values(), *self._down.values())

    def stretches(self, start_s: float, end_s: float) -> Iterator[tuple[float, float]]:
        """Cut a time where a capacity changes."""
        while start_s < end_s:
            until_s = min(end_s, *(place.line.capacity.next_change(start_s) for place in self._places))
            yield start_s, until_s
            start_s = until_s

    def connects(self, gateway: Gateway | None, time_s: float) -> bool:
        """Whether no link between a gateway (or a device without one) and the cloud is at zero."""
        links = [self._ingress, self._egress]
        links += [] if gateway is None else [self._up[gateway], self._down[gateway]]
        return all(link.line.capacity.value(time_s) for link in links)

    @property
    def holds_any(self) -> bool:
        """Whether anybody is in line."""
        return any(place.crowd for place in self._places)

    def pass_time(self, start_s: float, end_s: float, sent: Sequence[Sent]) -> Passed:
        """Let requests come in between, where all capacities are constant."""
        duration_s = end_s - start_s

        def over(place: _Place, answers: Demand, coming: Flow, size: float | None) -> tuple[Passage, Demand, Flow]:
            """Over a link (``size`` in bytes) or through the processor (no size): what comes out."""
            demand = answers if size is None else Demand.of(answers.per_s, size)
            passage = place.line.pass_time(start_s, end_s, demand)
            if passage.rests and not place.crowd:
                return passage, answers, coming
            leaving = place.crowd.pass_time(coming, place.line.backlog)
            return passage, _rate(leaving, duration_s), leaving

        asked: dict[Gateway | None, list[Demand]] = {gateway: [] for gateway in (None, *self._up)}
        flows: dict[Gateway | None, Flow] = {gateway: {} for gateway in asked}
        for part in sent:
            requests = part.leaving_per_s * (part.end_s - part.start_s)
            asked[part.gateway].append(Demand.of(requests / duration_s, part.flops))
            if requests:
                flow, origin = flows[part.gateway], part.origin
                flow[origin] = flow.get(origin, 0.0) + requests
        came = dict(flows)
        answers = {gateway: Demand.sum(demands) for gateway, demands in asked.items()}
        ups: dict[Gateway | None, tuple[Passage, ...]] = {None: ()}
        downs: dict[Gateway | None, tuple[Passage, ...]] = {None: ()}
        for gateway, place in self._up.items():
            up, answers[gateway], flows[gateway] = over(place, answers[gateway], flows[gateway], self._sample_bytes)
            ups[gateway] = (up,)
        all_answers = Demand.sum(answers.values())
        everybody = joined = {origin: number for flow in flows.values() for origin, number in flow.items()}
        ingress, all_answers, joined = over(self._ingress, all_answers, joined, self._sample_bytes)
        processor, all_answers, joined = over(self._processor, all_answers, joined, None)
        egress, all_answers, joined = over(self._egress, all_answers, joined, self._response_bytes)
        if joined is not everybody:
            for behind in flows:
                flows[behind] = {origin: number for origin, number in joined.items() if origin.gateway is behind}
                answers[behind] = _rate(flows[behind], duration_s)
        for gateway, place in self._down.items():
            down, _, flows[gateway] = over(place, answers[gateway], flows[gateway], self._response_bytes)
            downs[gateway] = (down,)

        def way(gateway: Gateway | None, flops: float) -> Way:
            up, down = (*ups[gateway], ingress), (egress, *downs[gateway])
            slowest_up, slowest_down = (min(link.speed for link in links) for links in (up, down))
            return Way(up, processor, down, flops, slowest_up, slowest_down)

        passed = Passed({key: way(*key) for key in {(part.gateway, part.flops) for part in sent}}, {}, {})
        for behind, left in flows.items():
            if left is not came[behind]:
                for origin, number in came[behind].items():
                    passed.shares[origin] = left.get(origin, 0.0) / number
                for origin, number in left.items():
                    if origin.early:
                        before_per_s = passed.early_per_s.get(origin.stay, 0.0)
                        passed.early_per_s[origin.stay] = before_per_s + number / duration_s
        return passed


def _rate(flow: Flow, duration_s: float) -> Demand:
    """What a flow asks of the cloud's processor."""
    return Demand.sum(Demand.of(number / duration_s, origin.flops) for origin, number in flow.items())
