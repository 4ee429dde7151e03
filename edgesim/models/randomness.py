"""Borrows the global random generators and gives them back: for library code that can draw from nothing
else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded_torch(seed: int) -> Iterator[None]:
    """Inside, torch's global CPU generator is seeded with ``seed``; afterwards it is as it was. Takes 2
    microseconds.

    For what draws from that generator and takes no other: dropout, stochastic depth, ``torch.nn.init``.
    CUDA's generators are neither read nor changed (``torch.manual_seed`` would change them). Not for several
    threads at once: there is one global generator.
    """
    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(state)


@contextmanager
def seeded_globals(seed: int) -> Iterator[None]:
    """Like :func:`seeded_torch`, and for the global generators of NumPy and ``random`` too: for a user's own
    code."""
    numpy_state = np.random.get_state()  # noqa: NPY002
    python_state = random.getstate()
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)
    try:
        with seeded_torch(seed):
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
