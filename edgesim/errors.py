"""Every exception that edgesim raises on purpose, in one tree.

    EdgesimError
    ├── UserError                the user's mistake: exit code 2, a message, no traceback
    │   ├── ScenarioError        everything wrong with a scenario file, at once, with positions
    │   ├── NeedsValues          --timing-only met a learner whose control flow reads results
    │   ├── RunningElsewhere     another process is running a run folder
    │   └── CannotResume         a run folder holds nothing that could be gone on with here and now
    ├── VerbFailure              what the simulated world does to a learner; learners catch these
    │   ├── OutOfMemory          a job did not fit when it started
    │   ├── Disconnected         a transfer was cut, or the device was away
    │   └── Killed               a running job was killed (memory shrank, the device left, ...)
    ├── WorkFailure              a job of the work plane raised: exit code 1, says whose job it was
    ├── LearnerFailure           a learner's own code raised: exit code 1, says whose and when
    └── DiskFull                 a run could not be written on: exit code 1, what is there stays and can be resumed

Each class hands its constructor's arguments to ``args`` and makes its text in ``__str__``: SimPy rebuilds
a failed process's exception as ``type(exc)(*exc.args)``, and pickle does the same.
"""

from __future__ import annotations

from dataclasses import dataclass


class EdgesimError(Exception):
    """Base of all exceptions that edgesim raises on purpose."""


class UserError(EdgesimError):
    """The user's mistake: the command line prints the text, without a traceback, and exits with 2."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a scenario file. ``line`` and ``column`` count from 1; 0 means the file as a whole."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class ScenarioError(UserError):
    """All mistakes found in one scenario, in file order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class NeedsValues(UserError):
    """A learner read a computed value in a run that computes none."""

    def __init__(self, learner: str, verb: str) -> None:
        super().__init__(learner, verb)
        self.learner = learner
        self.verb = verb

    def __str__(self) -> str:
        return (
            f"learner {self.learner!r} decides by computed values ({self.verb}), "
            "and --timing-only computes none: run it without --timing-only, or leave it out with --learner"
        )


class RunningElsewhere(UserError):
    """Another process is running a run folder, which is left as it is."""


class CannotResume(UserError):
    """What a run folder holds cannot be gone on with here: no run, or one that was begun with another scenario, other
    data, other versions, or on another kind of machine."""


class VerbFailure(EdgesimError):
    """A verb failed the way the real thing fails. Caught by learners; ``gather`` collects them."""


class OutOfMemory(VerbFailure):
    """A job did not fit into the memory that was available when it started."""

    def __init__(self, needed_bytes: int, available_bytes: int) -> None:
        super().__init__(needed_bytes, available_bytes)
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes

    def __str__(self) -> str:
        return f"out of memory: {self.needed_bytes} bytes needed, {self.available_bytes} available"


class Disconnected(VerbFailure):
    """A transfer was cut. What had been sent is wasted."""

    def __init__(self, sent_bytes: int, total_bytes: int) -> None:
        super().__init__(sent_bytes, total_bytes)
        self.sent_bytes = sent_bytes
        self.total_bytes = total_bytes

    def __str__(self) -> str:
        return f"disconnected after {self.sent_bytes} of {self.total_bytes} bytes"


class Killed(VerbFailure):
    """A job was killed while it ran, or could not start because its device is away.

    ``cause`` is one of ``memory``, ``away``, ``battery``, ``cancelled``.
    """

    def __init__(self, cause: str, done_flops: float, total_flops: float) -> None:
        super().__init__(cause, done_flops, total_flops)
        self.cause = cause
        self.done_flops = done_flops
        self.total_flops = total_flops

    def __str__(self) -> str:
        return f"killed ({self.cause}) after {self.done_flops:.6g} of {self.total_flops:.6g} FLOP"


class WorkFailure(EdgesimError):
    """A job raised inside the work plane. Names whose job it was and when, in virtual time, it was submitted."""

    def __init__(self, learner: str, node: str, time_s: float, job: str, reason: str) -> None:
        super().__init__(learner, node, time_s, job, reason)
        self.learner = learner
        self.node = node
        self.time_s = time_s
        self.job = job
        self.reason = reason

    def __str__(self) -> str:
        return f"learner {self.learner!r}, {self.node}, at {self.time_s:g} s, job {self.job}: {self.reason}"


class LearnerFailure(EdgesimError):
    """A learner's own code raised, or let a verb's failure through. Names the learner and the virtual time."""

    def __init__(self, learner: str, seed: int, time_s: float, reason: str) -> None:
        super().__init__(learner, seed, time_s, reason)
        self.learner = learner
        self.seed = seed
        self.time_s = time_s
        self.reason = reason

    def __str__(self) -> str:
        return f"learner {self.learner!r}, seed {self.seed}, failed at {self.time_s:g} s of virtual time: {self.reason}"


class DiskFull(EdgesimError):
    """There is no space left for a run folder. What was recorded is kept.

    ``reached`` says of which world, and up to when, where one was being simulated.
    """

    def __init__(self, folder: str, reason: str, reached: str = "") -> None:
        super().__init__(folder, reason, reached)
        self.folder = folder
        self.reason = reason
        self.reached = reached

    def __str__(self) -> str:
        reached = f", of {self.reached}" if self.reached else ""
        return (
            f"no space is left for {self.folder} ({self.reason}): what was recorded so far stays{reached}; "
            "what was not written yet is lost, and is computed again when the run goes on"
        )
