"""Texts in SQL: whatever is in them, an engine reads them back as they are."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import duckdb
from hypothesis import given
from hypothesis import strategies as st

from gapless.sources._dlt.literals import text_literal

HOSTILE = ["", "a.b", "it's", "') or ('1'='1", "a\\", "{0}", "{chr}", '"id"', "100%s", ":name", "\r\n", "☃ é", "--"]
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"])))


@given(st.lists(TEXTS, max_size=4))
def test_a_text_comes_back_unchanged(texts: list[str]) -> None:
    """From DuckDB and SQLite, also after a template was filled in."""
    whole = "|".join(texts).replace("\0", "")  # SQLite's own functions end a text there
    made = f"select {text_literal(whole, '{chr}')}"
    assert duckdb.execute(made.format(chr="chr")).fetchone() == (whole,)
    with closing(sqlite3.connect(":memory:")) as database:
        assert database.execute(made.format(chr="char")).fetchone() == (whole,)


@given(TEXTS)
def test_nothing_ends_a_text(text: str) -> None:
    """No quote but those around plain characters, no backslash and no mark of a parameter is in the expression."""
    made = text_literal(text, "chr")
    assert made.count("'") % 2 == 0
    assert not set(made) & set('\\%:"{}\n\r')
