"""No adaptation: the model that was pretrained in the cloud is never touched again. The lower bound."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from edgesim import Learner

if TYPE_CHECKING:
    from edgesim import Event, World


class NoAdaptation(Learner):
    """Every device keeps the pretrained model: no bytes, no compute, and whatever accuracy drift leaves."""

    def run(self, world: World) -> Generator[Event, Any, None]:
        """Nothing, once."""
        yield world.sleep(0)
