"""What a network is, as a value: a name, options, the shape of a sample and the number of classes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..errors import UserError
from . import facts
from .facts import OptionValue
from .sources import closure_digest


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network without weights; hashable, made by :meth:`of`.

    Attributes
    ----------
    name
        ``mlp``, ``cnn``, ..., ``torchvision:NAME`` or ``package.module:factory``.
    options
        All options by name, sorted, lists as tuples.
    input_shape
        The shape of a sample, without the batch: ``(features,)`` or ``(channels, height, width)``.
    classes
        How many classes it tells apart, at least 1.
    allow_code
        Whether a factory may be imported and called. Says who allowed it, not what the network is, so it is
        no part of the key.
    """

    name: str
    options: tuple[tuple[str, OptionValue], ...]
    input_shape: tuple[int, ...]
    classes: int
    allow_code: bool = False

    @staticmethod
    def of(
        name: str,
        options: Mapping[str, object] | None = None,
        *,
        input_shape: Sequence[int],
        classes: int,
        allow_code: bool = False,
    ) -> Architecture:
        """Check a model's name and options, fill in defaults.

        Raises
        ------
        UserError
            Naming every option that is wrong.

        Examples
        --------
        >>> Architecture.of("mlp", {"hidden": [32]}, input_shape=(1, 8, 8), classes=10).key
        'mlp{"dropout": 0.0, "hidden": [32]}(1, 8, 8)->10'
        """
        wrong = facts.mistakes(name, options or {}, input_shape, classes)
        if wrong:
            raise UserError("; ".join(f"model.{mistake.option}: {mistake.message}" for mistake in wrong))
        return Architecture(
            name,
            facts.resolve(name, options or {}),
            tuple(int(n) for n in input_shape),
            int(classes),
            allow_code,
        )

    @property
    def key(self) -> str:
        """Stable text that differs between different networks.

        For a factory it ends with a hash of the Python files of its top-level package and of what these import of
        the user's own, so that editing the user's code changes the key; reading it imports nothing.
        """
        return _key(self)

    @property
    def stream_name(self) -> str:
        """What random streams of a network are named by: the key without hashes of code, its own or in its options.

        An edit of a factory's code that leaves its networks as they are leaves their draws as they are.
        """
        return _stream_name(self)

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in self.options)
        return f"{self.name}({given})" if given else self.name


_HASH = re.compile("@[0-9a-f]{32}")
"""How a hash of code stands in a key."""


@lru_cache(maxsize=1024)
def _stream_name(architecture: Architecture) -> str:
    return _HASH.sub("", _key(architecture))


@lru_cache(maxsize=1024)
def _key(architecture: Architecture) -> str:
    name = architecture.name
    text = f"{name}{json.dumps(dict(architecture.options))}{architecture.input_shape}->{architecture.classes}"
    if facts.source_of(name) == "factory":
        text += f"@{closure_digest(name.partition('.')[0].partition(':')[0])}"
    return text
