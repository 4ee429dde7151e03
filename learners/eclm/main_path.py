"""Follows the main path through a module, weighted layer by weighted layer; shortcuts are what is added to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgesim.errors import UserError

from .tracing import Call, Value

Weighted = nn.Conv2d | nn.Linear
POOLINGS = (nn.MaxPool2d, nn.AvgPool2d)
KEEPING_SHAPE = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Hardswish,
    nn.Tanh,
    nn.Sigmoid,
    nn.Dropout,
    nn.Dropout2d,
    nn.Identity,
)
"""Layers that work number by number or channel by channel."""

PLAIN = (*POOLINGS, *KEEPING_SHAPE, nn.Flatten)
"""Layers without weights that may stand between weighted ones."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A weighted layer of a block and what follows it, as found in the network (on the ``meta`` device).

    Attributes
    ----------
    path
        Of the weighted layer in the network.
    layer
        A convolution (plain or depthwise) or a fully connected layer.
    norm, norm_path
        The batch norm right after it, or None.
    output_shape
        Of the weighted layer, without the batch.
    after
        Activations, poolings, dropout, flattening.
    """

    path: str
    layer: Weighted
    output_shape: tuple[int, ...]
    norm: _BatchNorm | None = None
    norm_path: str = ""
    after: tuple[nn.Module, ...] = ()

    @property
    def width(self) -> int:
        """Channels or features that it puts out."""
        return self.layer.out_channels if isinstance(self.layer, nn.Conv2d) else self.layer.out_features

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself."""
        return isinstance(self.layer, nn.Conv2d) and self.layer.groups > 1


class MainPath:
    """The path through one sibling module after the other, as their calls are taken in.

    A weighted layer that reads what another one reads is on a shortcut if it is a projection: a 1x1 convolution whose
    output has the shape of the whole module's.

    Attributes
    ----------
    units
        The weighted layers so far.
    skips
        Shortcuts as ``(first, last)``: what goes into unit ``first`` is added to what comes out of unit ``last``.
    leading
        A layer without weights before the first unit, which no unit holds; None where there is none.
    """

    def __init__(self, has_shortcuts: bool) -> None:
        self._has_shortcuts = has_shortcuts
        self.units: list[Unit] = []
        self.skips: list[tuple[int, int]] = []
        self.leading: nn.Module | None = None
        self._main: dict[Value, int] = {}  # tensor on the main path -> how many units came before it
        self._aside: set[Value] = set()
        self._module: Call | None = None

    def enter(self, module: Call) -> None:
        """Begin with the next sibling, which reads what the one before has made."""
        self._module = module
        self._main = {module.sources[0]: len(self.units)}
        self._aside = set()

    def take(self, step: Call) -> None:
        """Take in the next call inside of it.

        Raises
        ------
        UserError
            It is neither on a chain nor on a shortcut.
        """
        layer = step.layer
        if isinstance(layer, nn.Identity | nn.Sequential):
            return  # an empty shortcut: hands its input on
        if step.is_sum:
            self._add(step)
        elif step.sources[0] in self._aside and not isinstance(layer, Weighted):
            self._aside.add(step.target)
        elif isinstance(layer, Weighted):
            self._weigh(step, layer)
        elif isinstance(layer, _BatchNorm) and self._at_head(step) and self._last_is_bare():
            self.units[-1] = replace(self.units[-1], norm=layer, norm_path=step.path)
            self._main[step.target] = len(self.units)
        elif isinstance(layer, PLAIN) and self._at_head(step):
            if self.units:
                self.units[-1] = replace(self.units[-1], after=(*self.units[-1].after, layer))
            else:
                self.leading = layer
            self._main[step.target] = len(self.units)
        else:
            what = f"the function {step.function}" if layer is None else type(layer).__name__
            where = step.path or "the network itself"
            raise UserError(f"{where}: a block with {what} inside cannot be modularised, only chains and shortcuts")

    def _weigh(self, step: Call, layer: Weighted) -> None:
        if self._has_shortcuts and self._is_projection(step):
            self._aside.add(step.target)
            return
        if not self._at_head(step):
            raise UserError(f"{step.path}: parallel branches cannot be modularised, only chains and shortcuts")
        if isinstance(layer, nn.Conv2d) and layer.groups not in (1, layer.in_channels):
            raise UserError(f"{step.path}: a grouped convolution cannot be modularised, unless it is depthwise")
        self.units.append(Unit(step.path, layer, step.output_shape))
        self._main[step.target] = len(self.units)

    def _is_projection(self, step: Call) -> bool:
        assert self._module is not None
        is_one = isinstance(step.layer, nn.Conv2d) and max(step.layer.kernel_size) == 1
        whole = step.sources[0] == self._module.sources[0] and step.output_shape == self._module.output_shape
        return is_one and whole

    def _add(self, step: Call) -> None:
        here = [source for source in step.sources if self._main.get(source) == len(self.units)]
        other = [source for source in step.sources if source not in here]
        if len(here) != 1 or len(other) != 1 or not (other[0] in self._aside or other[0] in self._main):
            raise UserError(f"{step.path}: only a shortcut may be added inside a block that is modularised")
        if other[0] in self._main:
            self.skips.append((self._main[other[0]], len(self.units) - 1))
        self._main[step.target] = len(self.units)

    def _at_head(self, step: Call) -> bool:
        return self._main.get(step.sources[0]) == len(self.units)

    def _last_is_bare(self) -> bool:
        return bool(self.units) and self.units[-1].norm is None and not self.units[-1].after
