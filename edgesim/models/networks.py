"""The built-in networks. Layer names and initial weights are those of torchvision where it has the
network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

NARROW = 128
"""Where no convolution has more channels, images go through with their channels last: on a CPU that is 1.2 to 1.6 times
as fast in training and 1.4 to 2.4 times in evaluation; wider networks gain nothing or lose. (``cnn``, ResNet-18 and
VGG-16 of several widths, batches of 16 to 128, one thread.)"""


def mlp(input_shape: Sequence[int], classes: int, *, hidden: Sequence[int], dropout: float) -> nn.Module:
    """Fully connected layers with ReLU between them, on the flattened input."""
    features = 1
    for size in input_shape:
        features *= size
    return nn.Sequential(nn.Flatten(), *_fully_connected(features, hidden, classes, dropout))


def cnn(
    input_shape: Sequence[int],
    classes: int,
    *,
    channels: Sequence[int],
    hidden: Sequence[int],
    dropout: float,
) -> nn.Module:
    """Convolution 3x3, ReLU, max-pool 2x2, once per entry of ``channels``; then fully connected layers."""
    layers: list[nn.Module] = []
    incoming, height, width = input_shape
    for outgoing in channels:
        layers += [nn.Conv2d(incoming, outgoing, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        incoming, height, width = outgoing, height // 2, width // 2
    features = incoming * height * width
    return _CNN(max(channels, default=0), *layers, nn.Flatten(), *_fully_connected(features, hidden, classes, dropout))


class _CNN(nn.Sequential):
    """Layers one after the other, which images go through in the layout that is faster."""

    def __init__(self, widest: int, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self._widest = widest

    def forward(self, x: Tensor) -> Tensor:  # (batch, channels, height, width)
        out: Tensor = super().forward(_laid_out(x, self._widest))  # type: ignore[no-untyped-call]  # torch's has no types
        return out


def _laid_out(x: Tensor, widest: int) -> Tensor:
    """Images in the layout that is faster for a network whose widest convolution has so many channels."""
    if widest > NARROW or x.device.type == "cuda":
        return x
    return x.contiguous(memory_format=torch.channels_last)


def _fully_connected(features: int, hidden: Sequence[int], classes: int, dropout: float) -> Iterable[nn.Module]:
    for width in hidden:
        yield from (nn.Linear(features, width), nn.ReLU())
        features = width
    if dropout:
        yield nn.Dropout(dropout)
    yield nn.Linear(features, classes)


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, Fig. 2)."""

    def __init__(self, incoming: int, outgoing: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(incoming, outgoing, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outgoing)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outgoing, outgoing, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outgoing)
        self.downsample: nn.Module | None = None
        if stride != 1 or incoming != outgoing:
            self.downsample = nn.Sequential(
                nn.Conv2d(incoming, outgoing, 1, stride=stride, bias=False), nn.BatchNorm2d(outgoing)
            )

    def forward(self, x: Tensor) -> Tensor:  # (batch, incoming, height, width)
        """Return (batch, outgoing, height / stride, width / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + shortcut)  # type: ignore[no-any-return]  # torch: a module's call is Any


class ResNet(nn.Module):
    """A residual network of basic blocks with the stem for small images.

    Four stages ``layer1`` to ``layer4`` of ``width`` x (1, 2, 4, 8) channels; the last three halve the side.
    """

    def __init__(self, input_shape: Sequence[int], classes: int, *, blocks: Sequence[int], width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._stage(width, width, blocks[0], stride=1)
        self.layer2 = self._stage(width, 2 * width, blocks[1], stride=2)
        self.layer3 = self._stage(2 * width, 4 * width, blocks[2], stride=2)
        self.layer4 = self._stage(4 * width, 8 * width, blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * width, classes)
        self._widest = 8 * width
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def _stage(incoming: int, outgoing: int, blocks: int, stride: int) -> nn.Sequential:
        first = _ResidualBlock(incoming, outgoing, stride)
        return nn.Sequential(first, *(_ResidualBlock(outgoing, outgoing, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:  # (batch, channels, height, width)
        """Return logits (batch, classes)."""
        x = self.relu(self.bn1(self.conv1(_laid_out(x, self._widest))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]  # torch: a module's call is Any


class VGG16(nn.Module):
    """VGG-16 with batch norm (configuration D of Simonyan and Zisserman 2015) and one fully connected layer.

    Thirteen convolutions in five groups of ``width`` x (1, 2, 4, 8, 8) channels, each group followed by a
    max-pool.
    """

    def __init__(self, input_shape: Sequence[int], classes: int, *, width: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        incoming = input_shape[0]
        for factor, convolutions in ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3)):
            for _ in range(convolutions):
                convolution = nn.Conv2d(incoming, factor * width, 3, padding=1)
                nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # there is one: bias=True is the default
                layers += [convolution, nn.BatchNorm2d(factor * width), nn.ReLU(inplace=True)]
                incoming = factor * width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self._widest = incoming
        last = nn.Linear(incoming, classes)
        nn.init.normal_(last.weight, 0, 0.01)
        nn.init.zeros_(last.bias)
        self.classifier = nn.Sequential(nn.Dropout(dropout), last) if dropout else nn.Sequential(last)

    def forward(self, x: Tensor) -> Tensor:  # (batch, channels, height, width)
        """Return logits (batch, classes)."""
        x = self.features(_laid_out(x, self._widest))
        return self.classifier(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]  # as above
