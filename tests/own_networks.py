"""Networks as users write them, with a state that is no parameter."""

import torch
from torch import Tensor, nn


class Centring(nn.Module):
    """Takes off a running mean of its inputs, a buffer that it replaces; counts its steps; keeps a list."""

    centre: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, classes)
        self.register_buffer("centre", torch.zeros(features))
        self.steps = 0
        self.seen: list[float] = []
        self.scale = torch.ones(1)
        self.same = self.linear  # the same layer under another name

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        if self.training:
            self.centre = 0.9 * self.centre + 0.1 * x.mean(0)
            self.steps += 1
            self.seen.append(x.mean().item())
            self.scale *= 1.5
            x = x + torch.randn_like(x) / (self.steps + len(self.seen))
        scores: Tensor = self.same((x - self.centre) * self.scale)
        return scores


def centring(classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """Such a layer inside of PyTorch's own."""
    return nn.Sequential(nn.Flatten(), Centring(torch.Size(input_shape).numel(), classes))


class Annealing(nn.Module):
    """Changes attributes of PyTorch's layers while it trains: a momentum, a share that is dropped, a buffer."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(features)
        self.drop = nn.Dropout(0.0)
        self.linear = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.norm.momentum is not None and self.norm.running_mean is not None:
            self.norm.momentum *= 0.9
            self.drop.p = 1 - 0.9 * (1 - self.drop.p)
            self.norm.running_mean = 2 * self.norm.running_mean
        scores: Tensor = self.linear(self.drop(self.norm(x.flatten(1))))
        return scores


def annealing(classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """Such a network."""
    return Annealing(torch.Size(input_shape).numel(), classes)
