"""The Python files that a process has loaded, by their checksums: whether what it did would be done again.

Those of the interpreter and of installed packages are left out, as their versions tell, but not edgesim's own, nor
those of the packages that are named.
"""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

OWN = ("edgesim", "learners")
"""Packages that count wherever they are."""

COMPUTE = ("numpy", "scipy", "torch", "torchvision")
"""Installed packages that compute: their versions are in every key."""


def loaded_code(packages: Iterable[str] = ()) -> dict[str, str]:
    """Return the checksum of each file by its path.

    Parameters
    ----------
    packages
        Top-level packages that count although they may be installed.
    """
    counted = {*OWN, *packages}
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py") and (_top(name) in counted or not is_installed(file)):
            digest = _once(file)
            if digest is not None:
                found[file] = digest
    return found


def is_unchanged(code: Mapping[str, str]) -> bool:
    """Whether these files are still what they were."""
    return all(_checksum(file) == digest for file, digest in code.items())


def _top(name: str) -> str:
    return name.partition(".")[0]


@cache
def is_installed(file: str) -> bool:
    """Whether a file is Python's own or of an installed package."""
    return file.startswith(_installed_below())


@cache
def _installed_below() -> tuple[str, ...]:
    """The folders of the interpreter and of installed packages, each with its separator at the end."""
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple(dict.fromkeys(os.path.join(sysconfig.get_path(kind), "") for kind in kinds))


@cache
def _once(file: str) -> str | None:
    """The checksum when it was first asked for: nearest to what has been loaded."""
    return _checksum(file)


def _checksum(file: str) -> str | None:
    try:
        return hashlib.blake2b(Path(file).read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return None
