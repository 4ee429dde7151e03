"""Which parameters of a network training changes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import UserError


def set_trainable(module: nn.Module, trainable: Sequence[str] | None) -> list[nn.Parameter]:
    """Put a network into train mode with only some of its parameters trainable, and return those.

    Parameters
    ----------
    module
        The network; changed in place.
    trainable
        Names of parameters, or of modules with all their parameters; None for all. A batch norm that is not
        named stays as it is altogether: it normalises by its running statistics, which do not move.

    Raises
    ------
    UserError
        A name calls nothing.
    """
    named = dict(module.named_parameters())
    for wanted in trainable or ():
        if not any(_is_within(name, wanted) for name in named):
            tops = ", ".join(
                name for name, child in module.named_children() if next(child.parameters(), None) is not None
            )
            raise UserError(f"trainable: the network has no parameters called {wanted!r}; it has: {tops}")
    chosen: list[nn.Parameter] = []
    for name, parameter in named.items():
        parameter.requires_grad_(_is_named(name, trainable))
        if parameter.requires_grad:
            chosen.append(parameter)
    module.train()
    for path, layer in module.named_modules():
        if isinstance(layer, _BatchNorm):
            parts = [path, *(f"{path}.{name}" for name, _ in layer.named_parameters(recurse=False))]
            layer.train(any(_is_named(part, trainable) for part in parts))
    return chosen


def _is_named(name: str, trainable: Sequence[str] | None) -> bool:
    return trainable is None or any(_is_within(name, wanted) for wanted in trainable)


def _is_within(name: str, wanted: str) -> bool:
    return name == wanted or name.startswith(wanted + ".")
