"""The one door to torchvision: everything that needs its models or its readers comes through here.

A torchvision built for CUDA beside a CPU build of torch fails at import with ``operator torchvision::nms does
not exist``. Only where the plain import fails that way are the two missing operators declared first; models,
readers and image functions then work, the box operators ``nms`` and ``qnms`` themselves stay unusable.
"""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

_MISSING_OPERATORS = ("nms", "qnms")


@cache
def vision(submodule: str = "") -> ModuleType:
    """Import torchvision, or one of its submodules.

    Parameters
    ----------
    submodule
        A dotted name below ``torchvision`` (``"models"``, ``"datasets"``, ``"transforms.v2.functional"``), or
        empty for the package itself.

    Raises
    ------
    ImportError
        torchvision is not installed, or does not fit the installed torch in some other way.

    Examples
    --------
    >>> vision("models").resnet18.__name__
    'resnet18'
    """
    _load_torchvision()
    return importlib.import_module(f"torchvision.{submodule}" if submodule else "torchvision")


@cache
def _load_torchvision() -> object:
    """Import torchvision once; what is returned must stay alive, for the declared operators die with it."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]  # untyped in torch
    for name in _MISSING_OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    importlib.import_module("torchvision")
    return library
