"""The newest events are found in two questions, and are those that one question would find."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import duckdb
import pytest

from gapless.pipelines.ui.database.in_duckdb import DuckdbDatabase
from gapless.pipelines.ui.site import Question
from gapless.pipelines.ui.views.timeline import COLUMNS, PAGE_SIZE, _newest, event_columns

ROWS = """
create table activity.timeline as select
    case when i % 3 > 0 then timestamptz '2026-03-01 00:00:00+00' + (i // 7) * interval 1 minute end as occurred_at,
    'a' || i % 2 as account, i::varchar as record_id, i % 2 as part, 'x' as actor, 'y' as action,
    'lead' as object_type, 'l' || i % 5 as object_id, 'z' as status, 's' as summary, null as error,
    't' as row_table, 'r' || i as row_dlt_id
from range(450) as t (i)
"""


@pytest.fixture
def question() -> Question:
    """A question to 450 events: several at each time, every third without one."""
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'; create schema activity")
    connection.execute(ROWS)
    told: Any = SimpleNamespace(db=DuckdbDatabase(connection), remembered=lambda key, make: make())
    return cast(Question, told)


@pytest.mark.parametrize(
    ("where", "values"),
    [
        ("true", []),
        ("account = ?", ["a1"]),
        ("object_id = ?", ["l3"]),
        ("occurred_at is null", []),
        ("occurred_at < timestamptz '2026-03-01 00:20:00+00' or occurred_at is null", []),
        ("account = ?", ["nobody"]),
    ],
)
def test_two_questions_find_what_one_does(question: Question, where: str, values: list[Any]) -> None:
    """The same rows in the same order: with ties at the page's end, events without a time, and fewer than a page."""
    plain = (
        f"select {COLUMNS}, null from activity.timeline where ({where})"
        f" order by occurred_at desc nulls last, account, record_id, part limit {PAGE_SIZE + 1}"
    )
    assert _newest(question, f"({where})", values) == question.db.rows(plain, *values)


def test_views_of_an_older_version_have_no_names(question: Question) -> None:
    """Then the column is null, and with today's views it is read."""
    assert event_columns(question).endswith(", null")
    assert isinstance(question.db, DuckdbDatabase)
    question.db._connection.execute("alter table activity.timeline add column object_name varchar")
    assert event_columns(question).endswith(", object_name")
