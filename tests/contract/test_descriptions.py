"""A database explains itself: no table, column or view of any source is without a description."""

from __future__ import annotations

import re

import pytest

from gapless.pipelines.erasure.note import MAKE
from gapless.pipelines.views import descriptions, refresh
from gapless.pipelines.views.view import View
from gapless.sources import SOURCES
from gapless.sources._ledger.erasure.tombstones import DESCRIPTIONS
from tests.contract.subject import Subject


def silent(found: descriptions.Descriptions, source: str) -> list[str]:
    """Returns the tables, views and columns without a sentence that ends."""
    places = [
        (dataset, name, column)
        for dataset, tables in (
            (source, descriptions.tables(SOURCES[source])),
            ("activity", dict.fromkeys(found.views)),
        )
        for name in tables
        for column in ("", *(tables[name] or found.views[name].column_names))
    ]
    return [".".join(place) for place in places if not re.search(r"\w", found.of(*place))]


def test_every_table_column_and_view_is_described(subject: Subject) -> None:
    """What a source adds says what it is: its models below each field, its views in their headers."""
    assert silent(descriptions.Descriptions(refresh.views()), subject.name) == []


def test_a_view_of_a_source_describes_columns_that_it_has(subject: Subject) -> None:
    """A line in a header that is about no column is left from another time."""
    every = refresh.views()
    for view in every:
        # A view over all sources describes the columns of their parts, too.
        parts = [one for one in every if view.name in (one.name, one.like)]
        assert view.columns.keys() - {name for one in parts for name in one.column_names} == set(), view.name
        assert view.about.startswith(f"One row per {view.grain}."), view.name


def test_the_tables_of_erasures_are_described_as_they_are_made() -> None:
    """dlt does not know them: their columns stand where they are made."""
    made = {name: [part.split()[0] for part in columns.split(", ")] for name, columns in MAKE.items()}
    assert {name: [*texts][1:] for name, texts in DESCRIPTIONS.items()} == made


def test_a_view_that_is_silent_is_found(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above can fail: a column that nobody describes, and a view without a header."""
    new = View("new", f"-- One row per x.\n-- Key: x.\nselect 1 as x, id as y from {subject.name}.no_table")
    bare = View("bare", f"select account from {subject.name}.coverage")
    assert silent(descriptions.Descriptions([new, bare]), subject.name) == [
        "activity.new.x", "activity.new.y", "activity.bare.",
    ]  # fmt: skip
