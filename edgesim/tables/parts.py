"""The parts of a run's tables: what is on disk before they are closed.

A folder a world, in it a folder of Arrow files a part, renamed into place: what has a name is whole. A world that is
over is *sealed*: the checksums of all its files and whatever else is to be known of it are written beside them, so that
a run that goes on need not play it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

SEAL = "sealed.json"
"""In the folder of a world that is over."""


def parts_folder(folder: Path) -> Path:
    """Where a run folder has its parts."""
    return folder / "parts"


def spent_folder(folder: Path) -> Path:
    """What that is renamed to when the tables are closed, before it is removed."""
    return folder / ".parts-spent"


def write_part(target: Path, tables: Mapping[str, pa.Table]) -> None:
    """Write tables into a folder that must be new. Where that fails, nothing of it is left: a disk may be full."""
    import pyarrow as pa

    temporary = target.with_name(f".{target.name}")
    temporary.mkdir(parents=True)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    try:
        for name, table in tables.items():
            with pa.ipc.new_file(temporary / f"{name}.arrow", table.schema, options=options) as file:
                file.write_table(table)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def part_tables(folder: Path, name: str) -> Iterator[pa.Table]:
    """Read one table of a run folder, part after part, world after world."""
    import pyarrow as pa

    for path in sorted(parts_folder(folder).glob(f"[0-9]*/[0-9]*/{name}.arrow")):
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
            yield file.read_all()


def discard_parts(folder: Path) -> None:
    """Remove what an earlier process left in a run folder."""
    for stale in (parts_folder(folder), spent_folder(folder)):
        if stale.exists():
            shutil.rmtree(stale)


def keep_sealed(folder: Path) -> dict[str, dict[str, Any]]:
    """Remove what an earlier process left in a run folder, but for the worlds that are sealed and still whole.

    Returns
    -------
    dict
        What is known of each, by the name of its folder.
    """
    parts, spent = parts_folder(folder), spent_folder(folder)
    if spent.exists():  # it died while it removed what it had closed
        if parts.exists():
            shutil.rmtree(spent)
        else:
            spent.rename(parts)
    kept = {}
    for world in sorted(parts.iterdir()) if parts.exists() else ():
        facts = _unsealed(world)
        if facts is None:
            shutil.rmtree(world)
        else:
            kept[world.name] = facts
    return kept


def seal(world: Path, facts: Mapping[str, Any]) -> None:
    """Say that the folder of a world holds all of its rows, and what else is to be known of it (as JSON)."""
    world.mkdir(parents=True, exist_ok=True)
    temporary = world / f".{SEAL}"
    temporary.write_text(json.dumps({"facts": dict(facts), "files": _checksums(world)}), encoding="utf-8")
    os.replace(temporary, world / SEAL)


def _unsealed(world: Path) -> dict[str, Any] | None:
    """What was sealed with a world; None where it is not sealed, or not as it was then."""
    try:
        told = json.loads((world / SEAL).read_text(encoding="utf-8"))
        facts: dict[str, Any] = told["facts"]
        return facts if told["files"] == _checksums(world) else None
    except (OSError, ValueError, KeyError, TypeError):  # none, or one that is torn or damaged
        return None


def _checksums(world: Path) -> dict[str, str]:
    return {path.relative_to(world).as_posix(): _checksum(path) for path in sorted(world.glob("[0-9]*/*.arrow"))}


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
