"""A comparison before a merge tells new, changed and unchanged records apart, with what is below them."""

from __future__ import annotations

from typing import Any, cast

import duckdb
import pytest

from gapless.sources._dlt.row_changes import Known, RowChanges, comparison

TEXT = {"data_type": "text"}
OWN = {"_dlt_id": TEXT, "_dlt_load_id": TEXT}
TABLES = [
    {"name": "logs", "columns": {"id": {**TEXT, "primary_key": True}, "text": TEXT, **OWN}},
    {"name": "logs__items", "columns": {"text": TEXT, "_dlt_root_id": TEXT, **OWN}},
]


class Client:
    """A client of dlt's, as far as a comparison needs one."""

    def __init__(self) -> None:
        self.db, self.asked = duckdb.connect(), list[str]()
        for name in ("stored", "staged"):
            self.db.execute(f"create schema {name}")
            self.db.execute(f"create table {name}.logs (id text, text text, _dlt_id text, _dlt_load_id text)")
            self.db.execute(f"create table {name}.logs__items (text text, _dlt_root_id text, _dlt_id text)")

    def add(self, schema: str, record: str, text: str | None, *items: str | None) -> None:
        self.db.execute(f"insert into {schema}.logs values (?, ?, ?, ?)", [record, text, f"#{record}", schema])
        for at, item in enumerate(items):
            row = [item, f"#{record}", f"#{record}/{at}"]
            self.db.execute(f"insert into {schema}.logs__items values (?, ?, ?)", row)

    def execute_sql(self, sql: str) -> list[tuple[Any, ...]]:
        self.asked.append(sql)
        return self.db.execute(sql).fetchall()


def compared(client: Client, row: str) -> Known:
    changes = RowChanges()
    changes.comparisons["logs"] = comparison(
        TABLES, lambda name: (f"stored.{name}", f"staged.{name}"), lambda name: f'"{name}"', row
    )
    changes.compare("logs", cast("Any", client))
    return changes.take()["logs"]


@pytest.mark.parametrize("row", ["rowid", ""])
@pytest.mark.parametrize(
    ("stored", "staged", "changed"),
    [
        (("a", "x"), ("a", "x"), 0),
        (("a", None), ("a", None), 0),
        (("a", None), ("a", ""), 1),
        (("a", "x"), ("a", "y"), 1),
        (("a", "x", "i", "j"), ("a", "x", "i", "j"), 0),
        (("a", "x", "i", "j"), ("a", "x", "i", "k"), 1),
        (("a", "x", "i", "j"), ("a", "x", "i"), 1),
        (("a", "x", "i"), ("a", "x"), 1),
        (("a", "x"), ("a", "x", None), 1),
        (("a", "x", "i", "j"), ("a", "y", "k", "l"), 1),
    ],
)
def test_a_record_is_changed_with_what_is_below_it(row: str, stored: Any, staged: Any, changed: int) -> None:
    """Its own cells and its rows below it count, and so do rows that came or went; a new record is not changed."""
    client = Client()
    client.add("stored", *stored)
    client.add("stored", "other", "is not in the package", "nor this")
    client.add("staged", *staged)
    client.add("staged", "new", "was not here", "nor this")
    assert compared(client, row) == Known(1, changed)


def test_new_records_alone_are_not_compared() -> None:
    """A first load asks once how many records are known."""
    client = Client()
    client.add("staged", "new", "was not here", "nor this")
    assert (compared(client, "rowid"), len(client.asked)) == (Known(0, 0), 1)


def test_a_merge_that_is_tried_again_keeps_the_first_answer() -> None:
    """If the first try was committed after all, the second one finds its rows."""
    client, changes = Client(), RowChanges()
    client.add("staged", "new", None)
    changes.comparisons["logs"] = comparison(
        TABLES, lambda name: (f"stored.{name}", f"staged.{name}"), lambda name: name, "rowid"
    )
    changes.compare("logs", cast("Any", client))
    client.add("stored", "new", None)
    changes.compare("logs", cast("Any", client))
    assert changes.take() == {"logs": Known(0, 0)}
    assert changes.take() == {}
