"""The files of a journal: records one after the other, and an append-only index that says where each is and what its
checksum is. What was torn or damaged is found when they are opened, told, and treated as if it were not there."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

INDEX = "index"
_CHECK_BYTES = 8
_BLOCK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record is: a file of the journal's folder, and bytes in it."""

    file: str
    offset: int
    length: int


class JournalFiles:
    """The index and the record files of one folder, for one process that writes.

    Parameters
    ----------
    folder
        Made if it is not there.

    Attributes
    ----------
    damage
        What was found torn or damaged on opening, in words.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damage: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._entries = self._read_index()
        self._index = (folder / INDEX).open("ab")
        self._open: dict[str, BinaryIO] = {}

    def names(self) -> set[str]:
        """The files that there are or have been: no name is used twice."""
        return {entry[1] for entry in self._entries} | {path.name for path in self.folder.iterdir()}

    def records(self) -> Iterator[Place]:
        """The whole records that there were on opening, in the order in which they were written."""
        dropped = {entry[1] for entry in self._entries if entry[0] == "-"}
        for entry in self._entries:
            if entry[0] == "+" and entry[1] not in dropped:
                place = Place(entry[1], int(entry[2]), int(entry[3]))
                if self._is_whole(place, entry[4]):
                    yield place

    def read(self, place: Place) -> bytes:
        """Read a record."""
        with (self.folder / place.file).open("rb") as file:
            file.seek(place.offset)
            return file.read(place.length)

    def append(self, name: str, record: bytes, *, durable: bool) -> None:
        """Write a record to the end of a file, then its line to the index; ``durable`` waits for the disk."""
        file = self._open.get(name)
        if file is None:
            file = self._open[name] = (self.folder / name).open("ab")
        offset = file.seek(0, os.SEEK_END)
        file.write(record)
        _flush(file, durable)
        self._note_record(name, offset, record, durable)

    def write(self, name: str, record: bytes, *, durable: bool) -> None:
        """Write a record that is a file of its own, then its line to the index. Half of a file takes up no space."""
        path = self.folder / name
        file = path.open("xb")
        try:
            with file:
                file.write(record)
                _flush(file, durable)
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise
        self._note_record(name, 0, record, durable)

    def _note_record(self, name: str, offset: int, record: bytes, durable: bool) -> None:
        self._note("+", name, str(offset), str(len(record)), _checksum(record), durable=durable)

    def drop(self, name: str) -> None:
        """Remove a file whose records nobody needs any more."""
        self._note("-", name, durable=False)
        (self.folder / name).unlink(missing_ok=True)

    def clear_orphans(self, wanted: Collection[str]) -> None:
        """Remove the files that are not wanted: left by a process that died before their line was in the index."""
        for path in self.folder.iterdir():
            if path.name != INDEX and path.name not in wanted:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files. Closing twice is harmless."""
        with contextlib.ExitStack() as files:  # closes all, even if one cannot be written to the end
            for file in (*self._open.values(), self._index):
                files.callback(file.close)
        self._open.clear()

    def _note(self, *words: str, durable: bool) -> None:
        text = " ".join(words)
        self._index.write(f"{text} {_line_check(text)}\n".encode())
        _flush(self._index, durable)

    def _read_index(self) -> list[list[str]]:
        path = self.folder / INDEX
        if not path.exists():
            if any(self.folder.iterdir()):
                self.damage.append(f"{path} is missing")
            return []
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):  # the process died while it wrote this line: the record is not there
            with path.open("r+b") as file:
                file.truncate(whole)
        entries = []
        for number, line in enumerate(data[:whole].splitlines(), 1):
            text, _, check = line.decode("ascii", "replace").rpartition(" ")
            words = text.split(" ")
            if check == _line_check(text) and len(words) == (5 if words[0] == "+" else 2):
                entries.append(words)
            else:
                self.damage.append(f"{path}: line {number} is damaged")
        return entries

    def _is_whole(self, place: Place, checksum: str) -> bool:
        path = self.folder / place.file
        where = f"{path}: bytes {place.offset} to {place.offset + place.length}"
        if not path.exists():
            self.damage.append(f"{path} is missing")
        elif path.stat().st_size < place.offset + place.length:
            self.damage.append(f"{where} are cut off")
        elif self._sum(place) != checksum:
            self.damage.append(f"{where} are damaged: their checksum is wrong")
        else:
            return True
        return False

    def _sum(self, place: Place) -> str:
        digest = hashlib.blake2b(digest_size=16)
        with (self.folder / place.file).open("rb") as file:
            file.seek(place.offset)
            left = place.length
            while left and (block := file.read(min(left, _BLOCK_BYTES))):
                digest.update(block)
                left -= len(block)
        return digest.hexdigest()


def _flush(file: BinaryIO, durable: bool) -> None:
    file.flush()
    if durable:
        os.fsync(file.fileno())


def _checksum(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _line_check(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=_CHECK_BYTES).hexdigest()
