"""Block-level modularisation: which repeated blocks are found in whose network."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesim.errors import UserError
from edgesim.models import Architecture, build
from learners.eclm.blocks import Block, find_blocks


def blocks_in(name: str, shape: tuple[int, ...], **options: object) -> tuple[Block, ...]:
    return find_blocks(build(Architecture.of(name, options, input_shape=shape, classes=10)), shape)


@pytest.mark.parametrize("name", ["resnet18", "torchvision:resnet18"])
def test_a_residual_network_has_its_four_stages(name: str) -> None:
    options = {"width": 8} if name == "resnet18" else {}
    found = blocks_in(name, (3, 32, 32), **options)
    assert [block.parent for block in found] == ["layer1", "layer2", "layer3", "layer4"]
    assert [len(block.units) for block in found] == [4, 4, 4, 4]
    assert all(unit.norm is not None for block in found for unit in block.units)
    assert [block.skips for block in found] == [()] * 4  # every shortcut starts or ends at a stage's wide end


def test_shortcuts_inside_a_stage_are_kept() -> None:
    found = blocks_in("resnet34", (1, 16, 16), width=4)
    assert [len(block.units) for block in found] == [6, 8, 12, 6]
    assert found[2].skips == ((2, 3), (4, 5), (6, 7), (8, 9))


def test_a_projection_on_a_shortcut_is_no_unit_of_the_block() -> None:
    found = blocks_in("torchvision:resnet50", (3, 64, 64))
    assert [unit.width for unit in found[0].units] == [64, 64, 256] * 3
    assert not any("downsample" in unit.path for block in found for unit in block.units)


@pytest.mark.parametrize(("name", "extra"), [("vgg16", 0), ("torchvision:vgg16", 1), ("torchvision:vgg16_bn", 1)])
def test_a_vgg_has_a_block_up_to_each_pooling_and_perhaps_one_of_full_layers(name: str, extra: int) -> None:
    options = {"width": 8} if name == "vgg16" else {}
    found = blocks_in(name, (3, 32, 32), **options)
    assert [len(block.units) for block in found] == [2, 2, 3, 3, 3] + [2] * extra
    assert all(isinstance(block.units[-1].after[-1], nn.MaxPool2d) for block in found[:5])
    assert [block.parent for block in found[5:]] == ["classifier"] * extra


def test_a_mobilenet_has_a_block_for_each_stage_of_inverted_residuals_that_has_something_to_shrink() -> None:
    found = blocks_in("torchvision:mobilenet_v2", (3, 64, 64))
    assert [block.name for block in found] == [
        f"features.{place}" for place in ("2-3", "4-6", "7-10", "11-13", "14-16", "17")
    ]
    assert found[1].skips == ((3, 5),)
    assert [unit.depthwise for unit in found[0].units] == [False, True, False] * 2


def test_fully_connected_layers_make_blocks_in_pairs_and_the_last_layer_stays() -> None:
    found = blocks_in("mlp", (561,), hidden=[64, 32])
    assert [[unit.width for unit in block.units] for block in found] == [[64, 32]]
    assert found[0].output_shape == (32,)
    found = blocks_in("mlp", (64,), hidden=[64, 32, 16])
    assert [[unit.width for unit in block.units] for block in found] == [[64, 32]]


def test_with_one_hidden_layer_the_last_layer_is_the_partner() -> None:
    found = blocks_in("mlp", (1, 8, 8), hidden=[16])
    assert [[unit.width for unit in block.units] for block in found] == [[16, 10]]


def test_convolutions_with_poolings_between_them_make_pairs() -> None:
    found = blocks_in("cnn", (3, 32, 32), channels=[8, 16, 24, 32])
    assert [[unit.width for unit in block.units] for block in found] == [[8, 16], [24, 32]]


class _FunctionalBlock(nn.Module):
    """As people write residual blocks: activations and the sum are functions, not modules."""

    def __init__(self, incoming: int, outgoing: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(incoming, outgoing, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outgoing)
        self.conv2 = nn.Conv2d(outgoing, outgoing, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outgoing)
        self.shortcut = nn.Sequential()
        if stride != 1 or incoming != outgoing:
            self.shortcut = nn.Sequential(
                nn.Conv2d(incoming, outgoing, 1, stride, bias=False), nn.BatchNorm2d(outgoing)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return functional.relu(out)


class _FunctionalNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first = nn.Sequential(_FunctionalBlock(8, 8), _FunctionalBlock(8, 8), _FunctionalBlock(8, 8))
        self.second = nn.Sequential(_FunctionalBlock(8, 16, 2))
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(functional.relu(self.stem(x))))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


def test_activations_that_are_called_as_functions_are_seen() -> None:
    with torch.device("meta"):
        found = find_blocks(_FunctionalNet(), (3, 16, 16))
    assert [block.parent for block in found] == ["first", "second"]
    assert [[type(layer) for layer in unit.after] for unit in found[0].units] == [[nn.ReLU]] * 6
    assert found[0].skips == ((2, 3),)


@pytest.mark.parametrize(
    ("name", "shape", "options", "told"),
    [
        ("mlp", (64,), {"hidden": []}, "no repeated block found in Sequential"),
        ("torchvision:densenet121", (3, 64, 64), {}, "a block with BatchNorm2d inside cannot be modularised"),
        ("torchvision:squeezenet1_0", (3, 64, 64), {}, "parallel branches cannot be modularised"),
        ("torchvision:resnext50_32x4d", (3, 64, 64), {}, "a grouped convolution cannot be modularised"),
        ("torchvision:vit_b_16", (3, 224, 224), {}, "a block with LayerNorm inside cannot be modularised"),
    ],
)
def test_a_network_without_blocks_that_can_be_modularised_is_refused_with_the_reason(
    name: str, shape: tuple[int, ...], options: dict[str, object], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        blocks_in(name, shape, **options)
