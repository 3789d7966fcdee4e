"""A DuckDB file that somebody else handed over cannot make gapless read or write any other file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.duckdb_connections import connect
from gapless.pipelines.destinations.target import Target
from gapless.sources.tines.fake import TinesFake
from tests.support.page import Page
from tests.support.world import World

Begin = Callable[[Any], World]
SECRET = "canary-of-another-file"
TRICKS = {
    "a view": "create or replace view {view} as select content as x from read_text('{file}')",
    "a view of a macro": (
        "create or replace macro tines.steal() as table select content as x from read_text('{file}');"
        " create or replace view {view} as from tines.steal()"
    ),
    "a view of CSV": "create or replace view {view} as select * from read_csv('{file}', header = false)",
    "a view of a blob": "create or replace view {view} as select decode(content) as x from read_blob('{file}')",
    "a view of a folder": "create or replace view {view} as select file as x from glob('{folder}/*')",
    "a view of its own SQL": (
        "create or replace view {view} as select * from query('select content as x from read_text(''{file}'')')"
    ),
}


@pytest.mark.slow
def test_nothing_of_another_file_is_shown(world: Begin, tmp_path: Path) -> None:
    """By no view of the page, whatever its own views are made of, nor by commands that only read."""
    here = world(TinesFake())
    here.synced()
    file, private = here.folder / "gapless.duckdb", tmp_path / "private"
    private.mkdir()
    (private / f"{SECRET}-name").touch()
    (private / "diary.txt").write_text(SECRET)
    page, shown = Page(file), list[str]()
    for trick in TRICKS.values():
        with duckdb.connect(str(file)) as db:
            for view in ("timeline", "freshness", "daily_volume", "runs"):
                db.execute(trick.format(view=f"activity.{view}", file=private / "diary.txt", folder=private))
            assert SECRET in str(db.execute("from activity.timeline").fetchall()), "the trick itself must work"
        shown += [page.get(f"?view={view}").text for view in ("health", "timeline", "volume", "runs")]
        asked = page.get("?view=sql&sql=from+activity.timeline").text
        assert 'class="notice bad"' in asked
        shown.append(asked)
    shown += [CliRunner().invoke(app, [command, "--json"]).output for command in ("status", "gaps")]
    assert [text for text in shown if SECRET in text] == []


@pytest.mark.parametrize(
    "statement",
    [
        "copy (select 1) to '{0}/new.csv'", "attach '{0}/new.duckdb'", "export database '{0}/new'",
        "set enable_external_access = true", "set lock_configuration = false", "reset enable_external_access",
        "set memory_limit = '900GB'", "set temp_directory = '{0}'", "install httpfs", "load '{0}/x.duckdb_extension'",
        "create persistent secret x (type s3)", "set home_directory = '{0}'",
        "set allow_unsigned_extensions = true", "create table tines.x as select 1",
        "pragma profiling_output = '{0}/new.json'", "set log_query_path = '{0}/new.log'",
    ],
)  # fmt: skip
def test_a_reading_connection_is_locked(world: Begin, tmp_path: Path, statement: str) -> None:
    """It writes nothing anywhere, and nobody changes its settings."""
    here = world(TinesFake())
    here.synced()
    before = sorted(tmp_path.rglob("*"))
    with connect(here.folder / "gapless.duckdb", read_only=True) as db, pytest.raises(duckdb.Error):
        db.execute(statement.format(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


def test_every_connection_that_only_reads(world: Begin) -> None:
    """The second one at the same time, too; all of them in UTC, with a limit. A sync's own is as it was."""
    here = world(TinesFake())
    here.synced()
    settings = "select current_setting('enable_external_access'), current_setting('lock_configuration')"
    file = here.folder / "gapless.duckdb"
    with connect(file, read_only=True), connect(file, read_only=True) as second:
        assert second.execute(settings).fetchall() == [(False, True)]
        assert second.execute("select current_setting('timezone')").fetchall() == [("UTC",)]
    target = Target.find("duckdb")
    with target.queried() as connection:
        assert connection
        assert connection.execute(settings).fetchall() == [(False, True)]
    with target.locked():
        assert target.connection.execute(settings).fetchall() == [(True, False)]
