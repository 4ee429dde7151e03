"""The tables of a run folder: their columns, their writer, their reader.

Rows live in memory only until a *part* is cut: an immutable folder of Arrow files, renamed into place.
Closing turns the parts into one Parquet file a table. ``python -m edgesim.tables`` documents the columns.
"""

from ..errors import UserError
from .page import documentation
from .reader import read_manifest, read_table, read_tables
from .schema import COMMON, TABLES, Column, Table
from .writer import Deferred, TableWriter, WorldTables

__all__ = [
    "COMMON",
    "TABLES",
    "Column",
    "Deferred",
    "Table",
    "TableWriter",
    "UserError",
    "WorldTables",
    "documentation",
    "read_manifest",
    "read_table",
    "read_tables",
]
