"""Where people meet a source: the views over all sources, the demo, the page, `status`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest

from gapless.pipelines.ui import coverage, overview, queries, timeline
from gapless.pipelines.views import refresh
from gapless.sources import SOURCES
from tests.contract.commands import gapless, run
from tests.contract.conftest import NAMES, of
from tests.contract.subject import Subject
from tests.support.world import World


@of(NAMES[-1])
def test_views(subject: Subject, synced: World) -> None:
    """Every record is in the timeline with its time, each of its rows leads to a row; other views know the source."""
    name, main = subject.name, subject.main
    assert {view for (view,) in synced.sql("select view_name from duckdb_views() where schema_name = 'activity'")} > {
        view.name for view in refresh.views()
    }
    time = subject.source.main.time_column
    records = f"select {subject.id_column}::varchar, {time} from {main} order by all"
    events = f"select distinct record_id, occurred_at from activity.timeline where account = '{name}' order by all"
    assert synced.sql(events) == synced.sql(records)
    for (table,) in synced.sql("select distinct row_table from activity.timeline"):
        astray = f"row_table = '{table}' and row_dlt_id not in (select _dlt_id from {table})"
        assert synced.sql(f"select count(*) from activity.timeline where {astray}") == [(0,)]
    for view in ("freshness", "coverage", "runs", "daily_volume"):
        assert synced.sql(f"select distinct account from activity.{view}") == [(name,)], view
    assert synced.sql(f"select sum(records) from activity.daily_volume where account = '{name}'") == [(24,)]


@of(NAMES[0], NAMES[-1])
def test_status(subject: Subject, synced: World) -> None:
    """It is told, complete, with when its vendor was asked last."""
    (found,) = json.loads(gapless(synced, "status", "--json").stdout)["sources"].items()
    assert (found[0], found[1]["complete"]) == (subject.name, True), found


@pytest.fixture
def page(synced: World) -> Iterator[World]:
    """What the page is about."""
    file = synced.folder / "gapless.duckdb"
    queries.select(queries.UiTarget(file, synced.folder / "copy.duckdb"))
    yield synced
    queries._current.clear()


@of(NAMES[3])
def test_page(subject: Subject, page: World) -> None:
    """Its card, its colour in the pictures, its coverage, its runs and what happened."""
    name, now = subject.name, datetime(2026, 3, 2, 12, tzinfo=UTC)
    card = overview.health(now).split(f"<h3>{name}", 1)[1].split("<h3>", 1)[0]
    assert "never synced" not in card
    assert subject.source.facts.colour in overview.volume("all time", "all")
    assert f"{name}.{subject.main}" in coverage.coverage(name, now)
    assert name in coverage.runs(name)
    chosen = {"source": name, "kind": "all", "status": "all", "period": "all time", "search": "", "item": ""}
    assert "<section>" in timeline.timeline(1, **chosen)


@of(NAMES[-1])
def test_demo(subject: Subject) -> None:
    """Its fake is served and synced twice, in its main table something stands, and time brings more."""
    with patch.dict(SOURCES, {subject.name: subject.source}, clear=True):  # all together are the demo's own test
        shown: dict[str, Any] = json.loads(run("demo", "--json").stdout)
    assert shown["exit_code"] == 0
    for step in ("first", "second"):
        assert [(one["source"], one["outcome"]) for one in shown[step]] == [(subject.name, "complete")]
    counts = shown["tables"][f"{subject.name}.{subject.main}"]
    assert counts["second"] > counts["first"] > 0
