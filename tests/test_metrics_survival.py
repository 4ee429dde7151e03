"""Kaplan-Meier with censoring, by hand and against lifelines; Student t intervals; what may be said."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import survival
from analysis.intervals import Interval, mean_interval, paired_difference, student_quantile, verdict


def observed(*durations: tuple[float, bool], seed: int = 0, learner: str = "a") -> pd.DataFrame:
    rows = [{"learner": learner, "seed": seed, "device": "x", "duration_s": d, "observed": o} for d, o in durations]
    return pd.DataFrame(rows, columns=["learner", "seed", "device", "duration_s", "observed"])


PAPER = observed((2, True), (3, False), (4, True), (4, True), (5, False), (7, True), (9, False), (9, False))
"""Eight durations. At risk and events: 2 s: 8, 1; 4 s: 6, 2; 7 s: 3, 1. S = 7/8, then 7/12, then 7/18."""


def test_kaplan_meier_by_hand_with_censoring() -> None:
    curve = survival.curve(PAPER).set_index("time_s")["survival"]
    expected = {0: 1, 2: 7 / 8, 3: 7 / 8, 4: 7 / 12, 5: 7 / 12, 7: 7 / 18, 9: 7 / 18}
    assert curve.to_dict() == pytest.approx(expected, abs=1e-12)


def test_the_median_is_when_the_curve_reaches_one_half() -> None:
    assert survival.median(PAPER).value == 7
    assert survival.median(observed((1, True), (2, True))).value == 1  # exactly one half


def test_dropping_or_capping_censored_durations_would_give_another_median() -> None:
    dropped = PAPER[PAPER["observed"]]
    capped = PAPER.assign(observed=True)
    assert survival.median(dropped).value == 4
    assert survival.median(capped).value == 4


def test_a_median_that_was_not_reached_is_infinite() -> None:
    assert survival.median(observed((2, True), (9, False), (9, False))).value == math.inf


def test_the_restricted_mean_is_the_area_under_the_curve() -> None:
    # to 8 s: 2 * 1 + 2 * 7/8 + 3 * 7/12 + 1 * 7/18
    by_hand = 2 + 2 * 7 / 8 + 3 * 7 / 12 + 7 / 18
    assert survival.restricted_mean(PAPER, 8.0).value == pytest.approx(by_hand, abs=1e-12)
    assert survival.restricted_mean(PAPER, 1.5).value == pytest.approx(1.5)


def test_without_censoring_the_restricted_mean_is_the_mean_of_capped_durations() -> None:
    rows = observed(*((d, True) for d in (1.0, 2.5, 6.0, 10.0)))
    assert survival.restricted_mean(rows, 8.0).value == pytest.approx((1 + 2.5 + 6 + 8) / 4)


def test_nothing_observed_is_not_measured() -> None:
    for found in (survival.median(observed()), survival.restricted_mean(observed(), math.nan)):
        assert math.isnan(found.value)
        assert found.seeds == 0
    assert math.isnan(survival.common_limit_s(observed()))
    assert survival.curve(observed()).empty
    assert survival.pseudo_values(observed(), math.nan).empty


durations = st.lists(st.tuples(st.integers(1, 20).map(float), st.booleans()), min_size=1, max_size=30)


@settings(max_examples=50)
@given(rows=durations)
def test_the_curve_median_and_restricted_mean_equal_lifelines(rows: list[tuple[float, bool]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lifelines' own, about pandas
        from lifelines import KaplanMeierFitter
        from lifelines.utils import restricted_mean_survival_time

        frame = observed(*rows)
        fitter = KaplanMeierFitter().fit(frame["duration_s"], frame["observed"])
        theirs = fitter.survival_function_at_times(sorted(set(frame["duration_s"]))).to_numpy()
        limit_s = float(frame["duration_s"].max())
        their_mean = restricted_mean_survival_time(fitter, t=limit_s)
    np.testing.assert_allclose(survival.risk_table(frame).pooled, theirs, atol=1e-12)
    assert survival.restricted_mean(frame, limit_s).value == pytest.approx(their_mean)
    if not np.isclose(theirs, 0.5).any():  # where the curve is flat at 1/2, rounding decides theirs
        assert survival.median(frame).value == fitter.median_survival_time_


def test_the_common_limit_is_where_every_learner_s_curve_is_known() -> None:
    ends_censored = observed((3, True), (8, False), learner="a")
    all_over = observed((2, True), (5, True), learner="b")  # known for ever: it reached 0 at 5 s
    longer = observed((30, True), learner="c")
    assert survival.common_limit_s(pd.concat([ends_censored, all_over, longer])) == 8
    assert survival.common_limit_s(pd.concat([all_over, longer])) == 30


def three_seeds() -> pd.DataFrame:
    return pd.concat(
        [
            observed((2, True), (4, True), (6, False), seed=0),
            observed((3, True), (5, True), (5, True), seed=1),
            observed((1, True), (8, False), seed=2),
        ]
    )


def test_leaving_out_a_seed_equals_computing_without_its_rows() -> None:
    table = survival.risk_table(three_seeds())
    for place, seed in enumerate(table.seeds):
        rest = three_seeds()[three_seeds()["seed"] != seed]
        curve = survival.risk_table(rest)
        known = np.isin(table.times_s, curve.times_s)
        np.testing.assert_allclose(table.without_each[place][known], curve.pooled, atol=1e-12)


def test_pseudo_values_are_the_seed_s_own_means_where_nothing_is_censored() -> None:
    rows = pd.concat([observed((1, True), (3, True), seed=0), observed((2, True), (6, True), seed=1)])
    assert survival.pseudo_values(rows, 10.0).to_dict() == pytest.approx({("a", 0): 2.0, ("a", 1): 4.0})


def test_a_restricted_mean_over_seeds_has_the_student_interval_of_its_pseudo_values() -> None:
    limit_s = 6.0
    pseudo = survival.pseudo_values(three_seeds(), limit_s)
    found = survival.restricted_mean(three_seeds(), limit_s)
    half = 4.302652729911275 * pseudo.std() / math.sqrt(3)  # t with 2 degrees of freedom
    assert found.high - found.value == pytest.approx(half)
    assert found.value - found.low == pytest.approx(half)
    assert found.seeds == 3


@pytest.mark.parametrize("seeds", [1, 2])
def test_medians_have_no_interval_with_fewer_than_three_seeds(seeds: int) -> None:
    rows = three_seeds()
    found = survival.median(rows[rows["seed"] < seeds])
    assert not found.has_bounds
    assert found.seeds == seeds


def test_the_median_s_interval_holds_the_median() -> None:
    found = survival.median(three_seeds())
    assert found.low <= found.value <= found.high


def test_bands_say_whether_they_speak_of_seeds_or_of_one_run() -> None:
    assert set(survival.curve(three_seeds())["band"]) == {"seeds"}
    within = survival.curve(PAPER)
    assert set(within["band"]) == {"within run"}
    assert (within["low"] <= within["survival"] + 1e-12).all()
    assert (within["survival"] <= within["high"] + 1e-12).all()


def test_the_mean_s_interval_is_student_t() -> None:
    # mean 2, standard deviation 1, t(2) = 4.3027
    found = mean_interval([1.0, 2.0, 3.0])
    assert (found.value, found.seeds) == (2.0, 3)
    assert found.high == pytest.approx(2 + 4.302652729911275 / math.sqrt(3))
    assert student_quantile(20) == pytest.approx(2.093024054408263)


def test_one_seed_has_no_interval() -> None:
    found = mean_interval([3.0])
    assert found.value == 3.0
    assert not found.has_bounds


def test_seeds_that_were_not_measured_do_not_count() -> None:
    found = mean_interval([1.0, math.nan, 3.0])
    assert (found.value, found.seeds) == (2.0, 2)
    assert math.isnan(mean_interval([math.nan]).value)


def test_a_time_that_did_not_come_leaves_no_interval() -> None:
    found = mean_interval([1.0, math.inf])
    assert found.value == math.inf
    assert not found.has_bounds


def by_seed(**values: list[float]) -> pd.Series[float]:
    keys = [(learner, seed) for learner, numbers in values.items() for seed in range(len(numbers))]
    flat = [number for numbers in values.values() for number in numbers]
    return pd.Series(flat, pd.MultiIndex.from_tuples(keys, names=["learner", "seed"]))


def test_differences_are_paired_by_seed() -> None:
    # The seeds differ far more than the learners: 1, 2, 3 apart; unpaired nothing could be said.
    values = by_seed(a=[101.0, 52.0, 13.0], b=[100.0, 50.0, 10.0])
    found = paired_difference(values, "a", "b")
    assert found.value == pytest.approx(2.0)
    assert found.high - found.value == pytest.approx(4.302652729911275 / math.sqrt(3))


def test_only_seeds_of_both_learners_are_compared() -> None:
    values = by_seed(a=[1.0, 2.0, 3.0], b=[0.0, 0.0])
    assert paired_difference(values, "a", "b") == mean_interval([1.0, 2.0])


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (Interval(0.05, 0.01, 0.09, 5), "higher"),
        (Interval(-0.05, -0.09, -0.01, 5), "lower"),
        (Interval(0.004, -0.01, 0.018, 5), "tied"),
        (Interval(0.04, -0.01, 0.09, 5), "undecided"),
        (Interval(0.0, -0.5, 0.5, 2), "tied"),
        (Interval(0.001, 0.0005, 0.0015, 5), "higher"),
        (Interval(0.2, math.nan, math.nan, 1), "one seed"),
        (Interval(math.nan, math.nan, math.nan, 0), "not measured"),
        (Interval(math.inf, math.nan, math.nan, 5), "undecided"),
    ],
)
def test_a_difference_is_called_what_its_interval_supports(difference: Interval, expected: str) -> None:
    assert verdict(difference, margin=0.01) == expected
