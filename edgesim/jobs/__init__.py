"""The work plane: pure jobs on handles, run when their results are wanted. Importing it imports no torch.

The arithmetic that learners share (train, evaluate, average) is in ``edgesim.jobs.arithmetic``, which does.
"""

from __future__ import annotations

from .batching import batches, largest_part, steps
from .choice import Choice
from .executors import Call, Calls, Executor, InlineExecutor, Outcome, Raised, Returned, View
from .function import Fused, JobFunction, job
from .handle import Handle, Label
from .keys import cpu_capability
from .kinds import Kind
from .overflow import Overflow
from .placement import CPU, Placement
from .plane import Plane, TimingPlane
from .processes import ProcessExecutor
from .work_plane import WorkPlane
from .work_plane import inline_plane as InlinePlane  # read as the class it stands for

__all__ = [
    "CPU",
    "Call",
    "Calls",
    "Choice",
    "Executor",
    "Fused",
    "Handle",
    "InlineExecutor",
    "InlinePlane",
    "JobFunction",
    "Kind",
    "Label",
    "Outcome",
    "Overflow",
    "Placement",
    "Plane",
    "ProcessExecutor",
    "Raised",
    "Returned",
    "TimingPlane",
    "View",
    "WorkPlane",
    "batches",
    "cpu_capability",
    "job",
    "largest_part",
    "steps",
]
