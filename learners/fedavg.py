"""FedAvg: sampled devices train the global model on their own data; the cloud averages, weighted by samples.

Source: McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017
(arXiv 1602.05629), Algorithm 1: w <- sum_k (n_k / n) w_k.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, final

from edgesim import Device, Event, Method, Model, Verb, World

from .federated import Federated, FederatedParams, Update


@final
class FedAvg(Federated):
    """Sampled devices train the global model on their own data; the cloud averages, weighted by samples."""

    class Params(FederatedParams):
        """What can be chosen."""

    params: Params

    def give(
        self, world: World, device: Device, server: Model, made: dict[Any, Verb[Model]]
    ) -> Generator[Event, Any, Model]:
        """The global model itself."""
        return server
        yield

    def method(self, given: Model) -> Method | None:
        """Plain training."""
        return None

    def merge(self, world: World, server: Model, updates: Sequence[Update]) -> Verb[Model]:
        """``w <- sum_k (n_k / n) w_k``"""
        return world.cloud.average((u.model for u in updates), (len(u.samples) for u in updates))
