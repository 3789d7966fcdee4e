"""Where people meet a source: the views over all sources, the demo, the page, `status`."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest

from gapless.pipelines.views import refresh
from gapless.sources import SOURCES
from tests.contract.commands import gapless, run
from tests.contract.conftest import NAMES, of
from tests.contract.subject import Subject
from tests.support.page import Page
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
    # What is asked by a filter must be found whatever the vendor's case, and no actor be of an unknown kind.
    words = "object_type <> lower(object_type) or actor_type <> lower(actor_type)"
    assert synced.sql(f"select * from activity.timeline where account = '{name}' and ({words})") == []
    assert synced.sql(f"select * from activity.stg_{name} where (actor is null) <> (actor_type is null)") == []
    for view in ("freshness", "coverage", "runs", "daily_volume"):
        assert synced.sql(f"select distinct account from activity.{view}") == [(name,)], view
    assert synced.sql(f"select sum(records) from activity.daily_volume where account = '{name}'") == [(24,)]


@of(NAMES[0], NAMES[-1])
def test_status(subject: Subject, synced: World) -> None:
    """It is told, complete, with when its vendor was asked last."""
    (found,) = json.loads(gapless(synced, "status", "--json").stdout)["sources"].items()
    assert (found[0], found[1]["complete"]) == (subject.name, True), found


@of(NAMES[3])
def test_page(subject: Subject, synced: World) -> None:
    """Its card, its colour in the pictures, its coverage, its runs, its tables, and what happened with its rows."""
    name, page = subject.name, Page(synced.folder / "gapless.duckdb", now=datetime(2026, 3, 2, 12, tzinfo=UTC))
    card = page("health").split(f'id="card-{name}"', 1)[1].split("</section>", 1)[0]
    assert ("never synced" in card, "proven complete." in card) == (False, True)
    assert subject.source.facts.colour in page("volume")
    assert subject.main.replace("_", " ") in page("coverage", source=name)
    assert 'data-label="Outcome"' in page("runs", source=name)
    assert f"{name}.{subject.main}" in page("tables")
    rows = re.findall(r'href="(\?view=row[^"]+)"', page("timeline", source=name))
    assert "As JSON" in page.get(html.unescape(rows[0])).text


@pytest.mark.slow
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
