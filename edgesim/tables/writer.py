"""Writes the tables of a run: rows in memory, cut into parts, closed into one Parquet file a table."""

from __future__ import annotations

import itertools
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..stopwatch import Stopwatch
from .arrow import arrow_schema
from .parts import discard_parts, keep_sealed, part_tables, parts_folder, seal, spent_folder, write_part
from .schema import TABLES, Table

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    Cells = Sequence["Cell"] | npt.NDArray[Any]

Cell = str | float | int | bool | None
Adder = Callable[..., None]
Read = Callable[[Any], Sequence[Cell]]

_PLAIN = (str, float, int, bool, type(None))

ROWS_PER_PART = 65_536
"""Rows of one world, over all tables, that are held in memory before a part is cut: about 30 MB. Cutting computes what
is deferred, so it comes after every so many rows, whether or not the clock had parts cut in between."""

ROWS_PER_GROUP = 131_072
"""Rows per Parquet row group, whatever the parts were: a closed table's bytes depend on its rows only."""


class Deferred(Protocol):
    """Something whose value is computed when a part is cut, e.g. a handle of the work plane."""

    @property
    def done(self) -> bool:
        """Whether the value is there already."""
        ...

    def value(self) -> Any:
        """Return the value, computing it first if need be."""
        ...


class TableWriter:
    """Writes all tables of one run into ``folder/parts`` and, at the end, ``folder/tables``.

    Parameters
    ----------
    folder
        The run folder. Parts that an earlier, killed run left there are discarded.
    goes_on
        This run goes on with that one: the parts of worlds that it had played to their end are kept; see ``over``.
    timing_only
        Deferred cells are never read and become null.
    rows_per_part
        Rows of one world, over all tables, after which a part is cut.
    watch
        Told when time is spent on writing.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        goes_on: bool = False,
        timing_only: bool = False,
        rows_per_part: int = ROWS_PER_PART,
        watch: Stopwatch | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.timing_only = timing_only
        self.rows_per_part = rows_per_part
        self._watch = watch or Stopwatch()
        self._learners: dict[str, int] = {}
        self._seeds: dict[int, int] = {}
        self._worlds: dict[tuple[str, int], WorldTables] = {}
        self._over: dict[str, dict[str, Any]] = {}
        if goes_on:
            with self._watch.on("io"):
                self._over = keep_sealed(self.folder)
        else:
            discard_parts(self.folder)
        parts_folder(self.folder).mkdir(parents=True, exist_ok=True)

    def world(self, learner: str, oracle: bool, seed: int, clock: Callable[[], float] | None = None) -> WorldTables:
        """Open the rows of one (learner, seed) world. Tables are sorted in the order of these calls.

        ``clock`` returns the world's virtual time in seconds; with it, automatic cuts move the frontier.
        """
        if (learner, seed) in self._worlds:
            raise ValueError(f"the world of learner {learner!r}, seed {seed} is open already")
        folder = self._place(learner, seed)
        if folder.exists():
            shutil.rmtree(folder)
        world = WorldTables(learner, oracle, seed, folder, self.rows_per_part, self.timing_only, clock, self._watch)
        self._worlds[learner, seed] = world
        return world

    def over(self, learner: str, seed: int) -> dict[str, Any] | None:
        """What an earlier process has sealed with a world that it played to the end; None where it did not.

        Its rows are in the tables then, unless the world is opened anew. They are sorted in the order of these calls
        and those of ``world``.
        """
        return self._over.get(self._place(learner, seed).name)

    def _place(self, learner: str, seed: int) -> Path:
        place = (
            self._seeds.setdefault(seed, len(self._seeds)),
            self._learners.setdefault(learner, len(self._learners)),
        )
        return parts_folder(self.folder) / "{:06d}-{:06d}".format(*place)

    def close(self) -> None:
        """Cut what is left, write ``tables/<name>.parquet`` for every table, then drop the parts.

        Sorted by (seed, learner, sequence), seeds and learners in the order in which they were opened. The
        bytes depend on the rows only, not on where parts were cut. Killed half-way, the parts are whole.
        """
        for world in self._worlds.values():
            world.close()
        with self._watch.on("io"):
            target = self.folder / "tables"
            target.mkdir(exist_ok=True)
            written = [_write_closed(self.folder, table, target) for table in TABLES.values()]
            for temporary, final in written:
                temporary.replace(final)
            spent = spent_folder(self.folder)
            parts_folder(self.folder).rename(spent)  # atomic: readers trust `parts` as long as it exists
            shutil.rmtree(spent)


@dataclass(slots=True)
class WorldTables:
    """The rows of one (learner, seed) world. ``frontier_s``: all rows recorded before it are on disk."""

    learner: str
    oracle: bool
    seed: int
    folder: Path
    rows_per_part: int
    timing_only: bool
    clock: Callable[[], float] | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)
    frontier_s: float = 0.0
    _sequence: Iterator[int] = field(default_factory=itertools.count)
    _rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=lambda: {name: [] for name in TABLES})
    _numbers: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in TABLES})  # of those rows
    _readers: dict[str, Read] = field(default_factory=dict)
    _listeners: dict[str, Callable[[tuple[Any, ...]], None]] = field(default_factory=dict)
    _parts: int = 0
    _cut_at: int = 0
    _closed: bool = False
    _salvaging: bool = False

    def __post_init__(self) -> None:
        self._cut_at = self.rows_per_part - 1

    def adder(self, name: str, read: Read | None = None) -> Adder:
        """Return a fast function that records one row of table ``name`` from positional cells.

        The cells come in the order of the table's own columns (those after learner, oracle, seed, sequence);
        missing is ``None``. With ``read``, the columns that the table marks as deferred are given by *one*
        object instead, the last argument: ``None`` or a :class:`Deferred`, whose value ``read`` turns into
        those cells when the part is cut. In timing-only mode it is never asked and they are null.
        """
        table = TABLES[name]
        width = len(table.columns)
        arity = width if read is None else width - len(table.deferred) + 1
        if read is not None:
            if not table.deferred:
                raise ValueError(f"table {name!r} has no deferred columns")
            self._readers[name] = read
        append, append_number = self._rows[name].append, self._numbers[name].append
        next_sequence = self._sequence.__next__

        def add(*cells: Any) -> None:
            if len(cells) != arity:
                raise TypeError(f"a row of {name!r} has {arity} cells, got {len(cells)}")
            sequence = next_sequence()
            append(cells)
            append_number(sequence)
            if sequence >= self._cut_at:
                self.cut()
                self._cut_at = sequence + self.rows_per_part

        listener = self._listeners.get(name)
        if listener is None:
            return add

        def add_and_tell(*cells: Any) -> None:
            add(*cells)
            listener(cells)

        return add_and_tell

    def listen(self, name: str, listener: Callable[[tuple[Any, ...]], None]) -> None:
        """Call ``listener`` with the cells of each row of table ``name``, for functions that :meth:`adder` makes later.

        The cells are those that such a function takes: what is deferred comes as the object that promises it.
        """
        self._listeners[name] = listener

    def deferred_cells(self, name: str, deferred: Deferred) -> Sequence[Cell]:
        """Return the cells of table ``name`` that ``deferred`` promises; it is computed if it is not there yet."""
        return self._readers[name](deferred.value())

    def add(self, name: str, /, **cells: Cell) -> None:
        """Record one row of table ``name`` from named cells. Columns left out are null."""
        table = TABLES[name]
        unknown = cells.keys() - {column.name for column in table.columns}
        if unknown:
            raise TypeError(f"table {name!r} has no column {', '.join(sorted(unknown))}")
        self.adder(name)(*[cells.get(column.name) for column in table.columns])

    def extend(self, name: str, count: int, *columns: Cell | Cells) -> None:
        """Record ``count`` rows of table ``name`` at once, from columns: a list, an array, or one cell for all rows.

        The columns come in the order of the table's own, as for :meth:`adder`. For many rows: they become a part of
        their own, and what was recorded before is cut first.
        """
        table = TABLES[name]
        if len(columns) != len(table.columns):
            raise TypeError(f"a row of {name!r} has {len(table.columns)} cells, got {len(columns)}")
        self.cut(self.frontier_s)
        sequence = range(first := next(self._sequence), first + count)
        deque(itertools.islice(self._sequence, count - 1), maxlen=0)
        self._cut_at += count
        with self.watch.on("io"):
            self._write({name: self._arrow(table, count, sequence, columns)})

    def cut(self, now_s: float | None = None) -> None:
        """Resolve what is deferred and write every row recorded so far. ``now_s`` becomes the frontier.

        Without ``now_s`` the clock is asked; without a clock the frontier stays where it was.
        """
        if self._closed:
            raise ValueError(f"the tables of learner {self.learner!r}, seed {self.seed} are closed")
        full = {name: rows for name, rows in self._rows.items() if rows}
        if full:
            with self.watch.on("io"):
                self._write({name: self._from_rows(TABLES[name], rows) for name, rows in full.items()})
            for name, rows in full.items():
                rows.clear()
                self._numbers[name].clear()
        if now_s is None:
            now_s = self.clock() if self.clock is not None else self.frontier_s
        self.frontier_s = now_s

    def salvage(self) -> None:
        """Write every row recorded so far after something went wrong: computes nothing, so what is not there is null.

        The frontier stays where it was: rows beyond it may lack values.
        """
        if not self._closed:
            self._salvaging = True
            self.cut(self.frontier_s)

    def close(self) -> None:
        """Cut for the last time; rows added later are refused. Closing twice is harmless."""
        if not self._closed:
            self.cut()
            self._closed = True
            self._cut_at = -1  # the next row asks for a cut, which is refused

    def seal(self, facts: Mapping[str, Any]) -> None:
        """Close, and say that these are all rows of this world, for a run that goes on later; see ``TableWriter.over``.

        Parameters
        ----------
        facts
            What is to be known of the world then, as JSON.
        """
        self.close()
        with self.watch.on("io"):
            seal(self.folder, facts)

    def _write(self, tables: dict[str, pa.Table]) -> None:
        write_part(self.folder / f"{self._parts:08d}", tables)
        self._parts += 1

    def _from_rows(self, table: Table, rows: list[tuple[Any, ...]]) -> pa.Table:
        promised = table.deferred if table.name in self._readers else ()
        known = len(table.columns) - len(promised)
        # Column by column: zip(*rows) would make an iterator a row, and wake the garbage collector with that.
        columns = [list(map(itemgetter(place), rows)) for place in range(known)]
        if promised:
            kept = self._kept(table, rows, known)
            columns += [list(map(itemgetter(place), kept)) for place in range(len(promised))]
        return self._arrow(table, len(rows), self._numbers[table.name], columns)

    def _arrow(self, table: Table, count: int, sequence: Sequence[int], columns: Sequence[Cell | Cells]) -> pa.Table:
        import pyarrow as pa

        arrays = []
        cells = (self.learner, self.oracle, self.seed, sequence, *columns)
        schema = arrow_schema(table.name)
        for column, field_, values in zip(table.all_columns, schema, cells, strict=True):
            # Counts are inferred first: asked for int64 outright, pyarrow truncates 10.5 without a word.
            dtype = None if column.dtype == "count" else field_.type
            try:
                if isinstance(values, list) and values and _is_one_text(values):
                    values = values[0]
                if isinstance(values, _PLAIN):
                    array = pa.repeat(pa.scalar(values, type=dtype).cast(field_.type), count)
                else:
                    array = pa.array(values, type=dtype)
                    if array.type != field_.type:
                        array = array.cast(field_.type)
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise ValueError(f"{table.name}.{column.name} holds {column.dtype}s: {error}") from error
            if array.null_count and not column.nullable:
                raise ValueError(f"{table.name}.{column.name} was not given, and it is never missing")
            arrays.append(array)
        return pa.Table.from_arrays(arrays, schema=schema)

    def _kept(self, table: Table, rows: list[tuple[Any, ...]], known: int) -> list[Sequence[Cell]]:
        """The cells that rows of a table have promised, those after so many that were known at once."""
        read, width = self._readers[table.name], len(table.columns)
        missing = (None,) * len(table.deferred)
        kept: list[Sequence[Cell]] = []
        for row in rows:
            deferred = row[known]
            if len(row) == width and isinstance(deferred, _PLAIN):
                kept.append(row[known:])  # recorded by name, with all its cells
            elif deferred is None or self.timing_only or (self._salvaging and not deferred.done):
                kept.append(missing)
            else:
                kept.append(read(deferred.value()))
        return kept


def _is_one_text(values: list[Cell]) -> bool:
    """Whether all cells of a column are the same text, or all are missing: told faster than they are converted."""
    first = values[0]
    return (first is None or type(first) is str) and first == values[-1] and values.count(first) == len(values)


def _write_closed(folder: Path, table: Table, target: Path) -> tuple[Path, Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema(table.name)
    temporary = target / f".{table.name}.parquet"
    waiting = schema.empty_table()
    with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for part in part_tables(folder, table.name):
            waiting = pa.concat_tables([waiting, part])
            while len(waiting) >= ROWS_PER_GROUP:
                writer.write_table(waiting.slice(0, ROWS_PER_GROUP).combine_chunks())
                waiting = waiting.slice(ROWS_PER_GROUP)
        if len(waiting):
            writer.write_table(waiting.combine_chunks())
    return temporary, target / f"{table.name}.parquet"
