"""edgesim: should a fleet of edge devices retrain in the cloud, on the device, or together?

A scenario describes devices, links, a cloud and a drift schedule. Learners adapt models in it with real PyTorch
training, in virtual time. See ``load_scenario``, ``run`` and ``Learner``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import (
    Disconnected,
    DiskFull,
    EdgesimError,
    Killed,
    LearnerFailure,
    NeedsValues,
    OutOfMemory,
    ScenarioError,
    UserError,
    VerbFailure,
    WorkFailure,
)

if TYPE_CHECKING:
    from simpy.events import Event

    from .data import Samples
    from .jobs import Handle, job
    from .learner import Learner, LearnerParams, TrainingParams
    from .progress import Progress
    from .resuming import resume
    from .scenario import Scenario, hours, minutes, seconds
    from .simulation import load_scenario, run
    from .sweeps import sweep
    from .trigger import Trigger
    from .world import Bundle, Cloud, Device, Gathered, Message, Method, Model, Offline, Patch, Selection, Verb, World

__version__ = "0.1.0"

# Name -> module, imported when first asked for: `edgesim --help` needs none of them, and none needs torch to import.
_LAZY = {
    "Bundle": "edgesim.world",
    "Cloud": "edgesim.world",
    "Device": "edgesim.world",
    "Event": "simpy.events",
    "Gathered": "edgesim.world",
    "Handle": "edgesim.jobs",
    "Learner": "edgesim.learner",
    "LearnerParams": "edgesim.learner",
    "Message": "edgesim.world",
    "Method": "edgesim.world",
    "Model": "edgesim.world",
    "Offline": "edgesim.world",
    "Patch": "edgesim.world",
    "Progress": "edgesim.progress",
    "Samples": "edgesim.data",
    "Scenario": "edgesim.scenario",
    "Selection": "edgesim.world",
    "TrainingParams": "edgesim.learner",
    "Trigger": "edgesim.trigger",
    "Verb": "edgesim.world",
    "World": "edgesim.world",
    "hours": "edgesim.scenario",
    "job": "edgesim.jobs",
    "load_scenario": "edgesim.simulation",
    "minutes": "edgesim.scenario",
    "resume": "edgesim.resuming",
    "run": "edgesim.simulation",
    "seconds": "edgesim.scenario",
    "sweep": "edgesim.sweeps",
}

__all__ = [
    "Bundle",
    "Cloud",
    "Device",
    "Disconnected",
    "DiskFull",
    "EdgesimError",
    "Event",
    "Gathered",
    "Handle",
    "Killed",
    "Learner",
    "LearnerFailure",
    "LearnerParams",
    "Message",
    "Method",
    "Model",
    "NeedsValues",
    "Offline",
    "OutOfMemory",
    "Patch",
    "Progress",
    "Samples",
    "Scenario",
    "ScenarioError",
    "Selection",
    "TrainingParams",
    "Trigger",
    "UserError",
    "Verb",
    "VerbFailure",
    "WorkFailure",
    "World",
    "hours",
    "job",
    "load_scenario",
    "minutes",
    "resume",
    "run",
    "seconds",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'edgesim' has no attribute {name!r}")
