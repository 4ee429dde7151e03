"""Finished runs as files to commit: a compressed archive a cell, from which the page can be written anew.

So a learner, a seed or a column can be added without running everything again.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .cells import DATA, finished_runs

LEFT_OUT = ("journal", ".lock")
"""What of a run folder only going on with it needs."""

_TEXT = (".json", ".yaml")
_DATA = f"${{{DATA}}}".encode()


def keep(root: Path, cells: Iterable[str], kept: Path) -> Iterator[Path]:
    """Write the finished runs below ``root`` into an archive for each form and cell; yield those written.

    What a cell's archive has and ``root`` has not is restored first: nothing that was kept gets lost. Where the data
    were is left out: it is the folder that the environment variable names.
    """
    wanted = set(cells)
    for _ in restore(kept, root, wanted):
        pass
    for cell in sorted(folder for folder in root.glob("*/*") if folder.name in wanted):
        files = [file for run in finished_runs(cell) for file in _files(run)]
        if not files:
            continue
        archive = _archive(kept, cell.parent.name, cell.name)
        archive.parent.mkdir(parents=True, exist_ok=True)
        temporary = archive.with_name(f".{archive.name}")
        with tarfile.open(temporary, "w:xz", preset=9) as packed:
            for file in files:
                content = _anywhere(file)
                member = tarfile.TarInfo(file.relative_to(root).as_posix())  # without times and owners
                member.size = len(content)
                packed.addfile(member, io.BytesIO(content))
        temporary.replace(archive)
        yield archive


def restore(kept: Path, root: Path, cells: Iterable[str] | None = None) -> Iterator[Path]:
    """Put kept runs of some cells, by default all, below ``root`` where they are missing; yield their folders.

    Where the environment variable names the folder of the data, they have it as runs of this machine do, so that other
    learners of a cell may be run beside them.
    """
    wanted = None if cells is None else {_archive(kept, "", cell).name for cell in cells}
    for archive in sorted(kept.glob(f"*/{_archive(kept, '', '*').name}")):
        if wanted is not None and archive.name not in wanted:
            continue
        with tarfile.open(archive) as packed:
            members = packed.getmembers()
            folders = {Path(member.name).parent for member in members if Path(member.name).name == "manifest.json"}
            missing = {folder for folder in folders if not (root / folder).exists()}
            packed.extractall(root, [m for m in members if missing & {*Path(m.name).parents}], filter="data")
            for folder in sorted(root / folder for folder in missing):
                _bring_home(folder)
                yield folder


def _archive(kept: Path, form: str, cell: str) -> Path:
    return kept / form / f"{cell}.tar.xz"


def _files(run: Path) -> list[Path]:
    found = sorted(file for file in run.rglob("*") if file.is_file())
    return [file for file in found if not {*file.relative_to(run).parts} & {*LEFT_OUT}]


def _anywhere(file: Path) -> bytes:
    """A file's content without the places of this machine."""
    content = file.read_bytes()
    if file.name == "manifest.json":
        facts: dict[str, Any] = json.loads(content)
        facts.get("cache", {}).pop("folder", None)
        content = json.dumps(facts, indent=1).encode()
    if file.suffix in _TEXT and DATA in os.environ:
        content = content.replace(os.environ[DATA].encode(), _DATA)
    return content


def _bring_home(run: Path) -> None:
    """Write where this machine has the data into a run that was kept."""
    if DATA in os.environ:
        for file in run.iterdir():
            if file.suffix in _TEXT:
                file.write_bytes(file.read_bytes().replace(_DATA, os.environ[DATA].encode()))
