"""Modular networks: what a sub-model computes, what it costs, what it weighs."""

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesim.errors import UserError
from edgesim.models import Architecture, cost, initial_state, instantiate, layout, payload_bytes, weight_bytes
from learners.eclm import architectures, parts
from learners.eclm.architectures import Held, Modularisation, everything, modularise, with_held
from learners.eclm.budgets import nothing_of
from learners.eclm.layers import ModuleLayer
from learners.eclm.network import ModularNetwork
from learners.eclm.selector import Selector, top_k_gates


def modular(name: str = "mlp", shape: tuple[int, ...] = (12,), **options: object) -> Architecture:
    how = Modularisation(modules=6, ratio=0.5, k=3, embedding=8)
    return modularise(Architecture.of(name, options, input_shape=shape, classes=5), how)


MLP = modular(hidden=[16, 8])
CASES = {
    "mlp": MLP,
    "shallow mlp": modular(hidden=[8]),
    "cnn": modular("cnn", (1, 12, 12), channels=[4, 8]),
    "resnet18": modular("resnet18", (3, 16, 16), width=4),
    "resnet34": modular("resnet34", (1, 16, 16), width=2),
    "vgg16": modular("vgg16", (3, 32, 32), width=4),
    "mobilenet_v2": modularise(
        Architecture.of("torchvision:mobilenet_v2", input_shape=(3, 32, 32), classes=5),
        Modularisation(modules=4, layers=2, ratio=0.05, k=2, embedding=8),
    ),
}


def network(architecture: Architecture, state: dict[str, torch.Tensor]) -> ModularNetwork:
    module = instantiate(architecture, seed=0)
    module.load_state_dict(state, strict=True)
    assert isinstance(module, ModularNetwork)
    return module.eval()


def samples(architecture: Architecture, count: int = 6) -> torch.Tensor:
    return torch.rand(count, *architecture.input_shape, generator=torch.Generator().manual_seed(3))


def half(architecture: Architecture) -> Held:
    return tuple(tuple(range(layer % 2, n, 2)) for layer, n in enumerate(architectures.modules_per_layer(architecture)))


@pytest.mark.parametrize("name", CASES)
def test_a_sub_model_with_all_modules_is_the_full_model(name: str) -> None:
    full = CASES[name]
    state = initial_state(full, seed=1)
    same = with_held(full, everything(full))
    taken = parts.extract(state, everything(full), everything(full), same)
    x = samples(full)
    with torch.no_grad():
        assert torch.equal(network(same, taken)(x), network(full, state)(x))


@pytest.mark.parametrize("name", CASES)
def test_leaving_modules_out_is_masking_them(name: str) -> None:
    full = CASES[name]
    state = initial_state(full, seed=1)
    held = half(full)
    sub = with_held(full, held)
    x = samples(full)
    whole = network(full, state)
    with torch.no_grad():
        scores = whole.selector(x)
        mask = torch.cat(
            [torch.tensor([0.0 if m in mine else -torch.inf for m in range(n)])
             for mine, n in zip(held, architectures.modules_per_layer(full), strict=True)]
        )  # fmt: skip
        masked = whole.run(x, scores + mask)
        alone = network(sub, parts.extract(state, everything(full), held, sub))(x)
    assert torch.allclose(masked, alone, atol=1e-5)


def test_only_the_active_modules_count_and_their_weights_sum_to_one() -> None:
    gates = top_k_gates(torch.randn(50, 9, generator=torch.Generator().manual_seed(0)), 4)
    assert ((gates > 0).sum(1) == 4).all()
    assert torch.allclose(gates.sum(1), torch.ones(50))


def test_a_layer_adds_its_modules_up_as_written() -> None:
    """``f(x) = sum_i g_i f_i(x)`` with each ``f_i`` computed by itself."""
    full = MLP
    state = initial_state(full, seed=2)
    whole = network(full, state)
    layer = whole.layers[0]
    x = torch.rand(4, 12)
    gates = top_k_gates(torch.randn(4, 6), 3)
    layer.gates = gates
    with torch.no_grad():
        together = layer(x)
        total = torch.zeros(4, 8)
        for module in range(6):
            alone = with_held(full, ((module,),))
            one = network(alone, parts.extract(state, everything(full), ((module,),), alone)).layers[0]
            one.gates = torch.ones(4, 1)
            one.after = torch.nn.Identity()
            total += gates[:, module : module + 1] * (one(x) - layer.bias)
        assert torch.allclose(together, torch.relu(total + layer.bias), atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_costs_add_up_over_modules(name: str) -> None:
    full = CASES[name]
    layers = len(architectures.modules_per_layer(full))

    def of(shrunk: int, bypass: bool) -> tuple[int, float, float, int, int]:
        modules = tuple([0] if bypass else []) + tuple(range(1, shrunk + 1))
        costs = cost(with_held(full, (modules,) * layers))
        return (
            costs.parameters,
            costs.forward_flops_per_sample,
            costs.train_flops_per_sample,
            costs.state_bytes,
            costs.gradient_bytes,
        )

    for bypass in (True, False):
        one, two, three = of(1, bypass), of(2, bypass), of(3, bypass)
        assert [b - a for a, b in zip(one, two, strict=True)] == [c - b for b, c in zip(two, three, strict=True)]
    with_bypass, without = of(2, True), of(2, False)
    assert all(b >= a for a, b in zip(without, with_bypass, strict=True))


def test_a_network_may_be_charged_for_its_active_modules_only() -> None:
    full = CASES["resnet18"]
    charged = cost(architectures.charged_by_active(full))
    three = cost(with_held(full, ((0, 1, 2, 3),) * 4, "cloud"))
    assert charged.parameters == cost(full).parameters
    assert charged.forward_flops_per_sample == three.forward_flops_per_sample < cost(full).forward_flops_per_sample
    assert charged.activation_bytes_per_sample == pytest.approx(three.activation_bytes_per_sample, rel=1e-2)


@pytest.mark.parametrize("name", CASES)
def test_what_travels_weighs_what_its_file_weighs(name: str) -> None:
    full = CASES[name]
    held = half(full)
    sub = with_held(full, held)
    state = parts.extract(initial_state(full, seed=1), everything(full), held, sub)
    assert weight_bytes(sub) == len(safetensors.torch.save({n: t.contiguous() for n, t in state.items()}))
    whole = parts.tensors_of(full, held, shared=True, selector=True)
    assert payload_bytes(whole) == weight_bytes(sub)


def test_modules_that_are_there_already_do_not_travel() -> None:
    held: Held = ((1, 2, 5),)
    nothing = parts.tensors_of(MLP, ((),), shared=False, selector=False)
    assert {spec.shape for spec in nothing} == {(0,)}
    one = parts.tensors_of(MLP, ((2,),), shared=False, selector=False)
    three = parts.tensors_of(MLP, held, shared=False, selector=False)
    numbers = [sum(spec.size_bytes for spec in specs) for specs in (one, three)]
    assert numbers[1] == 3 * numbers[0]
    sizes = parts.module_sizes(MLP)
    assert numbers[0] == sizes.shrunk_bytes[0]


@pytest.mark.parametrize("name", ["mlp", "resnet18", "vgg16"])
def test_a_sub_model_may_keep_the_shared_parts_of_another(name: str) -> None:
    full = CASES[name]
    held, others = half(full), everything(full)
    sub = with_held(full, held)
    new = parts.extract(initial_state(full, seed=1), others, held, sub)
    own = parts.extract(initial_state(full, seed=2), others, others, full)
    mixed = parts.keep_shared(new, own, sub)
    specs = parts.tensors_of(sub, nothing_of(sub), shared=True, selector=False)
    shared = {spec.name for spec in specs} - set(parts.held_names(sub)) - set(parts.places(sub))
    shared -= {name for name in shared if ".units." in name}  # what their norms count
    assert shared
    assert all(mixed[name] is (own if name in shared else new)[name] for name in new)


def test_shared_parts_are_kept_where_a_layer_had_its_residual_module_only() -> None:
    full = CASES["resnet18"]
    every, state = everything(full), initial_state(full, seed=1)
    for had, gets in ((((0,),) * 4, every), (every, ((0,),) * 4)):
        new, own = (parts.extract(state, every, held, with_held(full, held)) for held in (gets, had))
        mixed = parts.keep_shared(new, own, with_held(full, gets))
        assert mixed.keys() == new.keys()
        assert mixed["network.fc.weight"] is own["network.fc.weight"]


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_a_part_of_a_part_is_the_part(data: st.DataObject) -> None:
    full = MLP
    state = initial_state(full, seed=4)
    subset = st.lists(st.integers(0, 5), min_size=1, max_size=6, unique=True).map(lambda m: (tuple(sorted(m)),))
    outer = data.draw(subset)
    inner = (tuple(sorted(data.draw(st.sets(st.sampled_from(outer[0]), min_size=1)))),)
    one, other = with_held(full, outer), with_held(full, inner)
    through = parts.extract(parts.extract(state, everything(full), outer, one), outer, inner, other)
    direct = parts.extract(state, everything(full), inner, other)
    assert through.keys() == direct.keys()
    assert all(torch.equal(through[name], direct[name]) for name in direct)
    assert parts.held_in(through, other) == inner


def test_a_module_that_is_not_there_cannot_be_taken() -> None:
    state = initial_state(MLP, seed=4)
    with pytest.raises(ValueError, match="are wanted"):
        parts.extract(state, ((1, 2),), ((1, 3),), with_held(MLP, ((1, 3),)))


def test_the_selector_alone_says_what_it_says_inside_the_network() -> None:
    full = CASES["cnn"]
    state = initial_state(full, seed=1)
    alone = architectures.selector_alone(full)
    selector = instantiate(alone, seed=0)
    selector.load_state_dict(parts.selector_state(state, alone))
    x = samples(full)
    with torch.no_grad():
        assert torch.equal(selector.eval()(x), network(full, state).selector(x))
    assert cost(alone).forward_flops_per_sample < 0.1 * cost(full).forward_flops_per_sample


def test_a_frozen_selector_is_no_parameter_and_training_does_not_move_it() -> None:
    full = CASES["cnn"]
    sub = with_held(full, half(full))
    module = instantiate(sub, seed=1)
    assert not [name for name, _ in module.named_parameters() if name.startswith("selector.")]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items() if name.startswith("selector.")}
    module.train()
    module(samples(full)).sum().backward()
    after = module.state_dict()
    assert before
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_what_lies_outside_of_module_layers_starts_as_in_the_base_network() -> None:
    base = Architecture.of("resnet18", {"width": 4}, input_shape=(3, 16, 16), classes=5)
    full = modularise(base, Modularisation(modules=3))
    start, of_base = initial_state(full, seed=9), initial_state(base, seed=9)
    assert torch.equal(start["network.conv1.weight"], of_base["conv1.weight"])
    assert torch.equal(start["network.fc.weight"], of_base["fc.weight"])


def test_two_sub_models_of_one_shape_have_one_architecture() -> None:
    assert with_held(MLP, ((0, 2, 5),)) == with_held(MLP, ((0, 1, 3),))
    assert with_held(MLP, ((0, 2, 5),)).key != with_held(MLP, ((1, 2, 5),)).key


def test_only_the_last_blocks_can_be_made_modular() -> None:
    base = Architecture.of("resnet34", {"width": 8}, input_shape=(1, 32, 32), classes=35)
    full = modularise(base, Modularisation(modules=32, layers=3, k=6))
    assert architectures.modules_per_layer(full) == (32, 32, 32)  # as in the paper
    paths = parts.network_of(full).paths
    assert paths == ("layer2.0", "layer3.0", "layer4.0")
    with pytest.raises(UserError, match="has 4 repeated blocks"):
        modularise(base, Modularisation(layers=5))


@pytest.mark.parametrize("held", [((),), ((3, 1),), ((0, 6),), ((1,), (1,))])
def test_a_sub_model_needs_modules_that_exist_in_every_layer(held: Held) -> None:
    with pytest.raises(ValueError, match="module"):
        with_held(MLP, held)


def test_modules_of_a_slice_of_a_layer_belong_to_it() -> None:
    for full in CASES.values():
        of_modules = parts.places(full)
        per_layer = {place.layer for place in of_modules.values()}
        assert per_layer == set(range(len(architectures.modules_per_layer(full))))
        for spec in layout(full):
            place = of_modules.get(spec.name)
            if place is not None and place.slot is not None:
                shrunk = architectures.modules_per_layer(full)[place.layer] - 1
                assert spec.shape[place.slot.dim] == shrunk * place.slot.width


def test_a_selector_knows_images_by_their_shape() -> None:
    vector = Selector((12,), [4, 4], embedding=8, images=True, noisy=True)
    assert vector(torch.rand(3, 12)).shape == (3, 8)
    image = Selector((3, 8, 8), [4, 4], embedding=8, images=True, noisy=True)
    assert [layer.shape for layer in image.by_layer(image(torch.rand(3, 3, 8, 8)))] == [(3, 4), (3, 4)]


def test_module_layers_leave_nothing_of_a_batch_behind() -> None:
    full = CASES["cnn"]
    module = network(full, initial_state(full, seed=1))
    module(samples(full))
    assert all(isinstance(layer, ModuleLayer) and "gates" not in vars(layer) for layer in module.layers)
