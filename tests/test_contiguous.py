"""Values that do not lie in order: what is computed of them does not depend on where they have been."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch

from edgesim.jobs import InlineExecutor, Label, Overflow, ProcessExecutor, WorkPlane, job
from edgesim.jobs.contiguous import contiguous

LABEL = Label("fedavg", "camera-3", 12.5, "camera-3/train/7")


@dataclass(frozen=True, slots=True)
class Boxed:
    weights: dict[str, torch.Tensor]
    name: str = "box"


class Pair(NamedTuple):
    first: torch.Tensor
    second: int


TURNED = torch.arange(6.0).view(2, 3).T


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        "text",
        torch.ones(3, 2),
        np.ones((3, 2)),
        [1, {"a": (torch.ones(2), None)}],
        Boxed({"w": torch.ones(2)}),
        torch.eye(3).to_sparse(),
        np.float32(2.0),
        {1, 2},
    ],
)
def test_what_lies_in_order_stays_what_it_is(value: Any) -> None:
    assert contiguous(value) is value


def test_what_does_not_is_copied_and_what_it_was_in_is_left_alone() -> None:
    given = [1, Boxed({"w": TURNED, "b": torch.ones(2)}), OrderedDict(a=(TURNED, 2)), Pair(TURNED, 7)]
    found = contiguous(given)
    assert given[1].weights["w"] is TURNED  # type: ignore[attr-defined]  # a list of many things
    assert (type(found[1]), found[1].name, type(found[2]), type(found[3])) == (Boxed, "box", OrderedDict, Pair)
    assert found[1].weights["b"] is given[1].weights["b"]  # type: ignore[attr-defined]  # a list of many things
    for tensor in (found[1].weights["w"], found[2]["a"][0], found[3].first):
        assert tensor.is_contiguous()
        assert torch.equal(tensor, TURNED)
    array = contiguous(np.arange(6.0).reshape(2, 3).T)
    assert array.flags.c_contiguous
    assert array.tolist() == TURNED.tolist()
    assert not contiguous(torch.ones(2, dtype=torch.complex64).conj()).is_conj()


@job
def basis(*, seed: int) -> dict[str, torch.Tensor]:
    drawn = torch.randn(150, 180, generator=torch.Generator().manual_seed(seed))
    return {"u": torch.linalg.svd(drawn, full_matrices=False).U}


@job
def turned(*, seed: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal((300, 200)).T


@job
def sums(state: dict[str, torch.Tensor], array: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return float((state["u"] * 1.0).abs().sum()), float(array.sum()), float(array.sum(0).sum())


def test_bits_do_not_depend_on_where_a_value_has_been(tmp_path: Path) -> None:
    found = set()
    for plane in (
        WorkPlane(InlineExecutor()),
        WorkPlane(ProcessExecutor(1)),
        WorkPlane(InlineExecutor(), memory_bytes=10, overflow=Overflow(tmp_path)),
    ):
        given = plane.submit(basis, label=LABEL, seed=1), plane.submit(turned, label=LABEL, seed=1)
        found.add(plane.submit(sums, *given, label=LABEL).value())
        plane.close()
    assert len(found) == 1
