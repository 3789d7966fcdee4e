"""Text that would be SQL, were it put into a statement: a hostile vendor's ids and words, and a user's arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from tests.contract.conftest import NAMES
from tests.contract.subject import subject
from tests.support.world import World

Begin = Callable[[Any], World]
HOSTILE = (
    "'; drop table {0}.coverage; --", '"; drop schema {0} cascade; --', "x' or '1'='1", "\\'; delete from {0}.runs",
    "$$; drop table {0}.runs; $$", "{{0}} %s :id ?", "/*", "x') on conflict do nothing; --",
    "'; copy {0}.runs to 'stolen.csv'; --", "'; attach 'stolen.duckdb'; --",
)  # fmt: skip
LINES = ("status", "gaps", "verify {0} --whole", "sync {0}")
PASTED = ("sync {0} --id", "verify {0} --id", "state rewind {0} --id", "gaps {0} --max-age")
EVERY = "select table_schema, table_name, column_name from information_schema.columns order by all"


def test_a_vendor_sends_sql(world: Begin) -> None:
    """As ids of parents and records and as text: all rows are as they were sent, in the same tables."""
    about = subject(NAMES[0])
    fake = about.empty()
    assert about.add_parent
    for text in [text.format(about.name) for text in HOSTILE]:
        parent = about.add_parent(fake, **{about.parent_id: text})[about.parent_id]
        about.add(fake, parent, **{about.id: text, about.text: text})
    here = world(fake)
    here.complete()
    here.assert_exact()
    before = here.sql(EVERY)
    for line in LINES:
        result = CliRunner().invoke(app, line.format(about.name).split())
        assert result.exit_code in (0, 3), (line, result.output)
    here.assert_exact()
    assert here.sql(EVERY) == before
    assert [*here.folder.glob("stolen*")] == []


def test_a_user_pastes_sql(world: Begin) -> None:
    """What was pasted as an argument is a value: nothing is dropped, whatever the command says to it."""
    about = subject(NAMES[0])
    here = world(about.filled())
    here.complete()
    before = here.sql(EVERY)
    for command in PASTED:
        for text in HOSTILE[:2]:
            CliRunner().invoke(app, [*command.format(about.name).split(), text.format(about.name)])
    assert here.sql(EVERY) == before
    here.assert_exact()


def test_the_texts_are_weapons() -> None:
    """The twin: put between quotes into a statement, the first two drop what is there."""
    for quote, text in zip("'\"", HOSTILE, strict=False):
        with duckdb.connect() as database:
            database.execute("create schema acme; create table acme.coverage (id text)")
            database.execute(f"select 1 as {quote}x{text.format('acme')}")
            found = database.execute("select count(*) from information_schema.tables").fetchone()
            assert found == (0,), text
