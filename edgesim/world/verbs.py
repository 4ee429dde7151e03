"""What a learner yields: a verb (something a node does, which takes virtual time) and a gathering of verbs.

Both are SimPy events, so plain SimPy composes with them (``&``, ``|``, processes, interrupts). A verb begins when it is
made, and is no process of its own: what it waits for tells it when it is over. One that fails with a ``VerbFailure``
and that nobody waits for does not stop the simulation: its row says what happened.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heappush
from typing import Any, Generic, TypeVar, final

from simpy import Environment, Interrupt
from simpy.events import PENDING, Event, Process

from ..errors import Killed, VerbFailure
from .priorities import COMPLETION, LEARNER
from .schedule import call_at

T = TypeVar("T")
U = TypeVar("U")


class Verb(Event, Generic[T], abc.ABC):
    """Something that takes virtual time, as an event whose value is its result."""

    def then(self, following: Callable[[T], Event]) -> Verb[Any]:
        """Do ``following(value)`` when this verb is done; the new verb fails if either of the two does.

        ``following`` returns a verb or another SimPy event, such as a process; anything else is a ``TypeError``.
        """
        return Chain(self, following)

    def cancel(self) -> None:
        """Give up: what has been sent or computed so far is logged as wasted, the verb fails with its own failure.

        Cancelling a verb that is done changes nothing.
        """
        if self._value is PENDING:
            self.abort("cancelled")

    def give(self, value: T) -> None:
        """Succeed, as SimPy's ``succeed`` (the engine's: it knows that this has not happened yet)."""
        env = self.env
        self._ok = True
        self._value = value
        heappush(env._queue, (env._now, COMPLETION, next(env._eid), self))

    def fail(self, exception: Exception) -> Event:
        """Fail; where the world did it and not a bug, nobody has to wait for it."""
        if isinstance(exception, VerbFailure):
            self._defused = True
        return super().fail(exception)

    @abc.abstractmethod
    def abort(self, cause: str) -> None:
        """Fail now, before it is over (the engine's; learners use ``cancel``)."""


@final
class Chain(Verb[Any]):
    """One verb after the other; see ``Verb.then``."""

    def __init__(self, first: Verb[T], following: Callable[[T], Event]) -> None:
        super().__init__(first.env)
        self._following = following
        self._under_way: Event = first
        _when_over(first, self._go_on)

    def abort(self, cause: str) -> None:
        """See ``Verb``."""
        self.fail(Killed(cause, 0.0, 0.0))
        under_way = self._under_way
        if not under_way.triggered:
            if isinstance(under_way, Verb):
                under_way.abort(cause)
            elif isinstance(under_way, Process):
                under_way.interrupt(cause)

    def _go_on(self, first: Event) -> None:
        if self._value is not PENDING:
            return
        if not first.ok:
            self._end(first)
            return
        try:
            following: object = self._following(first._value)
            if not isinstance(following, Event):
                named = getattr(self._following, "__qualname__", self._following)
                raise TypeError(f"then({named}): the function must return a verb or an event, not {following!r}")
        except Exception as error:
            self.fail(error)
        else:
            self._under_way = following
            _when_over(following, self._end)

    def _end(self, last: Event) -> None:
        if self._value is not PENDING:  # cancelled, and what it was stopped with is no bug
            if isinstance(last._value, (Interrupt, VerbFailure)):
                last.defused = True
            return
        if last.ok:
            self.give(last.value)
        else:
            last.defused = True  # whoever waits for the chain is told
            self.fail(last._value)


def _when_over(event: Event, callback: Callable[[Event], None]) -> None:
    if event.callbacks is None:
        callback(event)
    else:
        event.callbacks.append(callback)


class Gathered(Sequence[T]):
    """What a gathering brought in: the values of the verbs that succeeded, in the order they were given.

    Attributes
    ----------
    indices
        The position, among all gathered verbs, of each value.
    failures
        ``(position, failure)`` of each verb that failed.
    missing
        Positions of the verbs that were still under way when the deadline passed or the quorum was reached.
    """

    __slots__ = ("_values", "failures", "indices", "missing")

    def __init__(
        self,
        values: Sequence[T],
        indices: Sequence[int],
        failures: Sequence[tuple[int, VerbFailure]],
        missing: Sequence[int],
    ) -> None:
        self._values = tuple(values)
        self.indices = tuple(indices)
        self.failures = tuple(failures)
        self.missing = tuple(missing)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __iter__(self) -> Iterator[T]:
        return iter(self._values)

    def __repr__(self) -> str:
        return f"Gathered({len(self._values)} values, {len(self.failures)} failures, {len(self.missing)} missing)"


class Gather(Event, Generic[T]):
    """Waits for many verbs at once; one that fails lets the rest go on.

    Succeeds with a ``Gathered`` when all verbs are over, when ``quorum`` of them have succeeded, or when ``deadline_s``
    seconds have passed, whichever is first. What is late goes on in the background and costs what it costs.

    Parameters
    ----------
    env
        The SimPy environment.
    verbs
        Any SimPy events; none at all gives an empty result at once.
    deadline_s
        Seconds from now, at least 0, or None.
    quorum
        A number of successes, at least 1, or None for all.
    """

    def __init__(
        self,
        env: Environment,
        verbs: Iterable[Event],
        *,
        deadline_s: float | None = None,
        quorum: int | None = None,
    ) -> None:
        super().__init__(env)
        if quorum is not None and quorum < 1:
            raise ValueError(f"a quorum is at least 1, not {quorum}")
        if deadline_s is not None and not deadline_s >= 0:
            raise ValueError(f"a deadline is at least 0 s from now, not {deadline_s}")
        self._verbs = tuple(verbs)
        self._quorum = quorum
        self._open = len(self._verbs)
        self._succeeded = 0
        for verb in self._verbs:
            if verb.callbacks is None:
                self._count(verb)
            else:
                verb.callbacks.append(self._count)
        if not self._verbs:
            self._close()
        elif deadline_s is not None and not self.triggered:
            # After everything that completes at this very instant: a result that arrives on the deadline is in time.
            call_at(env, env.now + deadline_s, LEARNER, self._on_deadline)

    def _count(self, verb: Event) -> None:
        self._open -= 1
        if verb._ok:
            self._succeeded += 1
        elif isinstance(verb._value, VerbFailure):
            verb.defused = True
        else:
            return  # a bug, not something the world did: SimPy stops the run with it
        if self._value is not PENDING:
            return
        if self._open == 0 or (self._quorum is not None and self._succeeded >= self._quorum):
            self._close()

    def _on_deadline(self) -> None:
        if not self.triggered:
            self._close()

    def _close(self) -> None:
        values: list[Any] = []
        indices: list[int] = []
        failures: list[tuple[int, Any]] = []
        missing: list[int] = []
        for position, verb in enumerate(self._verbs):
            if verb.callbacks is not None:
                missing.append(position)
            elif verb._ok:
                values.append(verb._value)
                indices.append(position)
            else:
                failures.append((position, verb._value))
        self.succeed(Gathered(values, indices, failures, missing))
