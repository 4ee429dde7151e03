"""What a model gets wrong, sample by sample: the job that a drift detector reads."""

from __future__ import annotations

import torch

from ..models import Architecture, State, seeded_torch
from .bench import Batch, bench
from .function import job

_BATCH = 128
"""Samples that go through the network at a time."""


@job(depends=("edgesim.jobs.bench", "edgesim.jobs.placement", "edgesim.models", "edgesim.data"))
def mistakes(state: State, *views: Batch, architecture: Architecture) -> list[bool]:
    """Whether the model is wrong about each sample, in the order of the views and of the samples in each."""
    tool = bench(architecture)
    tool.load(state)
    tool.evaluate()
    wrong: list[bool] = []
    with torch.inference_mode(), seeded_torch(0, tool.device):  # scoring draws nothing; a user's network might
        for x, y in views:
            for start in range(0, len(x), _BATCH):
                guessed = tool.module(tool.put(x[start : start + _BATCH])).argmax(1).cpu()  # (sample,)
                wrong += (guessed != y[start : start + _BATCH]).tolist()
    return wrong
