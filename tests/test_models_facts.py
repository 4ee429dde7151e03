"""What a scenario can know about models without loading torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgesim.errors import UserError
from edgesim.models import Architecture
from edgesim.models.facts import MODELS, TORCHVISION, Mistake, mistakes, resolve


def test_knowing_the_models_costs_no_torch_and_no_numpy() -> None:
    code = "import sys, edgesim.models; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_written_list_of_torchvision_classifiers_is_the_installed_one() -> None:
    from edgesim.vision import vision

    models = vision("models")
    assert list(TORCHVISION) == sorted(models.list_models(module=models))


@pytest.mark.parametrize(
    ("name", "options", "option", "words"),
    [
        ("mlp", {"hiden": [64]}, "hiden", "did you mean 'hidden'"),
        ("mlp", {"hidden": 64}, "hidden", "list of whole numbers"),
        ("mlp", {"hidden": [64, 0]}, "hidden", "at least 1"),
        ("mlp", {"hidden": [True]}, "hidden", "whole numbers"),
        ("mlp", {"dropout": 1.0}, "dropout", "below 1"),
        ("cnn", {"channels": []}, "channels", "must not be empty"),
        ("resnet18", {"width": 2.5}, "width", "whole number"),
        ("resnet19", {}, "name", "did you mean 'resnet18'"),
        ("torchvision:mobilenetv2", {}, "name", "did you mean 'mobilenet_v2'"),
        ("torchvision:mobilenet_v2", {"width_mult": {}}, "width_mult", "not {}"),
        ("lab.nets:", {}, "name", "package.module:function"),
    ],
)
def test_a_mistake_names_its_option(name: str, options: dict[str, object], option: str, words: str) -> None:
    (mistake,) = mistakes(name, options)
    assert mistake.option == option
    assert words in mistake.message


def test_all_mistakes_are_told_at_once() -> None:
    wrong = mistakes("cnn", {"channels": [0], "dropout": 2, "widht": 3})
    assert [mistake.option for mistake in wrong] == ["channels", "dropout", "widht"]
    with pytest.raises(UserError, match=r"model\.channels: .*; model\.dropout: .*; model\.widht: "):
        Architecture.of("cnn", {"channels": [0], "dropout": 2, "widht": 3}, input_shape=(3, 32, 32), classes=10)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("cnn", (561,), "mlp reads any"),
        ("vgg16", (3, 28, 28), "32x32 or larger, not 28x28"),
        ("cnn", (1, 3, 3), "4x4 or larger"),
        ("mlp", (), "at least one dimension"),
        ("torchvision:resnet18", (561,), "reads images"),
    ],
)
def test_a_network_that_cannot_read_the_samples_is_refused(name: str, shape: tuple[int, ...], words: str) -> None:
    (mistake,) = mistakes(name, {}, shape)
    assert words in mistake.message


def test_defaults_are_right_by_their_own_rules() -> None:
    for name, facts in MODELS.items():
        assert mistakes(name, {option.name: option.default for option in facts.options}) == ()


def test_a_network_without_classes_is_refused() -> None:
    assert mistakes("mlp", {}, (4,), 0) == (Mistake("name", "a classifier has at least one class, not 0"),)


def test_equal_networks_are_equal_however_their_options_were_written() -> None:
    written = Architecture.of("cnn", {"dropout": 0, "channels": [16, 32]}, input_shape=[3, 32, 32], classes=10)
    silent = Architecture.of("cnn", input_shape=(3, 32, 32), classes=10)
    assert written == silent
    assert written.key == silent.key
    assert hash(written) == hash(silent)
    assert resolve("cnn", {"channels": (16, 32)}) == silent.options


def test_different_networks_have_different_keys() -> None:
    networks = [
        Architecture.of("mlp", {"hidden": hidden}, input_shape=shape, classes=classes)
        for hidden in ([64], [64, 64])
        for shape in ((64,), (1, 8, 8))
        for classes in (6, 10)
    ]
    assert len({network.key for network in networks}) == 8
