"""The reported 95 % intervals cover the truth at least 93 times in 100, with 3, 5 and 20 seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.intervals import mean_interval
from analysis.survival import median, restricted_mean

DEVICES = 24
LIMIT_S = 300.0


def draw(generator: np.random.Generator, seeds: int) -> pd.DataFrame:
    """Recoveries of 24 episodes a seed: a seed's devices share how hard its world is; the next drift censors."""
    hardness = np.exp(generator.normal(0.0, 0.3, (seeds, 1)))
    durations = 200.0 * generator.weibull(1.3, (seeds, DEVICES)) * hardness
    until = generator.choice([300.0, 420.0, 900.0], (seeds, DEVICES))
    return pd.DataFrame(
        {
            "learner": "a",
            "seed": np.repeat(np.arange(seeds), DEVICES),
            "duration_s": np.minimum(durations, until).ravel(),
            "observed": (durations <= until).ravel(),
        }
    )


def truth() -> tuple[float, float]:
    """Median and restricted mean over very many seeds, uncensored."""
    generator = np.random.default_rng(1)
    hardness = np.exp(generator.normal(0.0, 0.3, 2_000_000))
    durations = 200.0 * generator.weibull(1.3, len(hardness)) * hardness
    return float(np.median(durations)), float(np.minimum(durations, LIMIT_S).mean())


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 20])
def test_intervals_of_recovery_cover_the_truth(seeds: int) -> None:
    true_median, true_mean = truth()
    generator = np.random.default_rng(seeds)
    hits = np.zeros(2)
    repeats = 3000
    for _ in range(repeats):
        rows = draw(generator, seeds)
        middle, mean = median(rows), restricted_mean(rows, LIMIT_S)
        hits += [middle.low <= true_median <= middle.high, mean.low <= true_mean <= mean.high]
    assert (hits / repeats >= 0.93).all(), hits / repeats


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_intervals_of_means_over_seeds_cover_the_truth(seeds: int) -> None:
    generator = np.random.default_rng(seeds)
    values = generator.beta(20, 4, (4000, seeds))  # accuracies around 83 %, skewed
    found = [mean_interval(row) for row in values]
    covered = np.mean([interval.low <= 20 / 24 <= interval.high for interval in found])
    assert covered >= 0.93


def test_a_percentile_bootstrap_of_three_seeds_would_not() -> None:
    """Why there is no bootstrap here: with 3 seeds its 95 % interval covers about 3 times in 4."""
    generator = np.random.default_rng(0)
    values = generator.normal(0.0, 1.0, (1000, 3))
    resampled = values[:, generator.integers(0, 3, (400, 3))].mean(axis=2)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=1)
    assert np.mean((low <= 0) & (high >= 0)) < 0.85
