"""Tells versions of code apart: hashes of the Python files of modules and packages, without importing them."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from functools import cache
from pathlib import Path


@cache
def source_digest(module: str) -> str:
    """Hash the source of a module; of a package, all Python files in it.

    Read once per process: what was imported is what is hashed, unless the file was edited in between.

    Parameters
    ----------
    module
        A dotted name. Nothing is imported but the parent packages of a name that has not been imported yet.

    Raises
    ------
    ModuleNotFoundError
        There is no such module, or it has no Python source.
    """
    loaded = sys.modules.get(module)
    spec = importlib.util.find_spec(module) if loaded is None else None
    folders = getattr(loaded, "__path__", None) or (spec and spec.submodule_search_locations)
    origin = getattr(loaded, "__file__", None) or (spec and spec.origin)
    if folders:
        roots = [Path(folder) for folder in folders]
        files = [(path.relative_to(root), path) for root in roots for path in sorted(root.rglob("*.py"))]
    elif origin and origin.endswith(".py"):
        files = [(Path(), Path(origin))]
    else:
        raise ModuleNotFoundError(f"there is no Python source of {module!r}", name=module)
    digest = hashlib.blake2b(digest_size=16)
    for name, path in files:
        digest.update(f"{name.as_posix()}\0".encode() + hashlib.blake2b(path.read_bytes()).digest())
    return digest.hexdigest()
