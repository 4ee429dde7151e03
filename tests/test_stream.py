"""A device's data over virtual time: what has arrived by a time does not depend on who looked, or when."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesim.data import Arrival, Change, Dataset, DataStream, Samples, Share, Transform, load_dataset, partition, split
from edgesim.data import contents as contents_module
from edgesim.data.arrivals import Schedule
from edgesim.errors import UserError

CLASSES = 4


def telling() -> Dataset:
    """Vectors that tell which sample they are: (0, 10 x number), so that an offset tells its phase as well."""
    numbers = np.arange(600, dtype=np.float32)
    x = np.stack([np.zeros_like(numbers), 10 * numbers], axis=1)
    group = np.arange(600) // 4 % 3
    return Dataset("telling", x, np.arange(600) % CLASSES, CLASSES, "vector", group=group)


DATA = telling()
POOLS = split(DATA, 0.2, 0.3)
EVEN = np.full(CLASSES, 1 / CLASSES)


STEADY = Arrival(rate_per_s=1.0, buffer=20)


def make(
    arrival: Arrival = STEADY,
    *,
    volume: int = 8,
    prior: np.ndarray = EVEN,
    seed: int = 0,
    device: str = "camera-0",
) -> DataStream:
    return DataStream(DATA, POOLS, Share(prior, volume), arrival, seed, device, test_samples=12)


def marked(stream: DataStream, **options: object) -> Change:
    """A change that adds its own phase number to every feature."""
    return Change(transform=Transform.feature("offset", amount=stream.phase + 1), **options)


def decode(samples: Samples) -> list[tuple[int, int]]:
    """(phase, number in the data set) of each sample, read off its features."""
    x, _ = samples.view.materialise()
    return [(round(phase), round((number - phase) / 10)) for phase, number in x.tolist()]


def phases(samples: Samples) -> list[int]:
    return [phase for phase, _ in decode(samples)]


arrivals = st.builds(
    Arrival,
    rate_per_s=st.sampled_from([0.0, 0.1, 0.3, 1.0, 7.0]),
    labelled_ratio=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    label_delay_s=st.sampled_from([0.0, 0.7, 25.0]),
    buffer=st.sampled_from([None, 1, 5, 30]),
    eviction=st.sampled_from(["oldest", "random"]),
)
times = st.lists(st.floats(0, 100), max_size=6).map(sorted)


@st.composite
def histories(draw):
    """A device, and changes at rising times: (time, what, how much is rewritten)."""
    changes = [
        (time_s, draw(st.sampled_from(["prior", "transform", "nothing"])), draw(st.sampled_from([0, 0.3, 0.5, 1])))
        for time_s in draw(st.lists(st.floats(0, 100), max_size=3).map(sorted))
    ]
    return draw(arrivals), draw(st.integers(1, 12)), draw(st.integers(0, 3)), changes


def strike(stream: DataStream, what: str, ratio: float) -> Change:
    if what == "prior":
        return Change(prior=np.eye(CLASSES)[stream.phase % CLASSES], replace_ratio=ratio)
    return marked(stream, replace_ratio=ratio) if what == "transform" else Change(replace_ratio=ratio)


def play(history: tuple, reads: list[float]) -> DataStream:
    """Live through a history up to 100 s, looking at the data in every way at some times."""
    arrival, volume, seed, changes = history
    stream = make(arrival, volume=volume, seed=seed)
    moments = [(time_s, "read", 0.0) for time_s in reads] + changes
    for time_s, what, ratio in sorted(moments, key=lambda moment: moment[0]):
        if what != "read":
            stream.change(time_s, strike(stream, what, ratio))
        else:
            stream.samples(time_s).view.materialise()
            stream.count(time_s)
            _ = stream.unlabelled(time_s).view.key
            _ = stream.test_view().key
            _ = stream.labelled_between(time_s / 2, time_s).view.key
    return stream


# independence of the reader


@settings(max_examples=150, deadline=None)
@given(histories(), times)
def test_what_arrives_does_not_depend_on_who_reads_it_when(history, reads):
    quiet, busy = play(history, []), play(history, reads)
    for ask in (
        lambda s: s.samples(100.0),
        lambda s: s.unlabelled(100.0),
        lambda s: s.samples(100.0, since_s=40.0),
        lambda s: s.samples(100.0, labelled=False),
        lambda s: s.labelled_between(10.0, 90.0),
    ):
        one, other = ask(quiet), ask(busy)
        assert one.view.key == other.view.key
        facts = [(s.from_s, s.to_s, s.phase, s.size_bytes, s.as_of_s) for s in (one, other)]
        assert repr(facts[0]) == repr(facts[1])
    assert quiet.test_view().key == busy.test_view().key


@settings(max_examples=150, deadline=None)
@given(histories(), times)
def test_a_buffer_never_holds_more_than_it_takes(history, reads):
    arrival, volume, seed, changes = history
    stream = make(arrival, volume=volume, seed=seed)
    capacity = volume if arrival.buffer is None else arrival.buffer
    for time_s in sorted([*reads, *(change[0] for change in changes)]):
        if any(change[0] == time_s for change in changes):
            stream.change(time_s, Change(replace_ratio=0.5))
        assert stream.held(time_s) <= capacity
        assert stream.held(time_s) == len(stream.samples(time_s)) + len(stream.unlabelled(time_s))
        assert stream.held(time_s) == len(stream.samples(time_s, labelled=False))
        assert stream.count(time_s) == len(stream.samples(time_s))


def test_asking_how_many_samples_there_are_draws_none(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("drawn")

    monkeypatch.setattr(contents_module, "draw_set", refuse)
    monkeypatch.setattr(contents_module, "draw_block", refuse)
    stream = make(Arrival(rate_per_s=1, labelled_ratio=0.5, label_delay_s=3, buffer=20))
    stream.change(5.0, marked(stream, replace_ratio=0.5))
    samples = stream.samples(30.0, since_s=10.0)
    assert (len(samples), samples.size_bytes, samples.phase) == (8, 8 * DATA.sample_bytes, 1)
    assert len(stream.test_view()) == 12
    with pytest.raises(AssertionError, match="drawn"):
        _ = samples.view.key


def test_streams_are_named_by_seed_and_device():
    keys = {
        make(seed=seed, device=device).samples(50).view.key for seed in (0, 1) for device in ("camera-0", "camera-1")
    }
    assert len(keys) == 4
    assert make().samples(50).view.key in keys


# arrivals


@settings(max_examples=200)
@given(
    st.floats(1e-3, 1e3),
    st.floats(0, 1e5),
    st.integers(0, 50),
)
def test_as_many_samples_have_arrived_as_arrival_times_have_passed(rate, time_s, seed):
    schedule = Schedule.of(Arrival(rate_per_s=rate), seed, "camera-0")
    count = schedule.count(time_s)
    assert abs(count - rate * time_s) <= 1 + 1e-6
    assert count == 0 or schedule.time_s(count - 1) <= time_s
    assert schedule.time_s(count) > time_s
    for number in range(count, count + 20):  # the very moment, and just before it
        moment_s = schedule.time_s(number)
        assert schedule.count(moment_s) == number + 1
        assert schedule.count(math.nextafter(moment_s, 0)) <= number
    assert schedule.times_s(np.arange(count, count + 3)).tolist() == [schedule.time_s(count + i) for i in range(3)]
    assert schedule.time_s(0) > 0


@settings(max_examples=100)
@given(st.floats(0, 1), st.integers(0, 50), st.integers(0, 10_000), st.integers(0, 3000))
def test_labels_are_spread_evenly_to_the_sample(ratio, seed, first, count):
    schedule = Schedule.of(Arrival(rate_per_s=1, labelled_ratio=ratio), seed, "camera-0")
    labelled = schedule.labelled(np.arange(first, first + count))
    assert abs(labelled.sum() - ratio * count) <= 1 + 1e-6 * count


def test_all_or_none_are_labelled_where_the_ratio_says_so():
    for ratio, expected in ((0.0, False), (1.0, True)):
        labelled = Schedule.of(Arrival(labelled_ratio=ratio), 3, "x").labelled(np.arange(1000))
        assert (labelled == expected).all()


def test_devices_do_not_receive_samples_in_step():
    offsets = {Schedule.of(Arrival(rate_per_s=1), 0, f"camera-{n}").time_s(0) for n in range(50)}
    assert len(offsets) == 50
    assert np.mean(list(offsets)) == pytest.approx(0.5, abs=0.15)


def test_the_oldest_leave_a_full_buffer_first():
    stream = make(Arrival(rate_per_s=1, buffer=20))
    everything = stream.labelled_between(-1, 50)
    held = stream.samples(50)
    assert len(everything) == 8 + 50
    assert decode(held) == decode(everything)[-20:]
    assert (held.from_s, held.to_s) == pytest.approx((everything.to_s - 19, everything.to_s))


def test_random_eviction_forgets_geometrically():
    survivors = []
    for seed in range(300):
        stream = make(Arrival(rate_per_s=1, buffer=10, eviction="random"), volume=10, seed=seed)
        assert stream.held(20) == 10
        survivors.append(len(stream.samples(20)) - len(stream.samples(20, since_s=0.0)))
    assert np.mean(survivors) == pytest.approx(10 * 0.9**20, abs=0.2)


@pytest.mark.parametrize("eviction", ["oldest", "random"])
def test_a_huge_gap_is_one_step(eviction):
    stream = make(Arrival(rate_per_s=5, buffer=20, eviction=eviction))
    samples = stream.samples(3600.0)
    assert len(samples) == 20
    assert samples.to_s == pytest.approx(3600, abs=0.2)


@pytest.mark.parametrize("eviction", ["oldest", "random"])
def test_what_is_held_is_the_same_view_until_something_else_is_held(eviction):
    stream = make(Arrival(buffer=20, eviction=eviction))
    first = stream.samples(1.0)
    again = stream.samples(2.0)
    assert again.view is first.view
    assert (first.as_of_s, again.as_of_s) == (1.0, 2.0)
    stream.change(3.0, Change(prior=EVEN))  # changes what arrives from now on, and nothing that is there
    assert stream.samples(3.0).view is first.view
    assert (stream.samples(3.0).as_of_phase, stream.samples(3.0).phase) == (1, 0)
    stream.change(4.0, Change(replace_ratio=0.5))
    assert stream.samples(4.0).view.key != first.view.key


def test_first_samples_are_labelled_at_time_zero_and_fit_the_buffer():
    for buffer, expected in ((None, 8), (20, 8), (5, 5)):
        samples = make(Arrival(rate_per_s=1, labelled_ratio=0, label_delay_s=9, buffer=buffer)).samples(0.0)
        assert len(samples) == expected
        assert (samples.from_s, samples.to_s, samples.phase) == (0.0, 0.0, 0)
        assert len(set(decode(samples))) == expected


def test_no_samples_have_no_times():
    samples = make(Arrival(rate_per_s=1, labelled_ratio=0, buffer=5)).samples(100.0)
    assert len(samples) == 0
    assert math.isnan(samples.from_s)
    assert math.isnan(samples.to_s)
    assert (samples.phase, samples.size_bytes) == (0, 0)
    assert samples.view.materialise()[0].shape == (0, 2)


def test_arrivals_follow_the_prior():
    stream = make(Arrival(rate_per_s=10, buffer=5000), prior=np.array([0.7, 0.3, 0, 0]))
    labels = stream.samples(500.0).view.labels()
    assert np.bincount(labels, minlength=4) / len(labels) == pytest.approx([0.7, 0.3, 0, 0], abs=0.02)
    assert set(stream.samples(500.0).view.indices.tolist()) <= set(POOLS.devices.tolist())


def test_a_raw_sample_weighs_what_the_scenario_says():
    assert make().samples(0.0).size_bytes == 8 * (2 * 4 + 1)
    stream = DataStream(DATA, POOLS, Share(EVEN, 8), Arrival(), 0, "x", 5, sample_bytes=2000)
    assert stream.samples(0.0).size_bytes == 16_000


# labels that come late


@settings(max_examples=100, deadline=None)
@given(arrivals, times)
def test_taking_what_is_new_again_and_again_takes_everything_once(arrival, reads):
    arrival = Arrival(arrival.rate_per_s, arrival.labelled_ratio, arrival.label_delay_s, 2000, arrival.eviction)
    stream = make(arrival)
    taken, since_s = [], None
    for time_s in [*reads, 100.0]:
        taken += decode(stream.samples(time_s, since_s=since_s))
        since_s = time_s
    assert taken == decode(stream.samples(100.0))
    assert len(stream.samples(100.0, since_s=100.0)) == 0


def test_a_label_becomes_visible_after_its_delay():
    stream = make(Arrival(rate_per_s=1, label_delay_s=10, buffer=100))
    first_s = Schedule.of(stream.arrival, 0, "camera-0").time_s(0)
    assert stream.count(first_s) == 8
    assert len(stream.unlabelled(first_s)) == 1
    assert stream.count(first_s + 10) == 9
    assert len(stream.unlabelled(first_s + 10)) == 10
    late = stream.samples(first_s + 10, since_s=first_s + 9)
    assert (len(late), late.from_s) == (1, first_s)


def test_the_labelled_stream_for_detectors_forgets_nothing_and_is_in_order():
    stream = make(Arrival(rate_per_s=2, labelled_ratio=0.5, label_delay_s=5, buffer=3), volume=3)
    stream.change(50.0, marked(stream, replace_ratio=1.0))
    batches = [stream.labelled_between(start, start + 10.0) for start in range(0, 100, 10)]
    whole = stream.labelled_between(0.0, 100.0)
    assert [row for batch in batches for row in decode(batch)] == decode(whole)
    assert len(whole) == pytest.approx(95 * 2 * 0.5 + 3, abs=1)
    assert len(stream.labelled_between(-1.0, 100.0)) == len(whole) + 3
    assert phases(batches[4])[-3:] == [1] * 3
    assert 0 in phases(batches[5])  # taken before the change, labelled after it


# drift


@settings(max_examples=150, deadline=None)
@given(histories())
def test_samples_from_before_a_change_never_carry_its_transform(history):
    arrival, volume, seed, changes = history
    stream = make(arrival, volume=volume, seed=seed)
    edges = [time_s for time_s, _, _ in changes]
    for time_s, _, ratio in changes:
        stream.change(time_s, marked(stream, replace_ratio=ratio))
    found = stream.labelled_between(-1.0, 200.0)
    delay_s = arrival.label_delay_s
    for number, edge in enumerate(edges):
        before = stream.labelled_between(-1.0, math.nextafter(edge, -1))  # visible before, so taken before
        assert all(phase <= number for phase in phases(before))
        after = stream.labelled_between(edge + delay_s, 200.0)  # visible later than any taken by then
        assert all(phase > number for phase in phases(after))
    assert phases(found) == sorted(phases(found)) or delay_s > 0
    assert found.phase == max(phases(found))


def test_a_sample_that_arrives_at_the_moment_of_a_change_is_an_old_one():
    stream = make(Arrival(rate_per_s=1, buffer=100))
    moment_s = Schedule.of(stream.arrival, 0, "camera-0").time_s(4)
    stream.change(moment_s, marked(stream))
    assert phases(stream.samples(moment_s)) == [0] * (8 + 5)
    assert phases(stream.samples(moment_s + 1)) == [0] * (8 + 5) + [1]


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 40), st.floats(0, 1), st.sampled_from(["oldest", "random"]), st.integers(0, 5))
def test_a_replacement_rewrites_its_share_to_the_sample(volume, ratio, eviction, seed):
    stream = make(Arrival(rate_per_s=1, buffer=60, eviction=eviction), volume=volume, seed=seed)
    before = Counter(decode(stream.samples(10.0)))
    rewritten = stream.change(10.0, marked(stream, replace_ratio=ratio))
    samples = stream.samples(10.0)
    after = Counter(decode(samples))
    new = sum(count for (phase, _), count in after.items() if phase == 1)
    assert rewritten == new == math.floor(ratio * before.total() + 0.5)  # round half up
    assert after.total() == before.total()
    assert not Counter({key: count for key, count in after.items() if key[0] == 0}) - before
    if new:
        assert (samples.to_s, samples.phase) == (10.0, 1)


def test_rewritten_samples_are_labelled_at_once_and_new_to_the_next_upload():
    stream = make(Arrival(rate_per_s=1, labelled_ratio=0.0, label_delay_s=50, buffer=40))
    stream.change(20.0, marked(stream, replace_ratio=1.0))
    assert stream.count(20.0) == 28
    assert phases(stream.samples(20.0, since_s=10.0)) == [1] * 28


def test_what_a_change_brings_at_the_moment_of_a_reading_is_not_lost():
    stream = make(Arrival(buffer=40))
    read = stream.samples(20.0)
    stream.change(20.0, marked(stream, replace_ratio=0.5))
    assert len(stream.samples(20.0, since_s=read.as_of_s)) == 0
    assert phases(stream.samples(20.0, since_s=read.as_of_s, since_phase=read.as_of_phase)) == [1] * 4
    assert len(stream.samples(30.0, since_s=20.0, since_phase=stream.phase)) == 0


def test_a_new_prior_rules_arrivals_and_rewritten_samples_alike():
    stream = make(Arrival(rate_per_s=1, buffer=30), volume=30)
    stream.change(5.0, Change(prior=np.array([0, 0, 0, 1.0]), replace_ratio=0.5))
    held = stream.samples(10.0)
    labels = held.view.labels()
    assert (labels[-5:] == 3).all()
    assert (labels == 3).sum() >= 15 + 5
    assert stream.prior.tolist() == [0, 0, 0, 1]


def test_what_a_change_does_not_name_stays():
    stream = make()
    stream.change(1.0, Change(prior=np.array([1.0, 0, 0, 0]), transform=Transform.feature("offset", amount=1)))
    stream.change(2.0, Change(replace_ratio=0.5))
    assert stream.phase == 2
    assert stream.prior.tolist() == [1, 0, 0, 0]
    assert stream.transform == Transform.feature("offset", amount=1)
    stream.change(3.0, Change(transform=Transform.identity))
    assert phases(stream.samples(60.0)) == [0] * 20


def test_swapped_labels_are_what_the_device_sees_from_then_on():
    stream = make(Arrival(rate_per_s=1, buffer=50), prior=np.array([1.0, 0, 0, 0]))
    stream.change(10.0, Change(transform=Transform.swap_labels([(0, 3)])))
    assert stream.samples(20.0).view.labels().tolist() == [0] * 18 + [3] * 10
    assert stream.test_view().labels().tolist() == [3] * 12


def test_time_does_not_run_backwards():
    stream = make()
    stream.samples(10.0)
    with pytest.raises(ValueError, match=r"camera-0.*9\.0 s is gone"):
        stream.samples(9.0)
    with pytest.raises(ValueError, match="gone"):
        stream.change(9.0, Change())
    assert stream.phase == 0
    assert len(stream.labelled_between(0.0, 9.0)) == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: Change(prior=np.ones(3)), "over 4 classes"),
        (lambda: Change(prior=np.zeros(4)), "all zero"),
        (lambda: Change(transform=Transform.feature("blur", severity=1)), "does not fit vector data"),
        (lambda: Change(transform=Transform.swap_labels([(0, 4)])), "label 4"),
        (lambda: Change(replace_ratio=1.1), "replace is a share"),
    ],
)
def test_a_change_that_cannot_be_is_refused_and_leaves_the_stream_as_it_was(change, message):
    stream = make()
    with pytest.raises(UserError, match=message):
        stream.change(5.0, change())
    assert stream.phase == 0
    assert stream.samples(1.0).phase == 0


@pytest.mark.parametrize(
    "options",
    [
        {"rate_per_s": -1.0},
        {"rate_per_s": math.inf},
        {"labelled_ratio": 1.5},
        {"label_delay_s": math.nan},
        {"buffer": 0},
        {"eviction": "newest"},
    ],
)
def test_an_arrival_that_cannot_be_is_refused(options):
    with pytest.raises(UserError, match="arrival"):
        Arrival(**options)


# test views


def test_a_test_view_follows_the_phase_and_is_made_once():
    stream = make(prior=np.array([0.5, 0.5, 0, 0]))
    first = stream.test_view()
    assert stream.test_view(0) is first
    assert np.bincount(first.labels(), minlength=4).tolist() == [6, 6, 0, 0]
    assert set(first.indices.tolist()) <= set(POOLS.test.tolist())
    assert len(set(first.indices.tolist())) == 12
    stream.change(1.0, Change(replace_ratio=0.5))
    assert stream.test_view() is first
    stream.change(2.0, Change(transform=Transform.feature("offset", amount=1)))
    shifted = stream.test_view()
    assert shifted.indices.tolist() == first.indices.tolist()
    assert (shifted.materialise()[0] == first.materialise()[0] + 1).all()
    stream.change(3.0, Change(prior=np.array([0, 0, 0, 1.0])))
    assert stream.test_view().labels().tolist() == [3] * 12
    assert stream.test_view(2) is shifted
    assert stream.test_view(0) is first


def test_a_distribution_that_comes_back_is_scored_on_the_same_samples():
    stream = make()
    before = stream.test_view().key
    stream.change(1.0, Change(prior=np.array([1.0, 0, 0, 0])))
    assert stream.test_view().key != before
    stream.change(2.0, Change(prior=EVEN))
    assert stream.test_view().key == before


def test_a_test_view_repeats_samples_only_where_a_class_has_too_few():
    stream = DataStream(DATA, POOLS, Share(np.array([1.0, 0, 0, 0]), 5), Arrival(), 0, "x", test_samples=100)
    there = POOLS.of_test().counts[0]
    assert there < 100
    assert len(stream.test_view()) == 100
    assert set(stream.test_view().indices.tolist()) <= set(POOLS.test[DATA.y[POOLS.test] == 0].tolist())


def test_there_is_no_test_view_of_a_phase_to_come():
    stream = make()
    for phase in (-1, 1):
        with pytest.raises(ValueError, match=f"no phase {phase}"):
            stream.test_view(phase)


def test_noise_in_a_test_view_is_the_same_at_every_evaluation_and_on_every_device():
    noise = Transform.feature("noise", amount=1.0)
    values = {}
    for device in ("camera-0", "camera-1"):
        stream = make(device=device)
        stream.change(1.0, Change(transform=noise))
        x, _ = stream.test_view().materialise()
        assert x.tobytes() == stream.test_view(1).materialise()[0].tobytes()
        for number, row in zip(stream.test_view().indices.tolist(), x.tolist(), strict=True):
            assert values.setdefault(number, row) == row


# natural groups


def test_a_device_of_a_group_sees_and_is_scored_on_its_group_only():
    shares = partition(POOLS, 7, "group", samples=10)
    for number, share in enumerate(shares):
        stream = DataStream(DATA, POOLS, share, Arrival(rate_per_s=1, buffer=50), 0, f"x-{number}", 20)
        mine = stream.samples(40.0).view.indices
        assert set(DATA.group[mine].tolist()) == {share.group}
        assert set(DATA.group[stream.test_view().indices].tolist()) == {share.group}


def test_devices_that_share_a_group_have_no_sample_in_common():
    shares = list(partition(POOLS, 6, "group", samples=10))
    arrival = Arrival(rate_per_s=5, buffer=500)
    streams = [DataStream(DATA, POOLS, share, arrival, 0, f"x-{n}", 20) for n, share in enumerate(shares)]
    seen = [set(stream.samples(60).view.indices.tolist()) for stream in streams]
    for one in range(6):
        for other in range(one):
            assert not seen[one] & seen[other]


def test_a_prior_for_a_class_that_nobody_can_supply_is_refused():
    digits = load_dataset("digits")
    lacking = Dataset("no nines", digits.x[digits.y < 9], digits.y[digits.y < 9], 10, "image", unit=16.0)
    pools = split(lacking, 0.2, 0.2)
    with pytest.raises(UserError, match=r"camera-0: its test pool has no samples of classes \[9\]"):
        DataStream(lacking, pools, Share(np.full(10, 0.1), 5), Arrival(), 0, "camera-0", 5)
