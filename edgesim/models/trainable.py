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
        Names of parameters, or of modules with all their parameters; None for all. What has several names (tied
        weights, a module that is used twice) goes by any of them. A batch norm that is not named stays as it is
        altogether: it normalises by its running statistics, which do not move.

    Raises
    ------
    UserError
        A name calls nothing.
    """
    named = list(module.named_parameters(remove_duplicate=False))
    for wanted in trainable or ():
        if not any(_is_within(name, wanted) for name, _ in named):
            tops = ", ".join(
                name for name, child in module.named_children() if next(child.parameters(), None) is not None
            )
            raise UserError(f"trainable: the network has no parameters called {wanted!r}; it has: {tops}")
    chosen = {parameter for name, parameter in named if _is_named(name, trainable)}
    for parameter in module.parameters():
        parameter.requires_grad_(parameter in chosen)
    module.train()
    moving = {
        layer
        for path, layer in module.named_modules(remove_duplicate=False)
        for part in [path, *(f"{path}.{name}" for name, _ in layer.named_parameters(recurse=False))]
        if _is_named(part, trainable)
    }
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.train(layer in moving)
    return [parameter for parameter in module.parameters() if parameter in chosen]


def _is_named(name: str, trainable: Sequence[str] | None) -> bool:
    return trainable is None or any(_is_within(name, wanted) for wanted in trainable)


def _is_within(name: str, wanted: str) -> bool:
    return name == wanted or name.startswith(wanted + ".")
