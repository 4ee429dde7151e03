"""Pools and partitions: who may use which samples, and what each device starts with."""

import hashlib
import os
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesim.data import Dataset, draws, load_dataset, partition, priors, split
from edgesim.data.draws import checked_prior, draw_block, draw_set
from edgesim.errors import UserError
from edgesim.seeds import stream

DIGITS = load_dataset("digits")
PEOPLE = load_dataset("synthetic", samples=3000, classes=5, groups=6)
POOLS = split(DIGITS, 0.2)
GROUPED = split(PEOPLE, 0.2, 0.3)


def labelled(
    *labels: int, classes: int = 3, groups: list[int] | None = None, tests: list[bool] | None = None
) -> Dataset:
    return Dataset(
        "made up",
        np.zeros((len(labels), 1), np.float32),
        np.array(labels),
        classes,
        "vector",
        group=None if groups is None else np.array(groups),
        is_test=None if tests is None else np.array(tests),
    )


# pools


@settings(max_examples=60, deadline=None)
@given(
    proxy=st.floats(0, 0.9),
    test=st.floats(0.05, 0.9),
    classes=st.none() | st.sets(st.integers(0, 4), min_size=1),
    seed=st.integers(0, 5),
)
def test_pools_are_disjoint_and_together_are_everything(proxy, test, classes, seed):
    pools = split(PEOPLE, proxy, test, sorted(classes) if classes else None, seed)
    together = np.concatenate([pools.proxy, pools.devices, pools.test])
    assert sorted(together.tolist()) == list(range(len(PEOPLE)))
    assert len(pools.test) == int(test * len(PEOPLE) + 0.5)
    if classes:
        assert set(PEOPLE.y[pools.proxy].tolist()) <= classes


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0.05, 0.9), seed=st.integers(0, 100))
def test_every_class_of_every_group_gives_its_share_up_to_one_sample(share, seed):
    pools = split(PEOPLE, 0.0, share, seed=seed)
    for label in range(5):
        for group in range(6):
            mine = (PEOPLE.y == label) & (PEOPLE.group == group)
            expected = len(pools.test) / len(PEOPLE) * mine.sum()
            assert abs(mine[pools.test].sum() - expected) <= 1


def test_every_sample_is_as_likely_to_be_held_out_as_any_other():
    data = labelled(*([0] * 5 + [1] * 2 + [2] * 3))
    chosen = np.zeros(10)
    for seed in range(2000):
        chosen[split(data, 0.0, 0.3, seed=seed).test] += 1
    assert chosen / 2000 == pytest.approx(0.3, abs=0.04)


def test_samples_that_lie_together_in_the_file_are_not_split_in_step():
    data = labelled(*[0] * 40, classes=1)
    held_out = {tuple(split(data, 0.0, 0.5, seed=seed).test.tolist()) for seed in range(50)}
    assert len(held_out) == 50
    neighbours = np.mean([np.isin(np.add(chosen, 1), chosen).sum() for chosen in held_out])
    assert neighbours == pytest.approx(39 * 0.5 * 19 / 39, abs=1.5)


def test_the_official_test_split_is_kept_unless_a_share_is_named():
    data = labelled(0, 1, 2, 0, 1, 2, 0, 1, 2, 0, tests=[True] * 3 + [False] * 7)
    assert split(data, 0.3).test.tolist() == [0, 1, 2]
    assert len(split(data, 0.3, 0.5).test) == 5


def test_sources_without_a_test_split_have_a_default_or_ask_for_a_share():
    assert len(POOLS.test) == round(0.2 * 1797)
    with pytest.raises(UserError, match="test_share"):
        split(labelled(0, 1, 2), 0.3)


def test_a_proxy_of_some_classes_takes_its_share_of_those_only():
    pools = split(DIGITS, 0.25, proxy_classes=[0, 1])
    training = np.setdiff1d(np.arange(len(DIGITS)), pools.test)
    eligible = np.isin(DIGITS.y[training], [0, 1]).sum()
    assert len(pools.proxy) == int(0.25 * eligible + 0.5)
    assert set(DIGITS.y[pools.proxy].tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"proxy_share": 1.5}, "proxy share 1.5"),
        ({"proxy_share": 0.2, "test_share": 1.0}, "test share 1"),
        ({"proxy_share": 1.0, "test_share": 0.2}, "nothing is left for the devices' pool"),
        ({"proxy_share": 0.2, "proxy_classes": [3, 11]}, r"proxy classes \[11\]"),
    ],
)
def test_a_split_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        split(DIGITS, **arguments)


# what devices get


def test_independent_devices_have_the_frequencies_of_the_pool():
    shares = partition(POOLS, 3, "iid", samples=40)
    counts = np.bincount(DIGITS.y[POOLS.devices])
    for share in shares:
        np.testing.assert_allclose(share.prior, counts / counts.sum(), atol=1e-6)
        assert (share.volume, share.group) == (40, None)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 10), st.integers(0, 9), st.integers(0, 3))
def test_devices_hold_m_different_classes_each_equally_likely(m, missing, seed):
    classes = sorted({*range(10)} - {missing})
    m = min(m, len(classes))
    shares = partition(POOLS, 300, "classes", per_device=m, classes=classes, seed=seed)
    assert ((shares.priors > 0).sum(axis=1) == m).all()
    np.testing.assert_allclose(shares.priors[shares.priors > 0], 1 / m, rtol=1e-6)
    often = (shares.priors > 0).sum(axis=0)
    assert often[missing] == 0
    assert (np.abs(often[classes] - 300 * m / 9) < 60).all()


def test_sets_of_classes_that_occur_together_are_each_on_as_many_devices():
    sets = ((0, 1), (2, 3, 4), (7,))
    shares = partition(POOLS, 10, "classes", sets=sets, seed=3)
    held = [tuple(np.flatnonzero(prior).tolist()) for prior in shares.priors]
    assert sorted(Counter(held).values()) == [3, 3, 4]
    assert set(held) == set(sets)
    np.testing.assert_allclose(shares.priors.sum(axis=1), 1, rtol=1e-6)
    assert held != [tuple(np.flatnonzero(p)) for p in partition(POOLS, 10, "classes", sets=sets, seed=4).priors]


def test_a_smaller_alpha_makes_devices_more_different():
    def largest(alpha: float) -> float:
        priors = partition(POOLS, 2000, "dirichlet", alpha=alpha).priors
        np.testing.assert_allclose(priors.sum(axis=1), 1, atol=1e-5)
        return float(priors.max(axis=1).mean())

    skews = [largest(alpha) for alpha in (0.001, 0.1, 1.0, 100.0)]
    assert skews == sorted(skews, reverse=True)
    assert skews[0] > 0.99
    assert skews[-1] < 0.15


def test_a_dirichlet_share_has_the_moments_of_the_distribution():
    priors = partition(POOLS, 20_000, "dirichlet", alpha=0.5).priors
    np.testing.assert_allclose(priors.mean(axis=0), 0.1, atol=0.01)
    # variance of one component of Dir(a, ..., a), n components: (1/n)(1 - 1/n) / (n a + 1)
    np.testing.assert_allclose(priors.var(axis=0), 0.1 * 0.9 / 6, rtol=0.1)


def test_volumes_are_uniform_and_include_both_ends():
    volumes = partition(POOLS, 20_000, samples=(50, 150)).volumes
    assert (volumes.min(), volumes.max()) == (50, 150)
    assert volumes.mean() == pytest.approx(100, abs=1)


def test_only_the_classes_asked_for_appear_at_first():
    for options in ({"kind": "iid"}, {"kind": "dirichlet", "alpha": 1.0}, {"kind": "classes", "per_device": 2}):
        priors = partition(POOLS, 50, classes=[1, 4, 7], **options).priors
        assert set(np.flatnonzero(priors.sum(axis=0)).tolist()) == {1, 4, 7}


def test_a_class_that_cannot_be_tested_is_nobodys():
    data = labelled(*[0, 1, 2] * 10, 0, 1, tests=[False] * 30 + [True] * 2)
    assert partition(split(data, 0.2), 4, "classes", per_device=2).priors[:, 2].tolist() == [0] * 4


def test_a_partition_depends_on_the_seed_alone_and_more_devices_do_not_move_the_others():
    for options in ({"kind": "dirichlet", "alpha": 0.3}, {"kind": "classes", "per_device": 3}):
        one, more = partition(POOLS, 20, seed=4, **options), partition(POOLS, 30, seed=4, **options)
        assert one.priors.tobytes() == more.priors[:20].tobytes()
        assert one.volumes.tobytes() == more.volumes[:20].tobytes()
        assert one.priors.tobytes() != partition(POOLS, 20, seed=5, **options).priors.tobytes()


# natural groups


def test_with_as_many_devices_as_groups_everybody_has_one():
    shares = partition(GROUPED, 6, "group")
    assert sorted(share.group for share in shares) == list(range(6))
    for share in shares:
        pool = GROUPED.of_devices(share.group, share.part, share.parts)
        assert set(PEOPLE.group[pool.indices].tolist()) == {share.group}
        np.testing.assert_allclose(share.prior, pool.counts / pool.counts.sum(), atol=1e-6)
        assert set(PEOPLE.group[GROUPED.of_test(share.group).indices].tolist()) == {share.group}


def test_with_more_devices_groups_are_cut_into_disjoint_parts():
    shares = partition(GROUPED, 14, "group")
    parts = [GROUPED.of_devices(share.group, share.part, share.parts).indices for share in shares]
    assert sorted(np.concatenate(parts).tolist()) == GROUPED.devices.tolist()
    assert sorted(np.bincount([share.group for share in shares]).tolist()) == [2, 2, 2, 2, 3, 3]
    for share, indices in zip(shares, parts, strict=True):
        assert set(PEOPLE.y[indices].tolist()) == set(np.flatnonzero(share.prior).tolist())


def test_with_many_more_devices_than_samples_parts_are_shared_and_never_lack_a_class():
    shares = partition(GROUPED, 5000, "group")
    for share in list(shares)[::250]:
        pool = GROUPED.of_devices(share.group, share.part, share.parts)
        assert (pool.counts[share.prior > 0] > 0).all()


def test_with_fewer_devices_some_groups_are_left_out():
    shares = partition(GROUPED, 4, "group", seed=1)
    assert len({share.group for share in shares}) == 4


def test_groups_that_the_test_pool_lacks_ask_for_a_new_split():
    data = labelled(*[0, 1, 2] * 4, groups=[1] * 6 + [2] * 6, tests=[False] * 6 + [True] * 6)
    with pytest.raises(UserError, match="test_share"):
        partition(split(data, 0.0), 2, "group")
    assert len(partition(split(data, 0.0, 0.5), 2, "group")) == 2


def test_the_har_subjects_can_be_devices_after_a_new_split():
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("EDGESIM_DATA", beside)) / "har.npz"
    if not path.exists():
        pytest.skip("no har.npz: set EDGESIM_DATA to the folder that holds it")
    har = load_dataset("npz", path=path, group="subject")
    with pytest.raises(UserError, match="21 of 21 groups"):
        partition(split(har, 0.3), 30, "group")
    shares = partition(split(har, 0.3, 0.3), 30, "group")
    assert sorted(share.group for share in shares) == list(range(1, 31))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "random"}, "unknown"),
        ({"kind": "dirichlet"}, "alpha"),
        ({"kind": "iid", "alpha": 1.0}, "alpha"),
        ({"kind": "dirichlet", "alpha": 0.0}, "positive"),
        ({"kind": "classes"}, "per_device"),
        ({"kind": "classes", "per_device": 11}, "11 classes a device, but only 10"),
        ({"kind": "classes", "per_device": 0}, "at least 1"),
        ({"kind": "classes", "per_device": 2, "sets": [[1, 2]]}, "not both"),
        ({"kind": "classes", "sets": [[1, 2], []]}, "none of them empty"),
        ({"kind": "classes", "sets": [[1, 12]]}, "class 12 does not exist"),
        ({"sets": [[1, 2]]}, "sets belongs to `classes`"),
        ({"classes": [10]}, "class 10 does not exist"),
        ({"classes": []}, "no samples"),
        ({"samples": (9, 3)}, "9 to 3"),
        ({"samples": 0}, "at least 1"),
        ({"kind": "group"}, "no natural groups"),
        ({"devices": 0}, "at least one"),
    ],
)
def test_a_partition_that_cannot_be_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        partition(POOLS, **{"devices": 3, **options})


# draws


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=10, max_size=10).filter(any), st.integers(0, 500), st.integers(0, 50))
def test_a_set_follows_its_prior_to_the_sample_and_repeats_only_when_it_must(weights, count, seed):
    pool = POOLS.of_test()
    prior = checked_prior(np.array(weights, dtype=np.float32), pool, "pool")
    drawn = draw_set(pool, prior, count, stream(seed, "x"))
    counts = np.bincount(DIGITS.y[drawn], minlength=10)
    assert len(drawn) == count
    assert (np.abs(counts - prior * count) < 1 + 1e-6).all()
    for label in range(10):
        if counts[label] <= pool.counts[label]:
            assert len(set(drawn[DIGITS.y[drawn] == label].tolist())) == counts[label]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=10, max_size=10).filter(any), st.integers(0, 150), st.integers(0, 50))
def test_drawing_for_all_classes_at_once_draws_what_numpy_draws_for_one_after_the_other(weights, count, seed):
    pool = POOLS.of_test()
    prior = checked_prior(np.array(weights, dtype=np.float32), pool, "pool")
    at_once, one_by_one = stream(seed, "x"), stream(seed, "x")
    drawn = draw_set(pool, prior, count, at_once)
    with mock.patch.object(draws, "_FEW", 0):
        assert draw_set(pool, prior, count, one_by_one).tolist() == drawn.tolist()
    assert at_once.random() == one_by_one.random()


@pytest.mark.parametrize("seed", [0, 7, 2**32, 2**63 - 1, 2**130])
def test_a_stream_is_numpys_seed_sequence_with_the_hashed_name_as_spawn_key(seed):
    digest = hashlib.blake2b(b"drift\x1fcamera-3\x1f7", digest_size=16).digest()
    words = tuple(int.from_bytes(digest[start : start + 4], "little") for start in range(0, 16, 4))
    named = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=words))
    assert stream(seed, "drift", "camera-3", 7).random() == named.random()


def test_a_rare_class_is_drawn_as_often_as_its_prior_says_on_average():
    pool = POOLS.of_test()
    prior = np.array([0.97, 0.03, 0, 0, 0, 0, 0, 0, 0, 0])
    drawn = [draw_set(pool, prior, 10, stream(seed, "x")) for seed in range(2000)]
    assert np.mean([(DIGITS.y[d] == 1).sum() for d in drawn]) == pytest.approx(0.3, abs=0.04)


def test_a_block_is_independent_draws_by_class_and_then_uniform():
    pool = POOLS.of_devices()
    prior = np.array([0.5, 0, 0.2, 0, 0, 0, 0, 0, 0.3, 0])
    drawn = draw_block(pool, prior, 50_000, stream(0, "x"))
    np.testing.assert_allclose(np.bincount(DIGITS.y[drawn], minlength=10) / 50_000, prior, atol=0.01)
    zeros = np.unique(drawn[DIGITS.y[drawn] == 0], return_counts=True)[1]
    assert len(zeros) == pool.counts[0]
    assert zeros.max() < 2 * zeros.mean()


@pytest.mark.parametrize("prior", [[0.5, -0.1], [0, 0], [np.nan, 1], [np.inf, 1]])
def test_what_is_no_distribution_is_no_prior(prior):
    pool = split(labelled(*[0, 1] * 5, classes=2), 0.0, 0.5).of_devices()
    with pytest.raises(UserError, match="must not be negative, NaN or all zero"):
        checked_prior(np.array(prior), pool, "pool")
    with pytest.raises(UserError, match="over 2 classes"):
        checked_prior(np.ones(3), pool, "pool")


# label drift


def test_new_classes_are_mixed_in_by_the_number_of_classes():
    before = np.array([0.6, 0.2, 0.2, 0, 0])
    after = priors.add_classes(before, [3, 4])
    np.testing.assert_allclose(after, [0.36, 0.12, 0.12, 0.2, 0.2])
    np.testing.assert_allclose(priors.add_classes(after, [0, 3]), after)


def test_a_prior_can_be_classes_or_weights_or_a_new_draw():
    np.testing.assert_allclose(priors.only_classes([3, 1], 4), [0, 0.5, 0, 0.5])
    np.testing.assert_allclose(priors.given({0: 1, 3: 3}, 4), [0.25, 0, 0, 0.75])
    within = priors.redrawn(np.array([True, True, False, False]), 1.0, stream(0, "drift"))
    assert within.sum() == pytest.approx(1)
    assert within[2:].tolist() == [0, 0]
    assert (priors.redrawn(np.ones(4, bool), 1.0, stream(0, "drift")) > 0).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: priors.only_classes([4], 4),
        lambda: priors.only_classes([], 4),
        lambda: priors.add_classes(np.ones(4) / 4, [-1]),
        lambda: priors.given({0: 0.0}, 4),
        lambda: priors.given({0: -1.0, 1: 2.0}, 4),
        lambda: priors.given({9: 1.0}, 4),
    ],
)
def test_a_label_drift_that_cannot_be_is_refused(make):
    with pytest.raises(UserError, match="class"):
        make()
