"""Verbs and gatherings: SimPy events that may fail the way the world fails."""

from collections.abc import Generator
from typing import Any

import pytest
from simpy.events import Event

from edgesim.errors import Disconnected, Killed, VerbFailure
from edgesim.world.priorities import COMPLETION, ENVIRONMENT, LEARNER, SETTLE
from edgesim.world.schedule import Clock, call_at
from edgesim.world.verbs import Gather, Verb


class After(Verb[Any]):
    """Gives a result after a delay, or fails with it."""

    def __init__(self, env: Clock, delay_s: float, result: object) -> None:
        super().__init__(env)
        self.result = result
        call_at(env, env.now + delay_s, COMPLETION, self.end)

    def end(self) -> None:
        if self.triggered:
            return
        if isinstance(self.result, Exception):
            self.fail(self.result)
        else:
            self.succeed(self.result)

    def abort(self, cause: str) -> None:
        self.fail(Killed(cause, 1.0, 2.0))


def after(env: Clock, delay_s: float, result: object) -> Verb[Any]:
    return After(env, delay_s, result)


def run(env: Clock, steps: Generator[Event, Any, Any]) -> Any:
    return env.run(env.process(steps))


def test_then_hands_the_value_on_and_takes_the_sum_of_the_times() -> None:
    env = Clock()
    chain = after(env, 2.0, 20).then(lambda value: after(env, 3.0, value + 1))
    assert env.run(chain) == 21
    assert env.now == 5.0


def test_a_failure_in_the_first_verb_of_a_chain_skips_the_second() -> None:
    env, started = Clock(), []
    chain = after(env, 2.0, Disconnected(1, 9)).then(lambda value: started.append(value) or after(env, 1.0, 0))

    def learner() -> Generator[Event, Any, None]:
        with pytest.raises(Disconnected) as caught:
            yield chain
        assert caught.value.sent_bytes == 1

    run(env, learner())
    assert started == []
    assert env.now == 2.0


def test_a_failed_verb_that_nobody_waits_for_does_not_stop_the_simulation() -> None:
    env = Clock()
    after(env, 1.0, Disconnected(0, 9))
    env.run(until=5.0)
    assert env.now == 5.0


def test_a_bug_in_a_verb_stops_the_simulation_even_if_nobody_waits() -> None:
    env = Clock()
    after(env, 1.0, KeyError("bug"))
    with pytest.raises(KeyError, match="bug"):
        env.run(until=5.0)


def test_gather_lets_the_rest_go_on_when_one_fails() -> None:
    env = Clock()

    def learner() -> Generator[Event, Any, Any]:
        return (yield Gather(env, [after(env, 3.0, "a"), after(env, 1.0, Disconnected(1, 2)), after(env, 2.0, "c")]))

    gathered = run(env, learner())
    assert list(gathered) == ["a", "c"]
    assert gathered.indices == (0, 2)
    assert [(position, type(failure)) for position, failure in gathered.failures] == [(1, Disconnected)]
    assert gathered.missing == ()
    assert env.now == 3.0


def test_gather_stops_waiting_at_its_deadline_but_what_arrives_at_that_instant_is_in_time() -> None:
    env = Clock()
    verbs = [after(env, 2.0, "in time"), after(env, 2.5, "late")]

    def learner() -> Generator[Event, Any, Any]:
        return (yield Gather(env, verbs, deadline_s=2.0))

    gathered = run(env, learner())
    assert (list(gathered), gathered.missing, env.now) == (["in time"], (1,), 2.0)
    env.run()
    assert verbs[1].value == "late"


def test_gather_is_content_with_a_quorum() -> None:
    env = Clock()

    def learner() -> Generator[Event, Any, Any]:
        return (yield Gather(env, [after(env, float(t), t) for t in (5, 1, 3)], quorum=2))

    gathered = run(env, learner())
    assert (list(gathered), gathered.missing, env.now) == ([1, 3], (0,), 3.0)


def test_gather_ends_when_all_are_over_even_below_its_quorum() -> None:
    env = Clock()

    def learner() -> Generator[Event, Any, Any]:
        return (yield Gather(env, [after(env, 1.0, "a"), after(env, 2.0, Disconnected(0, 1))], quorum=2))

    assert list(run(env, learner())) == ["a"]


@pytest.mark.parametrize("deadline_s", [-1.0, float("nan")])
def test_a_deadline_that_has_passed_is_refused(deadline_s: float) -> None:
    env = Clock()
    with pytest.raises(ValueError, match="a deadline is at least 0 s from now"):
        Gather(env, [after(env, 1.0, "a")], deadline_s=deadline_s)


def test_gathering_nothing_gives_nothing_at_once() -> None:
    env = Clock()

    def learner() -> Generator[Event, Any, Any]:
        return (yield Gather(env, []))

    assert list(run(env, learner())) == []


def test_gather_takes_verbs_that_are_over_already() -> None:
    env = Clock()
    done, failed = after(env, 1.0, "done"), after(env, 1.0, Disconnected(0, 1))
    env.run(until=2.0)

    def learner() -> Generator[Event, Any, Any]:
        return (yield Gather(env, [done, failed]))

    gathered = run(env, learner())
    assert list(gathered) == ["done"]
    assert len(gathered.failures) == 1


def test_gather_does_not_hide_a_bug() -> None:
    env = Clock()

    def learner() -> Generator[Event, Any, Any]:
        yield Gather(env, [after(env, 1.0, ZeroDivisionError("bug")), after(env, 2.0, "b")])

    with pytest.raises(ZeroDivisionError):
        run(env, learner())


def test_verbs_compose_with_plain_simpy() -> None:
    env = Clock()

    def learner() -> Generator[Event, Any, Any]:
        first = after(env, 1.0, "first")
        found = yield first | env.timeout(10)
        return first in found

    assert run(env, learner()) is True


def test_cancelling_a_verb_that_is_over_changes_nothing() -> None:
    env = Clock()
    verb = after(env, 1.0, "value")
    env.run(until=2.0)
    verb.cancel()
    assert verb.value == "value"


def test_cancelling_a_chain_ends_what_is_under_way() -> None:
    env = Clock()
    first, second = after(env, 1.0, "first"), after(env, 9.0, "second")
    chain = first.then(lambda _: second)
    env.run(until=2.0)
    chain.cancel()
    env.run(until=3.0)
    assert [type(verb.value) for verb in (chain, second)] == [Killed, Killed]
    assert first.value == "first"


def test_what_a_chain_does_next_may_raise() -> None:
    env = Clock()

    def learner() -> Generator[Event, Any, None]:
        with pytest.raises(ZeroDivisionError):
            yield after(env, 1.0, 0).then(lambda value: 1 // value)

    run(env, learner())
    assert env.now == 1.0


def test_what_a_chain_does_next_has_to_be_something_to_wait_for() -> None:
    env = Clock()

    def forgets_to_return(value: object) -> None: ...

    after(env, 1.0, "value").then(forgets_to_return)  # type: ignore[arg-type]  # the mistake that is meant
    with pytest.raises(TypeError, match=r"then\(.*forgets_to_return\): .* must return a verb or an event, not None"):
        env.run(until=5.0)


def test_cancelling_a_chain_that_goes_on_with_a_process_stops_the_process_and_not_the_simulation() -> None:
    env, ended = Clock(), []

    def steps() -> Generator[Event, Any, None]:
        yield env.timeout(9.0)
        ended.append(env.now)

    chain = after(env, 1.0, "first").then(lambda _: env.process(steps()))
    env.run(until=2.0)
    chain.cancel()
    env.run(until=20.0)
    assert isinstance(chain.value, Killed)
    assert ended == []


def test_a_bug_in_a_process_that_a_cancelled_chain_has_stopped_stops_the_simulation() -> None:
    env = Clock()

    def steps() -> Generator[Event, Any, None]:
        try:
            yield env.timeout(9.0)
        finally:
            raise KeyError("bug")

    chain = after(env, 1.0, "first").then(lambda _: env.process(steps()))
    env.run(until=2.0)
    chain.cancel()
    with pytest.raises(KeyError, match="bug"):
        env.run(until=20.0)


def test_events_of_one_instant_come_in_the_order_of_the_priority_table() -> None:
    env, log = Clock(), []
    for name, priority in (("settle", SETTLE), ("learner", LEARNER), ("world", ENVIRONMENT), ("done", COMPLETION)):
        call_at(env, 1.0, priority, lambda name=name: log.append(name))
    env.run()
    assert log == ["world", "done", "learner", "settle"]


def test_the_clock_never_jumps_over_an_event_or_back() -> None:
    env = Clock()
    env.timeout(5.0)
    env.jump(5.0)
    assert env.now == 5.0
    with pytest.raises(ValueError, match="jump"):
        env.jump(6.0)
    with pytest.raises(ValueError, match="jump"):
        env.jump(4.0)


def test_every_failure_of_a_verb_is_one_that_learners_can_catch_at_once() -> None:
    assert issubclass(Disconnected, VerbFailure)
