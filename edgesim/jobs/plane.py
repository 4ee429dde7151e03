"""What a plane is, and the one that never computes; ``work_plane`` has the one that does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, final

from ..errors import NeedsValues
from .handle import Handle, Label
from .kinds import Kind, Kinds


class Plane(Protocol):
    """Where jobs are submitted."""

    @property
    def computes(self) -> bool:
        """Whether handles ever have values."""

    @property
    def pending(self) -> int:
        """How many jobs wait that somebody wants."""

    @property
    def done(self) -> int:
        """How many jobs have been settled: run, found under an equal key, or failed."""

    def submit(
        self, function: Callable[..., Any], *inputs: object, label: Label, seed: int = 0, **params: Any
    ) -> Handle:
        """Take a job; returns at once.

        Parameters
        ----------
        function
            Marked with :func:`~edgesim.jobs.job`.
        inputs
            Handles, views and constants. The function gets the value of a handle; of a view, its samples as a
            pair of tensors, features float32 (sample, ...) and labels int64 (sample,).
        label
            Whose job it is.
        seed
            What it draws from, at least 0; means nothing to a function without ``seed``.
        params
            Constants (None, bool, int, float, str, bytes, lists, dicts), or anything with a ``key``.

        Raises
        ------
        TypeError
            The function is no job, or cannot be called like this.
        """

    def kind(self, function: Callable[..., Any], **params: Any) -> Kind:
        """What all jobs have in common that are submitted with this function and these parameters.

        Raises
        ------
        TypeError
            The function is no job, or does not take these parameters.
        """

    def submit_one(self, kind: Kind, inputs: tuple[object, ...], label: Label, seed: int) -> Handle:
        """Take a job of a kind, as ``submit`` does: for who submits many of them."""

    def flush(self) -> None:
        """Run what is pending.

        Raises
        ------
        WorkFailure
            A job raised. What it does not concern stays pending.
        """

    def counts(self) -> dict[str, int]:
        """How many jobs were settled and how, for a run's manifest."""

    def close(self) -> None:
        """Give back what the plane holds: processes, files. Values that are in memory can still be read; those that it
        had no room for go with their files. Nothing is submitted any more."""


@final
class TimingPlane:
    """The plane that never computes: takes jobs, checks that they could be called, and forgets them."""

    computes = False
    pending = 0
    done = 0

    def __init__(self) -> None:
        self._kinds = Kinds()

    def submit(
        self, function: Callable[..., Any], *inputs: object, label: Label, seed: int = 0, **params: Any
    ) -> EmptyHandle:
        """See ``Plane``."""
        return self.submit_one(self._kinds.of(function, params), inputs, label, seed)

    def kind(self, function: Callable[..., Any], **params: Any) -> Kind:
        """See ``Plane``."""
        return self._kinds.of(function, params)

    def submit_one(self, kind: Kind, inputs: tuple[object, ...], label: Label, seed: int) -> EmptyHandle:
        """See ``Plane``."""
        kind.function.check_inputs(len(inputs))
        return EmptyHandle(label)

    def flush(self) -> None:
        """See ``Plane``; there is nothing to run."""

    def counts(self) -> dict[str, int]:
        """See ``Plane``."""
        return {}

    def close(self) -> None:
        """See ``Plane``; there is nothing to give back."""


@final
class EmptyHandle:
    """The handle of a plane that never computes: there is no value, and no key is worked out."""

    __slots__ = ("_label",)

    done = False

    def __init__(self, label: Label) -> None:
        self._label = label

    @property
    def key(self) -> str:
        """Raises ``NeedsValues``."""
        raise NeedsValues(self._label.learner, self._label.what)

    def value(self) -> Any:
        """Raise ``NeedsValues``."""
        raise NeedsValues(self._label.learner, self._label.what)

    def part(self, name: str) -> EmptyHandle:
        """See ``Handle``."""
        return self

    def __repr__(self) -> str:
        return "<empty handle>"
