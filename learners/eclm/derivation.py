"""Which modules a device gets: a knapsack of importance under its budgets (Nebula, section 5.1, Eq. 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .architectures import Held

Array = npt.NDArray[np.float64]

_SLACK = 1e-6
"""Solvers let constraints be violated by so much, relative to the budget."""

_TIGHTER = 0.97
"""Where the sum over modules underestimates what a whole sub-model takes, the budget is shrunk by this."""


class DoesNotFit(Exception):
    """No sub-model fits into a device's budgets.

    Attributes
    ----------
    resource, needed, budget
        A budget that the cheapest sub-model exceeds, what that needs, and the budget.
    together
        Budgets that each could be met, but not together; empty where one alone is too small.
    """

    def __init__(self, resource: str, needed: float, budget: float, together: tuple[str, ...] = ()) -> None:
        super().__init__(resource, needed, budget, together)
        self.resource = resource
        self.needed = needed
        self.budget = budget
        self.together = together

    @property
    def missed(self) -> tuple[str, ...]:
        """The budgets that it is about."""
        return self.together or (self.resource,)

    def __str__(self) -> str:
        if self.together:
            *others, last = self.together
            return f"no sub-model fits: the budgets of {', '.join(others)} and {last} cannot be met together"
        return (
            f"no sub-model fits: the cheapest needs {self.needed:.4g} of {self.resource}, "
            f"the budget is {self.budget:.4g}"
        )


@dataclass(frozen=True, slots=True)
class Resource:
    """A budget and what modules take of it.

    Attributes
    ----------
    always
        What the parts that every sub-model has take.
    modules
        What each module takes: for each layer, (module,).
    budget
        Most that a sub-model may take.
    """

    always: float
    modules: tuple[Array, ...]
    budget: float

    def of(self, held: Held) -> float:
        """What a sub-model takes: the sum over its modules (the paper's additive rule)."""
        return self.always + sum(float(layer[list(mine)].sum()) for layer, mine in zip(self.modules, held, strict=True))

    @property
    def least(self) -> float:
        """What the cheapest sub-model takes."""
        return self.always + sum(float(layer.min()) for layer in self.modules)


def derive(importance: Sequence[Array], resources: Mapping[str, Resource]) -> Held:
    """Choose modules: at least one a layer, as much importance as the budgets allow.

    The most important module of every layer is forced in and the rest is filled by a multi-dimensional knapsack.
    Where those alone exceed a budget, only one module a layer is asked for, whichever.

    Parameters
    ----------
    importance
        Of each module, for each layer; at least 0. (module,)
    resources
        By name.

    Raises
    ------
    DoesNotFit
        No choice of one module a layer fits into all budgets; tells the budget that is missed by the most, or which
        ones cannot be met together.
    """
    if any(resource.least > resource.budget for resource in resources.values()):
        name, resource, needed = _worst(resources)
        raise DoesNotFit(name, needed, resource.budget)
    layers = [len(layer) for layer in importance]
    value = np.concatenate(list(importance))
    tops = [int(np.argmax(layer)) for layer in importance]
    forced = tuple((top,) for top in tops)
    if all(resource.of(forced) <= resource.budget for resource in resources.values()):
        fixed = np.zeros(len(value))
        fixed[[start + top for start, top in zip(_starts(layers), tops, strict=True)]] = 1
        return _solved(value, layers, resources, fixed) or _greedy(value, layers, resources, forced)
    chosen = _solved(value, layers, resources, np.zeros(len(value)))
    if chosen is not None:
        return chosen
    name, resource, needed = _worst(resources)
    raise DoesNotFit(name, needed, resource.budget, _together(value, layers, resources))


def derive_exactly(
    importance: Sequence[Array], resources: Mapping[str, Resource], exact: Mapping[str, Callable[[Held], float]]
) -> Held:
    """Choose modules as ``derive`` does, where the sum over modules may underestimate what a whole sub-model takes.

    A budget that the choice exceeds is made tighter for the sum, in steps, down to what the cheapest sub-model takes.

    Parameters
    ----------
    importance, resources
        As in ``derive``.
    exact
        What a sub-model really takes of some of the resources, by name.

    Raises
    ------
    DoesNotFit
        As in ``derive``; and where the cheapest sub-model really takes more than a budget.
    """
    tight = dict(resources)
    while True:
        try:
            held = derive(importance, tight)
        except DoesNotFit as error:
            budget = resources[error.resource].budget
            raise DoesNotFit(error.resource, error.needed, budget, error.together) from None
        taken = {name: count(held) for name, count in exact.items()}
        over = [name for name in taken if taken[name] > resources[name].budget]
        if not over:
            return held
        for name in over:
            resource = tight[name]
            if resource.budget <= resource.least:
                raise DoesNotFit(name, taken[name], resources[name].budget)
            tight[name] = replace(resource, budget=max(_TIGHTER * resource.budget, resource.least))


def _solved(value: Array, layers: Sequence[int], resources: Mapping[str, Resource], fixed: Array) -> Held | None:
    from scipy.optimize import Bounds, LinearConstraint, milp

    cover = np.zeros((len(layers), len(value)))
    for row, (start, count) in enumerate(zip(_starts(layers), layers, strict=True)):
        cover[row, start : start + count] = 1
    limits, rows = [], []
    for resource in resources.values():
        if np.isinf(resource.budget):
            continue
        scale = max(resource.budget, 1e-300)
        rows.append(np.concatenate(resource.modules) / scale)
        limits.append((resource.budget - resource.always) / scale)
    constraints = [LinearConstraint(cover, 1, np.inf)]
    for shrink in (0.0, _SLACK):  # once more, tighter, where the solver used its tolerance
        if rows:
            constraints[1:] = [LinearConstraint(np.array(rows), -np.inf, np.array(limits) - shrink)]
        solved = milp(
            -value,
            integrality=np.ones(len(value)),
            bounds=Bounds(fixed, 1),
            constraints=constraints,
            options={"mip_rel_gap": 0.0},
        )
        if solved.x is None:
            return None
        held = _held(np.flatnonzero(np.rint(solved.x)), layers)
        if all(resource.of(held) <= resource.budget for resource in resources.values()):
            return held
    return None


def _greedy(value: Array, layers: Sequence[int], resources: Mapping[str, Resource], forced: Held) -> Held:
    """Fill up by importance over relative cost, for when the solver gives up."""
    starts = _starts(layers)
    chosen = {start + layer[0] for start, layer in zip(starts, forced, strict=True)}
    share = np.zeros(len(value))
    for resource in resources.values():
        room = resource.budget - resource.always
        if np.isfinite(room) and room > 0:
            share = np.maximum(share, np.concatenate(resource.modules) / room)
    order = np.argsort(-value / np.maximum(share, 1e-12), kind="stable")
    for item in order.tolist():
        more = _held(sorted({*chosen, item}), layers)
        if all(resource.of(more) <= resource.budget for resource in resources.values()):
            chosen.add(item)
    return _held(sorted(chosen), layers)


def _together(value: Array, layers: Sequence[int], resources: Mapping[str, Resource]) -> tuple[str, ...]:
    """Few of some budgets that cannot be met together: leaving out any one of them would help."""
    left = {name: resource for name, resource in resources.items() if np.isfinite(resource.budget)}
    for name in list(left):
        others = {other: resource for other, resource in left.items() if other != name}
        if len(others) > 1 and _solved(value, layers, others, np.zeros(len(value))) is None:
            left = others
    return tuple(left)


def _worst(resources: Mapping[str, Resource]) -> tuple[str, Resource, float]:
    """The budget that the cheapest sub-model misses by the most, in its own terms."""
    name = max(resources, key=lambda each: resources[each].least / max(resources[each].budget, 1e-300))
    return name, resources[name], resources[name].least


def _starts(layers: Sequence[int]) -> list[int]:
    return [sum(layers[:place]) for place in range(len(layers))]


def _held(items: Sequence[int] | npt.NDArray[np.int64], layers: Sequence[int]) -> Held:
    starts = _starts(layers)
    return tuple(
        tuple(int(item) - start for item in items if start <= item < start + count)
        for start, count in zip(starts, layers, strict=True)
    )
