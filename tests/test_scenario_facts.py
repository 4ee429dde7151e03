"""The schema says the same as the parts that it describes: sources, models, transforms, codecs, optimizers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from edgesim.data import facts as data_facts
from edgesim.data.npz import load_npz
from edgesim.data.sources import load_cifar10, load_digits, load_mnist, load_uci_har, synthetic
from edgesim.models import CODECS, OPTIMIZERS
from edgesim.models import facts as model_facts
from edgesim.scenario import (
    Arrival,
    Cnn,
    DataSpec,
    DigitsData,
    FeatureDrift,
    HarData,
    ImageData,
    Mlp,
    ModelSpec,
    NpzData,
    Partition,
    Resnet,
    SyntheticData,
    Training,
    Vgg16,
)
from edgesim.scenario.base import tags_of


def _tags(union: Any, key: str) -> set[str]:
    members = get_args(get_args(union)[0])
    return {tag for member in members for tag in tags_of(member, key)}


def _choices(model: type[BaseModel], field: str) -> set[str]:
    return set(get_args(model.model_fields[field].annotation))


def test_the_schema_names_the_sources_partitions_and_transforms_that_exist() -> None:
    assert _tags(DataSpec, "source") == set(data_facts.SOURCES)
    assert _tags(Partition, "kind") == set(data_facts.PARTITIONS)
    assert _choices(FeatureDrift, "transform") == set(data_facts.TRANSFORMS)
    assert _choices(Arrival, "eviction") == set(data_facts.EVICTIONS)


def test_the_schema_names_the_models_codecs_and_optimizers_that_exist() -> None:
    others = {"torchvision:NAME", "package.module:factory"}
    assert _tags(ModelSpec, "name") == set(model_facts.MODELS) | others
    assert _choices(Training, "codec") == set(CODECS)
    assert _choices(Training, "optimizer") == set(OPTIMIZERS)


@pytest.mark.parametrize(
    ("model", "names"), [(Mlp, "mlp"), (Cnn, "cnn"), (Resnet, "resnet18 resnet34"), (Vgg16, "vgg16")]
)
def test_a_model_has_the_options_and_defaults_of_its_facts(
    model: type[Mlp] | type[Cnn] | type[Resnet] | type[Vgg16], names: str
) -> None:
    for name in names.split():
        written = model.model_validate({"name": name})
        assert written.options == model_facts.resolve(name, {})


@pytest.mark.parametrize(
    ("spec", "reader"),
    [
        (DigitsData, load_digits),
        (ImageData, load_mnist),
        (ImageData, load_cifar10),
        (HarData, load_uci_har),
        (NpzData, load_npz),
        (SyntheticData, synthetic),
    ],
)
def test_a_source_has_the_options_and_defaults_of_its_reader(spec: type[BaseModel], reader: Callable[..., Any]) -> None:
    own = {name: field for name, field in spec.model_fields.items() if name not in DigitsData.model_fields}
    parameters = inspect.signature(reader).parameters
    assert set(own) == set(parameters)
    for name, parameter in parameters.items():
        required = parameter.default is inspect.Parameter.empty
        assert own[name].is_required() == required
        assert required or own[name].default == parameter.default
