"""Drifts that come in steps, go again, and meet others on the same device: arrivals, buffers and test views."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesim.data import Arrival, Change, Dataset, DataStream, Share, Transform, load_dataset, partition, split
from edgesim.errors import UserError

CLASSES = 4
TESTS = 40


def telling() -> Dataset:
    """Vectors that tell which sample they are: (0, 10 x number), so that offsets tell what was added."""
    numbers = np.arange(800, dtype=np.float32)
    x = np.stack([np.zeros_like(numbers), 1000 * numbers], axis=1)
    return Dataset("telling", x, np.arange(800) % CLASSES, CLASSES, "vector")


DATA = telling()
POOLS = split(DATA, 0.2, 0.3)
EVEN = np.full(CLASSES, 1 / CLASSES)
ONLY_0 = np.eye(CLASSES)[0]
ONLY_3 = np.eye(CLASSES)[3]
STEADY = Arrival(rate_per_s=10.0, buffer=4000)


def make(arrival: Arrival = STEADY, *, volume: int = 100, prior: np.ndarray = EVEN, seed: int = 0) -> DataStream:
    return DataStream(DATA, POOLS, Share(prior, volume), arrival, seed, "camera-0", test_samples=TESTS)


def plus(amount: float) -> Transform:
    return Transform.feature("offset", amount=amount)


def added(view) -> np.ndarray:
    """What was added to each sample's first feature."""
    return view.materialise()[0][:, 0]


shares = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6).map(sorted)


# test views


@settings(max_examples=60, deadline=None)
@given(shares, st.integers(0, 5), st.sampled_from(["feature", "label", "concept"]))
def test_the_test_view_mixes_by_share_and_a_sample_that_switched_stays_switched(steps, seed, kind):
    stream = make(prior=ONLY_0, seed=seed)
    brought = {
        "feature": {"transform": plus(1)},
        "label": {"prior": ONLY_3},
        "concept": {"transform": Transform.swap_labels([(0, 3)])},
    }[kind]
    before = stream.test_view()
    switched = np.zeros(TESTS, dtype=bool)
    for number, share in enumerate(steps, start=1):
        stream.change(float(number), Change(name="d", share=share, **brought))
        view = stream.test_view()
        now = added(view) == 1 if kind == "feature" else view.labels() == 3
        assert now.sum() == math.floor(share * TESTS + 0.5)
        assert (now | ~switched).all()
        same = view.indices == before.indices
        assert same[~now].all()
        assert (same[now] == (kind != "label")).all()
        switched = now


@settings(max_examples=40, deadline=None)
@given(shares, st.integers(0, 20))
def test_while_classes_come_gradually_no_test_sample_is_there_twice_and_classes_keep_the_pace(steps, seed):
    stream = make(prior=np.array([0.5, 0.5, 0, 0]), seed=seed)
    for number, share in enumerate(steps, start=1):
        stream.change(float(number), Change(name="d", prior=EVEN, share=share))
        view = stream.test_view()
        assert len(set(view.indices.tolist())) == TESTS
        there = np.bincount(view.labels(), minlength=CLASSES)
        assert np.abs(there - TESTS * stream.prior).max() <= 2.5


def test_a_drift_that_goes_gives_every_sample_back_and_in_the_end_the_old_view_itself():
    stream = make()
    first = stream.test_view()
    views = {}
    for number, share in enumerate((0.25, 0.5, 1.0, 0.5, 0.25), start=1):
        stream.change(float(number), Change(name="dusk", transform=plus(1), share=share))
        views.setdefault(share, stream.test_view())
        assert stream.test_view() is views[share]  # on the way down as on the way up
    stream.change(9.0, Change(name="dusk", undo=True))
    assert stream.test_view() is first
    assert stream.phase == 6
    assert stream.test_view(3) is views[1.0]


def test_two_drifts_on_their_way_reach_samples_independently_of_each_other():
    stream = make()
    stream.change(1.0, Change(name="a", transform=plus(1), share=0.5))
    stream.change(2.0, Change(name="b", transform=plus(10), share=0.5))
    stream.change(3.0, Change(name="c", prior=ONLY_3, share=0.5))
    values, counts = np.unique(added(stream.test_view()), return_counts=True)
    assert values.tolist() == [0, 1, 10, 11]
    assert counts.min() >= 4  # 10 each on average
    labels = stream.test_view().labels()
    assert (labels == 3).sum() == pytest.approx(20 + 5, abs=5)
    assert {int(value) for value in added(stream.test_view())[labels == 3]} == {0, 1, 10, 11}


def test_the_mixture_is_the_same_for_everybody_who_asks_and_another_for_another_seed():
    def key(seed: int) -> str:
        stream = make(seed=seed)
        stream.change(1.0, Change(name="d", transform=plus(1), share=0.4))
        return stream.test_view().key

    assert key(0) == key(0)
    assert key(0) != key(1)


# arrivals and rewritten samples


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_arrivals_follow_the_share_that_the_drift_has_reached(share):
    stream = make(prior=ONLY_0)
    stream.change(0.0, Change(name="f", transform=plus(1), share=share))
    stream.change(0.0, Change(name="l", prior=ONLY_3, share=share))
    view = stream.labelled_between(0.0, 300.0).view
    changed, labels = added(view) == 1, view.labels() == 3
    error = 4 * math.sqrt(share * (1 - share) / len(view))
    assert changed.mean() == pytest.approx(share, abs=error)
    assert labels.mean() == pytest.approx(share, abs=error)
    assert (changed & labels).mean() == pytest.approx(share**2, abs=error)
    assert stream.prior == pytest.approx([1 - share, 0, 0, share])


def test_samples_that_a_gradual_drift_rewrites_are_mixed_in_exact_share():
    stream = make(Arrival(), prior=ONLY_0)
    assert stream.change(1.0, Change(name="f", transform=plus(1), share=0.3, replace_ratio=1.0)) == 100
    assert (added(stream.samples(1.0).view) == 1).sum() == 30
    stream.change(2.0, Change(name="l", prior=ONLY_3, share=0.3, replace_ratio=1.0))
    assert (stream.samples(2.0).view.labels() == 3).sum() == 30


@pytest.mark.parametrize("eviction", ["oldest", "random"])
@pytest.mark.parametrize("rate", [0.0, 1.0, 5.0])
def test_the_steps_of_a_replacement_come_to_its_share_however_much_arrives_between_them(rate, eviction):
    stream = make(Arrival(rate_per_s=rate, buffer=100, eviction=eviction))
    parts = [
        Change(name="r", replace_ratio=0.5 * step / 5, replaced_before=0.5 * (step - 1) / 5) for step in range(1, 6)
    ]
    assert [stream.change(30.0 * step, part) for step, part in enumerate(parts)] == [10] * 5


def test_a_step_may_rewrite_what_another_drift_has_rewritten_meanwhile():
    stream = make(Arrival())
    stream.change(1.0, Change(name="a", transform=plus(1), replace_ratio=0.25))
    assert stream.change(2.0, Change(name="b", transform=plus(10), replace_ratio=1.0)) == 100
    assert stream.change(3.0, Change(name="a", transform=plus(2), replace_ratio=1.0, replaced_before=0.25)) == 75
    values, counts = np.unique(added(stream.samples(3.0).view), return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {11: 25, 12: 75}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 60), max_size=6).map(sorted), st.integers(0, 3))
def test_what_a_gradual_drift_reaches_does_not_depend_on_who_reads_when(reads, seed):
    def play(looks: list[float]) -> DataStream:
        stream = make(Arrival(rate_per_s=5, labelled_ratio=0.7, label_delay_s=3, buffer=120), seed=seed)
        changes = [
            (10.0, Change(name="f", transform=plus(1), share=0.5)),
            (20.0, Change(name="l", prior=ONLY_3, share=0.25, replace_ratio=0.25)),
            (30.0, Change(name="f", transform=plus(1))),
            (40.0, Change(name="f", undo=True)),
        ]
        for time_s, change in sorted([*changes, *((look, None) for look in looks)], key=lambda moment: moment[0]):
            if change is None:
                stream.samples(time_s).view.materialise()
                _ = stream.test_view().key
            else:
                stream.change(time_s, change)
        return stream

    quiet, busy = play([]), play(reads)
    assert quiet.samples(70.0).view.key == busy.samples(70.0).view.key
    assert quiet.labelled_between(0, 70.0).view.key == busy.labelled_between(0, 70.0).view.key
    assert [quiet.test_view(n).key for n in range(5)] == [busy.test_view(n).key for n in range(5)]


# several drifts on one device


def test_a_feature_drift_comes_on_top_of_another_and_leaves_it_when_it_goes():
    stream = make()
    stream.change(1.0, Change(name="a", transform=plus(1)))
    stream.change(2.0, Change(name="b", transform=Transform.feature("scale", amount=2.0)))
    assert stream.transform == plus(1).then(Transform.feature("scale", amount=2.0))
    both = stream.test_view()
    stream.change(3.0, Change(name="a", undo=True))
    assert stream.transform == Transform.feature("scale", amount=2.0)
    stream.change(4.0, Change(name="a", transform=plus(1), occurrence=2))
    assert stream.transform == Transform.feature("scale", amount=2.0).then(plus(1))  # the latest comes last
    stream.change(5.0, Change(name="b", undo=True))
    assert (added(stream.test_view()) == 1).all()
    assert stream.test_view() is stream.test_view(1)
    assert stream.test_view(2) is both


def test_a_drift_that_happens_again_does_not_pile_up():
    stream = make()
    for occurrence in (1, 2, 3):
        stream.change(float(occurrence), Change(name="d", transform=plus(1), occurrence=occurrence))
    assert stream.transform == plus(1)
    assert stream.test_view() is stream.test_view(1)


def test_a_drift_that_comes_again_gradually_passes_from_its_earlier_form_to_the_new_one():
    stream = make()
    stream.change(1.0, Change(name="d", prior=ONLY_0))
    stream.change(2.0, Change(name="d", prior=ONLY_3, occurrence=2, share=0.5))
    assert stream.prior.tolist() == [0.5, 0, 0, 0.5]
    assert np.bincount(stream.test_view().labels(), minlength=4).tolist() == [20, 0, 0, 20]
    stream.change(3.0, Change(name="d", prior=ONLY_3, occurrence=2))
    stream.change(4.0, Change(name="d", undo=True, occurrence=2))
    assert stream.prior.tolist() == EVEN.tolist()


def test_label_and_feature_drifts_do_not_meet():
    stream = make()
    stream.change(1.0, Change(name="l", prior=ONLY_3))
    stream.change(2.0, Change(name="f", transform=plus(1)))
    stream.change(3.0, Change(name="l", undo=True))
    assert stream.prior.tolist() == EVEN.tolist()
    assert stream.transform == plus(1)


def test_a_prior_that_depends_on_the_one_before_is_worked_out_anew_when_that_goes():
    def halved(prior: np.ndarray) -> np.ndarray:
        return prior * [0.5, 1, 1, 1]

    stream = make()
    stream.change(1.0, Change(name="only", prior=np.array([0.5, 0.5, 0, 0])))
    stream.change(2.0, Change(name="less", prior=halved))
    assert stream.prior == pytest.approx([1 / 3, 2 / 3, 0, 0])
    stream.change(3.0, Change(name="only", undo=True))
    assert stream.prior == pytest.approx(np.array([0.5, 1, 1, 1]) / 3.5)


def test_incremental_severity_changes_every_sample_a_little_more_each_step():
    digits = load_dataset("digits")
    pools = split(digits, 0.2, 0.2)
    stream = DataStream(digits, pools, Share(np.full(10, 0.1), 20), Arrival(), 0, "x", test_samples=30)
    clean = stream.test_view().materialise()[0]
    distances = []
    for step in (1, 2, 3):
        blur = Transform.feature("blur", severity=5 * step / 3)
        stream.change(float(step), Change(name="fog", transform=blur))
        distances.append(np.abs(stream.test_view().materialise()[0] - clean).mean(axis=(1, 2, 3)))
    assert (distances[0] > 0).all()
    assert (distances[1] > distances[0]).all()
    assert (distances[2] > distances[1]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, "above 0 and up to 1"),
        ({"share": 1.5}, "above 0 and up to 1"),
        ({"undo": True, "prior": EVEN}, "no prior and no transform of its own"),
    ],
)
def test_a_step_that_cannot_be_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        Change(**options)


# a pool dealt out


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([1.0, 2.0, 3.0, 5.0]), min_size=1, max_size=4),
    st.integers(1, 2),
    st.integers(0, 5),
)
def test_a_split_deals_every_sample_to_one_device_each_class_in_the_ratios(ratios, repeats, seed):
    devices = repeats * len(ratios)
    dealt = [share.indices for share in partition(POOLS, devices, "split", ratios=ratios, seed=seed)]
    assert sorted(np.concatenate(dealt).tolist()) == sorted(POOLS.devices.tolist())
    whole = np.bincount(DATA.y[POOLS.devices], minlength=CLASSES)
    weights = np.tile(ratios, repeats) / (sum(ratios) * repeats)
    for own, weight in zip(dealt, weights, strict=True):
        assert len(own) == pytest.approx(weight * len(POOLS.devices), abs=1 + devices / 2)
        assert np.bincount(DATA.y[own], minlength=CLASSES) == pytest.approx(weight * whole, abs=2 + devices / 2)


def test_a_device_of_a_split_holds_its_whole_share_once_and_draws_from_no_other():
    shares = list(partition(POOLS, 2, "split", ratios=[1, 1]))
    arrival = Arrival(rate_per_s=5)
    streams = [DataStream(DATA, POOLS, share, arrival, 0, f"x-{n}", TESTS) for n, share in enumerate(shares)]
    assert abs(len(shares[0].indices) - len(shares[1].indices)) <= 1
    for stream, share in zip(streams, shares, strict=True):
        assert sorted(stream.samples(0.0).view.indices.tolist()) == share.indices.tolist()
        later = stream.labelled_between(0.0, 50.0).view.indices
        assert set(later.tolist()) <= set(share.indices.tolist())


def test_a_split_can_be_capped_and_keeps_to_the_classes_asked_for():
    shares = list(partition(POOLS, 2, "split", ratios=[1], samples=30, classes=[1, 2]))
    assert [share.volume for share in shares] == [30, 30]
    assert {int(label) for share in shares for label in DATA.y[share.indices]} == {1, 2}
    assert shares[0].prior.tolist() == [0, 0.5, 0.5, 0]


def test_another_seed_deals_otherwise():
    one, other = (partition(POOLS, 2, "split", ratios=[1, 1], seed=seed)[0].indices for seed in (0, 1))
    assert set(one.tolist()) != set(other.tolist())
