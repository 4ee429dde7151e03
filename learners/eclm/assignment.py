"""Which module serves which sub-task: a 0/1 linear program on how the modules are loaded (Nebula, section 4.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Assignment:
    """What was assigned in one module layer.

    Attributes
    ----------
    mask
        1 where a sub-task is assigned to a module, (sub-task, module).
    kappa1
        The most sub-tasks a module was allowed: what was asked for, or the least with which every sub-task has a
        module.
    raised
        Whether it had to be raised.
    """

    mask: npt.NDArray[np.int64]
    kappa1: int
    raised: bool


def assign(load: Matrix, kappa1: int, kappa2: int) -> Assignment:
    """Maximise ``sum(load * mask)``: a module has at most ``kappa1`` sub-tasks, a sub-task 1 to ``kappa2`` modules.

    Parameters
    ----------
    load
        h_tn, how much of sub-task t is routed to module n, at least 0. (sub-task, module)
    kappa1, kappa2
        At least 1. Where ``kappa1`` times the modules is less than the sub-tasks, ``kappa1`` is raised to the least
        that does.

    Notes
    -----
    The constraints are those of a b-matching, so the linear relaxation has an integral solution; it is solved as a
    0/1 program all the same (``scipy.optimize.milp``), which finds it at once.

    Examples
    --------
    >>> assign(np.array([[0.9, 0.1], [0.8, 0.2]]), kappa1=1, kappa2=1).mask.tolist()
    [[1, 0], [0, 1]]
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    tasks, modules = load.shape
    if kappa1 < 1 or kappa2 < 1:
        raise ValueError(f"kappa1 and kappa2 are at least 1, not {kappa1} and {kappa2}")
    allowed = max(kappa1, least_kappa1(tasks, modules))
    by_module = np.kron(np.ones((1, tasks)), np.eye(modules))  # mask is flattened sub-task by sub-task
    by_task = np.kron(np.eye(tasks), np.ones((1, modules)))
    solved = milp(
        -load.ravel(),
        integrality=np.ones(tasks * modules),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(by_module, 0, allowed), LinearConstraint(by_task, 1, kappa2)],
        options={"mip_rel_gap": 0.0},
    )
    if solved.x is None:
        raise RuntimeError(f"the assignment of {tasks} sub-tasks to {modules} modules failed: {solved.message}")
    mask = np.rint(solved.x).astype(np.int64).reshape(tasks, modules)
    return Assignment(mask, allowed, allowed > kappa1)


def targets(load: Matrix, mask: npt.NDArray[np.int64]) -> Matrix:
    """P: ``load * mask`` with rows that sum to 1, what the selector is to say of each sub-task.

    A sub-task whose modules carry no load at all gets equal shares of them.
    """
    kept = load * mask
    sums = kept.sum(axis=1, keepdims=True)
    plain = mask / np.maximum(mask.sum(axis=1, keepdims=True), 1)
    return np.where(sums > 0, kept / np.where(sums > 0, sums, 1), plain)


def default_kappa1(tasks: int, modules: int, kappa2: int) -> int:
    """``ceil(1.5 * tasks * kappa2 / modules)``: half as much again as an even spread. Ours; the paper does not say."""
    return math.ceil(1.5 * tasks * kappa2 / modules)


def least_kappa1(tasks: int, modules: int) -> int:
    """The least with which every sub-task has a module."""
    return math.ceil(tasks / modules)


def load_entropy(load: Matrix) -> float:
    """Entropy of a layer's load over its modules, from 0 (collapsed to one) to 1 (even); sub-tasks weigh the same."""
    share = load.mean(axis=0)
    share = share[share > 0] / share.sum()
    return float(-(share * np.log(share)).sum() / math.log(load.shape[1]))
