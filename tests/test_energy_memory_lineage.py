"""The small books of a node: shared time, joules, memory, and whose data a model has seen."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.errors import OutOfMemory
from edgesim.models import Architecture, cost
from edgesim.signals import Signal
from edgesim.world.energy import EnergyMeter, Power, ShareClock
from edgesim.world.memory import Memory
from edgesim.world.network import Network
from edgesim.world.payload import Lineage
from edgesim.world.prices import Prices
from edgesim.world.schedule import Clock
from edgesim.world.training import Training


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), max_size=20))
def test_shares_of_time_add_up_to_the_time_during_which_anybody_was_in(spans: list[tuple[float, float]]) -> None:
    spans = [(min(span), max(span)) for span in spans]
    moments = sorted(
        [(start, 1, index) for index, (start, _) in enumerate(spans)]
        + [(end, 0 if end > spans[index][0] else 2, index) for index, (_, end) in enumerate(spans)]
    )
    clock, entered, shares = ShareClock(), {}, []
    for time_s, kind, index in moments:
        if kind == 1:
            entered[index] = clock.enter(time_s)
        else:
            shares.append(clock.leave(time_s, entered[index]))
    busy, until = 0.0, 0.0
    for start, end in sorted(spans):
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    assert sum(shares) == pytest.approx(busy, abs=1e-9)


def sent_j(meter: EnergyMeter, size_bytes: int, duration_s: float) -> float | None:
    """Joules of one transfer that is alone."""
    transfer = Network(Clock()).transfer([], size_bytes=size_bytes, latency_s=duration_s)
    return meter.closed(transfer, size_bytes, duration_s, meter.opened(transfer))


def test_joules_follow_from_the_power_and_add_up() -> None:
    meter = EnergyMeter(Power(idle_w=2.0, compute_w=4.0, radio_w=1.0, radio_j_per_byte=1e-6))
    assert meter.computed(3.0) == 12.0
    assert sent_j(meter, 1_000_000, 2.0) == pytest.approx(3.0)
    assert meter.computed(1.0) == 4.0
    assert meter.totals_j(10.0) == pytest.approx((20.0, 16.0, 3.0))


def test_without_a_power_nothing_is_measured_rather_than_zero() -> None:
    meter = EnergyMeter(None)
    assert meter.computed(3.0) is None
    assert sent_j(meter, 10, 1.0) is None
    assert meter.totals_j(10.0) is None


def memory_of(available: Signal) -> tuple[Clock, Memory, list[tuple[float, str]]]:
    env, killed = Clock(), []
    return env, Memory(env, available, lambda job: killed.append((env.now, job))), killed


def test_a_job_that_does_not_fit_is_refused_with_the_numbers_and_takes_nothing() -> None:
    _, memory, _ = memory_of(Signal.constant(100.0))
    memory.reserve("a", 60)
    with pytest.raises(OutOfMemory) as caught:
        memory.reserve("b", 50)
    assert (caught.value.needed_bytes, caught.value.available_bytes) == (50, 40)
    assert memory.used_bytes == 60
    memory.reserve("c", 40)
    assert memory.free_bytes == 0


def test_memory_that_shrinks_kills_the_youngest_jobs_until_the_rest_fits() -> None:
    env, memory, killed = memory_of(Signal.steps([0.0, 5.0, 9.0], [100.0, 50.0, 10.0]))
    for job in ("first", "second", "third"):
        memory.reserve(job, 25)
    env.run()
    assert killed == [(5.0, "third"), (9.0, "second"), (9.0, "first")]
    assert memory.used_bytes == 0


def test_memory_that_is_back_before_the_job_starts_kills_nobody() -> None:
    env, memory, killed = memory_of(Signal.steps([0.0, 1.0, 2.0], [100.0, 10.0, 100.0]))
    env.run(until=3.0)
    memory.reserve("late", 90)
    env.run()
    assert killed == []


def test_a_released_job_is_not_killed_by_the_shrink_that_it_was_armed_for() -> None:
    env, memory, killed = memory_of(Signal.steps([0.0, 5.0], [100.0, 50.0]))
    memory.reserve("short", 80)
    memory.release("short")
    memory.reserve("small", 40)
    env.run()
    assert killed == []
    assert memory.used_bytes == 40


def test_a_periodic_shrink_kills_again() -> None:
    env, memory, killed = memory_of(Signal.steps([0.0, 8.0], [100.0, 50.0], period_s=10.0))
    memory.reserve("a", 80)
    env.run(until=12.0)
    memory.reserve("b", 80)
    env.run(until=30.0)
    assert killed == [(8.0, "a"), (18.0, "b")]


@pytest.mark.parametrize(
    ("samples", "batch_size", "accumulate", "together"),
    [
        (20, 128, 1, 20),
        (96, 16, 1, 16),
        (97, 16, 1, 17),
        (97, 16, 2, 9),
        (20, 128, 2, 20),
        (100, 128, 2, 64),
        (1, 16, 1, 1),
        (5, 1, 1, 1),
        (0, 16, 1, 1),
    ],
)
def test_a_training_needs_memory_for_the_most_samples_that_it_has_at_a_time(
    samples: int, batch_size: int, accumulate: int, together: int
) -> None:
    network = Architecture.of("mlp", {"hidden": (8,)}, input_shape=(1, 8, 8), classes=10)
    how = Training(batch_size=batch_size, accumulate=accumulate)
    needed = Prices("fp32").training(network, how, samples).memory_bytes
    assert needed == cost(network).training_memory_bytes(together)
    assert together <= how.largest_batch  # what is asked for where nobody knows how many samples there will be


def test_a_lineage_keeps_the_highest_phase_of_each_device() -> None:
    one = Lineage().with_samples([("a", 2), ("b", 0)])
    assert (one.phase_of("a"), one.phase_of("b"), one.phase_of("c")) == (2, 0, 0)
    assert one.with_samples([("a", 1)]).phase_of("a") == 2
    two = Lineage().with_samples([("a", 1), ("c", 4)])
    merged = Lineage.merged([one, two])
    assert [merged.phase_of(device) for device in "abc"] == [2, 0, 4]
    assert one.phase_of("c") == 0


@given(st.lists(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 5)), max_size=5), max_size=8))
def test_a_merged_lineage_is_the_maximum_over_its_parts(parts: list[list[tuple[str, int]]]) -> None:
    merged = Lineage.merged(Lineage().with_samples(part) for part in parts)
    grown = merged.with_samples([("g", 3)])
    for device in "abcdef":
        expected = max((phase for part in parts for name, phase in part if name == device), default=0)
        assert merged.phase_of(device) == grown.phase_of(device) == expected


def test_a_lineage_of_many_devices_stays_exact() -> None:
    lineage = Lineage()
    for number in range(200):
        lineage = lineage.with_samples([(f"d{number}", number + 1)])
    assert all(lineage.phase_of(f"d{number}") == number + 1 for number in range(200))


def test_memory_of_unlike_periods_that_never_runs_short_kills_nobody() -> None:
    one = Signal.steps([0.0, 3.0], [100.0, 90.0], period_s=7.0)
    other = Signal.steps([0.0, 2.0], [1.0, 0.9], period_s=math.pi)
    env, memory, killed = memory_of(Signal.product(one, other))
    memory.reserve("small", 50)
    env.run(until=100.0)
    assert killed == []
    assert memory.used_bytes == 50


def test_wake_ups_for_shortages_do_not_pile_up() -> None:
    env = Clock()
    killed: list[str] = []
    memory = Memory(env, Signal.steps([0, 8], [100, 20], period_s=10), killed.append)
    for turn in range(30):
        for number in range(10):  # each job brings the next shortage nearer, or does not
            memory.reserve(f"{turn}/{number}", 10)
        env.run(10.0 * (turn + 1))
        assert memory.used_bytes == 20
        for job_id in list(memory._reserved):
            memory.release(job_id)
    assert len(killed) == 30 * 8
    assert len(env._queue) <= 1
