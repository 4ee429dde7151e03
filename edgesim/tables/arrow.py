"""The tables' columns as Arrow types."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from .schema import TABLES, Column

if TYPE_CHECKING:
    import pyarrow as pa


@cache
def arrow_schema(name: str) -> pa.Schema:
    """The schema of a table."""
    import pyarrow as pa

    columns = TABLES[name].all_columns
    return pa.schema([pa.field(c.name, _type_of(c), nullable=c.nullable) for c in columns])


def frame_schema(columns: Iterable[Column]) -> pa.Schema:
    """The schema of columns as pandas has them: a count that may be missing is a float."""
    import pyarrow as pa

    floats = pa.float64()
    return pa.schema([pa.field(c.name, floats if c.dtype == "count" and c.nullable else _type_of(c)) for c in columns])


def _type_of(column: Column) -> pa.DataType:
    import pyarrow as pa

    types = {"text": pa.large_string(), "number": pa.float64(), "count": pa.int64(), "flag": pa.bool_()}
    return types[column.dtype]
