"""Files that the processes of one run map: data sets on disk, weights in memory. Nothing of a dead run stays for long.

A folder belongs to the process that made it, by a lock that ends with that process, however it ends; the next run on
the machine removes folders without an owner.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from torch import Tensor

LOCK = ".owner"
"""File that the process holds that a folder belongs to."""

IN_MEMORY = Path("/dev/shm")
"""Where Linux keeps files in memory."""

LEAST_FREE_BYTES = 256 * 2**20
"""Free memory there below which weights go with their calls instead: containers often have 64 MiB in all."""

IDLE_BYTES = 64 * 2**20
"""Weights that no call needs at the moment and that are kept for the next one."""

ALIGNMENT = 64
"""Of a tensor in a file: that of PyTorch's own memory, so that the same instructions compute with it."""


class NoRoom(Exception):
    """There is no room for shared files; what was to go there goes another way."""


@final
class SharedFolder:
    """A folder of this process, gone when it is removed or forgotten, at the end of the process at the latest.

    Parameters
    ----------
    prefix
        What its name begins with; folders of that prefix whose process is dead are removed.
    parent
        Where to make it; the system's folder for temporary files by default.

    Attributes
    ----------
    path
        The folder.
    """

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        from filelock import FileLock

        parent = Path(tempfile.gettempdir()) if parent is None else parent
        remove_orphans(prefix, parent)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            lock = FileLock(self.path / LOCK)
            with contextlib.suppress(FileNotFoundError):  # a process that tidies up was faster
                lock.acquire()
                if (self.path / LOCK).is_file():
                    break
        self._remover = weakref.finalize(self, _remove, self.path, lock)

    def remove(self) -> None:
        """Delete the files; processes that have mapped them keep what they see."""
        self._remover()


def remove_orphans(prefix: str, parent: Path) -> None:
    """Remove folders whose process has ended without removing them."""
    from filelock import FileLock, Timeout

    for folder in parent.glob(f"{prefix}*"):
        if not (folder / LOCK).is_file():
            continue
        lock = FileLock(folder / LOCK, timeout=0)
        with contextlib.suppress(Timeout, OSError):  # it is in use; it is somebody else's; it has just gone
            lock.acquire()
            _remove(folder, lock)


def _remove(folder: Path, lock: Any) -> None:
    lock.release()  # first: Windows deletes no file that is open
    shutil.rmtree(folder, ignore_errors=True)


def weights_folder(prefix: str) -> SharedFolder | None:
    """Make a folder in memory for weights; None where there is no such place, or too little room."""
    with contextlib.suppress(OSError):
        if os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free >= LEAST_FREE_BYTES:
            return SharedFolder(prefix, IN_MEMORY)
    return None


# Files of tensors ---------------------------------------------------------------------------------------------------

Place = tuple[str, int]
"""Where a tensor is: the name of a file, and the byte at which it begins."""


@final
class TensorFile:
    """The bytes of tensors one after the other, in a file that is there once a tensor has been added.

    Parameters
    ----------
    path
        Where; nothing is there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self._file: Any = None

    def add(self, tensor: Tensor) -> Place:
        """Write a tensor's bytes.

        Raises
        ------
        NoRoom
            The file cannot be written, and is gone.
        """
        import torch

        padding = -self.size_bytes % ALIGNMENT
        start = self.size_bytes + padding
        try:
            if self._file is None:
                if shutil.disk_usage(self.path.parent).free < LEAST_FREE_BYTES + tensor.nbytes:
                    raise NoRoom
                self._file = self.path.open("xb")
            self._file.write(bytes(padding))
            self._file.write(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        except OSError as error:
            self.remove()
            raise NoRoom from error
        self.size_bytes = start + tensor.nbytes
        return self.path.name, start

    def close(self) -> None:
        """Let others read it."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self.remove()
                raise NoRoom from error

    def remove(self) -> None:
        """Delete it."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # what is left in its buffer has no room either
                self._file.close()
        self.path.unlink(missing_ok=True)


def mapped(path: Path) -> Tensor:
    """Map a file of tensors. What is written to it is seen by nobody else; a file that is deleted can be read on."""
    import torch

    return torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)


@final
class SharedWeights:
    """Weights that calls read, in files of a folder; those of calls that have finished are kept for the next, up to
    ``IDLE_BYTES``.

    Parameters
    ----------
    folder
        Where.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._files: OrderedDict[str, _Shared] = OrderedDict()  # those used last at the end
        self._places: dict[int, Place] = {}

    def begin(self) -> Parcel:
        """Start with the weights of some calls."""
        self._count += 1
        return Parcel(self, TensorFile(self._folder / f"calls-{self._count}"))

    def place(self, tensor: Tensor) -> Place | None:
        """Where a tensor is already."""
        return self._places.get(id(tensor))

    def take(self, file: TensorFile, tensors: Iterable[tuple[Tensor, Place]]) -> None:
        """Keep a file and what is in it."""
        held = list(tensors)
        self._files[file.path.name] = _Shared(file, [tensor for tensor, _ in held])
        self._places.update((id(tensor), place) for tensor, place in held)

    def use(self, names: Iterable[str], change: int) -> None:
        """Calls under way begin (1) or end (-1) to need files."""
        for name in names:
            if (shared := self._files.get(name)) is not None:
                shared.users += change
                self._files.move_to_end(name)
        idle = [name for name, shared in self._files.items() if not shared.users]
        size = sum(self._files[name].file.size_bytes for name in idle)
        for name in idle:
            if size <= IDLE_BYTES:
                break
            size -= self._files[name].file.size_bytes
            self._drop(name)

    def clear(self) -> None:
        """Let go of everything."""
        for name in list(self._files):
            self._drop(name)

    def _drop(self, name: str) -> None:
        shared = self._files.pop(name)
        for tensor in shared.tensors:
            del self._places[id(tensor)]
        shared.file.remove()


class _Shared:
    """A file, its tensors (held, so that no other can have their identity), and how many calls need it."""

    __slots__ = ("file", "tensors", "users")

    def __init__(self, file: TensorFile, tensors: list[Tensor]) -> None:
        self.file = file
        self.tensors = tensors
        self.users = 0


@final
class Parcel:
    """The weights of some calls on their way to a worker.

    Attributes
    ----------
    used
        Names of the files that hold them.
    """

    def __init__(self, weights: SharedWeights, file: TensorFile) -> None:
        self.used: set[str] = set()
        self._weights = weights
        self._file = file
        self._added: dict[int, tuple[Tensor, Place]] = {}

    def put(self, tensor: Tensor) -> Place:
        """Return where a tensor is, once written there.

        Raises
        ------
        NoRoom
            It cannot be written.
        """
        place = self._weights.place(tensor)
        if place is None and (added := self._added.get(id(tensor))) is not None:
            place = added[1]
        if place is None:
            place = self._file.add(tensor)
            self._added[id(tensor)] = tensor, place
        self.used.add(place[0])
        return place

    def send(self) -> None:
        """All are there: from now on, until ``end``, they stay."""
        if self._added:
            self._file.close()
            self._weights.take(self._file, self._added.values())
        self._weights.use(self.used, 1)

    def discard(self) -> None:
        """They are not sent."""
        self._file.remove()

    def end(self) -> None:
        """Nobody needs them any more."""
        self._weights.use(self.used, -1)
