"""The network: which transfers share what, and when that has to be looked at again.

A *route* is a path in use. A link that only one route uses, or whose routes cannot overload it, merely caps; any other
is a *bottleneck*. Routes without a bottleneck are served by themselves, those with the same bottlenecks form a pool.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from simpy import Environment
from simpy.events import Event

from ...signals import Signal
from ..priorities import COMPLETION, ENVIRONMENT, SETTLE
from .alarm import ROUNDING, Alarm
from .bottleneck import Bottleneck, settle
from .fair_queue import FairQueue
from .pool import Group, Pool
from .route import NO_CAP, Route
from .transfer import Link, Transfer

RELIEVED = 0.25
"""A bottleneck is one until its routes could take less than this share of it, so that it does not come and go."""


class Network:
    """Links and what flows over them: rates are max-min fair at every instant.

    Parameters
    ----------
    env
        The SimPy environment whose time it lives in.

    Notes
    -----
    The model is SimGrid's CM02: after its latency a transfer flows at its max-min fair rate; rates change when a
    transfer starts or ends and when a capacity steps. A link costs nothing while it is idle, and what shares no
    bottleneck costs each other nothing.

    Examples
    --------
    >>> env = Environment()
    >>> network = Network(env)
    >>> uplink, ingress = network.link("uplink", 2.0), network.link("ingress", 10.0)
    >>> transfer = network.transfer([uplink, ingress], size_bytes=20, latency_s=0.5)
    >>> env.run(transfer)
    Transferred(start_s=0.0, end_s=10.5, size_bytes=20)
    """

    def __init__(self, env: Environment) -> None:
        self.env = env
        self._routes: dict[tuple[Link, ...], Route] = {}
        self._pools: dict[tuple[Bottleneck, ...], Pool] = {}
        self._changed: dict[Pool, None] = {}
        self._stepped: dict[Bottleneck, None] = {}
        self._settling = False
        self._watchers: dict[Callable[[], None], None] = {}

    def link(self, name: str, capacity: Signal | float) -> Link:
        """Add a link.

        Parameters
        ----------
        name
            For people.
        capacity
            Bytes per second, constant or over time. Zero is an outage, during which transfers wait; a constant
            ``inf`` is never a bottleneck.
        """
        return Link(self, name, capacity if isinstance(capacity, Signal) else Signal.constant(capacity))

    def transfer(self, links: Sequence[Link], *, size_bytes: float, latency_s: float = 0.0) -> Transfer:
        """Send ``size_bytes`` over all of ``links`` at once: first the latency passes, then bytes flow.

        Parameters
        ----------
        links
            In any order, each once. Without links nothing but the latency passes.
        size_bytes
            Finite, at least 0.
        latency_s
            Finite, at least 0.

        Raises
        ------
        ValueError
            Anything else, or a link of another network.
        """
        path = tuple(links)
        if not 0.0 <= latency_s < math.inf:
            raise ValueError(f"a latency is finite and at least 0 s, found {latency_s!r}")
        for link in path:
            if link.network is not self:
                raise ValueError(f"{link!r} belongs to another network")
        if len(set(path)) < len(path):
            raise ValueError(f"a path crosses a link once, found {list(path)!r}")
        transfer = Transfer(self, path, size_bytes, latency_s)
        self.start(transfer)
        return transfer

    def start(self, transfer: Transfer) -> None:
        """Start a transfer that has just been made, whose path and latency are as :meth:`transfer` asks.

        Raises
        ------
        ValueError
            Its size is not finite, or below 0.
        """
        size_bytes = transfer.size_bytes
        if not 0.0 <= size_bytes < math.inf:
            raise ValueError(f"a size is finite and at least 0 bytes, found {size_bytes!r}")
        if transfer.latency_s:
            Alarm(self.env, self.env._now + transfer.latency_s, COMPLETION, lambda _: self._begin(transfer))
        else:
            self._begin(transfer)

    def watch(self, look: Callable[[], None]) -> None:
        """Call ``look`` whenever what others send may have changed the rate of a transfer, until :meth:`unwatch`.

        At that instant, once or more. Steps of a path's own capacities are no news: they are known beforehand.
        """
        self._watchers[look] = None

    def unwatch(self, look: Callable[[], None]) -> None:
        """Call it no more."""
        del self._watchers[look]

    def left(self, transfer: Transfer) -> float:
        """The bytes of ``transfer`` that have not arrived by now; looking changes nothing."""
        if transfer.entry is None:
            return min(transfer.left, transfer.size_bytes)
        if transfer.holder is not None:
            return min(transfer.holder.left(transfer), transfer.size_bytes)
        assert transfer.route is not None
        assert transfer.route.queue is not None
        return min(transfer.route.queue.left(transfer), transfer.size_bytes)  # queues reckon from their own start

    def rate(self, transfer: Transfer) -> float:
        """See :attr:`Transfer.rate_bytes_per_s`."""
        if transfer.entry is None:
            return 0.0
        group = transfer.holder
        if group is not None:
            return group.pool.level if group.at_level else group.cap
        assert transfer.route is not None
        assert transfer.route.queue is not None
        return transfer.route.queue.rate

    def stop(self, transfer: Transfer) -> float:
        """See :meth:`Transfer.stop`."""
        route = transfer.route
        transfer.stopped = True
        if route is not None:
            if transfer.holder is not None:
                transfer.left = transfer.holder.remove(transfer)
            elif route.queue is not None:
                transfer.left = route.queue.remove(transfer)
            transfer.left = min(transfer.left, transfer.size_bytes)  # queues reckon from their own start
            transfer.route = None
            del route.transfers[transfer]
            self._thin_out(route)
        return transfer.size_bytes - transfer.left

    # One transfer.

    def _begin(self, transfer: Transfer) -> None:
        if transfer.stopped:
            return
        path = transfer.links
        if not transfer.left or not path:  # there at this instant, but not before everything else that starts at it
            Alarm(self.env, self.env.now, COMPLETION, lambda _: self._deliver_at_once(transfer))
            return
        route = self._routes.get(path)
        if route is None:
            route = self._open(path)
        route.transfers[transfer] = None
        transfer.route = route
        if route.queue is not None:
            route.queue.add(transfer, transfer.left)
        else:
            assert route.pool is not None
            route.pool.add(self._regroup(route, transfer), transfer, transfer.left)

    def _deliver_at_once(self, transfer: Transfer) -> None:
        if not transfer.stopped:
            transfer.left = 0.0
            transfer.delivered()

    def _finish(self, transfers: list[Transfer]) -> None:
        """All their bytes have arrived; they are in no queue any more."""
        if len(transfers) == 1:  # by far the most frequent
            (transfer,) = transfers
            route = transfer.route
            if route is not None:
                transfer.route = None
                del route.transfers[transfer]
                transfer.left = 0.0
                transfer.delivered()
                if not route.transfers:
                    self._close(route)
                elif route.pool is not None:
                    self._regroup(route)
            return
        routes: dict[Route, None] = {}  # looked at once all have left: a route may be served differently then
        there = [
            transfer for transfer in transfers if transfer.route is not None
        ]  # others were stopped at this instant
        for transfer in there:  # all of them before anybody is told: who is told of one may ask for the others
            route = transfer.route
            assert route is not None
            transfer.route = None
            transfer.left = 0.0
            del route.transfers[transfer]
            routes[route] = None
        for transfer in there:
            if not transfer.stopped:
                transfer.delivered()
        for route in routes:
            self._thin_out(route)

    def _flow(self, transfer: Transfer, route: Route) -> None:
        """Put a transfer of a route that was placed anew where it is served now."""
        if transfer.arrived:
            return
        if transfer.left <= ROUNDING * transfer.size_bytes:  # moved at the instant at which it ends
            transfer.left, transfer.arrived = 0.0, True
            Alarm(self.env, self.env.now, COMPLETION, lambda _: self._finish([transfer]))
        elif route.queue is not None:
            route.queue.add(transfer, transfer.left)
        else:
            assert route.pool is not None
            route.pool.add(self._regroup(route, transfer), transfer, transfer.left)

    # One route.

    def _thin_out(self, route: Route) -> None:
        """Some of its transfers have left."""
        if not route.transfers:
            self._close(route)
        elif route.pool is not None:
            self._regroup(route)

    def _open(self, path: tuple[Link, ...]) -> Route:
        route = path[0].idle
        if route is None or route.path != path:
            route = path[-1].idle
            if route is None or route.path != path:
                route = Route(path)
        self._routes[path] = route
        peak, free = route.peak, True
        for link in path:
            users = link.routes
            if users is None:
                link.routes = route
                link.load = peak
            else:
                if isinstance(users, Route):
                    link.routes = users = {users: None}
                users[route] = None
                link.load += peak
                if link.bottleneck is None and link.load > link.capacity.lowest:
                    self._tighten(link)
            if link.bottleneck is not None:
                free = False
        if free and route.free_queue is not None:
            route.queue = route.free_queue
        else:
            self._place(route)
        return route

    def _close(self, route: Route) -> None:
        path = route.path
        if route.pool is None:
            route.queue = None
        else:
            self._unplace(route)
        del self._routes[path]
        (path[0] if path[0].capacity.highest == route.peak else path[-1]).idle = route
        for link in path:
            users = link.routes
            if isinstance(users, dict):
                del users[route]
            if users is route or not users:
                link.routes = None
                link.load = 0.0
                if link.bottleneck is not None:
                    self._relieve(link)
            else:
                link.load -= route.peak
                if link.bottleneck is not None and link.load <= RELIEVED * link.capacity.lowest:
                    self._relieve(link)

    def _place(self, route: Route) -> None:
        """Decide what serves a route, and let its transfers flow there."""
        bottlenecks: tuple[Bottleneck, ...] = ()
        cap = NO_CAP
        for link in route.path:
            if link.bottleneck is not None:
                bottlenecks += (link.bottleneck,)
            elif link.capacity.highest <= cap.lowest:
                cap = link.capacity
            elif link.capacity.lowest < cap.highest:
                cap = Signal.minimum(cap, link.capacity)
        if bottlenecks:
            route.cap = cap
            route.steady = cap.lowest if cap.lowest == cap.highest else None
            route.pool = pool = self._pool_of(bottlenecks)
            pool.routes += 1
            if route.steady is None:
                self._watch_cap(route)
        else:
            route.queue = route.free_queue = FairQueue(self.env, cap, self._finish)
        for transfer in route.transfers:
            self._flow(transfer, route)

    def _pool_of(self, bottlenecks: tuple[Bottleneck, ...]) -> Pool:
        pool = self._pools.get(bottlenecks)
        if pool is None:
            self._pools[bottlenecks] = pool = Pool(self.env, bottlenecks, self._finish, self._note)
            for bottleneck in bottlenecks:
                bottleneck.pools[pool] = None
                self._stepped[bottleneck] = None
        return pool

    def _unplace(self, route: Route) -> None:
        pool = route.pool
        if pool is None:
            if route.transfers and route.queue is not None:
                for transfer, left in route.queue.clear():
                    transfer.left = left
        else:
            for transfer in route.transfers:
                if transfer.holder is not None:
                    transfer.left = transfer.holder.remove(transfer)
            pool.routes -= 1
            if not pool.routes:
                del self._pools[pool.bottlenecks]
                for bottleneck in pool.bottlenecks:
                    del bottleneck.pools[pool]
                    self._stepped[bottleneck] = None
                self._note(pool)
        route.queue = route.pool = route.group = route.alarm = None

    def _regroup(self, route: Route, joining: Transfer | None = None) -> Group:
        """Keep the cap of each transfer of a route in a pool at its part of the route's cap.

        Called when the number of transfers has changed; ``joining`` is in no group yet. A lone transfer with a
        constant cap shares the group of all such transfers; any others have a group of their own.
        """
        pool = route.pool
        assert pool is not None
        steady, number = route.steady, len(route.transfers)
        if steady is not None and (steady == math.inf or (number == 1 and route.group is None)):
            return pool.group_of(steady)
        cap = (route.cap.value(self.env.now) if steady is None else steady) / number
        if route.group is not None:
            pool.set_cap(route.group, cap)
            return route.group
        route.group = group = Group(pool, cap)
        for transfer in route.transfers:
            if transfer is not joining and transfer.holder is not None:
                left = transfer.holder.remove(transfer)
                if not transfer.arrived:
                    pool.add(group, transfer, left)
        return group

    def _watch_cap(self, route: Route) -> None:
        """In a pool, every step of a cap counts."""
        step_s = route.cap.next_change(self.env.now)
        if step_s < math.inf:
            route.alarm = Alarm(self.env, step_s, ENVIRONMENT, lambda alarm: self._step_cap(alarm, route))

    def _step_cap(self, alarm: Event, route: Route) -> None:
        if alarm is route.alarm:
            self._watch_cap(route)
            self._regroup(route)

    # One link.

    def _tighten(self, link: Link) -> None:
        """The routes of a link could overload it: from now on it is a bottleneck."""
        now = self.env.now
        link.bottleneck = bottleneck = Bottleneck(link, link.capacity.value(now))
        self._watch_capacity(bottleneck)
        self._replace(link)

    def _relieve(self, link: Link) -> None:
        """The routes of a link can overload it no more."""
        assert link.bottleneck is not None
        link.bottleneck.alarm = None
        link.bottleneck = None
        self._replace(link)

    def _replace(self, link: Link) -> None:
        users = link.routes
        for route in [users] if isinstance(users, Route) else list(users or ()):
            if route.queue is not None or route.pool is not None:
                self._unplace(route)
                self._place(route)

    def _watch_capacity(self, bottleneck: Bottleneck) -> None:
        step_s = bottleneck.link.capacity.next_change(self.env.now)
        if step_s < math.inf:
            bottleneck.alarm = Alarm(
                self.env, step_s, ENVIRONMENT, lambda alarm: self._step_capacity(alarm, bottleneck)
            )

    def _step_capacity(self, alarm: Event, bottleneck: Bottleneck) -> None:
        if alarm is bottleneck.alarm:
            bottleneck.capacity = bottleneck.link.capacity.value(self.env.now)
            self._watch_capacity(bottleneck)
            self._stepped[bottleneck] = None
            self._settle_soon()

    # All levels, once per instant.

    def _note(self, pool: Pool) -> None:
        self._changed[pool] = None
        if not self._settling:
            self._settle_soon()

    def _settle_soon(self) -> None:
        if not self._settling:
            self._settling = True
            Alarm(self.env, self.env.now, SETTLE, self._settle)

    def _settle(self, _: Event) -> None:
        self._settling = False
        for look in tuple(self._watchers):
            look()
        changed, stepped = self._changed, self._stepped
        self._changed, self._stepped = {}, {}
        settle(changed, stepped)
