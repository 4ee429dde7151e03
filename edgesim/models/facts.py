"""What is known about models without building one: names, options and their ranges. Imports neither torch nor
NumPy.

A model is named in one of three ways: a built-in (``mlp``, ``cnn``, ``resnet18``, ``resnet34``, ``vgg16``),
``torchvision:NAME``, or ``package.module:factory``, the user's own code.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

OptionValue = bool | int | float | str | None | tuple["OptionValue", ...]
"""What an option may be: a scalar, or a (nested) tuple of scalars."""

Kind = Literal["integer", "integers", "ratio"]
Source = Literal["built-in", "torchvision", "factory"]


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a built-in model.

    Attributes
    ----------
    name
        Its key in a scenario.
    kind
        ``integer``, ``integers`` (a list) or ``ratio`` (0 <= value < 1).
    default
        Its value where nothing is said.
    doc
        One line for people.
    at_least_one
        Whether a list may be empty.
    """

    name: str
    kind: Kind
    default: OptionValue
    doc: str
    at_least_one: bool = False


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A built-in model: its options, and whether it reads images (channels, height, width) or anything."""

    name: str
    doc: str
    options: tuple[Option, ...]
    images_only: bool


_DROPOUT = Option("dropout", "ratio", 0.0, "probability of zeroing a value before the last layer while training")
_WIDTH = Option("width", "integer", 64, "channels of the first stage; the others are multiples of it")

MODELS: Mapping[str, ModelFacts] = {
    facts.name: facts
    for facts in (
        ModelFacts(
            "mlp",
            "Fully connected layers with ReLU; flattens its input.",
            (
                Option("hidden", "integers", (64,), "widths of the hidden layers; empty: one linear layer"),
                _DROPOUT,
            ),
            images_only=False,
        ),
        ModelFacts(
            "cnn",
            "Convolution 3x3, ReLU, max-pool 2x2, once per entry of channels; then fully connected layers.",
            (
                Option("channels", "integers", (16, 32), "channels of each convolution", at_least_one=True),
                Option("hidden", "integers", (), "widths of hidden fully connected layers before the last"),
                _DROPOUT,
            ),
            images_only=True,
        ),
        ModelFacts(
            "resnet18",
            "ResNet-18 with the stem for small images: one 3x3 convolution, no pooling.",
            (_WIDTH,),
            images_only=True,
        ),
        ModelFacts(
            "resnet34",
            "ResNet-34 with the stem for small images: one 3x3 convolution, no pooling.",
            (_WIDTH,),
            images_only=True,
        ),
        ModelFacts(
            "vgg16",
            "VGG-16 with batch norm and a single fully connected layer, for images of 32x32 or more.",
            (_WIDTH, _DROPOUT),
            images_only=True,
        ),
    )
}
"""The built-in models by name."""

VGG_POOLINGS = 5
"""How often vgg16 halves the side of an image."""

# torchvision.models.list_models(module=torchvision.models) of 0.26 to 0.28, written down so that `validate`
# need not import torchvision (one second); a test compares.
_FAMILIES = {
    "": ("alexnet", "googlenet", "inception_v3", "maxvit_t", "mobilenet_v2"),
    "convnext_": ("base", "large", "small", "tiny"),
    "densenet": ("121", "161", "169", "201"),
    "efficientnet_": ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "v2_l", "v2_m", "v2_s"),
    "mnasnet": ("0_5", "0_75", "1_0", "1_3"),
    "mobilenet_v3_": ("large", "small"),
    "regnet_x_": ("16gf", "1_6gf", "32gf", "3_2gf", "400mf", "800mf", "8gf"),
    "regnet_y_": ("128gf", "16gf", "1_6gf", "32gf", "3_2gf", "400mf", "800mf", "8gf"),
    "resnet": ("18", "34", "50", "101", "152"),
    "resnext": ("50_32x4d", "101_32x8d", "101_64x4d"),
    "shufflenet_v2_": ("x0_5", "x1_0", "x1_5", "x2_0"),
    "squeezenet1_": ("0", "1"),
    "swin_": ("b", "s", "t", "v2_b", "v2_s", "v2_t"),
    "vgg": ("11", "11_bn", "13", "13_bn", "16", "16_bn", "19", "19_bn"),
    "vit_": ("b_16", "b_32", "h_14", "l_16", "l_32"),
    "wide_resnet": ("50_2", "101_2"),
}
TORCHVISION: tuple[str, ...] = tuple(sorted(prefix + end for prefix, ends in _FAMILIES.items() for end in ends))
"""torchvision's image classifiers, as named after ``torchvision:``."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with one option of a model; ``option`` is ``name`` where it is the model's name or its
    input."""

    option: str
    message: str


def source_of(name: str) -> Source:
    """Where a model of this name comes from.

    >>> source_of("mlp"), source_of("torchvision:resnet50"), source_of("lab.nets:tiny")
    ('built-in', 'torchvision', 'factory')
    """
    if name.startswith("torchvision:"):
        return "torchvision"
    return "factory" if ":" in name else "built-in"


def mistakes(
    name: str,
    options: Mapping[str, object],
    input_shape: Sequence[int] | None = None,
    classes: int | None = None,
) -> tuple[Mistake, ...]:
    """Everything wrong with a model's name and options, at once; empty if nothing is.

    Options of torchvision's models and of factories are checked only for being plain values: what they accept
    is known when they are called. ``input_shape`` (without the batch) and ``classes`` are checked where
    given.

    >>> [m.message for m in mistakes("mlp", {"hiden": [64]})]
    ["mlp has no option 'hiden'; did you mean 'hidden'?"]
    """
    source = source_of(name)
    found: list[Mistake] = []
    if classes is not None and classes < 1:
        found.append(Mistake("name", f"a classifier has at least one class, not {classes}"))
    if source != "built-in":
        if source == "torchvision":
            short = name.partition(":")[2]
            if short not in TORCHVISION:
                found.append(Mistake("name", f"torchvision has no classifier {short!r}{_meant(short, TORCHVISION)}"))
            if input_shape is not None and len(input_shape) != 3:
                found.append(Mistake("name", _wants_images(name, input_shape)))
        elif not all(part.isidentifier() for part in name.replace(":", ".", 1).split(".")):
            found.append(Mistake("name", f"a factory is written package.module:function, not {name!r}"))
        found += [
            Mistake(key, f"{key} must be a number, a text, true, false or a list of such, not {_shown(value)}")
            for key, value in options.items()
            if not _is_plain(value)
        ]
        return tuple(found)
    facts = MODELS.get(name)
    if facts is None:
        return (
            *found,
            Mistake("name", f"there is no model {name!r}{_meant(name, MODELS)} Known: {', '.join(MODELS)}, "
                    "torchvision:NAME, package.module:factory"),
        )  # fmt: skip
    known = {option.name: option for option in facts.options}
    for key, value in options.items():
        if key not in known:
            found.append(Mistake(key, f"{name} has no option {key!r}{_meant(key, known)}"))
        elif message := _wrong(known[key], value):
            found.append(Mistake(key, message))
    if not found and input_shape is not None:
        message = _unfit(facts, dict(resolve(name, options)), input_shape)
        found += [Mistake("name", message)] if message else []
    return tuple(found)


def resolve(name: str, options: Mapping[str, object]) -> tuple[tuple[str, OptionValue], ...]:
    """The options in full, sorted by name, lists as tuples: equal models have equal options however they were
    written.

    >>> resolve("mlp", {"hidden": [32]})
    (('dropout', 0.0), ('hidden', (32,)))
    """
    full: dict[str, OptionValue] = {}
    if name in MODELS:
        ratios = {option.name for option in MODELS[name].options if option.kind == "ratio"}
        full = {option.name: option.default for option in MODELS[name].options}
    else:
        ratios = set()
    for key, value in options.items():
        frozen = _frozen(value)
        full[key] = float(frozen) if key in ratios and isinstance(frozen, int) else frozen
    return tuple(sorted(full.items()))


def _wrong(option: Option, value: object) -> str:
    if option.kind == "ratio":
        good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1
        return "" if good else f"{option.name} must be at least 0 and below 1, not {_shown(value)}"
    if option.kind == "integer":
        return "" if _is_width(value) else f"{option.name} must be a whole number, at least 1, not {_shown(value)}"
    if not isinstance(value, list | tuple) or not all(map(_is_width, value)):
        return f"{option.name} must be a list of whole numbers, each at least 1, not {_shown(value)}"
    return f"{option.name} must not be empty" if option.at_least_one and not value else ""


def _unfit(facts: ModelFacts, options: Mapping[str, OptionValue], input_shape: Sequence[int]) -> str:
    if not input_shape or not all(map(_is_width, input_shape)):
        return f"an input has at least one dimension, each at least 1, not {tuple(input_shape)}"
    if not facts.images_only:
        return ""
    if len(input_shape) != 3:
        return _wants_images(facts.name, input_shape)
    channels = options.get("channels")
    halvings = VGG_POOLINGS if facts.name == "vgg16" else len(channels) if isinstance(channels, tuple) else 0
    smallest = 2**halvings
    if min(input_shape[1:]) < smallest:
        return (
            f"{facts.name} halves its images {halvings} times: they must be {smallest}x{smallest} or larger, "
            f"not {input_shape[1]}x{input_shape[2]}"
        )
    return ""


def _wants_images(name: str, input_shape: Sequence[int]) -> str:
    shape = tuple(input_shape)
    return f"{name} reads images (channels, height, width), and a sample has shape {shape}; mlp reads any"


def _is_width(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))


def _frozen(value: object) -> OptionValue:
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"an option is a scalar or a list of scalars, not {value!r}")


def _shown(value: object) -> str:
    return repr(list(value)) if isinstance(value, tuple) else repr(value)


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else "."
