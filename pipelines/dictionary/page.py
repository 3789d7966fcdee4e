"""Makes the page of all tables, columns and views in Markdown, with a drawing of how the tables join."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gapless.pipelines.views.descriptions import Columns, Descriptions
from gapless.pipelines.views.refresh import views
from gapless.pipelines.views.view import View
from gapless.sources import Source, vendors
from gapless.sources._dlt.tables import DESCRIPTIONS as DLT_TABLES
from gapless.sources._dlt.tables import LIST_INDEX, PARENT_ID, ROOT_ID, ROW_ID
from gapless.sources._extract.hints import DESCRIPTIONS as KEYS
from gapless.sources._extract.hints import shapes
from gapless.sources._ledger.erasure.tombstones import DESCRIPTIONS as ERASURES
from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RUNS
from gapless.sources._ledger.ledger import DESCRIPTIONS as LOSSES
from gapless.sources._schema.columns import TableSchema
from gapless.sources._schema.layout import DESCRIPTIONS as LAYOUT

HEAD = """\
# Data dictionary

Every table, column and view, in the words that stand in the database, too: as comments in DuckDB and Postgres, in
dlt's schema, in Dagster, and in what `gapless dbt PATH` writes. [TABLES.md](TABLES.md) explains how to use them.
This page is made by `python -m gapless.pipelines.dictionary`; do not edit it.
"""
LEDGER = (COVERAGE, DEAD_LETTERS, RUNS)
WHERE = {LIST_INDEX: "child tables", PARENT_ID: "child tables", ROOT_ID: "child tables"}


def page() -> str:
    """Returns the page for the registered vendors."""
    words = Descriptions(every := views())
    parts = [HEAD, *_keys()]
    for source in vendors().values():
        parts += _source(source)
    parts += ["## The ledger\n\nThese tables are in the schema of each source.\n"]
    parts += (_table("", shape) for shape in shapes(LEDGER))
    parts += (_described(name, texts) for name, texts in LAYOUT.items())
    parts += [
        "A loss that nobody can fill makes one more.\n",
        *(_described(name, texts) for name, texts in LOSSES.items()),
    ]
    parts += ["The first erasure makes two more.\n", *(_described(name, texts) for name, texts in ERASURES.items())]
    parts += ["## dlt's own tables\n\nThese are in the schema of each source as well.\n"]
    parts += (_described(name, texts) for name, texts in DLT_TABLES.items())
    parts += [
        "## The views\n\nThese are in the schema `activity`.\n",
        *(_view(words, view) for view in _sorted(every)),
    ]
    return "\n".join(parts)


def _keys() -> Iterator[str]:
    yield "## Columns of every table\n"
    rows = ((name, WHERE.get(name, "every table"), text) for name, text in KEYS.items())
    yield _rows(("column", "in", "what it holds"), rows)


def _source(source: Source) -> Iterator[str]:
    yield f"## {source.name}\n"
    yield "```mermaid\nerDiagram\n" + "".join(f"    {line}\n" for line in _joins(source)) + "```\n"
    yield from (_table(f"{source.name}.", shape) for shape in shapes(source.tables))


def _joins(source: Source) -> Iterator[str]:
    """Yields the lines of a drawing: the tables, and by which columns they join."""
    main, parents = source.main, source.stream.parents
    if parents:
        yield f'{parents.table.name} ||--o{{ {main.name} : "{parents.table.id_column} = {source.stream.column}"'
    for shape in shapes(source.tables):
        if shape.parent:
            yield f'{shape.parent} ||--o{{ {shape.name} : "{ROW_ID} = {PARENT_ID}"'
    for table in source.tables:
        if "record_id" in table.model.parent_columns:
            yield f'{main.name} ||--o{{ {table.name} : "{main.id_column} = record_id"'
    yield from (shape.name for shape in shapes(source.tables))


def _table(prefix: str, shape: TableSchema) -> str:
    rows = ((column.name, column.data_type, column.description) for column in shape.columns)
    return f"### {prefix}{shape.name}\n\n{shape.description}\n\n{_rows(('column', 'type', 'what it holds'), rows)}"


def _described(name: str, texts: Columns) -> str:
    rows = ((column, text) for column, text in texts.items() if column)
    return f"### {name}\n\n{texts['']}\n\n{_rows(('column', 'what it holds'), rows)}"


def _view(words: Descriptions, view: View) -> str:
    texts = {name: words.of("activity", view.name, name) for name in view.column_names}
    key = ", ".join(f"`{name}`" for name in view.key)
    return _described(view.name, {"": f"{view.about}\n\nKey: {key}.", **texts})


def _sorted(every: Iterable[View]) -> list[View]:
    # Views that only prepare others come last.
    return sorted(every, key=lambda view: (bool(view.like), view.name))


def _rows(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Returns a table of Markdown; the first column is code."""
    lines = [head, ("---",) * len(head), *((f"`{first}`", *rest) for first, *rest in rows)]
    return "".join("| {} |\n".format(" | ".join(cell.replace("|", "\\|") for cell in line)) for line in lines)
