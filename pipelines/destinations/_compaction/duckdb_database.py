"""Writes a DuckDB file anew: a copy is made beside it, compared with it, and takes its place by one rename.

DuckDB leaves deleted rows in the file's blocks, and never makes a file smaller.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path

import duckdb

from gapless.pipelines.config.beside import flush
from gapless.pipelines.destinations._dlt.duckdb_memory import checkpoint, with_room
from gapless.pipelines.errors import GaplessError, summarize

NEW = "gapless_compacted"
"""What the new file is called while both are open."""
SPARE = 2**20
"""Bytes that are to be free beside what the copy takes."""
Name = tuple[str, str]
"""Schema and name of a table."""
CATALOG = {
    "schemas": "schema_name, comment, tags from duckdb_schemas()",
    "types": "schema_name, type_name, logical_type, labels, comment, tags from duckdb_types()",
    "sequences": "schema_name, sql, comment, tags from duckdb_sequences()",
    "tables": "schema_name, table_name, comment, tags, sql from duckdb_tables()",
    "columns": "schema_name, table_name, column_name, column_index, comment, column_default, is_nullable, data_type"
    " from duckdb_columns()",
    "constraints": "schema_name, table_name, constraint_type, constraint_text from duckdb_constraints()",
    "indexes": "schema_name, index_name, comment, tags, sql from duckdb_indexes()",
    "views": "schema_name, view_name, comment, tags, sql from duckdb_views()",
    "macros": "schema_name, function_name, comment, tags, parameters, macro_definition from duckdb_functions()",
}
"""Queries for all that a file has beside rows."""
WITH_INTERNAL = ("schemas", "types", "columns", "views", "macros")
"""Those that also show what belongs to DuckDB itself."""


def compact(connection: duckdb.DuckDBPyConnection, file: Path, folder: Path) -> None:
    """Replaces the open `file` by a copy, which is made in the empty `folder` on the same disk.

    The connection is of no use afterwards. Raises GaplessError, and leaves the file as it is, when the disk is too
    small or the copy is not exactly the same.
    """
    if file.stat().st_nlink > 1:
        raise GaplessError(f"{file} has a second name (a hard link), which would keep the old bytes. Remove that.")
    try:
        connection.execute(f"set temp_directory = {_text(folder / 'spill')}")
        checkpoint(connection)  # the write-ahead log must not outlive the file that it belongs to
        _require_space(connection, folder)
        new = folder / file.name
        _write(connection, new)
        _take_place(connection, new, file)
    except (duckdb.Error, OSError) as error:
        raise GaplessError(f"{file} was not compacted and is as it was: {summarize(error)}") from error


def _require_space(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    _, size, used = _blocks(connection)
    needed, free = size * used + SPARE, shutil.disk_usage(folder).free
    if free < needed:
        raise GaplessError(
            f"not enough disk: a copy takes up to {needed / 1e6:,.1f} MB beside the file, and"
            f" {free / 1e6:,.1f} MB are free in {folder.parent}. Nothing was changed."
        )


def _blocks(connection: duckdb.DuckDBPyConnection) -> tuple[str, int, int]:
    """Returns the name of the open database, the bytes of a block, and how many blocks are in use."""
    row = connection.execute(
        "select database_name, block_size, used_blocks from pragma_database_size()"
        " where database_name = current_database()"
    ).fetchone()
    if row is None:
        raise AssertionError("an open file has a size")
    return str(row[0]), int(row[1]), int(row[2])


def _write(connection: duckdb.DuckDBPyConnection, new: Path) -> None:
    """Makes the copy with the same format of the file. Raises GaplessError when it is not exactly the same."""
    old, block_size, _ = _blocks(connection)
    (version,) = connection.execute(
        "select tags['storage_version'] from duckdb_databases() where database_name = current_database()"
    ).fetchone() or (None,)
    options = f"block_size {block_size}" + (f", storage_version '{version.rstrip('+')}'" if version else "")
    connection.execute(f"attach {_text(new)} as {NEW} ({options})")
    # Without rows first, as DuckDB's own order of the tables does not mind foreign keys.
    connection.execute(f"copy from database {_quoted(old)} to {NEW} (schema)")
    tables = _tables(connection, old)
    for table in tables:
        columns = ", ".join(_stored_columns(connection, table))
        insert = f"insert into {_full(NEW, table)} ({columns}) select {columns} from {_full(old, table)}"
        with_room(connection, partial(_run, connection, insert))
    with_room(connection, partial(_run, connection, f"checkpoint {NEW}"))
    for what in _differences(connection, old, tables):
        raise GaplessError(f"the copy of the file is not the same ({what}), so the file was left as it was.")
    connection.execute(f"detach {NEW}")


def _run(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    connection.execute(statement)


def _tables(connection: duckdb.DuckDBPyConnection, old: str) -> list[Name]:
    """Returns all tables, each after those that its foreign keys lead to."""
    names = connection.execute("select schema_name, table_name from duckdb_tables() where database_name = ?", [old])
    needs: dict[Name, set[Name]] = {(schema, table): set() for schema, table in names.fetchall()}
    keys = connection.execute(
        "select schema_name, table_name, referenced_table from duckdb_constraints()"
        " where database_name = ? and constraint_type = 'FOREIGN KEY' and referenced_table <> table_name",
        [old],
    )
    for schema, table, referenced in keys.fetchall():
        needs[schema, table].add((schema, referenced))
    return list(TopologicalSorter(needs).static_order())


def _stored_columns(connection: duckdb.DuckDBPyConnection, table: Name) -> Iterator[str]:
    """Yields the columns of a table, in quotes, but for those that DuckDB computes from others."""
    columns = connection.execute(
        "select c.column_name, contains(t.sql, ' GENERATED ALWAYS AS') from duckdb_columns() as c"
        " join duckdb_tables() as t using (database_name, schema_name, table_name)"
        " where c.database_name = ? and c.schema_name = ? and c.table_name = ? order by c.column_index",
        [NEW, *table],
    ).fetchall()
    for name, may_be_computed in columns:
        # No view of the catalog says which columns are computed; only DuckDB's refusal to write one does.
        if not may_be_computed or _takes_values(connection, table, _quoted(name)):
            yield _quoted(name)


def _takes_values(connection: duckdb.DuckDBPyConnection, table: Name, column: str) -> bool:
    try:
        connection.execute(f"explain insert into {_full(NEW, table)} ({column}) select null")
    except duckdb.BinderException:
        return False
    return True


def _differences(connection: duckdb.DuckDBPyConnection, old: str, tables: list[Name]) -> Iterator[str]:
    """Yields what is not the same in both files: parts of the catalog, then tables whose rows or order differ."""
    for what, select in CATALOG.items():
        internal = " and not internal" if what in WITH_INTERNAL else ""
        query = f"select {select} where database_name = ?{internal} order by all"
        if connection.execute(query, [old]).fetchall() != connection.execute(query, [NEW]).fetchall():
            yield what
    for table in tables:
        pairs = f"{_full(old, table)} as gapless_a positional join {_full(NEW, table)} as gapless_b"
        # A table with fewer rows is filled up with nulls, which differ from every row.
        query = f"select 1 from {pairs} where gapless_a is distinct from gapless_b limit 1"
        with_room(connection, partial(_run, connection, query))
        if connection.fetchone():
            yield f"rows of {'.'.join(table)}"


def _take_place(connection: duckdb.DuckDBPyConnection, new: Path, file: Path) -> None:
    """Renames the copy, with the rights of the file; the open connection keeps other writers out until then."""
    before, log = file.stat(), file.with_name(f"{file.name}.wal")
    if before.st_uid != os.geteuid() or before.st_gid != os.getegid():
        os.chown(new, before.st_uid, before.st_gid)
    new.chmod(before.st_mode & 0o777)
    flush(new)
    # Closing would write to the log of a path that is the new file's then.
    connection.execute("pragma disable_checkpoint_on_shutdown")
    log.unlink(missing_ok=True)
    os.replace(new, file)
    flush(file.parent)


def _full(database: str, table: Name) -> str:
    return ".".join(map(_quoted, (database, *table)))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
