"""Block-level modularisation: which repeated blocks are found in whose network."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesim.errors import UserError
from edgesim.models import Architecture, build, cost, initial_state, instantiate
from learners.eclm import parts
from learners.eclm.architectures import Modularisation, everything, modularise, with_held
from learners.eclm.blocks import Block, find_blocks
from learners.eclm.inheritance import inherit


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
        ("torchvision:densenet121", (3, 64, 64), {}, "a block with the function cat inside cannot be modularised"),
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


NETS = """
import torch
from torch import nn
from torch.nn import functional as F


def full(count):
    sizes = [6, 12, 10, 8, 5][:count] + [3]
    return [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]


def conv(*channels):
    return [nn.Conv2d(a, b, 3, padding=1) for a, b in zip(channels, channels[1:])]


class Called(nn.Module):
    def __init__(self, act, count=3):
        super().__init__()
        for place, layer in enumerate(full(count)):
            setattr(self, f"f{place + 1}", layer)
        self.count, self.act = count, act

    def forward(self, x):
        for place in range(1, self.count):
            x = self.act(getattr(self, f"f{place}")(x))
        return getattr(self, f"f{self.count}")(x)


class Images(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.c1, self.c2, self.c3, self.c4 = conv(3, 4, 4, 4, 4)
        self.kind = kind
        self.head = nn.Linear(8 if kind == "joined" else 4, 3)
        if kind == "tied":
            self.c4.weight = self.c2.weight

    def forward(self, x):
        if self.kind == "pools":
            x = F.max_pool2d(F.relu(self.c2(F.relu(self.c1(x), inplace=True))), 2)
            x = F.max_pool2d(F.relu(self.c4(F.relu(self.c3(x)))), 2)
        elif self.kind == "pools only":
            for layer in (self.c1, self.c2, self.c3, self.c4):
                x = F.max_pool2d(layer(x), 2, padding=1)
            return self.head(x.mean((2, 3)))
        else:
            a = self.c1(x)
            b = self.c2(a)
            c = self.c3(b)
            d = self.c4(c)
            if self.kind == "added":
                x = d + a
            elif self.kind == "joined":
                x = torch.cat([d, a], 1)
            elif self.kind == "parted":
                x = d + torch.cat(a.chunk(2, 1), 1)
            elif self.kind == "all":
                x = d + a + b + c
            else:
                x = d
        return self.head(x.mean((2, 3)))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = conv(4, 4, 4)
        self.inner = None

    def forward(self, x):
        self.inner = self.a(x)
        return F.relu(x + self.b(F.relu(self.inner)))


class Stage(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.stem, = conv(3, 4)
        self.b1, self.b2, self.b3 = Residual(), Residual(), Residual()
        self.head = nn.Linear(4, 3)
        self.kind = kind

    def forward(self, x):
        a = self.b1(self.stem(x))
        b = self.b2(a)
        c = self.b3(F.relu(b)) if self.kind == "relu" else self.b3(b)
        other = {"first": a, "inside": self.b2.inner, "relu": 0 * c}[self.kind]
        return self.head((c + other).mean((2, 3)))


def leaky(x):
    return F.leaky_relu(x, 0.3)


def make(*, input_shape, classes, net):
    kind, _, what = net.partition(" ")
    if kind == "called":
        return Called({"relu": F.relu, "gelu": F.gelu, "tanh": torch.tanh, "leaky": leaky}[what])
    if kind == "shared":
        return Called(nn.Sequential(nn.GELU(), nn.Dropout(0.2)) if what == "several" else nn.ReLU(inplace=True), 4)
    if kind == "row":
        one, two, three = full(3)
        act = nn.GELU()
        return nn.Sequential(one, act, two, act, three)
    if kind == "leading":
        one, two, three = full(3)
        return nn.Sequential(nn.Sequential(nn.Tanh(), one), nn.ReLU(), two, nn.ReLU(), three)
    if kind == "strange":
        return Called(F.softplus)
    return Images(what) if kind == "images" else Stage(what)
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Architecture]:
    (tmp_path / "written_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(str(tmp_path))

    def architecture(name: str) -> Architecture:
        shape = (3, 8, 8) if name.startswith(("images", "stage")) else (6,)
        return Architecture.of("written_nets:make", {"net": name}, input_shape=shape, classes=3, allow_code=True)

    return architecture


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("called relu", ["f1-f2"]),
        ("called gelu", ["f1-f2"]),
        ("called tanh", ["f1-f2"]),
        ("called leaky", ["f1-f2"]),
        ("shared one", ["f1-f2"]),
        ("shared several", ["f1-f2"]),
        ("row", ["0-2"]),
        ("images pools", ["c1-c2", "c3-c4"]),
        ("images chain", ["c1-c2", "c3-c4"]),
        ("images added", ["c2-c3"]),
        ("images joined", ["c2-c3"]),
        ("images parted", ["c2-c3"]),
    ],
)
def test_a_module_as_wide_as_its_block_computes_what_the_network_does(
    net: Callable[[str], Architecture], name: str, blocks: list[str]
) -> None:
    base = net(name)
    assert [block.name for block in find_blocks(build(base), base.input_shape)] == blocks
    full = modularise(base, Modularisation(modules=2, ratio=1.0, k=2, embedding=4))
    weights = initial_state(base, seed=1)
    state = inherit(initial_state(full, seed=2), weights, full, seed=3)
    shrunk = ((1,),) * len(blocks)
    sub = with_held(full, shrunk)
    original, modular = instantiate(base, seed=0), instantiate(sub, seed=0)
    original.load_state_dict(weights)
    modular.load_state_dict(parts.extract(state, everything(full), shrunk, sub))
    x = torch.randn(5, *base.input_shape, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        assert torch.allclose(modular.eval()(x), original.eval()(x), atol=1e-6)
    assert cost(sub).forward_flops_per_sample >= cost(base).forward_flops_per_sample
    modular.train()(x).sum().backward()
    assert all(p.grad is not None for n, p in modular.named_parameters() if n.startswith("network."))


def test_a_stage_ends_where_what_it_hands_on_is_read_again(net: Callable[[str], Architecture]) -> None:
    base = net("stage first")
    assert [block.name for block in find_blocks(build(base), base.input_shape)] == ["b1", "b2-b3"]


def test_an_activation_between_residual_blocks_does_not_part_their_stage(net: Callable[[str], Architecture]) -> None:
    base = net("stage relu")
    (block,) = find_blocks(build(base), base.input_shape)
    assert (block.name, block.path, block.skips) == ("b1-b3", "b3.layer", ((2, 3),))
    assert [len(unit.after) for unit in block.units] == [1, 1, 1, 2, 1, 1]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("stage inside", "what b2.a puts out is read by the function [+] in the network itself too"),
        ("images all", "what c1 puts out is read by the function [+] in the network itself too; what c2 puts out"),
        ("leading", "0 begins with Tanh, before its first weighted layer"),
        ("images tied", "c4 reads c2.weight too; c2 reads c4.weight too"),
        ("images pools only", "between c1 and c2 stands the function max_pool2d in .*: make it a module"),
        ("strange", "between f1 and f2 stands the function softplus in the network itself: make it a module"),
    ],
)
def test_where_there_is_no_block_the_reason_is_told(net: Callable[[str], Architecture], name: str, told: str) -> None:
    base = net(name)
    with pytest.raises(UserError, match=f"no repeated block found in .*; {told}"):
        find_blocks(build(base), base.input_shape)
