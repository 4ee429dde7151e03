"""Networks: their initial weights, and what they cost, against PyTorch itself and hand counts."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edgesim.errors import UserError
from edgesim.models import (
    CODECS,
    Architecture,
    build,
    cost,
    costs,
    facts,
    initial_state,
    instantiate,
    layout,
    named_tensors,
    payload_bytes,
    set_trainable,
    weight_bytes,
)
from edgesim.vision import vision

MLP = Architecture.of("mlp", {"hidden": [64]}, input_shape=(1, 8, 8), classes=10)
CNN = Architecture.of("cnn", input_shape=(3, 32, 32), classes=10)
RESNET = Architecture.of("resnet18", {"width": 4}, input_shape=(3, 16, 16), classes=10)
VGG = Architecture.of("vgg16", {"width": 4, "dropout": 0.5}, input_shape=(3, 32, 32), classes=7)
MOBILE = Architecture.of("torchvision:mobilenet_v2", input_shape=(3, 32, 32), classes=10)
SMALL = [MLP, CNN, RESNET, VGG, MOBILE]
TRANSFORMER = Architecture.of("torchvision:vit_b_32", input_shape=(3, 224, 224), classes=10)

FACTORIES = """
import torch
from torch import nn

def recurrent(classes, input_shape):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(input_shape[-1], 5, batch_first=True)
            self.fc = nn.Linear(5, classes)
        def forward(self, x):
            return self.fc(self.lstm(x)[0][:, -1])
    return Last()

class Hidden(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, features))
    def forward(self, x):
        return (x.unsqueeze(1) * self.weight).sum(-1)  # a product that no counter sees

def unseen(classes, input_shape):
    return nn.Sequential(nn.Linear(input_shape[0], 4), Hidden(4, classes))

def tied(classes):
    first, second = nn.Linear(classes, classes), nn.Linear(classes, classes)
    second.weight = first.weight
    return nn.Sequential(first, second)

def draws(classes, input_shape):
    import random
    import numpy as np
    random.random(), np.random.rand()
    return nn.Linear(input_shape[0], classes)

def wrong_output(classes):
    return nn.Linear(3, classes + 1)

def nothing():
    return None
"""


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Architecture]:
    (tmp_path / "lab_nets.py").write_text(FACTORIES)
    monkeypatch.syspath_prepend(str(tmp_path))

    def architecture(name: str, *, input_shape: tuple[int, ...] = (3,), **options: object) -> Architecture:
        return Architecture.of(f"lab_nets:{name}", options, input_shape=input_shape, classes=3, allow_code=True)

    return architecture


def saved_on_cpu(architecture: Architecture, batch: int) -> int:
    """Bytes that autograd really saves: the reference that the count on ``meta`` must meet."""
    module = instantiate(architecture, seed=0)
    known = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    saved: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage
        return tensor

    x = torch.zeros(batch, *architecture.input_shape)
    with (
        torch.random.fork_rng(devices=[]),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        loss = nn.functional.cross_entropy(module(x), torch.zeros(batch, dtype=torch.int64))
    assert loss.requires_grad
    return sum(storage.nbytes() for storage in saved.values())


# Weights


@pytest.mark.parametrize("architecture", SMALL, ids=str)
def test_the_same_seed_draws_the_same_weights_and_another_seed_others(architecture: Architecture) -> None:
    first, again, other = (initial_state(architecture, seed) for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_building_and_drawing_leave_all_global_random_state_alone(
    factory: Callable[..., Architecture],
) -> None:
    def states() -> tuple[object, ...]:
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002

    before = states()
    for architecture in (*SMALL, factory("draws")):
        build(architecture)
        initial_state(architecture, seed=1)
        cost(architecture)
    assert states() == before


def test_initial_weights_are_those_that_pytorch_draws() -> None:
    state = initial_state(MLP, seed=5)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        reference = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).state_dict()
    assert list(state) == list(reference)
    assert all(torch.equal(state[name], reference[name]) for name in reference)


def test_a_network_is_built_without_memory() -> None:
    assert {tensor.device.type for _, tensor in named_tensors(build(RESNET))} == {"meta"}


def test_resnets_have_the_layers_of_torchvision() -> None:
    for name in ("resnet18", "resnet34"):
        ours = build(Architecture.of(name, input_shape=(3, 32, 32), classes=10)).state_dict()
        with torch.device("meta"):
            theirs = getattr(vision("models"), name)(num_classes=10).state_dict()
        shapes = {key: tensor.shape for key, tensor in theirs.items()} | {"conv1.weight": (64, 3, 3, 3)}
        assert {key: tensor.shape for key, tensor in ours.items()} == shapes


def test_vgg16_has_the_convolutions_of_torchvision() -> None:
    ours = build(Architecture.of("vgg16", input_shape=(3, 32, 32), classes=10)).features.state_dict()
    with torch.device("meta"):
        theirs = vision("models").vgg16_bn().features.state_dict()
    assert {key: tensor.shape for key, tensor in ours.items()} == {key: t.shape for key, t in theirs.items()}


def test_a_torchvision_network_adapts_to_gray_images() -> None:
    gray = Architecture.of("torchvision:mobilenet_v2", input_shape=(1, 32, 32), classes=10)
    shapes = {tensor.name: tensor.shape for tensor in layout(gray)}
    assert shapes["features.0.0.weight"] == (32, 1, 3, 3)
    assert len(shapes) == len(layout(MOBILE))


def test_options_reach_torchvision_and_wrong_ones_are_named() -> None:
    thin = Architecture.of("torchvision:mobilenet_v2", {"width_mult": 0.25}, input_shape=(3, 32, 32), classes=10)
    assert cost(thin).parameters < cost(MOBILE).parameters / 4
    with pytest.raises(UserError, match="widht"):
        build(Architecture.of("torchvision:resnet18", {"widht": 1}, input_shape=(3, 32, 32), classes=10))


# A user's own code


def test_a_factory_runs_only_where_code_is_allowed(factory: Callable[..., Architecture]) -> None:
    forbidden = Architecture.of("lab_nets:recurrent", {}, input_shape=(7, 4), classes=3)
    with pytest.raises(UserError, match="--allow-code"):
        build(forbidden)
    assert cost(factory("recurrent", input_shape=(7, 4))).parameters == 4 * 5 * (4 + 5 + 2) + 5 * 3 + 3


def test_having_been_allowed_once_allows_nobody_else(factory: Callable[..., Architecture]) -> None:
    weight_bytes(factory("recurrent", input_shape=(7, 4)))
    with pytest.raises(UserError, match="--allow-code"):
        weight_bytes(Architecture.of("lab_nets:recurrent", {}, input_shape=(7, 4), classes=3))


def test_the_key_of_a_factory_follows_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    keys = set()
    for name, width in (("key_a", 4), ("key_b", 4), ("key_b", 5)):
        package = tmp_path / f"{name}_{width}"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "nets.py").write_text(f"WIDTH = {width}\n")
        made = Architecture.of(f"{package.name}.nets:make", {}, input_shape=(3,), classes=2)
        stream_name, _, digest = made.key.partition("@")
        assert made.stream_name == stream_name  # weights are drawn alike before and after an edit
        made_of_it = Architecture("learners.eclm.network:modular", (("base_key", made.key),), (3,), 2)
        assert "@" in made_of_it.key
        assert "@" not in made_of_it.stream_name
        keys.add(digest)
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unseen", "no FLOPs in Hidden 1"),
        ("wrong_output", "must return logits of shape"),
        ("nothing", "must return a torch.nn.Module"),
        ("missing", "cannot import"),
    ],
)
def test_a_factory_that_does_not_fit_is_refused(factory: Callable[..., Architecture], name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        cost(factory(name))


def test_samples_of_the_wrong_shape_are_refused(factory: Callable[..., Architecture]) -> None:
    with pytest.raises(UserError, match=r"does not take samples of shape \(5,\)"):
        cost(factory("wrong_output", input_shape=(5,)))


def test_a_factory_that_does_not_take_an_option_is_refused(factory: Callable[..., Architecture]) -> None:
    with pytest.raises(UserError, match="depth"):
        build(factory("recurrent", input_shape=(7, 4), depth=3))


# Bytes


@pytest.mark.parametrize("architecture", SMALL, ids=str)
@pytest.mark.parametrize("codec", CODECS)
def test_weights_weigh_what_their_safetensors_file_weighs(architecture: Architecture, codec: str) -> None:
    narrow = {"fp32": torch.float32, "fp16": torch.float16}[codec]
    state = {
        name: tensor.to(narrow) if tensor.is_floating_point() else tensor
        for name, tensor in initial_state(architecture, seed=0).items()
    }
    assert weight_bytes(architecture, codec) == len(safetensors.torch.save(state))


def test_a_part_of_the_weights_weighs_what_its_file_weighs() -> None:
    part = [tensor for tensor in layout(RESNET) if tensor.name.startswith("layer3")]
    state = initial_state(RESNET, seed=0)
    assert payload_bytes(part) == len(safetensors.torch.save({tensor.name: state[tensor.name] for tensor in part}))


def test_tied_weights_travel_once(factory: Callable[..., Architecture]) -> None:
    state = initial_state(factory("tied"), seed=0)
    assert list(state) == ["0.weight", "0.bias", "1.bias"]
    assert weight_bytes(factory("tied")) == len(safetensors.torch.save(state))


def test_an_unknown_codec_is_named() -> None:
    with pytest.raises(UserError, match="int3"):
        weight_bytes(MLP, "int3")


# FLOPs and memory


def test_flops_of_an_mlp_are_two_per_weight() -> None:
    assert cost(MLP).forward_flops_per_sample == 2 * (64 * 64 + 64 * 10)
    assert cost(MLP).train_flops_per_sample == 3 * 2 * (64 * 64 + 64 * 10)


def test_flops_of_a_cnn_are_two_per_weight_and_pixel() -> None:
    by_hand = 2 * (32 * 32 * 16 * 3 * 9 + 16 * 16 * 32 * 16 * 9 + 8 * 8 * 32 * 10)
    assert cost(CNN).forward_flops_per_sample == by_hand


def test_flops_of_a_recurrent_network_are_counted(factory: Callable[..., Architecture]) -> None:
    by_hand = 2 * (7 * 4 * 5 * (4 + 5) + 5 * 3)
    assert cost(factory("recurrent", input_shape=(7, 4))).forward_flops_per_sample == by_hand


@pytest.mark.parametrize("architecture", [*SMALL, TRANSFORMER], ids=str)
def test_flops_are_those_of_pytorchs_own_counter(architecture: Architecture) -> None:
    module, x = build(architecture), torch.empty(2, *architecture.input_shape, device="meta")
    with FlopCounterMode(display=False) as reference, torch.no_grad():
        module(x)
    assert cost(architecture).forward_flops_per_sample == reference.get_total_flops() / 2


@pytest.mark.parametrize("architecture", [MLP, CNN], ids=str)
def test_a_small_network_costs_the_same_whether_it_is_computed_or_imagined(
    architecture: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = cost(architecture)
    cost.cache_clear()
    monkeypatch.setattr(costs, "_SMALL_BYTES", 0)
    assert cost(architecture) == computed


def test_training_only_the_last_layer_costs_only_its_backward_pass() -> None:
    full, last = cost(RESNET), cost(RESNET, ("fc",))
    fc = 2 * 32 * 10
    assert last.forward_flops_per_sample == full.forward_flops_per_sample
    assert last.train_flops_per_sample == last.forward_flops_per_sample + 2 * fc
    assert last.trainable_parameters == 32 * 10 + 10
    assert last.gradient_bytes == 4 * last.trainable_parameters
    assert last.training_memory_bytes(8) < full.training_memory_bytes(8)


def test_what_is_trainable_is_called_by_parameter_or_by_module() -> None:
    module = build(RESNET)
    assert [tuple(p.shape) for p in set_trainable(module, ["fc.bias"])] == [(10,)]
    assert len(set_trainable(module, ["layer4", "fc"])) == len(list(module.layer4.parameters())) + 2
    with pytest.raises(UserError, match=r"'fcc'.*it has: conv1, bn1, layer1"):
        set_trainable(module, ["fcc"])


def test_what_has_several_names_is_trainable_by_any_of_them(factory: Callable[..., Architecture]) -> None:
    assert cost(factory("tied"), ("1",)).trainable_parameters == 3 * 3 + 3  # the second layer's weight is the first's
    norm = nn.BatchNorm1d(3)
    assert set_trainable(nn.Sequential(norm, nn.Linear(3, 3), norm), ["2"]) == [norm.weight, norm.bias]
    assert norm.training


def test_what_is_not_trainable_does_not_move_not_even_running_statistics() -> None:
    module = build(RESNET)
    set_trainable(module, ["layer4.0.bn1", "fc"])
    moving = [path for path, layer in module.named_modules() if isinstance(layer, nn.BatchNorm2d) and layer.training]
    assert moving == ["layer4.0.bn1"]
    set_trainable(module, None)
    assert all(layer.training for layer in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("architecture", SMALL, ids=str)
def test_training_memory_is_what_autograd_saves_and_linear_in_the_batch(architecture: Architecture) -> None:
    counted = cost(architecture)
    for batch in (2, 3, 7, 16):
        saved = saved_on_cpu(architecture, batch)
        assert counted.training_memory_bytes(batch) == counted.state_bytes + counted.gradient_bytes + saved


def test_optimizers_add_their_state_to_the_memory() -> None:
    counted = cost(CNN)
    sgd, momentum, adam = (counted.training_memory_bytes(8, name) for name in ("sgd", "momentum", "adam"))
    assert momentum - sgd == adam - momentum == counted.gradient_bytes


def test_inference_needs_less_memory_than_training() -> None:
    for architecture in SMALL:
        counted = cost(architecture)
        assert counted.state_bytes < counted.inference_memory_bytes < counted.training_memory_bytes(1)


ONE_OF_A_KIND = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_0",
    "swin_t",
    "swin_v2_t",
    "vgg11",
    "vgg11_bn",
    "vit_b_16",
    "wide_resnet50_2",
]
SIDES = {"vit": 224, "swin": 224, "maxvit_t": 224, "inception_v3": 299}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in ONE_OF_A_KIND else pytest.mark.exhaustive) for name in facts.TORCHVISION],
)
def test_every_torchvision_classifier_can_be_costed(name: str) -> None:
    side = next((size for start, size in SIDES.items() if name.startswith(start)), 64)
    architecture = Architecture.of(f"torchvision:{name}", input_shape=(3, side, side), classes=10)
    assert cost(architecture).train_flops_per_sample == 3 * cost(architecture).forward_flops_per_sample


def test_the_classifiers_of_each_kind_exist() -> None:
    assert set(ONE_OF_A_KIND) <= set(facts.TORCHVISION)
