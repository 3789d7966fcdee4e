"""What each table and column holds is known before the first request, in the vendor's sense and in words."""

from __future__ import annotations

from tests.in_dlt.conftest import User


def test_every_table_and_column_is_described(user: User) -> None:
    """Those of the vendor, the ledger's, and the columns that dlt adds; dlt describes its own tables itself."""
    tables = user.source().discover_schema().data_tables()
    assert {shape.name for table in user.subject.source.tables for shape in table.schema.tree()} < {
        str(table["name"]) for table in tables
    }
    silent = [str(table["name"]) for table in tables if not table.get("description")]
    silent += [
        f"{table['name']}.{name}"
        for table in tables
        for name, column in table["columns"].items()
        if not column.get("description")
    ]
    assert silent == []
