"""Which path a device tries next: an evolutionary search over the paths that fit its budgets now."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .architectures import Choice

ENUMERATED = 4096
"""Up to so many paths all are looked at; of more, so many are drawn, and the cheapest are added."""


@dataclass(frozen=True, slots=True)
class BranchCosts:
    """A cost that adds up along a path.

    Attributes
    ----------
    always
        Of the backbone.
    changes
        What taking branch c at block b changes: ``changes[b][c]``; 0 for the backbone's own block.
    budget
        Most that a path may cost.
    """

    always: float
    changes: tuple[tuple[float, ...], ...]
    budget: float

    def of(self, choice: Choice) -> float:
        """The cost of a path."""
        return self.always + sum(block[chosen] for block, chosen in zip(self.changes, choice, strict=True))

    @property
    def cheapest(self) -> Choice:
        """The path that costs least."""
        return tuple(block.index(min(block)) for block in self.changes)


def feasible(branches: Sequence[int], costs: Sequence[BranchCosts], random: np.random.Generator) -> list[Choice]:
    """The paths within all budgets, the costliest first by the first cost; empty where none fits.

    Where paths are drawn, the backbone and the cheapest path of each cost are looked at too: if a path fits and only
    one budget is short, one is found. If several are short, those that fit may all be among the paths not drawn.

    Parameters
    ----------
    branches
        How many branches there are at each block, the backbone's own not among them.
    costs
        At least one.
    random
        Draws paths where there are too many to look at all of them.
    """
    total = math.prod(count + 1 for count in branches)
    every: Sequence[Choice]
    if total <= ENUMERATED:
        every = list(itertools.product(*(range(count + 1) for count in branches)))
    else:
        drawn = random.integers(0, np.array(branches) + 1, size=(ENUMERATED, len(branches)))
        paths: list[Choice] = [tuple(int(c) for c in row) for row in drawn]
        every = list(dict.fromkeys([*paths, (0,) * len(branches), *(cost.cheapest for cost in costs)]))
    fitting = [choice for choice in every if all(cost.of(choice) <= cost.budget for cost in costs)]
    return sorted(fitting, key=lambda choice: (-costs[0].of(choice), choice))


def first_candidates(fitting: Sequence[Choice], count: int, random: np.random.Generator) -> list[Choice]:
    """The largest path that fits, and others at random."""
    others = list(fitting[1:])
    drawn = random.permutation(len(others))[: count - 1]
    return [*fitting[:1], *(others[int(place)] for place in drawn)]


def next_candidates(
    losses: Mapping[Choice, float], fitting: Sequence[Choice], count: int, random: np.random.Generator
) -> list[Choice]:
    """Neighbours of the best paths so far: one block changed, not tried yet."""
    best = sorted(losses, key=lambda choice: (losses[choice], choice))[: max(1, count // 2)]
    near = [
        choice
        for choice in fitting
        if choice not in losses and any(sum(a != b for a, b in zip(choice, one, strict=True)) == 1 for one in best)
    ]
    drawn = random.permutation(len(near))[:count]
    return [near[int(place)] for place in drawn]
