"""The journal of a run: results by key on disk, so that a run that was killed goes on where it was.

Numbers that tables or control flow read are kept for good. Weights are kept as long as somebody holds them: about once
a second those that are held and not on disk yet go into a *frontier file*, and those that nobody holds any more are
noted as computed and dropped. So what a replay needs is there, and what it does not need is not computed again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, final

from .codec import NotStorable, Packing, Tensors, open_record, read_record, unpacked
from .function import JobFunction
from .journal_files import JournalFiles, Place
from .results import Result

JOURNAL_BYTES = 2 * 2**30
"""Size of the frontier files over which the journal is compacted, by default."""

FRONTIER_FILE_BYTES = 256 * 2**20
"""Weights that are gathered in memory for one frontier file."""

SECONDS_PER_SYNC = 1.0
"""Wall time between two frontier files, at least: what a killed run has to compute again."""

SYNC_SHARE = 1 / 40
"""Share of the wall time that syncs may take: where weights are large, they become rarer."""

SECONDS_PER_FSYNC = 15.0
"""Wall time between two syncs that wait for the disk. What a process has written survives its death anyway; this is for
the machine's. To wait each time would cost tens of milliseconds a second on a busy disk."""

SECONDS_PER_WRITE = 0.25
"""Wall time after which numbers are written that wait in memory."""

_VALUES = "values"
_FRONTIER = "frontier-{:06d}.safetensors"


@dataclass(slots=True)
class _FrontierFile:
    """A file of weights: the keys in it that are still held, or that this process has not come across yet."""

    size_bytes: int
    keys: set[str] = field(default_factory=set)
    count: int = 0

    @property
    def waste_bytes(self) -> float:
        """About how many bytes nobody needs any more."""
        return self.size_bytes * (1 - len(self.keys) / self.count) if self.count else 0.0


@final
class Journal:
    """A store of one run's results.

    Parameters
    ----------
    folder
        Where it lives; what an earlier process left there is read and checked.
    max_bytes
        Bytes of frontier files over which those are rewritten that hold mostly what nobody needs. What is held is never
        dropped, however large it is.
    clock
        Seconds of wall time.

    Attributes
    ----------
    damage
        What was found torn or damaged, in words; it is computed again.
    refused
        Job functions whose values no record can hold; they are computed again too.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int = JOURNAL_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.refused: set[str] = set()
        self._files = JournalFiles(folder)
        self._max_bytes = max_bytes
        self._clock = clock
        self._values: dict[str, tuple[Any, Tensors]] = {}  # numbers of an earlier process
        self._weights: dict[str, tuple[Any, Tensors]] = {}  # and its weights, as far as they are not dropped yet
        self._frontier: dict[str, _FrontierFile] = {}
        self._file_of: dict[str, str] = {}  # weights on disk: key -> frontier file
        self._computed: set[str] = set()
        self._unseen: set[str] = set()  # weights on disk that the replay has not come to yet
        self._files_made = max((_number(name) for name in self._files.names()), default=0)
        for place in self._files.records():
            self._take(place)
        self._files.clear_orphans({_VALUES, *self._frontier})
        self.damage = tuple(self._files.damage)
        self._remembers = bool(self._values or self._weights or self._computed)
        self._unwritten: dict[str, tuple[Any, JobFunction[..., Any]]] = {}
        self._new_weights: list[str] = []
        self._newly_computed: list[str] = []
        self._kept: set[str] = set()
        self._written_at = self._synced_at = self._fsynced_at = clock()
        self._pause_s = SECONDS_PER_SYNC
        self._closed = False

    # What the plane asks ------------------------------------------------------------------------------------------

    @property
    def remembers(self) -> bool:
        """See ``Store``."""
        return self._remembers

    def find(self, key: str, function: JobFunction[..., Any], *, shared: bool) -> Callable[[], Any] | None:
        """See ``Store``."""
        self._unseen.discard(key)
        for stored in (self._values, self._weights):
            if key in stored:
                structure, tensors = stored[key]
                return partial(unpacked, structure, function, tensors)
        return None

    def found(self, result: Result) -> None:
        """See ``Store``; what is here stays here."""

    def was_computed(self, key: str) -> bool:
        """See ``Store``."""
        return key in self._computed

    def put(self, result: Result) -> None:
        """See ``Store``."""
        if result.nbytes:
            self._new_weights.append(result.key)
        else:
            self._unwritten[result.key] = result.value, result.function

    def claim(self, key: str) -> None:
        """See ``Store``; a journal is one process's."""

    def release(self, key: str) -> None:
        """See ``Store``."""

    def keep(self, result: Result) -> None:
        """See ``Store``."""
        if result.key not in self._kept and result.key not in self._values:
            self._kept.add(result.key)
            self._unwritten[result.key] = result.value, result.function

    def tick(self, live: Mapping[str, Result]) -> None:
        """See ``Store``."""
        now = self._clock()
        if now - self._synced_at >= self._pause_s:
            self.sync(live)
        elif self._unwritten and now - self._written_at >= SECONDS_PER_WRITE:
            self._write_values()

    # Writing ------------------------------------------------------------------------------------------------------

    def sync(self, live: Mapping[str, Result]) -> None:
        """Bring everything to disk that a replay would need: all numbers, and the weights that are held now."""
        began = self._clock()
        durable = self._closed or began - self._fsynced_at >= SECONDS_PER_FSYNC
        # Nothing is forgotten before what takes its place is written: a sync may fail, or be interrupted, anywhere.
        held = [result for key in dict.fromkeys(self._new_weights) if (result := live.get(key)) is not None]
        self._write_weights([result for result in held if result.key not in self._file_of], durable)
        self._newly_computed += [key for key in self._new_weights if key not in live]
        self._new_weights.clear()
        self._forget_unheld(live)
        self._write_values(durable)
        for name in [name for name, file in self._frontier.items() if not file.keys]:
            self._drop(name)
        self._compact(live)
        self._synced_at = self._clock()
        if durable:
            self._fsynced_at = self._synced_at
        self._pause_s = max(SECONDS_PER_SYNC, (self._synced_at - began) / SYNC_SHARE)

    def close(self, live: Mapping[str, Result]) -> None:
        """See ``Store``."""
        if not self._closed:
            self._closed = True
            try:
                self.sync(live)
            finally:
                self._files.close()

    def abandon(self) -> None:
        """Close the files as they are: the run is over, nobody will go on with it."""
        self._closed = True
        self._files.close()

    def _forget_unheld(self, live: Mapping[str, Result]) -> None:
        """Note which weights on disk nobody holds any more."""
        for key in [key for key in self._file_of if key not in live and key not in self._unseen]:
            self._frontier[self._file_of.pop(key)].keys.discard(key)
            self._weights.pop(key, None)
            self._newly_computed.append(key)

    def _write_weights(self, results: list[Result], durable: bool = False) -> None:
        packing = Packing()
        for result in results:
            self._pack(packing, result.key, result.peek(), result.function)
            if packing.nbytes >= FRONTIER_FILE_BYTES:
                self._write_frontier(packing, durable)
                packing = Packing()
        self._write_frontier(packing, durable)

    def _write_frontier(self, packing: Packing, durable: bool) -> None:
        if packing.structures:
            self._files_made += 1
            name = _FRONTIER.format(self._files_made)
            record = packing.record({})
            self._files.write(name, record, durable=durable)
            for key in packing.structures:
                if (before := self._file_of.get(key)) is not None:  # where the journal is compacted
                    self._frontier[before].keys.discard(key)
            self._frontier[name] = _FrontierFile(len(record), set(packing.structures), len(packing.structures))
            self._file_of.update(dict.fromkeys(packing.structures, name))
            self._computed.difference_update(packing.structures)

    def _write_values(self, durable: bool = False) -> None:
        self._written_at = self._clock()
        if not self._unwritten and not self._newly_computed:
            return
        packing = Packing()
        for key, (value, function) in self._unwritten.items():
            self._pack(packing, key, value, function)
        computed = [key for key in dict.fromkeys(self._newly_computed) if key not in self._file_of]
        self._files.append(_VALUES, packing.record({"computed": computed}), durable=durable)
        self._unwritten.clear()
        self._computed.update(computed)
        self._newly_computed.clear()

    def _pack(self, packing: Packing, key: str, value: Any, function: JobFunction[..., Any]) -> None:
        try:
            packing.add(key, value, function)
        except NotStorable:
            self.refused.add(function.name)

    def _compact(self, live: Mapping[str, Result]) -> None:
        """Over the size limit, write anew what is still held in files that are mostly waste, and drop those."""
        if sum(file.size_bytes for file in self._frontier.values()) <= self._max_bytes:
            return
        wasteful = [name for name, file in self._frontier.items() if file.waste_bytes > file.size_bytes / 2]
        wasteful = [name for name in wasteful if not self._frontier[name].keys & self._unseen]
        keys = [key for name in wasteful for key in self._frontier[name].keys]
        self._write_weights([result for key in keys if (result := live.get(key)) is not None])
        for name in wasteful:
            for key in self._frontier[name].keys:  # let go of meanwhile
                del self._file_of[key]
                self._newly_computed.append(key)
            self._drop(name)

    def _drop(self, name: str) -> None:
        self._files.drop(name)
        del self._frontier[name]

    # Reading ------------------------------------------------------------------------------------------------------

    def _take(self, place: Place) -> None:
        """Take over a record of an earlier process."""
        if place.file == _VALUES:
            record = self._files.read(place)
            notes, tensors = read_record(record)
            for key in json.loads(notes["computed"]):
                self._computed.add(key)
                self._drop_key(key)
            for key, structure in json.loads(notes["values"]).items():
                self._values[key] = structure, tensors.__getitem__
            return
        path = self._files.folder / place.file
        if path.stat().st_size != place.length:
            self._files.damage.append(f"{path} is longer than its record")
            return
        file = open_record(path)
        structures = json.loads(file.metadata()["values"])
        for key, structure in structures.items():
            self._drop_key(key)
            self._weights[key] = structure, file.get_tensor
        self._frontier[place.file] = _FrontierFile(place.length, set(structures), len(structures))
        self._file_of.update(dict.fromkeys(structures, place.file))
        self._unseen.update(structures)
        self._computed.difference_update(structures)

    def _drop_key(self, key: str) -> None:
        name = self._file_of.pop(key, None)
        if name is not None:
            self._frontier[name].keys.discard(key)
            del self._weights[key]
            self._unseen.discard(key)


def _number(name: str) -> int:
    digits = name.removeprefix("frontier-").removesuffix(".safetensors")
    return int(digits) if digits.isdigit() else 0
