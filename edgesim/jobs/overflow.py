"""Where results go that memory has no room for: a file each, in a folder that ends with the plane."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from functools import partial
from pathlib import Path
from typing import Any, final

from .codec import NotStorable, Packing, open_record, unpacked
from .results import Load, Result

PREFIX = "edgesim-overflow-"
"""What the names of such folders begin with."""


@final
class Overflow:
    """Files of results.

    Parameters
    ----------
    parent
        The folder in which to make one; the system's for temporary files by default.

    Attributes
    ----------
    folder
        Theirs; made when the first result is written.
    written
        How many results have been written so far.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self.folder: Path | None = None
        self.written = 0
        self._parent = parent

    def write(self, result: Result) -> Load | None:
        """Write a value; return what reads it again, for as long as somebody holds that, or None where no file can hold
        it."""
        packing = Packing()
        try:
            packing.add(result.key, result.value, result.function)
        except NotStorable:
            return None
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._parent))
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.written += 1
        # Equal results may come and go while parts of them are held: each has a file of its own.
        file = self.folder / f"{result.key}-{self.written}.safetensors"
        file.write_bytes(packing.record({}))
        load = partial(_read, file, result.key, result.function)
        weakref.finalize(load, file.unlink, missing_ok=True)
        return load

    def close(self) -> None:
        """Remove what there is; it cannot be read any more."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _read(file: Path, key: str, function: Any) -> Any:
    if not file.exists():
        raise RuntimeError("the plane is closed: the value was in a file, for want of memory, and went with it")
    record = open_record(file)
    return unpacked(json.loads(record.metadata()["values"])[key], function, record.get_tensor)
