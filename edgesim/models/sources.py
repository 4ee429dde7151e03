"""Tells versions of code apart: hashes of the Python files of modules and packages, without importing them."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import packages_distributions, version
from pathlib import Path

from ..loaded_code import COMPUTE, OWN, is_installed


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
    files = _files(module)
    if not files:
        raise ModuleNotFoundError(f"there is no Python source of {module!r}", name=module)
    digest = hashlib.blake2b(digest_size=16)
    for name, path in files:
        digest.update(f"{name.as_posix()}\0".encode() + hashlib.blake2b(path.read_bytes()).digest())
    return digest.hexdigest()


@cache
def closure_digest(module: str) -> str:
    """Hash the source of a user's module or package, and of every module that it imports, directly or not.

    Of installed packages that these import the versions count; Python and edgesim's own are left out, as they are in
    every key. What is imported under a name that is only made up at run time is not seen.

    Raises
    ------
    ModuleNotFoundError
        There is no such module, or it has no Python source.
    """
    digests = {module: source_digest(module)}
    waiting = [] if module in OWN else [module]
    while waiting:
        for name in _imported(waiting.pop()) - digests.keys():
            if is_installed(str(_files(name)[0][1])):
                digests[name] = _versions(name)
            else:
                digests[name] = source_digest(name)
                waiting.append(name)
    if len(digests) == 1:
        return digests[module]
    return hashlib.blake2b(repr(sorted(digests.items())).encode(), digest_size=16).hexdigest()


def _files(module: str) -> list[tuple[Path, Path]]:
    """The Python files of a module or package: each by its name in there, and where it is."""
    loaded = sys.modules.get(module)
    spec = importlib.util.find_spec(module) if loaded is None else None
    folders = getattr(loaded, "__path__", None) or (spec and spec.submodule_search_locations)
    origin = getattr(loaded, "__file__", None) or (spec and spec.origin)
    if folders:
        roots = [Path(folder) for folder in folders]
        return [(path.relative_to(root), path) for root in roots for path in sorted(root.rglob("*.py"))]
    return [(Path(), Path(origin))] if origin and origin.endswith(".py") else []


def _imported(module: str) -> set[str]:
    """The top-level modules that a module's files name in import statements, but for those of Python, edgesim's own,
    and those whose versions are in every key."""
    names: set[str] = set()
    for _, path in _files(module):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):  # no module of it can be imported: a template, say
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    names -= {name for name in names & sys.stdlib_module_names if _is_pythons(name)}
    names -= {*OWN, *COMPUTE, "analysis"}
    return {name for name in names if _is_there(name)}


@cache
def _is_pythons(module: str) -> bool:
    """Whether a module that is called like one of Python's is that one, and none of the user's that comes before it."""
    loaded = sys.modules.get(module)
    spec = PathFinder.find_spec(module) if loaded is None else None
    origin = getattr(loaded, "__file__", None) or (spec and spec.origin)
    return not origin or not origin.endswith(".py") or is_installed(origin)


@cache
def _distributions() -> Mapping[str, Sequence[str]]:
    return packages_distributions()


def _versions(module: str) -> str:
    """The versions of the installed distributions that a top-level module is of."""
    return ", ".join(f"{name} {version(name)}" for name in sorted(set(_distributions().get(module, ()))))


def _is_there(module: str) -> bool:
    try:
        return bool(_files(module))
    except (ImportError, ValueError):  # an import that is tried and may fail
        return False
