"""The layout of a dataset: its version, and a mark of the tables and columns that its rows conform to.

The version says what this program expects of a database besides the columns; it is raised with a migration
(`pipelines/layout`). The mark changes with every model, so that a changed model is noticed. No SQL may enter.
"""

from __future__ import annotations

from collections.abc import Iterable

from gapless.sources._schema.arrow import digest
from gapless.sources._schema.columns import TableSchema

LAYOUT_TABLE = "layout"
"""The table of one row in each dataset; made by plain SQL, so that a load of dlt's never changes it."""
LAYOUT = 2
"""1: all that was written before there was the table; 2: with the table, and `gone_at` of records and parents."""

DESCRIPTIONS = {
    LAYOUT_TABLE: {
        "": "One row: which layout these tables have.",
        "version": "Number of the layout: a gapless that knows lower ones alone refuses the database.",
        "written_by": "Version of gapless that wrote the row.",
        "shape": "Mark of the tables and columns that the rows conform to.",
        "since": "When the row was written, in UTC and ISO 8601.",
    }
}
"""What the table and its columns hold."""


def shape_mark(shapes: Iterable[TableSchema]) -> str:
    """Returns a mark that differs for each set of tables, columns and types; their order does not matter."""
    columns = ((shape.name, one.name, one.data_type, one.nullable) for shape in shapes for one in shape.columns)
    return digest(*sorted(map(str, columns)))
