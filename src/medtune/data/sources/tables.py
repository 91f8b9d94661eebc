"""Takes the rows out of tables in memory: pandas, polars and pyarrow."""

from collections.abc import Iterator, Mapping
from typing import Any

from medtune.errors import DataError

__all__ = ["is_table", "rows_of_table"]

_BATCH = 1000
_TABLES = {("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table")}


def is_table(source: Any) -> bool:
    """Whether ``source`` is a table whose iteration would give columns or their names instead of rows."""
    return any((kind.__module__.partition(".")[0], kind.__name__) in _TABLES for kind in type(source).__mro__)


def rows_of_table(table: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a table, converted a batch at a time."""
    library = type(table).__module__.partition(".")[0]
    if library == "polars":
        yield from table.iter_rows(named=True)
    elif library == "pyarrow":
        for batch in table.to_batches(max_chunksize=_BATCH):
            try:
                yield from batch.to_pylist(maps_as_pydicts="strict")
            except KeyError:  # not chained: it holds the name
                raise DataError("a map in the table has one name twice; write it as a list of pairs") from None
    else:
        for start in range(0, len(table), _BATCH):
            yield from table.iloc[start : start + _BATCH].to_dict("records")
