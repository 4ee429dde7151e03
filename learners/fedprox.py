"""FedProx: FedAvg with a proximal term that holds each device near the global model it started from.

Source: Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020 (arXiv 1812.06127), Eq. 2:
min_w F_k(w) + (mu / 2) ||w - w_t||^2.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, final

from pydantic import Field

from edgesim import Device, Event, Method, Model, Verb, World

from .federated import Federated, FederatedParams, Update


@final
class FedProx(Federated):
    """FedAvg whose devices are held near the global model that they started from."""

    class Params(FederatedParams):
        """What can be chosen."""

        mu: float = Field(0.01, ge=0, description="Weight of the proximal term; 0 is FedAvg.")

    params: Params

    def give(
        self, world: World, device: Device, server: Model, made: dict[Any, Verb[Model]]
    ) -> Generator[Event, Any, Model]:
        """The global model itself."""
        return server
        yield

    def method(self, given: Model) -> Method | None:
        """Training with the proximal term."""
        from .proximal import train_near

        return Method(train_near, parameters={"mu": self.params.mu})

    def merge(self, world: World, server: Model, updates: Sequence[Update]) -> Verb[Model]:
        """``w <- sum_k (n_k / n) w_k``"""
        return world.cloud.average((u.model for u in updates), (len(u.samples) for u in updates))
