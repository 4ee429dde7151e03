"""Artificial traces. Randomness is a generator that is passed in; the same generator state gives the same signal.

Each signal repeats after ``duration_s``: make that longer than the simulation, or accept the loop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ..signals import Signal

if TYPE_CHECKING:
    import numpy as np


def markov_modulated(
    rng: np.random.Generator,
    states: Sequence[tuple[float, float]],
    *,
    duration_s: float,
    transitions: Sequence[Sequence[float]] | None = None,
) -> Signal:
    """A value that jumps between states and stays in each for an exponential time.

    Parameters
    ----------
    rng
        Draws the first state (in proportion to mean holding times), the holding times and the jumps.
    states
        At least two of (value, mean holding time in seconds).
    duration_s
        More than 0; the signal repeats after it.
    transitions
        Probability of jumping from each state (row) to each (column), 0 on the diagonal. By default all other states
        are equally probable.

    Raises
    ------
    ValueError
        Anything else.
    """
    number = len(states)
    if number < 2:
        raise ValueError(f"a modulated signal has at least two states, found {number}")
    for value, holding_s in states:
        if not (value >= 0.0 and 0.0 < holding_s < math.inf):
            raise ValueError(f"a state is a value of at least 0 and a positive time, found {(value, holding_s)!r}")
    if transitions is None:
        transitions = [[0.0 if i == j else 1.0 / (number - 1) for j in range(number)] for i in range(number)]
    for i, row in enumerate(transitions):
        if len(row) != number or row[i] != 0.0 or min(row) < 0.0 or not math.isclose(sum(row), 1.0, rel_tol=1e-9):
            raise ValueError(f"row {i} of the transitions is no distribution over the other states: {list(row)!r}")
    if len(transitions) != number:
        raise ValueError(f"expected {number} rows of transitions, found {len(transitions)}")
    _check_duration(duration_s)
    total_s = math.fsum(holding_s for _, holding_s in states)
    state = int(rng.choice(number, p=[holding_s / total_s for _, holding_s in states]))
    times, values, time_s = [], [], 0.0
    while time_s < duration_s:
        value, holding_s = states[state]
        times.append(time_s)
        values.append(value)
        time_s = max(math.nextafter(time_s, math.inf), time_s + float(rng.exponential(holding_s)))
        state = int(rng.choice(number, p=transitions[state]))
    return Signal.steps(times, values, duration_s)


def random_walk(
    rng: np.random.Generator,
    *,
    low: float,
    high: float,
    step: float,
    interval_s: float,
    duration_s: float,
    start: float | None = None,
) -> Signal:
    """A value that moves by a normal step every interval, reflected at its bounds.

    Parameters
    ----------
    rng
        Draws the start (uniformly between the bounds, unless given) and the steps.
    low, high
        Bounds, ``0 <= low < high``.
    step
        Standard deviation of one step, at least 0.
    interval_s
        Seconds between steps, more than 0.
    duration_s
        More than 0; the signal repeats after it.
    start
        First value, between the bounds.

    Raises
    ------
    ValueError
        Anything else.
    """
    if not 0.0 <= low < high < math.inf:
        raise ValueError(f"expected bounds 0 <= low < high, found {low!r} and {high!r}")
    if not (0.0 <= step < math.inf and 0.0 < interval_s < math.inf):
        raise ValueError(f"expected a step of at least 0 and a positive interval, found {step!r} and {interval_s!r}")
    if start is not None and not low <= start <= high:
        raise ValueError(f"the start lies between {low!r} and {high!r}, found {start!r}")
    _check_duration(duration_s)
    value = float(rng.uniform(low, high)) if start is None else start
    number = max(1, math.ceil(duration_s / interval_s - 1e-9))
    values = [value]
    for move in rng.normal(0.0, step, number - 1).tolist():
        folded = (value + move - low) % (2.0 * (high - low))  # reflection is a fold of the line
        value = low + min(folded, 2.0 * (high - low) - folded)
        values.append(min(high, max(low, value)))
    return Signal.steps([i * interval_s for i in range(number)], values, duration_s)


def diurnal(
    rng: np.random.Generator | None = None,
    *,
    low: float,
    high: float,
    peak_s: float = 0.0,
    period_s: float = 86_400.0,
    steps: int = 48,
    noise_ratio: float = 0.0,
) -> Signal:
    """A day: a cosine between ``low`` and ``high``, in steps that keep its integral exactly.

    Parameters
    ----------
    rng
        Needed for noise only.
    low, high
        Least and greatest value, ``0 <= low <= high``.
    peak_s
        When the value is greatest.
    period_s
        Length of the day.
    steps
        Pieces per day, at least 2.
    noise_ratio
        Each step is multiplied by a log-normal factor of mean 1 and this standard deviation of the logarithm.

    Raises
    ------
    ValueError
        Anything else.
    """
    if not 0.0 <= low <= high < math.inf:
        raise ValueError(f"expected 0 <= low <= high, found {low!r} and {high!r}")
    if steps < 2 or noise_ratio < 0.0:
        raise ValueError(f"expected at least 2 steps and noise of at least 0, found {steps!r} and {noise_ratio!r}")
    if noise_ratio and rng is None:
        raise ValueError("noise needs a random generator")
    _check_duration(period_s)
    edges = [i / steps for i in range(steps + 1)]
    turn = 2.0 * math.pi
    sines = [math.sin(turn * (edge - peak_s / period_s)) / turn for edge in edges]  # the integral of the cosine
    means = [(later - earlier) * steps for earlier, later in pairwise(sines)]
    values = [max(0.0, (low + high) / 2 + (high - low) / 2 * mean) for mean in means]
    if noise_ratio and rng is not None:
        factors = rng.lognormal(-(noise_ratio**2) / 2, noise_ratio, steps).tolist()
        values = [value * factor for value, factor in zip(values, factors, strict=True)]
    return Signal.steps([edge * period_s for edge in edges[:-1]], values, period_s)


def background_load(
    rng: np.random.Generator, *, load: float, mean_busy_s: float, mean_idle_s: float, duration_s: float
) -> Signal:
    """What other applications leave: 1 while they are idle, ``1 - load`` while they are busy.

    Multiply it into a speed or a memory with :meth:`Signal.product`. Busy and idle times are exponential.

    Parameters
    ----------
    rng
        Draws the first state and all times.
    load
        What the others take while they are busy, from 0 to 1.
    mean_busy_s, mean_idle_s
        Mean lengths, more than 0.
    duration_s
        More than 0; the signal repeats after it.

    Raises
    ------
    ValueError
        Anything else.
    """
    if not 0.0 <= load <= 1.0:
        raise ValueError(f"a load lies between 0 and 1, found {load!r}")
    return markov_modulated(rng, [(1.0, mean_idle_s), (1.0 - load, mean_busy_s)], duration_s=duration_s)


def _check_duration(duration_s: float) -> None:
    if not 0.0 < duration_s < math.inf:
        raise ValueError(f"a duration is positive and finite, found {duration_s!r}")
