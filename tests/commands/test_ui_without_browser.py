"""The page of `gapless ui` without its browser: what the views answer, that they tell no more, and how it begins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from gapless.pipelines import redaction
from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.ui import coverage, overview, queries, server, timeline
from gapless.sources.omni.fake import OmniFake
from gapless.sources.tines.fake import TinesFake
from tests.support.world import World

Begin = Callable[[Any], World]
CHOSEN = {"source": "all", "kind": "all", "status": "all", "period": "all time", "search": "", "item": ""}
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"
KEY = "canary-key-0123456789"


@pytest.fixture(autouse=True)
def file(tmp_path: Path) -> Iterator[Path]:
    """What the page is about."""
    queries.select(queries.UiTarget(tmp_path / "gapless.duckdb", tmp_path / "copy.duckdb"))
    yield tmp_path / "gapless.duckdb"
    queries._current.clear()


def every_view() -> dict[str, str]:
    return {
        "health": overview.health(NOW),
        "volume": overview.volume("30 days", "all"),
        "states": overview.states("90 days", "all"),
        "coverage": coverage.coverage("all", NOW),
        "letters": coverage.dead_letters("all", raw=False),
        "runs": coverage.runs("all"),
        "timeline": timeline.timeline(1, **CHOSEN),
        "conversation": timeline.conversation(next(iter(timeline.leads().values()), "")),
    }


def changed(file: Path, *statements: str) -> None:
    with duckdb.connect(str(file)) as db:
        for statement in statements:
            db.execute(statement)


def test_one_source_is_enough(world: Begin) -> None:
    """Each view answers, whichever sources are there."""
    world(TinesFake.demo()).synced()
    shown = every_view()
    assert [name for name, html in shown.items() if "<section>" not in html] == []
    assert "needs a look" not in shown["health"]
    assert "never synced" in shown["health"]


def test_counts_are_the_views(world: Begin) -> None:
    """Columns of the chart and lines of the timeline are what the views hold."""
    here = world(TinesFake.demo())
    here.synced()
    ((records,),) = here.sql("select sum(records) from activity.daily_volume")
    drawn = re.findall(r"<title>[\d-]+: tines ([\d,]+)</title>", overview.volume("all time", "all"))
    assert sum(int(one.replace(",", "")) for one in drawn) == records
    ((errors,),) = here.sql("select count(*) from activity.timeline where status = 'error'")
    assert f"of {errors}, UTC" in timeline.timeline(1, **{**CHOSEN, "status": "error"})


@pytest.mark.parametrize("size", [1, 120, 121, 900, 901, 5000])
def test_no_record_falls_between_two_buckets(size: int) -> None:
    """Days, weeks or months: each record is in one column."""
    first = datetime(2024, 1, 31, tzinfo=UTC).date()
    days = [first + timedelta(days=n) for n in range(0, size + 1, max(1, size // 50))]
    rows = [(day, "tines", 3, 3, 0) for day in days]
    drawn = overview._drawn(rows, ["tines"], overview._size(days[0], days[-1]), 2, {"tines": "#a97bb5"})
    assert sum(map(int, re.findall(r"tines (\d+)<", drawn))) == 3 * len(days)


def test_what_vendors_say_is_text(world: Begin, file: Path) -> None:
    """HTML in a message, a summary or an id does nothing, and a key that got into a record is not shown."""
    here = world(OmniFake.demo())
    here.synced()
    changed(
        file,
        f"update omni.action_logs set summary = 'a {SCRIPT} {KEY}', error = '{SCRIPT}'",
        "update omni.action_logs set lead_id = '\"><i>' || lead_id",
        f"update omni.action_logs__messages set body = 'x {SCRIPT} &lt;script&gt; {KEY}', subject = '{SCRIPT}'",
    )
    redaction._known.add(KEY)
    try:
        shown = every_view()
    finally:
        redaction._known.discard(KEY)
    assert [name for name, html in shown.items() if "<script" in html or "<i>" in html or KEY in html] == []
    assert "&lt;script&gt;" in shown["conversation"]


def test_raw_json_only_when_asked_for(world: Begin) -> None:
    """A dead letter's reason is shown; its JSON when it is asked for."""
    here = world(TinesFake.demo())
    log = here.fake.truth()["action_logs"][0]
    here.fake.add_log(log["action_id"], id="no number")
    assert here.sync().outcome == "partial"
    raw, plain = coverage.dead_letters("all", raw=True), coverage.dead_letters("all", raw=False)
    assert ("no number" in plain, "inbound_event" in plain, "inbound_event" in raw) == (True, False, True)


def test_the_picture_of_coverage(world: Begin, file: Path) -> None:
    """Gaps in red, above what is proven; a reset parent is all red; what was asked without news is none."""
    here = world(TinesFake.demo())
    here.synced()
    assert 'class="gap"' not in coverage.coverage("all", NOW)
    first, second, third = (row[0] for row in here.sql("select parent from coverage order by parent limit 3"))
    changed(
        file,
        f"""update tines.coverage set missing = '[[null, "2026-02-20T00:00:00Z"]]' where parent = '{first}'""",
        f"update tines.coverage set covered_to = '1970-01-01T00:00:00Z' where parent = '{second}'",
        f"update tines.coverage set failures = 3, error = 'no' where parent = '{third}'",
    )
    drawn = coverage.coverage("tines", NOW)
    assert "3 of" in drawn
    told = re.findall(r'<rect class="gap"[^>]*><title>tines.action_logs (\w+): (\w+)', drawn)
    assert sorted(told) == sorted([(first, "gap"), (second, "reset"), (third, "failed")])
    assert "gapless sync tines" in drawn


def test_nothing_yet(file: Path) -> None:
    """Each view says how to begin; the menus are empty."""
    assert ["Nothing synced yet" in html for html in every_view().values()] == [True] * 8
    assert (timeline.choices("all"), timeline.objects("all", "all"), timeline.leads()) == (([], []), {}, {})


def test_the_copy_is_asked(world: Begin, file: Path) -> None:
    """As soon as there is one, also while a sync writes."""
    here = world(TinesFake.demo())
    here.synced()
    here.set(GAPLESS_PUBLISH="copy.duckdb")
    assert CliRunner().invoke(app, ["publish", "copy.duckdb"]).exit_code == 0
    assert queries.current().readable == file.with_name("copy.duckdb")
    with Target.find("duckdb").locked():
        assert "Freshness" in overview.health(NOW)
    assert "copy.duckdb, published 20" in overview.title()


def test_how_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, on another destination and on a port that is taken it says what to do."""
    run = CliRunner().invoke
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    done = run(app, ["ui"])
    assert (done.exit_code, "pip install -e '.[ui]'" in done.stderr) == (2, True)
    monkeypatch.setattr(server, "find_spec", lambda name: object())
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://u:p@127.0.0.1:1/d")
    done = run(app, ["ui", "--destination", "postgres"])
    assert (done.exit_code, "reads a DuckDB file" in done.stderr) == (2, True)
    with server._listening(0) as taken:
        port = taken.getsockname()[1]
        done = run(app, ["ui", "--port", str(port)])
    assert (done.exit_code, f"port {port}: Address already in use" in done.stderr) == (1, True)
