"""A result that need not exist yet, and the label that says whose it is."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol


class Label(NamedTuple):
    """Whose job it is, for messages; no part of its key. (A named tuple: a million are made in a timing-only
    run.)

    Attributes
    ----------
    learner
        The learner's label.
    node
        The device, or ``cloud``.
    time_s
        Virtual time at which it was submitted.
    what
        The job in words, e.g. ``camera-3/train/7``.
    kind
        What it is part of, as in the table ``computations``: ``train``, ``average``, ...; ``evaluate`` for the
        observer's own.
    shared
        Whether other learners, runs and points of a sweep are likely to have the same job: what is done before time 0.
    """

    learner: str
    node: str
    time_s: float
    what: str
    kind: str = ""
    shared: bool = False


class Handle(Protocol):
    """The result of a job, which may not have run yet. What nobody holds nobody computes."""

    @property
    def key(self) -> str:
        """The Merkle key: equal keys, equal bits. Hashed when first asked for; raises as ``value`` where it
        failed."""

    @property
    def done(self) -> bool:
        """Whether the value is there."""

    def value(self) -> Any:
        """Return the value, computing what is pending if it is not there; takes no virtual time. Never change
        it.

        Raises
        ------
        WorkFailure
            The job, or one that it needs, raised.
        NeedsValues
            This run computes nothing.
        """

    def part(self, name: str) -> Handle:
        """Return the handle of an attribute of the value; it keeps alive only that attribute, once it is
        there."""
