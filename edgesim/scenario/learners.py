"""The ``learners`` section: which paradigms are compared, and with which parameters.

A learner's parameters are checked against its own model, which whoever loads the scenario hands in: nothing here
imports a learner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from edgesim.scenario.findings import did_you_mean

LearnerModels = Mapping[str, Callable[[], type[BaseModel]]]
"""Name of a learner -> a function that returns the model of its parameters (importing the learner then)."""


@dataclass(frozen=True, slots=True)
class LearnerSpec:
    """One learner of a scenario.

    ``label`` names its rows in the tables, ``learner`` says which class, and ``params`` holds the parameters: the
    learner's own model, or the mapping as written where the learner is given as ``package.module:Class``.
    """

    label: str
    learner: str
    params: BaseModel | Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_code(self) -> bool:
        """Whether the learner is a class of the user's own, named ``package.module:Class``."""
        return ":" in self.learner


def unknown_learner(name: str, known: LearnerModels) -> str:
    """Tell that no learner is called ``name``."""
    installed = ", ".join(sorted(known)) or "none"
    return f"no learner is called {name!r}{did_you_mean(name, known)} Installed: {installed}"
