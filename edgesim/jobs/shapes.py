"""Which jobs are computed in one batch with others: a class of shapes, looked up in a committed table.

The table, ``fusion.json``, says for each class and kind of device how many times faster a batch was than its jobs one
after the other, and what follows from it; ``benchmarks/fusion.py`` measures and proposes it. What it says of CUDA is
assumed where it says so, until it is measured. A class that is not in it
is not fused, nor is what it measured of networks that no test has shown to keep their bits (convolutional ones).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import resources
from itertools import pairwise
from math import floor, log10, prod
from typing import Any

from ..models import Architecture
from .keys import SEQUENTIAL

STACKED = "stacked"
"""The path of jobs whose networks are stacked: one batched matrix product a layer for all of them."""

LIGHT = 10**6
"""Multiply-adds of a batch of samples below which ten jobs side by side take about as long as going to another process
and back, 0.5 ms: they stay where they are."""

EVALUATION_ROWS = 128
"""Samples that are evaluated at a time: more are slower on CPUs, whose caches they leave. Changes a result's
last bits, so it is no setting."""


def training_path(params: Mapping[str, Any], device: str = "cpu") -> str:
    """The path of a training job with these parameters (those of ``arithmetic.train``) on a kind of device."""
    plain = params.get("accumulate", 1) == 1 and params.get("trainable") is None and params.get("recipe") is None
    return _path("train", params["architecture"], params["batch_size"], device) if plain else SEQUENTIAL


def evaluation_path(params: Mapping[str, Any], device: str = "cpu") -> str:
    """The path of an evaluation with these parameters (those of ``arithmetic.evaluate``) on a kind of device."""
    return _path("evaluate", params["architecture"], EVALUATION_ROWS, device)


def training_is_light(params: Mapping[str, Any]) -> bool:
    """Whether training side by side with these parameters is not worth another process."""
    return (multiply_adds(params["architecture"], params["batch_size"]) or LIGHT) < LIGHT


def evaluation_is_light(params: Mapping[str, Any]) -> bool:
    """Whether evaluating side by side with these parameters is not worth another process."""
    return (multiply_adds(params["architecture"], EVALUATION_ROWS) or LIGHT) < LIGHT


def shape_class(kind: str, architecture: Architecture, rows: int) -> str | None:
    """The class of a job: what it does, with what kind of network, and the decade of multiply-adds of a batch.

    None where several are never computed in one batch; see :func:`multiply_adds`.

    Examples
    --------
    >>> shape_class("train", Architecture.of("mlp", {"hidden": [64]}, input_shape=(64,), classes=10), rows=32)
    'train mlp 1e5'
    """
    count = multiply_adds(architecture, rows)
    return None if count is None else f"{kind} mlp 1e{floor(log10(count))}"


@lru_cache(maxsize=1024)
def multiply_adds(architecture: Architecture, rows: int) -> int | None:
    """Multiply-adds of a batch of ``rows`` samples going through a network that can stand side by side with others.

    None for all networks but fully connected ones without dropout (masks would be drawn from a generator of each job)
    and without a layer of width 1 (where a product with a matrix of one row or column depends in its last bits on how
    many there are).
    """
    options = dict(architecture.options)
    if architecture.name != "mlp" or options["dropout"]:
        return None
    hidden = options["hidden"]
    assert isinstance(hidden, tuple)
    widths = [prod(architecture.input_shape), *map(int, hidden), architecture.classes]  # type: ignore[arg-type]  # ints
    if min(widths) < 2:
        return None
    return rows * sum(incoming * outgoing for incoming, outgoing in pairwise(widths))


@lru_cache(maxsize=1024)
def _path(kind: str, architecture: Architecture, rows: int, device: str) -> str:
    shape = shape_class(kind, architecture, rows)
    measured = table()["classes"].get(shape, {}).get(device) if shape is not None else None
    return STACKED if measured is not None and measured["fused"] else SEQUENTIAL


@cache
def table() -> Mapping[str, Any]:
    """The committed table."""
    found: Mapping[str, Any] = json.loads(resources.files(__package__).joinpath("fusion.json").read_text())
    return found
