"""Checks what a user has set on a resource, its source and its pipeline, before the first request of a run.

What cannot be loaded correctly is refused, with the reason and the remedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import dlt
from dlt.sources import DltResource

from gapless.sources._dlt.append_only import appends
from gapless.sources._dlt.internals import hints_of, incremental_of
from gapless.sources._schema.arrow import Table
from gapless.sources._schema.columns import TableSchema

REFUSED = {
    "merge_key": "records are merged by the vendor's id",
    "nested_hints": "the tables below this one are declared by the source",
    "parent_table_name": "the records are a table of their own",
}
"""Hints, with the reason why they cannot be obeyed."""
SIZES = ("timezone", "precision", "scale")
"""Hints of a column that change its type in a destination; a text may get a length."""
OBJECTS = ("incremental", "validator", "original_columns")
"""Hints that are no functions of a row, though Python can call them."""
DUCKDB = ("duckdb", "motherduck", "ducklake")
"""Destinations that cannot load an empty file of JSON lines."""


def check(resource: DltResource, table: Table, rows: bool) -> None:
    """Raises ValueError if what is set on a resource of `table` cannot be loaded rightly, with the remedy."""
    disposition_of(resource)
    _check_hints(resource, table)
    _check_columns(resource, table)
    _check_table_name(resource)
    _check_incremental(resource, table)
    if rows:
        _check_rows(resource, table)
    if _kind() == "sqlalchemy":
        raise ValueError(
            f"{resource.name}: sqlalchemy is refused, because dlt encodes a JSON text or number there twice; use"
            " `gapless sync`, or another destination such as duckdb or postgres"
        )


def disposition_of(resource: Any) -> str:
    """Returns the word for how a resource is written. Raises ValueError for one that would not be right."""
    given = resource.write_disposition
    word = str(given["disposition"] if isinstance(given, dict) else given)
    refused = "scd2" if isinstance(given, dict) and given.get("strategy") == "scd2" else word
    if refused in ("append", "skip", "scd2"):
        remedy = "leave write_disposition out: merge is the default"
        why = {
            "append": "a record that is read again, as in the look-back, would be there twice",
            "skip": "dlt would extract the rows and then fail to load them",
            "scd2": "it retires all rows that a load does not bring, and a load brings only what is new",
        }[refused]
        raise ValueError(f"{resource.name}: write_disposition={refused!r} is refused, because {why}; {remedy}")
    return word


def check_settings(source: str) -> None:
    """Raises ValueError for a setting of dlt with which no package of a source can be loaded."""
    if dlt.config.get("normalize.parquet_normalizer.add_dlt_id", bool):
        raise ValueError(
            f"{source}: the setting normalize.parquet_normalizer.add_dlt_id is refused, because the rows have an id"
            " of their own, by which those below them are found; leave it out"
        )


def check_dataset(pipeline: Any) -> None:
    """Raises ValueError for a DuckDB file that is named like the dataset: DuckDB cannot tell the two apart."""
    if pipeline.destination.destination_type.endswith(".duckdb"):
        with pipeline.sql_client() as client:
            ((file,),) = client.execute_sql("select current_database()")
        if str(file).lower() == str(pipeline.dataset_name).lower():
            raise ValueError(
                f"the DuckDB file and the dataset are both called {file!r}, and DuckDB cannot tell them apart;"
                " give the file or the dataset another name"
            )


def _check_hints(resource: DltResource, table: Table) -> None:
    hints, name = hints_of(resource), resource.name
    if resource.validator is not None:
        raise ValueError(
            f"{name}: a pydantic model as columns is refused, because the columns are declared by the source;"
            " use add_map or add_filter on a source with rows=True"
        )
    if any(callable(value) for hint, value in hints.items() if hint not in OBJECTS):
        raise ValueError(
            f"{name}: a hint is a function of the row, but all rows of a page are written together, as one table;"
            " give it a fixed value"
        )
    for hint, why in REFUSED.items():
        if hints.get(hint):
            raise ValueError(f"{name}: the hint {hint} is refused, because {why}; leave it out")
    given = hints.get("primary_key") or ()
    if given and {*([given] if isinstance(given, str) else given)} != {*table.key}:
        raise _wrong_key(resource, table)
    if hints.get("file_format") == "csv":
        raise ValueError(f"{name}: csv is refused, because it cannot tell an empty text from null; leave it out")
    kind = _kind()
    if hints.get("table_format") and kind == "filesystem":
        raise ValueError(
            f"{name}: table_format={hints['table_format']!r} is refused for files, because rows below a record that"
            " changed would stay; leave it out, or use the destination ducklake"
        )
    if hints.get("file_format") == "jsonl" and kind in DUCKDB:
        raise ValueError(
            f"{name}: file_format='jsonl' is refused, because {kind} cannot load a table without rows from it;"
            " leave it out: parquet is the default"
        )


def _kind() -> str:
    """Returns dlt's word for the destination; empty without one, which is refused later."""
    destination = dlt.current.pipeline().destination
    return destination.destination_type.rpartition(".")[2] if destination else ""


def _check_columns(resource: DltResource, table: Table) -> None:
    types = {column.name: column.data_type for column in table.schema.columns}
    for name, hint in dict(hints_of(resource).get("columns") or {}).items():
        own, given = types.get(name), hint.get("data_type")
        if own and given and own != given:
            raise ValueError(
                f"{resource.name}: the hint that {name!r} is {given} is refused, because the source declares it as"
                f" {own} and reads it back; add a column of another name with add_map"
            )
        sizes = [size for size in SIZES if hint.get(size) is not None and own not in (None, "text")]
        # `timezone: true` is what these columns have in any case.
        if sizes and (sizes != ["timezone"] or not hint["timezone"]):
            raise ValueError(
                f"{resource.name}: the hint {sizes[0]}={hint[sizes[0]]} for {name!r} is refused, because the source"
                f" reads the column back as it declares it, {own}; leave it out"
            )
        if hint.get("merge_key") or (hint.get("primary_key") and name not in table.key):
            raise _wrong_key(resource, table)


def _wrong_key(resource: DltResource, table: Table) -> ValueError:
    return ValueError(
        f"{resource.name}: another key than {', '.join(table.key)} is refused, because records are merged by the"
        " vendor's id; leave it out"
    )


def _check_table_name(resource: DltResource) -> None:
    others = dlt.current.source().resources.selected.values()
    same = [one.name for one in others if one.table_name == resource.table_name and one.name != resource.name]
    if same:
        raise ValueError(
            f"{resource.name} and {same[0]} would both be loaded into {resource.table_name!r}, as rows of one table;"
            " select one resource, or give each a table_name of its own"
        )


def _check_incremental(resource: DltResource, table: Table) -> None:
    incremental = incremental_of(resource.incremental)
    if incremental is None or incremental.cursor_path != table.time_column:
        return
    for name in ("initial_value", "end_value"):
        value = getattr(incremental, name)
        if value is not None and not isinstance(value, datetime):
            raise ValueError(
                f"{resource.name}: {name} of the incremental is {value!r}, and {table.time_column} is a time; give a"
                " datetime with a time zone, or the source's own parameter of that name, which takes a text"
            )


def _check_rows(resource: DltResource, table: Table) -> None:
    source, pipeline = dlt.current.source(), dlt.current.pipeline()
    needed = max(_levels(table.schema, 0))
    given = [one for one in (resource.max_table_nesting, source.max_table_nesting) if one is not None]
    # The resource's own setting comes before its source's, as in dlt.
    if given and given[0] < needed:
        raise ValueError(
            f"{resource.name}: max_table_nesting={given[0]} is refused with rows=True, because dlt would put what is"
            f" nested into JSON columns, and the tables below would miss it; leave it out, or give at least {needed}"
        )
    naming = dlt.current.source_schema().naming
    if naming.make_path("a", "b") != "a__b":
        raise ValueError(
            f"{resource.name}: the naming convention {naming.name()!r} is refused with rows=True, because dlt would"
            " name tables and columns below others differently from those declared; leave rows out"
        )
    capabilities = pipeline.destination and pipeline.destination.capabilities()
    if capabilities and appends(capabilities):
        raise ValueError(
            f"{resource.name}: rows=True is refused for files, because rows that did not change would be added again;"
            " leave rows out: steps then see Arrow tables"
        )


def _levels(schema: TableSchema, depth: int) -> Iterator[int]:
    """Yields how deep the columns of a table and of those below it stand in a record."""
    yield from (depth + max(0, len(column.path) - 1) for column in schema.columns)
    for child in schema.children:
        levels = child.name.removeprefix(f"{schema.name}__").count("__") + 1
        yield from _levels(child, depth + levels)
