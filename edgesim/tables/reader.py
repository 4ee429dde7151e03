"""Reads the tables of a run folder, closed or not, as typed frames."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from .arrow import arrow_schema, frame_schema
from .parts import part_tables, parts_folder
from .schema import TABLES, Column

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def read_manifest(run_dir: Path | str) -> dict[str, Any]:
    """Read ``manifest.json`` of a run.

    Raises
    ------
    UserError
        There is no such folder, or it holds no manifest.
    """
    path = _existing(run_dir) / "manifest.json"
    if not path.is_file():
        raise UserError(f"{run_dir} is not a run folder: it holds no manifest.json")
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def read_table(run_dir: Path | str, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read one table of a run, closed or not, as a typed frame; no rows give an empty one, all columns there.

    Text is ``str``, numbers are ``float64`` with NaN where missing, counts are ``int64`` (``float64`` where
    the column may be missing), flags are ``bool``. A column that the run was written without is missing (empty,
    if text) in every row.

    Raises
    ------
    UserError
        There is no such folder, or the run was written without a column that is never missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder, table = _existing(run_dir), TABLES[name]
    wanted = [c for c in table.all_columns if columns is None or c.name in columns]
    closed = folder / "tables" / f"{name}.parquet"
    if parts_folder(folder).exists() or not closed.exists():
        rows = pa.concat_tables(list(part_tables(folder, name)) or [arrow_schema(name).empty_table()])
        rows = rows.select([column.name for column in wanted if column.name in rows.column_names])
    else:
        with pq.ParquetFile(closed) as file:
            rows = file.read(columns=[column.name for column in wanted])
    for place, column in enumerate(wanted):
        if column.name not in rows.column_names:
            rows = rows.add_column(place, column.name, _never_written(folder, name, column, len(rows)))
    frame: pd.DataFrame = rows.cast(frame_schema(wanted), safe=False).to_pandas(self_destruct=True)
    return frame


def read_tables(run_dir: Path | str) -> dict[str, pd.DataFrame]:
    """Read all tables of a run, closed or not (see :func:`read_table`)."""
    return {name: read_table(run_dir, name) for name in TABLES}


def _existing(run_dir: Path | str) -> Path:
    folder = Path(run_dir)
    if not folder.is_dir():
        raise UserError(f"there is no run folder {folder}")
    return folder


def _never_written(folder: Path, name: str, column: Column, rows: int) -> pa.Array:
    import pyarrow as pa

    if rows and not column.nullable and column.dtype != "text":
        raise UserError(
            f"{folder} was written by another version of edgesim: its table {name} has no column {column.name}. "
            "Run the scenario again, or read it with that version (manifest.json names it)"
        )
    return pa.array([None if column.nullable else ""] * rows, pa.null() if column.nullable else pa.large_string())
