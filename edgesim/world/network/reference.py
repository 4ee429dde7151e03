"""Max-min fair rates by progressive filling, as plainly as it can be said: what the engine is checked against."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

L = TypeVar("L", bound=Hashable)


def max_min_rates(capacities: Mapping[L, float], paths: Sequence[Sequence[L]]) -> list[float]:
    """The max-min fair rate of each path.

    All rates grow together; when a link is full, the rates over it stop growing (Bertsekas and Gallager, "Data
    Networks", 6.5.2). Slow: each round looks at every link.

    Parameters
    ----------
    capacities
        Bytes per second of each link.
    paths
        The links that each transfer crosses.

    Returns
    -------
    list of float
        Bytes per second, in the order of ``paths``; ``inf`` for a path without links.

    Examples
    --------
    >>> max_min_rates({"uplink": 2, "ingress": 10}, [["uplink", "ingress"], ["ingress"], ["ingress"]])
    [2.0, 4.0, 4.0]
    """
    rates = [math.inf] * len(paths)
    free = {link: float(capacity) for link, capacity in capacities.items()}
    users: dict[L, set[int]] = {link: set() for link in capacities}
    for number, path in enumerate(paths):
        for link in path:
            users[link].add(number)
    while crossed := [link for link in free if users[link]]:
        fullest = min(crossed, key=lambda link: free[link] / len(users[link]))
        share = max(0.0, free[fullest] / len(users[fullest]))
        for number in sorted(users[fullest]):
            rates[number] = share
            for link in paths[number]:
                free[link] -= share
                users[link].discard(number)
    return rates
