"""The processor: jobs share its speed equally, whatever the speed does."""

import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simpy import Environment
from simpy.events import Event

from edgesim.signals import Signal
from edgesim.world.processor import Computation, Computed, Processor

Job = tuple[float, float]  # start, FLOPs


def play(speed: Signal | float, jobs: list[Job], cut: dict[int, float] | None = None) -> list[Computation]:
    """Start the jobs at their times and cancel some; the computations when everything is over (or stuck)."""
    env = Environment()
    processor = Processor(env, speed)
    computations: dict[int, Computation] = {}

    def run(number: int, start_s: float, flops: float) -> Iterator[Event]:
        yield env.timeout(start_s)
        computations[number] = processor.run(flops)

    def stop(number: int, time_s: float) -> Iterator[Event]:
        yield env.timeout(time_s)
        computations[number].stop()

    for number, (start_s, flops) in enumerate(jobs):
        env.process(run(number, start_s, flops))
    for number, time_s in (cut or {}).items():
        env.process(stop(number, time_s))
    env.run(1e6)
    return [computations[number] for number in range(len(jobs))]


def test_a_lone_job_has_the_whole_processor() -> None:
    (job,) = play(10, [(1, 50)])
    assert job.value == Computed(start_s=1, end_s=6, flops=50, share_s=5)


def test_two_jobs_have_half_each() -> None:
    short, long = play(10, [(0, 20), (0, 100)])
    assert short.value == Computed(0, 4, 20, share_s=2)
    assert long.value == Computed(0, 12, 100, share_s=10)


def test_a_job_follows_the_speed_through_an_outage() -> None:
    (job,) = play(Signal.steps([0, 4, 9], [10, 0, 5]), [(0, 60)])
    assert job.value == Computed(0, 13, 60, share_s=13)


def test_of_jobs_that_end_together_the_first_to_be_told_finds_the_others_done() -> None:
    env, seen = Environment(), []

    class Curious(Computation):
        def finished(self) -> None:
            seen.append([(job.done_flops, job.share_s) for job in jobs])
            super().finished()

    processor = Processor(env, 10.0)
    jobs = [Curious(env, 50.0) for _ in range(2)]
    for job in jobs:
        processor.start(job)
    env.run()
    assert seen == [[(50.0, 5.0), (50.0, 5.0)]] * 2


def test_a_job_stopped_as_another_ends_at_its_own_last_instant_is_not_finished() -> None:
    env, finished = Environment(), []

    class Rival(Computation):
        def finished(self) -> None:
            finished.append(jobs.index(self))
            jobs[1].stop()

    processor = Processor(env, 10.0)
    jobs = [Rival(env, 50.0) for _ in range(2)]
    for job in jobs:
        processor.start(job)
    env.run()
    assert finished == [0]


def test_a_job_that_ends_as_the_speed_drops_to_zero_has_ended() -> None:
    jobs = play(Signal.steps([0, 7], [3, 0]), [(0, 7), (0, 7), (0, 7)])
    assert [job.value.end_s for job in jobs] == [7, 7, 7]


def test_no_work_takes_no_time() -> None:
    (job,) = play(0, [(3, 0)])
    assert job.value == Computed(3, 3, 0, share_s=0)


def test_a_cancelled_job_tells_what_it_did_and_never_ends() -> None:
    kept, dropped = play(10, [(0, 100), (0, 100)], cut={1: 4})
    assert kept.value == Computed(0, 12, 100, share_s=10)
    assert (dropped.done_flops, dropped.share_s, dropped.triggered) == (20, 2, False)
    assert dropped.stop() == 20


def test_a_finished_job_cannot_be_cancelled() -> None:
    (job,) = play(10, [(0, 100)])
    assert (job.stop(), job.done_flops, job.share_s) == (100, 100, 10)


def test_progress_can_be_read_at_any_time() -> None:
    env = Environment()
    processor = Processor(env, Signal.steps([0, 2], [10, 4]))
    first = processor.run(100)
    env.run(1)
    second = processor.run(6)
    env.run(2)
    assert (first.done_flops, first.share_s, second.done_flops, second.share_s) == (15, 1.5, 5, 0.5)
    assert processor.running == 2
    env.run(first)
    assert processor.running == 0


@pytest.mark.parametrize("flops", [-1, math.inf, math.nan])
def test_impossible_work_is_refused(flops: float) -> None:
    with pytest.raises(ValueError, match="finite and at least 0 FLOP"):
        Processor(Environment(), 1).run(flops)


def test_a_speed_trace_costs_no_events() -> None:
    env = Environment()
    processor = Processor(env, Signal.steps([k * 0.1 for k in range(1000)], [k % 7 for k in range(1000)], period_s=100))
    job = processor.run(1e6)
    events = 0
    while not job.processed:
        env.step()
        events += 1
    assert events == 2  # it is done, it is told
    assert env.now == pytest.approx(1e6 / 2.997, rel=1e-3)


JOBS = st.lists(st.tuples(st.floats(0, 20), st.floats(0.1, 50)), min_size=1, max_size=12)
SPEEDS = st.builds(
    lambda gaps, values: Signal.steps([0, *[sum(gaps[: i + 1]) for i in range(len(gaps))]], [*values[: len(gaps)], 5]),
    st.lists(st.floats(0.1, 5), max_size=4),
    st.lists(st.sampled_from([0, 1, 3, 8]), min_size=4, max_size=4),
)


@given(SPEEDS, JOBS, st.lists(st.integers(0, 11), max_size=3))
def test_shares_sum_to_the_busy_time_and_work_to_the_integral_of_the_speed(
    speed: Signal, jobs: list[Job], cuts: list[int]
) -> None:
    cut = {number: jobs[number][0] + 1.5 for number in cuts if number < len(jobs)}
    done = play(speed, jobs, cut)
    ends = [job.value.end_s if job.triggered else cut[n] for n, job in enumerate(done)]
    busy_s, flops, free_s = 0.0, 0.0, 0.0
    for start_s, end_s in sorted(zip([start for start, _ in jobs], ends, strict=True)):
        if end_s > free_s:
            busy_s += end_s - max(start_s, free_s)
            flops += speed.integral(max(start_s, free_s), end_s)
            free_s = end_s
    assert sum(job.share_s for job in done) == pytest.approx(busy_s, rel=1e-9)
    assert sum(job.done_flops for job in done) == pytest.approx(flops, rel=1e-9)


@given(JOBS, st.randoms(use_true_random=False))
def test_the_order_of_starting_at_one_instant_does_not_matter(jobs: list[Job], rng: random.Random) -> None:
    order = list(range(len(jobs)))
    rng.shuffle(order)
    shuffled = play(3, [jobs[number] for number in order])
    plain = play(3, jobs)
    for place, number in enumerate(order):
        assert shuffled[place].value.end_s == pytest.approx(plain[number].value.end_s, rel=1e-12)


@given(SPEEDS, JOBS)
def test_equal_sharing_agrees_with_small_steps_of_the_definition(speed: Signal, jobs: list[Job]) -> None:
    """Between events each job has speed / n: done here with plain loops over the pieces of the speed."""
    left = {n: flops for n, (_, flops) in enumerate(jobs)}
    ends: dict[int, float] = {}
    now = 0.0
    while left:
        running = [n for n in left if jobs[n][0] <= now]
        rate = speed.value(now) / len(running) if running else 0.0
        starts = [jobs[n][0] for n in left if jobs[n][0] > now]
        next_s = min([speed.next_change(now), *starts])
        due = min(running, key=left.__getitem__, default=-1)
        if rate and now + left[due] / rate <= next_s:
            next_s = now + left[due] / rate
            ends[due] = next_s
        for n in running:
            left[n] -= rate * (next_s - now)
        left = {n: flops for n, flops in left.items() if n not in ends}
        now = next_s
    for n, job in enumerate(play(speed, jobs)):
        assert job.value.end_s == pytest.approx(ends[n], rel=1e-9)
