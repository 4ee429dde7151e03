"""The ``model``, ``pretrain`` and ``training`` sections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from annotated_types import Ge, Lt, MinLen
from pydantic import Field, Strict, model_validator

from edgesim.scenario.base import Positive, PositiveWholeNumber, Spec, Tagged, WholeNumber
from edgesim.scenario.findings import wrong
from edgesim.scenario.paths import FilePath

Optimizer = Literal["sgd", "momentum", "adam"]
Codec = Literal["fp32", "fp16"]


class _Model(Spec):
    name: str

    @property
    def is_code(self) -> bool:
        """Whether it is a function of the user's own, named ``package.module:function``."""
        return False

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        """What the model is built with beside its name, sorted by key."""
        return tuple(sorted((key, value) for key, value in self if key != "name"))


Widths = tuple[PositiveWholeNumber, ...]
Dropout = Annotated[float, Strict(), Ge(0), Lt(1)]
_DROPOUT = "Probability of zeroing a value before the last layer while training."
_WIDTH = "Channels of the first stage; the others are multiples of it."


class Mlp(_Model):
    """A multi-layer perceptron."""

    name: Literal["mlp"] = Field(description="Fully connected layers with ReLU, on flattened samples.")
    hidden: Widths = Field(default=(64,), description="Widths of the hidden layers; empty: one linear layer.")
    dropout: Dropout = Field(default=0.0, description=_DROPOUT)


class Cnn(_Model):
    """A small convolutional network."""

    name: Literal["cnn"] = Field(description="3x3 convolutions, each halving the image; then fully connected layers.")
    channels: Annotated[Widths, MinLen(1)] = Field(default=(16, 32), description="Channels of each convolution.")
    hidden: Widths = Field(default=(), description="Widths of hidden fully connected layers before the last.")
    dropout: Dropout = Field(default=0.0, description=_DROPOUT)


class Resnet(_Model):
    """ResNet with the stem for small images."""

    name: Literal["resnet18", "resnet34"] = Field(description="ResNet with the stem for small images.")
    width: PositiveWholeNumber = Field(default=64, description=_WIDTH)


class Vgg16(_Model):
    """VGG-16 with batch norm for small images."""

    name: Literal["vgg16"] = Field(description="VGG-16 with batch norm, for images of 32x32 or more.")
    width: PositiveWholeNumber = Field(default=64, description=_WIDTH)
    dropout: Dropout = Field(default=0.0, description=_DROPOUT)


class TorchvisionModel(_Model):
    """Any torchvision classification model."""

    TAG: ClassVar[str] = "torchvision:NAME"
    name: Annotated[str, Field(pattern=r"^torchvision:[a-z0-9_]+$")] = Field(
        description="A torchvision model.", examples=["torchvision:mobilenet_v2"]
    )


class FactoryModel(_Model):
    """A model that the user's own code builds; imported by ``edgesim run --allow-code`` only."""

    TAG: ClassVar[str] = "package.module:factory"
    name: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] = Field(
        description="A function in a module of your own; needs `--allow-code`.",
        examples=["mypackage.models:build"],
    )
    arguments: dict[str, Any] = Field(default_factory=dict, description="Handed to the function, unchecked.")

    @property
    def is_code(self) -> bool:
        """It is."""
        return True

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        """The function's arguments, sorted by name."""
        return tuple(sorted(self.arguments.items()))


def _choose(name: str) -> str:
    if name.startswith("torchvision:"):
        return TorchvisionModel.TAG
    return FactoryModel.TAG if ":" in name else name


ModelSpec = Annotated[Mlp | Cnn | Resnet | Vgg16 | TorchvisionModel | FactoryModel, Tagged("name", choose=_choose)]
"""The ``model`` section; ``name`` says which. Each has ``.name`` and ``.options``."""


class Pretrain(Spec):
    """How the cloud trains the first model on its proxy data, before the run starts."""

    weights: FilePath | None = Field(
        default=None,
        description="A file of weights to start from, looked for beside the scenario: PyTorch's (.pt, .pth) or "
        ".safetensors. Tensors that it does not have in the network's shape, the last layer's for instance, are drawn.",
        examples=["~/.cache/torch/hub/checkpoints/mobilenet_v2-7ebf99e0.pth"],
    )
    epochs: WholeNumber = Field(default=10, description="Passes over the proxy data.")
    batch_size: PositiveWholeNumber = Field(default=32, description="Samples a step.")
    learning_rate: Positive = Field(default=0.1, description="Step size.")
    optimizer: Optimizer = Field(default="sgd", description="Optimizer.")
    schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="Step size: as it is, or down to 0 along half a cosine."
    )
    augment: tuple[Literal["crop", "flip"], ...] = Field(
        default=(),
        description="Images are varied at each step: shifted by up to an eighth of the side, mirrored left to right.",
        examples=[["crop", "flip"]],
    )

    @model_validator(mode="after")
    def _files(self) -> Self:
        if self.weights is not None and not Path(self.weights).is_file():
            raise wrong(f"there is no file {self.weights}", ("weights",))
        return self


class Training(Spec):
    """What learners train with, unless their own parameters say otherwise."""

    batch_size: PositiveWholeNumber = Field(default=16, description="Samples a step.")
    learning_rate: Positive = Field(default=0.05, description="Step size.")
    optimizer: Optimizer = Field(default="sgd", description="Optimizer.")
    codec: Codec = Field(default="fp32", description="How weights travel.")


class OwnTraining(Spec):
    """What one learner trains with instead of what ``training`` says."""

    batch_size: PositiveWholeNumber | None = Field(default=None, description="Samples a step.")
    learning_rate: Positive | None = Field(default=None, description="Step size.")
    optimizer: Optimizer | None = Field(default=None, description="Optimizer.")

    @property
    def changes(self) -> dict[str, Any]:
        """What is said, by name."""
        return self.model_dump(exclude_none=True)
