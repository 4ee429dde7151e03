"""Weights that a user has: files of PyTorch's or safetensors, and what of them fits a network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from .payload import TensorSpec

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Under which key checkpoints keep their weights, where these are not all that is in the file."""


@dataclass(frozen=True, slots=True)
class SavedWeights:
    """A file of weights, known by what is in it.

    Parameters
    ----------
    path
        ``.safetensors``, or what ``torch.save`` makes of a state dict or of a dict that has one as ``state_dict``,
        ``model_state_dict`` or ``model``. Read without running any code that the file may hold.
    digest
        Hash of its bytes.
    """

    path: str
    digest: str

    @staticmethod
    def of(path: str | Path) -> SavedWeights:
        """Hash a file.

        Raises
        ------
        UserError
            It cannot be read.
        """
        file = Path(path)
        try:
            status = file.stat()
            return SavedWeights(str(path), _digest(file, status.st_mtime_ns, status.st_size))
        except OSError as error:
            raise UserError(f"pretrain.weights: {path} cannot be read: {error.strerror or error}") from None

    @property
    def key(self) -> str:
        """What jobs know it by: its bytes, wherever they are."""
        return self.digest

    def read(self) -> Mapping[str, Tensor]:
        """The tensors of the file, on the CPU, by name.

        Raises
        ------
        UserError
            It has changed, or holds something else than tensors by name, or some that are not dense, real and finite.
        """
        import torch

        if SavedWeights.of(self.path).digest != self.digest:
            raise UserError(f"pretrain.weights: {self.path} was changed while it was in use")
        try:
            found = _load(self.path)
        except Exception as error:  # whatever PyTorch and safetensors make of a file that is none of theirs
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"pretrain.weights: {self.path} holds no weights: {why}") from None
        if not found:
            raise UserError(f"pretrain.weights: {self.path} holds no weights: no tensors by name")
        for name, tensor in found.items():
            if tensor.layout != torch.strided or tensor.is_complex() or not tensor.isfinite().all():
                raise UserError(f"pretrain.weights: {self.path}: {name!r} is not dense, real and finite throughout")
        return found

    def missing(self, wanted: Sequence[TensorSpec]) -> tuple[str, ...]:
        """Names of a network's tensors that are not in the file in their shape.

        Raises
        ------
        UserError
            None is, or the file cannot be read.
        """
        found = self.read()
        lacking = [spec.name for spec in wanted if spec.name not in found or found[spec.name].shape != spec.shape]
        if all(spec.name in lacking for spec in wanted if spec.shape):
            raise UserError(
                f"pretrain.weights: {self.path} does not fit the model: no tensor has a name and shape of the "
                f"network's (the network's begin with {wanted[0].name!r}, the file's with {next(iter(found))!r})"
            )
        return tuple(lacking)


@lru_cache(maxsize=16)
def _digest(file: Path, modified_ns: int, size_bytes: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _load(path: str) -> dict[str, Tensor]:
    import torch

    loaded: Any
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        loaded = load_file(path)
    else:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict):
        return {}
    return {name: tensor.detach() for name, tensor in loaded.items() if isinstance(tensor, torch.Tensor)}
