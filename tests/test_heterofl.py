"""HeteroFL: nested widths, masked training, averages over owners, static batch norms."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from edgesim.errors import UserError
from edgesim.jobs.arithmetic import Recipe, evaluate, initialise
from edgesim.models import Architecture, cost, instantiate
from edgesim.testing import check_learner, run_tiny, tiny_scenario
from edgesim.world import Training
from learners.heterofl import work
from learners.heterofl.learner import HeteroFL, _one_round
from learners.heterofl.network import head_of, narrowed, sliced

MLP = Architecture.of("mlp", {"hidden": [8, 4]}, input_shape=(6,), classes=3)
CNN = Architecture.of("cnn", {"channels": [4, 8]}, input_shape=(1, 8, 8), classes=3)
RESNET = Architecture.of("resnet18", {"width": 4}, input_shape=(1, 8, 8), classes=3)
VGG = Architecture.of("vgg16", {"width": 4}, input_shape=(3, 32, 32), classes=3)
MOBILE = Architecture.of("torchvision:mobilenet_v2", input_shape=(3, 32, 32), classes=3)
HOW: dict[str, Any] = {"epochs": 2, "batch_size": 8, "accumulate": 1, "learning_rate": 0.05, "optimizer": "momentum"}


@pytest.mark.parametrize("base", [MLP, CNN, RESNET, VGG, MOBILE], ids=lambda base: base.name)
@pytest.mark.parametrize("rate", [1.0, 0.5, 0.25])
def test_a_narrow_network_is_a_slice_of_the_full_one(base: Architecture, rate: float) -> None:
    narrow = narrowed(base, rate)
    full = initialise(architecture=base, seed=1)
    part = sliced(full, narrow)
    module = instantiate(narrow, seed=1)
    assert all(torch.equal(part[name], tensor) for name, tensor in module.state_dict().items())
    assert cost(narrow).parameters <= cost(base).parameters * rate + cost(base).parameters * (1 - rate) * 0.6
    x = torch.rand(2, *base.input_shape)
    assert module.eval()(x).shape == (2, 3)


def test_widths_are_nested() -> None:
    full = initialise(architecture=RESNET, seed=1)
    half = sliced(full, narrowed(RESNET, 0.5))
    quarter = sliced(full, narrowed(RESNET, 0.25))
    again = sliced(half, narrowed(RESNET, 0.25))
    assert all(torch.equal(again[name], quarter[name]) for name in quarter)


def test_the_last_layer_keeps_a_row_for_each_class() -> None:
    assert head_of(RESNET) == "fc"
    assert sliced(initialise(architecture=RESNET, seed=1), narrowed(RESNET, 0.25))["fc.weight"].shape == (3, 8)


def test_activations_are_scaled_by_the_rate_and_logits_are_not() -> None:
    module = instantiate(narrowed(MLP, 0.5), seed=1)
    x, head = torch.rand(4, 6), torch.rand(4, 2)
    assert torch.allclose(module[1](x), functional.linear(x, module[1].weight, module[1].bias) / 0.5)
    assert torch.allclose(module[5](head), functional.linear(head, module[5].weight, module[5].bias))


def test_a_narrow_network_serves_as_it_was_trained() -> None:
    module = instantiate(narrowed(MLP, 0.25), seed=1)
    x = torch.rand(4, 6)
    assert torch.equal(module.train()(x), module.eval()(x))


def test_batch_norms_are_static_until_their_statistics_are_worked_out() -> None:
    narrow = narrowed(RESNET, 0.5)
    state = sliced(initialise(architecture=RESNET, seed=1), narrow)
    draw = torch.Generator().manual_seed(0)
    batch = torch.rand(24, 1, 8, 8, generator=draw), torch.arange(24) % 3
    trained = work.train_masked(state, batch, architecture=narrow, masked=True, seed=1, **HOW).state
    assert torch.equal(trained["bn1.running_mean"], state["bn1.running_mean"])
    assert not torch.equal(trained["conv1.weight"], state["conv1.weight"])
    ready = work.with_statistics(trained, batch, architecture=narrow)
    module = instantiate(narrow, seed=0)
    module.load_state_dict(trained)
    with torch.no_grad():
        out = module.conv1(batch[0])
    assert torch.allclose(ready["bn1.running_mean"], out.mean((0, 2, 3)), atol=1e-5)


def test_what_is_evaluated_after_statistics_were_worked_out_is_normalised_by_them() -> None:
    network = narrowed(RESNET, 1.0)
    x, y = torch.rand(32, 1, 8, 8), torch.arange(32) % 3
    ready = work.with_statistics(initialise(architecture=network, seed=1), (x, y), architecture=network)
    module = instantiate(network, seed=1)
    module.load_state_dict(ready)
    few = slice(0, 4)  # normalised by themselves they would come out differently
    expected = functional.cross_entropy(module.eval()(x[few]), y[few], reduction="sum").item()
    assert evaluate(ready, (x[few], y[few]), architecture=network).loss_sum == pytest.approx(expected, rel=1e-5)


def test_masked_training_moves_no_row_of_a_class_that_is_not_there() -> None:
    state = initialise(architecture=MLP, seed=1)
    batch = torch.rand(20, 6), torch.arange(20) % 2  # class 2 is absent
    whole = narrowed(MLP, 1.0)
    masked = work.train_masked(state, batch, architecture=whole, masked=True, seed=1, **HOW).state
    plain = work.train_masked(state, batch, architecture=whole, masked=False, seed=1, **HOW).state
    assert torch.equal(masked["5.weight"][2], state["5.weight"][2])
    assert not torch.equal(plain["5.weight"][2], state["5.weight"][2])
    assert not torch.equal(masked["5.weight"][0], state["5.weight"][0])


def test_elements_are_averaged_over_their_owners_and_unowned_ones_stay() -> None:
    full = {name: torch.zeros_like(tensor) for name, tensor in initialise(architecture=MLP, seed=1).items()}
    wide = {name: tensor + 3 for name, tensor in sliced(full, narrowed(MLP, 0.5)).items()}
    slim = {name: tensor + 1 for name, tensor in sliced(full, narrowed(MLP, 0.25)).items()}
    merged = work.merge(full, wide, slim, (torch.rand(2, 6), torch.tensor([0, 1])),
                        (torch.rand(1, 6), torch.tensor([1])), base=MLP)  # fmt: skip
    first = merged["1.weight"]  # (8, 6): 4 rows are the wide one's, 2 of them the slim one's too
    assert torch.equal(first[:2], torch.full((2, 6), 2.0))
    assert torch.equal(first[2:4], torch.full((2, 6), 3.0))
    assert torch.equal(first[4:], torch.zeros(4, 6))
    head = merged["5.bias"]  # class 0: the wide one's, class 1: both, class 2: nobody's
    assert head.tolist() == [3.0, 2.0, 0.0]


def test_merging_slices_that_nobody_changed_changes_nothing() -> None:
    full = initialise(architecture=RESNET, seed=1)
    parts = [sliced(full, narrowed(RESNET, rate)) for rate in (1.0, 0.5, 0.5)]
    views = [(torch.rand(3, 1, 8, 8), torch.arange(3))] * 3
    merged = work.merge(full, *parts, *views, base=RESNET)
    assert all(torch.allclose(merged[name], full[name], atol=1e-7) for name in full)


def test_a_network_with_weights_in_other_layers_is_refused() -> None:
    vit = Architecture.of("torchvision:vit_b_16", input_shape=(3, 224, 224), classes=3)
    with pytest.raises(UserError, match="HeteroFL does not narrow"):
        cost(narrowed(vit, 0.5))


def test_a_device_gets_the_widest_network_that_it_can_train() -> None:
    tiny = tiny_scenario()
    near, far = tiny.to_document()["devices"]
    wide = cost(narrowed(Architecture.of("mlp", {"hidden": [8]}, input_shape=(8,), classes=4), 1.0))
    budget = wide.training_memory_bytes(17, "sgd") - 1
    small = tiny_scenario(devices=[near, {**far, "memory": f"{budget} B"}], horizon="7 min", drifts=[])
    learner = HeteroFL(HeteroFL.Params.model_validate({"period": "3 min", "rates": [1.0, 0.5]}))
    deployments = run_tiny(learner, small)["deployments"]
    received = deployments[deployments["cause"] == "deploy"]
    assert len(received)
    sizes = received.groupby(received["device"].str.partition("-")[0])["size_bytes"].unique()
    assert sizes["far"].max() < sizes["near"].min()


def test_the_overhead_of_steps_counts_to_the_time_of_training() -> None:
    near, far = tiny_scenario().to_document()["devices"]
    fast = {"compute": "1 GFLOP/s", "count": 1}
    slow_steps = {**far, **fast, "step_overhead": "5 s"}  # one step takes longer than there is
    scenario = tiny_scenario(devices=[{**near, **fast}, slow_steps], horizon="7 min", drifts=[])
    learner = HeteroFL(
        HeteroFL.Params.model_validate({"period": "3 min", "rates": [1.0, 0.5], "epochs": 1, "training_budget": "4 s"})
    )
    sizes = run_tiny(learner, scenario)["deployments"].groupby("device")["size_bytes"].last()
    assert sizes[sizes.index.str.startswith("far")].item() < sizes[sizes.index.str.startswith("near")].item()


def test_widths_may_be_dealt_to_devices_in_turn() -> None:
    params = {"period": "3 min", "rates": [1.0, 0.5], "assignment": "dealt", "pretraining_rounds": 0}
    tables = run_tiny(HeteroFL(HeteroFL.Params.model_validate(params)), tiny_scenario(horizon="7 min", drifts=[]))
    devices = list(dict.fromkeys(tables["availability"]["device"]))
    sizes = tables["deployments"].groupby("device")["size_bytes"].last()[devices].tolist()
    assert len(set(sizes)) == 2
    assert len(set(sizes[::2])) == len(set(sizes[1::2])) == 1
    assert sizes[0] > sizes[1]


def test_every_width_is_pretrained_as_long_as_everybodys_network() -> None:
    scenario = tiny_scenario(horizon="2 min", drifts=[], pretrain={"epochs": 3})
    learner = HeteroFL(HeteroFL.Params.model_validate({"rates": [1.0, 0.5]}))
    jobs = run_tiny(learner, scenario)["computations"]
    nested = jobs[jobs["output_model_id"].str.fullmatch(r"nested/\d+/[\d.]+")]
    (proxy,) = jobs.loc[jobs["output_model_id"] == "pretrained", "samples"]
    each = nested.groupby(nested["output_model_id"].str.rpartition("/")[2])["samples"].sum()
    assert sorted(each.index) == ["0.5", "1"]
    assert (each == 3 * (proxy // 2 * 2)).all()


def test_at_time_0_a_device_serves_its_own_width_that_nobody_had_to_send() -> None:
    params = {"period": "3 min", "rates": [1.0, 0.5], "assignment": "dealt", "distribute": "participants"}
    tables = run_tiny(HeteroFL(HeteroFL.Params.model_validate(params)), tiny_scenario(horizon="5 min", drifts=[]))
    start = tables["deployments"].query("time_s == 0").set_index("device")
    devices = list(dict.fromkeys(tables["availability"]["device"]))
    assert start.loc[devices, "size_bytes"].nunique() == 2
    assert start.loc[devices[::2], "model_id"].unique().tolist() == ["server"]
    assert start.loc[devices[1::2], "model_id"].unique().tolist() == ["server/0.5"]
    assert (tables["transfers"]["direction"] == "up").all()  # the first round's model is there
    first = tables["accuracy"].query("time_s == 0").set_index("device")["model_id"]
    assert first[devices[1]] == "server/0.5"


def test_the_step_size_falls_once_over_all_rounds_of_pretraining() -> None:
    how = Training(epochs=5, learning_rate=0.2, recipe=Recipe("cosine", ("flip",)))
    rounds = [_one_round(how, number, 10) for number in range(10)]
    assert [one.learning_rate for one in rounds] == [0.2 * Recipe("cosine").pace(number, 10) for number in range(10)]
    assert {(one.epochs, one.recipe) for one in rounds} == {(1, Recipe("constant", ("flip",)))}
    assert _one_round(Training(epochs=5), 3, 10) == Training(epochs=1)


def test_widths_that_no_device_may_get_are_not_trained() -> None:
    scenario = tiny_scenario(horizon="7 min", drifts=[])
    learner = HeteroFL(HeteroFL.Params.model_validate({"period": "3 min", "rates": [1.0, 0.5], "max_share": "60 %"}))
    tables = run_tiny(learner, scenario)
    assert not tables["computations"]["output_model_id"].str.fullmatch(r"nested/\d+/1").any()
    assert tables["deployments"]["size_bytes"].nunique() == 1  # from the start


def test_heterofl_keeps_the_contract_with_budgets() -> None:
    check_learner(HeteroFL, {"participants": 2, "max_share": 0.5, "training_budget": "30 s", "pretraining_rounds": 1})
