"""A database that an older layout has is read, synced on and exact; nothing that was begun is begun anew.

`tests/samples/databases/README.md` says what happened to each before it was saved.
"""

from __future__ import annotations

import gzip
import json
import random
import shlex
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psycopg2
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.sources import SOURCES
from gapless.sources._schema.layout import LAYOUT
from tests.support.world import World, some

SAMPLES = Path(__file__).parents[1] / "samples" / "databases"
WRITTEN = ("omni", "sequence", "kizen", "tines")
"""Whose datasets each database holds."""
FIRST = "0.1.0"
LATER = ["layout-1", "layout-2"]
"""Each with a DuckDB file and a dump of a Postgres database."""
MAIN = {name: source.main.name for name, source in SOURCES.items()}
LISTINGS_ONLY = "kizen"
"""Whose backfill broke off before it had read a record."""
RUNS = "select run_id, started_at, finished_at, outcome, rows, requests, error, version from runs"


@dataclass
class Old:
    """The file, with one of its vendors on loopback."""

    world: World
    letter: Any
    """Id of the record that could not be read."""
    mended: dict[str, Any]

    def mend(self) -> None:
        self.world.fake.change(self.letter, **self.mended)


@pytest.fixture
def old(world: Callable[[Any], World], destination: str) -> Callable[..., Old]:
    def begin(name: str, layout: str = FIRST) -> Old:
        vendors = SAMPLES / layout / f"vendors{'' if layout == FIRST else f'.{destination}'}.json.gz"
        with gzip.open(vendors) as packed:
            saved = json.load(packed)[name]
        fake = getattr(import_module(f"gapless.sources.{name}.fake"), f"{name.capitalize()}Fake")()
        vars(fake).update({attribute: _restored(value) for attribute, value in saved["fields"].items()})
        fake._random = random.Random(f"later {name}")  # else later records would take the ids of earlier ones
        here = world(fake)
        if destination == "postgres":
            url = here.database.settings["DESTINATION__POSTGRES__CREDENTIALS"]
            dump = gzip.decompress((SAMPLES / layout / "postgres.sql.gz").read_bytes()).decode()
            with closing(psycopg2.connect(url)) as db, db, db.cursor() as cursor:
                cursor.execute(dump)
        else:
            with gzip.open(SAMPLES / layout / "gapless.duckdb.gz") as packed, open("gapless.duckdb", "wb") as file:
                shutil.copyfileobj(packed, file)
        return Old(here, saved["letter"], saved["mended"])

    return begin


def _restored(value: Any) -> Any:
    """What `value` stood for before it was JSON."""
    if isinstance(value, list):
        return [_restored(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((tag, content),) = value.items()
    if tag == "$set":
        return {_restored(item) for item in content}
    if tag == "$time":
        return datetime.fromisoformat(content)
    if tag == "$seconds":
        return timedelta(seconds=content)
    return tuple(_restored(content)) if tag == "$tuple" else {_restored(k): _restored(v) for k, v in content}


def told(*command: str, code: int) -> Any:
    """The JSON that the command prints; it must end with `code`."""
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", some(WRITTEN, "sequence", "tines"))
def test_it_is_read(name: str, old: Callable[..., Old]) -> None:
    """`status` and `gaps` say what is open in it, and ask no vendor."""
    here = old(name)
    status = told("status", code=0)["sources"][name]
    (coverage,) = status["coverage"].values()
    assert (status["last_run"]["outcome"], status["complete"]) == ("failed", False)
    assert status["rows"][MAIN[name]] == here.world.sql(f"select count(*) from {MAIN[name]}")[0][0] > 25
    assert status["dead_letters"]["record"] >= 1
    assert coverage["missing"] if name == "sequence" else coverage["failed"] >= 4
    gaps = told("gaps", name, code=3)["gaps"]
    times = [gap[bound] for gap in gaps for bound in ("since", "until") if gap[bound]]
    assert times
    assert [time for time in times if not time.endswith("+00:00")] == []
    kinds = [gap["kind"] for gap in gaps]
    assert kinds.count("interval" if name == "sequence" else "failing") >= 2
    assert kinds.count("backfill") == 1
    assert here.world.fake.requests == []


@pytest.mark.parametrize("name", some(WRITTEN, "sequence"))
def test_the_next_sync_is_exact(name: str, old: Callable[..., Old]) -> None:
    """It goes on where the older version broke off, reads the mended record, and keeps the history of runs."""
    synced_on(old(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", some(WRITTEN, "sequence"))
@pytest.mark.parametrize("layout", LATER)
@pytest.mark.parametrize("destination", ["duckdb", "postgres"])
def test_each_later_layout_is_synced_on(name: str, layout: str, destination: str, old: Callable[..., Old]) -> None:
    """A database of each released layout, as a file and on Postgres."""
    synced_on(old(name, layout))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layout"), some(product(WRITTEN, (FIRST, *LATER)), ("tines", FIRST), ("kizen", LATER[-1]))
)
def test_it_is_copied_as_it_is(name: str, layout: str, old: Callable[..., Old]) -> None:
    """Without the tables that are newer than it; the copy tells what the file tells, and is synced on, exact."""
    here = old(name, layout)
    where = here.world.folder / "second.duckdb"
    here.world.set(DESTINATION__SECOND__DESTINATION_TYPE="duckdb", DESTINATION__SECOND__CREDENTIALS=str(where))
    kinds = {gap["kind"] for gap in told("gaps", name, code=3)["gaps"]}
    assert CliRunner().invoke(app, ["copy", name, "--to", "second"]).exit_code == 0
    assert {gap["kind"] for gap in told("gaps", name, "--destination", "second", code=3)["gaps"]} == kinds
    shutil.move(where, here.world.folder / "gapless.duckdb")
    synced_on(here)


def synced_on(here: Old) -> None:
    """Its next sync is exact, and so is the one after it; it is of today's layout then."""
    before = here.world.sql(f"{RUNS} order by started_at")
    here.mend()
    here.world.complete()
    here.world.assert_exact()
    assert here.world.letters() == []
    runs = here.world.sql(f"{RUNS} order by started_at")
    assert (runs[:-1], len(before)) == (before, 4)
    assert here.world.sql("select version from layout") == [(LAYOUT,)]
    here.world.fake.advance(60)
    here.world.complete()
    here.world.assert_exact()


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "destination"), [(FIRST, "duckdb"), ("layout-1", "postgres")])
def test_the_views_of_tables_without_a_later_column(layout: str, destination: str, old: Callable[..., Old]) -> None:
    """What the tables of one source lack yet is null in views; they have it as soon as its next sync made it."""
    begun = old("omni", layout)
    begun.mend()
    here = begun.world
    option = here.database.option
    gone = "select account, count(*) > 0, count(gone_at) from activity.timeline group by account order by account"
    assert here.sql("select 1 from information_schema.columns where column_name = 'gone_at'") == []
    assert told("views", *option, code=0)["views"]["timeline"]["rows"] > 100
    every = here.sql(gone)
    assert [row[0] for row in every] == sorted(WRITTEN)
    here.complete()
    assert [row[0] for row in here.sql(gone)] == sorted(WRITTEN)
    one = "(select min(id) from omni.action_logs)"
    here.database.change("omni", f"update omni.action_logs set gone_at = current_timestamp where id = {one}")
    assert here.sql(gone) == [(account, some, int(account == "omni")) for account, some, _ in every]
    made = here.sql("select needs from activity._made")[0][0].split()
    lacking = [name for name in made if name.endswith(".gone_at")]
    assert ("kizen.logged_activities.gone_at" in lacking, "omni.action_logs.gone_at" in lacking) == (True, False)


@pytest.mark.slow
def test_a_run_that_fails_is_noted(old: Callable[..., Old]) -> None:
    """Also the first one after an update, before any load has added the columns of today."""
    here = old("sequence")
    here.world.intercept = lambda request: httpx.Response(401)
    before = here.world.sql(RUNS)
    outcome = here.world.sync()
    assert outcome.outcome == "failed"
    assert len(here.world.sql(RUNS)) == len(before) + 1
    assert here.world.sql(f"select outcome, told from runs where run_id = '{outcome.run_id}'") == [("failed", None)]
    assert outcome.rounds >= 1


@pytest.mark.sweep  # usually the first test says that it is known, and tests/contract that one goes on
@pytest.mark.parametrize("name", WRITTEN)
def test_the_backfill_goes_on(name: str, old: Callable[..., Old]) -> None:
    """With the command that `gaps` names, and fewer requests than the whole of it."""
    here = old(name)
    here.mend()
    (fill,) = [gap["fill"] for gap in told("gaps", name, code=3)["gaps"] if gap["kind"] == "backfill"]
    done = CliRunner().invoke(app, shlex.split(fill)[1:])
    assert (done.exit_code, f"{name}: goes on at" in done.stderr) == (0, True), done.output
    asked = here.world.asked()
    here.world.fake.requests.clear()
    done = CliRunner().invoke(app, [*shlex.split(fill)[1:], "--again"])
    assert done.exit_code == 0, done.output
    assert asked == here.world.asked() if name == LISTINGS_ONLY else 0 < asked < here.world.asked()
    assert [gap for gap in told("gaps", name, code=3)["gaps"] if gap["kind"] == "backfill"] == []


def test_every_source_of_that_version_is_still_there() -> None:
    """A dataset that nobody can sync on would be lost."""
    assert set(WRITTEN) <= set(SOURCES)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "destination"),
    some(
        [(FIRST, "duckdb"), *((one, where) for one in LATER for where in ("duckdb", "postgres"))], (FIRST, "duckdb")
    ),
)
def test_it_is_erased_from_before_a_sync_upgrades_it(
    layout: str, destination: str, old: Callable[..., Old], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record is forgotten, older ones are, a policy is applied, it is compacted; syncs are whole but for it."""
    begun = old("tines", layout)
    here, option = begun.world, begun.world.database.option
    ((record,),) = here.sql("select max(id) from action_logs")
    assert told("forget", "tines", "--id", str(record), "--table", "action_logs", "--yes", *option, code=0)["records"]
    assert told("keep", "tines", "9000d", "--yes", *option, code=0)["rows"] == {}
    monkeypatch.setenv("TINES_PRIVACY", "action_logs.message=drop")
    told("privacy", "apply", "tines", "--yes", *option, code=0)
    assert here.sql("select count(message) from action_logs") == [(0,)]
    told("compact", "tines", *option, code=0)
    begun.mend()
    for _ in range(2):
        here.complete()
        stored = {key for (key,) in here.sql("select id from action_logs")}
        served = {row["id"] for row in here.fake.truth()["action_logs"]}
        assert served - stored == {record}
        here.fake.advance(60)
    assert here.sql("select count(message) from action_logs") == [(0,)]
    assert here.sql("select version from layout") == [(LAYOUT,)]
