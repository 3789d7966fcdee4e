"""`rows` means one thing: rows written into the vendor's tables. Every place tells the same, and what they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli import progress
from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations._dlt.runtime import DatabaseException
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.observability.webhook import document
from gapless.pipelines.outcome import LEDGER_TABLES, Outcome
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.sync.run import sync
from gapless.sources._dlt.row_changes import RowChanges
from gapless.sources._ledger.shard import Shard
from tests.contract.subject import subject
from tests.support.world import World, some

Begin = Callable[[Any], World]


KINDS = ("new", "changed", "unchanged")


def told(here: World, outcome: Outcome) -> set[tuple[int | None, ...]]:
    """Rows, and records that are new, changed and unchanged, as every place tells them."""
    select = f"select rows, new_rows, changed_rows, unchanged_rows from runs where run_id = '{outcome.run_id}'"
    (run,) = here.sql(select)
    values = json.loads(json.dumps(outcome.to_json()))
    facts = progress.outcome_facts(outcome)
    (source,) = document("partial", 3, "duckdb", [outcome], None)["sources"]
    return {
        run,
        (sum(values["rows"].values()), *(sum(values[kind].values()) for kind in KINDS)),
        (facts["rows"], *(facts[f"rows_{kind}"] for kind in KINDS)),
        (sum(source["rows"].values()), *(source[f"rows_{kind}"] for kind in KINDS)),
    }


@pytest.mark.parametrize("name", some(["omni", "sequence"], "omni"))
def test_every_place_tells_the_same(name: str, world: Begin) -> None:
    """Of a first sync, an idle one, and one with new and changed records; the ledger never counts."""
    own = subject(name)
    here = world(own.filled())
    first = here.complete()
    tables = {table for table in own.tables if here.sql(f"select 1 from {table} limit 1")}
    assert (first.rows.keys(), first.rows.keys() & set(LEDGER_TABLES)) == (tables, set())
    everything = sum(here.sql(f"select count(*) from {table}")[0][0] for table in tables)
    roots = {table.name: here.sql(f"select count(*) from {table.name}")[0][0] for table in own.source.tables}
    assert first.new == {table: roots.get(table, 0) for table in first.new or ()}
    assert told(here, first) == {(everything, sum(first.new.values()), 0, 0)}
    here.fake.advance(60)
    before = sum(here.sql(f"select count(*) from {table}")[0][0] for table in (first.new or ()))
    second = here.complete()
    after = sum(here.sql(f"select count(*) from {table}")[0][0] for table in (first.new or ()))
    written = sum(second.rows[table] for table in (first.new or ()))
    new, changed = after - before, second.rows_changed or 0
    assert told(here, second) == {(second.rows_written, new, changed, written - new - changed)}
    assert 0 < new < written
    third = here.complete()
    assert told(here, third) == {(third.rows_written, 0, 0, sum(third.rows[table] for table in (third.new or ())))}
    assert f"{third.rows_written:,} rows (0 new)" in progress.outcome_text(third)


def _refused(*_: object) -> None:
    raise DatabaseException(Exception("out of memory"))


def test_what_is_not_known_is_not_claimed(world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards write at the same time, so the growth of a table is not one shard's; only comparing rows tells."""
    here = world(subject("omni").filled())
    target = Target(Target.find("duckdb").backend, Shard(2, 2))
    (outcome,) = sync(["omni"], target, SyncRequest())
    counted = (outcome.rows_new, outcome.rows_changed, outcome.rows_unchanged)
    assert counted == (sum(outcome.rows[table] for table in ("leads", "action_logs")), 0, 0)
    monkeypatch.setattr(RowChanges, "compare", _refused)
    here.fake.advance(60)
    (outcome,) = sync(["omni"], target, SyncRequest())
    assert (outcome.new, outcome.changed, outcome.unchanged, outcome.rows_written > 0) == (None, None, None, True)
    select = 'select new_rows, changed_rows, unchanged_rows from runs order by "finished_at" desc limit 1'
    assert here.sql(select) == [(None, None, None)]


def test_the_summary_shows_both(world: Begin) -> None:
    """A sync that wrote rows again and found none new says so."""
    here = world(subject("omni").filled())
    here.synced()
    here.fake.change(here.fake.truth()["action_logs"][0]["id"], summary="edited")
    lines = CliRunner().invoke(app, ["sync", "omni"]).stdout.splitlines()
    assert lines[0].split()[:5] == ["source", "outcome", "rows", "written", "new"]
    assert lines[1].split()[3] == "0"
    assert "leads 4 (0 new)" in lines[1]
