"""The tables' columns as Arrow types."""

from __future__ import annotations

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


def _type_of(column: Column) -> pa.DataType:
    import pyarrow as pa

    types = {"text": pa.large_string(), "number": pa.float64(), "count": pa.int64(), "flag": pa.bool_()}
    return types[column.dtype]
