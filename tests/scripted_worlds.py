"""Small worlds that a test drives by hand: a generator over the verbs in the place of a learner."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pandas as pd

from edgesim import Event, Learner, World
from edgesim.scenario import Scenario
from edgesim.testing import run_tiny


class Scripted(Learner):
    """Plays ``script(self, world)``, which may leave what it saw in ``log``."""

    script: Callable[[Scripted, World], Generator[Event, Any, None]]

    def __init__(self, params: Any = None) -> None:
        super().__init__(params)
        self.log: list[Any] = []

    def run(self, world: World) -> Generator[Event, Any, None]:
        yield from type(self).script(self, world)


def scripted(script: Any, scenario: Scenario) -> tuple[list[Any], dict[str, pd.DataFrame]]:
    """Play a script in a scenario, without training: its log, and the tables."""
    learner = type("Play", (Scripted,), {"script": staticmethod(script)})()
    tables = run_tiny(learner, scenario, timing_only=True)
    return learner.log, tables
