"""Postgres as the destination: a real server, started here; the same oracle as for DuckDB.

What the server cannot hold is a dead letter; whoever writes to a database has it for himself, from wherever he comes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import httpx2 as httpx
import psycopg2
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.config.folders import temporary_folder
from gapless.pipelines.destinations import advisory_lock
from gapless.pipelines.destinations._postgres import table_locks
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, Locked
from gapless.sources import SOURCES
from tests.contract.subject import Row, Subject, subject
from tests.support import warm
from tests.support.bad_records import set_
from tests.support.databases import HUGE, NUL, DuckDB, Postgres
from tests.support.destinations import killed
from tests.support.oracle import _rows, contract
from tests.support.postgres import Server
from tests.support.postgres_wire import Wire
from tests.support.world import CREDENTIALS, World, some

Begin = Callable[[Any], World]
NAMES = list(SOURCES)
TYPES = {"VARCHAR": "character varying", "DOUBLE": "double precision", "JSON": "jsonb"}
UNSTORABLE = [
    set_(NUL, text="a\0b"),
    set_(NUL, child_text="\0"),
    set_(NUL, json=[{"in\0a key": 1}]),
    set_(NUL, json=["\\\0"]),
    set_(NUL, brandNew={"a": "\0"}),
    set_(HUGE, json=["HUGE"]),
    set_(HUGE, brandNew="HUGE"),
]
"""What sound JSON Postgres cannot store, at every level, and the reason it must be given. HUGE is on the wire
1e200000."""
LOOKS_ALIKE = "\\u0000 12e123456"
"""Just text: a backslash and letters."""
WAITS = ("connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
AFTER_A_CRASH = ("the lock on this database of postgres is lost", "duplicate key value")
"""Why a sync ends then; the latter when the answer to another commit was lost on its way, and dlt repeats it."""
CLIENT = "dlt.destinations.impl.postgres.sql_client:Psycopg2SqlClient"


@pytest.fixture
def destination() -> str:
    """Where `world` has its data."""
    return "postgres"


@pytest.fixture
def warehouse(world: Begin) -> Callable[[str], World]:
    """A vendor and an empty database."""
    return lambda name: world(filled(name))


def filled(name: str) -> Any:
    it = subject(name)
    return it.filled(4, 20 if it.parents_table else 30, page_cap=8)


def url(here: World) -> str:
    """Of its database."""
    return here.database.settings["DESTINATION__POSTGRES__CREDENTIALS"]


@pytest.mark.slow
@pytest.mark.parametrize("name", some(SOURCES, list(SOURCES)[1]))
def test_what_it_can_hold_and_what_not(name: str, warehouse: Callable[[str], World]) -> None:
    """All good rows stand, what Postgres cannot store is a letter with its JSON; mended, changed, idle: exact, and
    value by value what DuckDB gets."""
    here, it = warehouse(name), subject(name)
    fake = here.fake
    here.intercept = lambda request: _with_huge_numbers(fake.handle(request))
    it.add_one(fake, **{it.text: LOOKS_ALIKE})
    good, bad = _unstorable(it, fake)
    assert len(bad) >= 5
    absent = sorted(f"{name}.{it.main} {i}: missing" for i in bad)
    assert here.sync().outcome == "partial"
    assert sorted(here.mismatches()) == absent
    records = {str(record[it.id]): record for record in it.records(fake)}
    letters = here.sql("select key, reason, raw_json from dead_letters")
    assert {key: reason for key, reason, _ in letters} == bad
    for key, _, raw in letters:
        kept = json.loads(raw.replace("1e200000", '"HUGE"'))
        assert records[key].items() >= kept.items()
    again = here.sync()  # asks for what failed by its id, where there is a way
    assert (again.outcome, len(again.failures)) == ("partial", len(bad))
    assert sorted(here.mismatches()) == absent
    for i, row in good.items():
        fake.change(i, **row)
    fake.advance(45)
    here.complete()
    here.assert_exact()
    assert here.sql("select * from dead_letters") == []
    _typed_as_the_contract_says(here)
    with here._open() as warehouse_db:
        held = {each: _values(warehouse_db, name, each) for each in it.tables}
    here.database = DuckDB(here.folder)
    here.complete()
    with here._open() as file:
        for each in it.tables:
            assert held[each] == _values(file, name, each), each


def _unstorable(it: Subject, fake: Any) -> tuple[dict[Any, Row], dict[str, str]]:
    """Adds a record of each kind that the source has; by their ids what mends them, and why they are letters."""
    good, bad = {}, {}
    for kind in UNSTORABLE:
        row = it.add(fake, it.parents(fake)[0], **it.with_children)
        if raw := kind.bad(row, it):
            changed = {name: value for name, value in json.loads(raw).items() if row.get(name) != value}
            good[row[it.id]] = {name: row.get(name) for name in changed}
            fake.change(row[it.id], **changed)
            bad[str(row[it.id])] = kind.outcome
    return good, bad


def _with_huge_numbers(answer: httpx.Response) -> httpx.Response:
    return httpx.Response(answer.status_code, content=answer.content.replace(b'"HUGE"', b"1e200000"))


def _values(db: Any, name: str, table: str) -> dict[str, Any]:
    rows = _rows(db, name, table, child="__" in table)
    return {row_id: (parent, index, node.cells) for parent, index, row_id, node in rows}


def _typed_as_the_contract_says(here: World) -> None:
    for table, columns in contract(here.name).items():
        query = f"select column_name, data_type from information_schema.columns where table_name = '{table}'"
        held = dict(here.sql(f"{query} and table_schema = '{here.name}'"))
        wanted = {column: TYPES.get(kind, kind.lower()) for column, kind in columns.items()}
        assert {column: held.get(column) for column in wanted} == wanted, table


@pytest.mark.slow
def test_a_time_that_is_of_the_year_10000_over_there(warehouse: Callable[[str], World]) -> None:
    """The server is in India: whoever reads such a time back must not ask for it as it is there."""
    name = next(name for name in SOURCES if subject(name).one_by_one)
    here = warehouse(name)
    subject(name).add_one(here.fake, **{subject(name).time: "9999-12-31T23:59:59Z"})
    here.complete()
    here.fake.advance(45)
    here.complete()
    here.assert_exact()


@pytest.mark.slow
def test_what_a_merge_looks_for_has_an_index(warehouse: Callable[[str], World]) -> None:
    """The keys of root tables and what ties the rows below to them: no package reads a table of a billion rows."""
    here = warehouse("omni")
    here.synced()
    columns = "regexp_replace(indexdef, '.*\\((.*)\\)', '\\1')"
    indexed = f"select tablename, {columns} from pg_indexes where schemaname = 'omni'"
    assert set(here.sql(indexed)) >= {
        ("action_logs", "id"),
        ("action_logs__messages", "_dlt_root_id"),
        ("action_logs__messages__documents", "_dlt_root_id"),
        ("leads", "lead_id"),
        ("status_changes", "record_id"),
        ("coverage", "parent"),
        ("dead_letters", "key"),
    }
    here.fake.add_log(here.fake.truth()["leads"][0]["leadId"], id="".join(map(str, range(9_000))), status="A" * 9_000)
    here.complete()
    assert here.mismatches() == []


NEWEST = "(select _dlt_id from sequence.activity_logs order by created_at desc limit 1)"
ITEMS = "sequence.activity_logs__activity_log_items"


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        f"update sequence.activity_logs set id = 'x' where _dlt_id = {NEWEST}",
        f"update sequence.activity_logs set _dlt_id = 'x' where _dlt_id = {NEWEST}",
        f"update {ITEMS} set _dlt_root_id = 'x', _dlt_parent_id = 'x' where _dlt_root_id = {NEWEST}",
        f"delete from sequence.activity_logs where _dlt_id = {NEWEST}",
    ],
)
def test_ids_that_somebody_changed(damage: str, warehouse: Callable[[str], World]) -> None:
    """What stands in the way of a record that is read again is replaced; it once ended every sync."""
    here = warehouse("sequence")
    here.synced()
    with closing(psycopg2.connect(url(here))) as connection, connection, connection.cursor() as cursor:
        cursor.execute(damage)
    assert here.sync().error is None
    assert here.mismatches() == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_an_idle_sync_loads_no_package(name: str, warehouse: Callable[[str], World]) -> None:
    """JSON is compared by value, as the driver decodes it and Postgres spells it in its own way."""
    here = warehouse(name)
    here.synced()
    for _ in range(2):
        last = here.complete()
    assert (last.packages, last.rows) == (0, {})


@pytest.mark.sweep
def test_the_commands(warehouse: Callable[[str], World]) -> None:
    """Sync, status, state and doctor as on DuckDB: coverage, letters, drift and runs are told."""
    here = warehouse("sequence")
    for key in (key for key in CREDENTIALS if not key.startswith("SEQUENCE_")):
        here.monkeypatch.delenv(key, raising=False)  # doctor asks every vendor whose keys are there
    here.fake.add_log(origin=[], brandNew=1)
    here.fake.add_log(brandNew={"a": 1})
    assert _command("sync", "sequence")[0] == 3
    assert _command("sync", "sequence", "--until", "2026-03-01")[0] == 3
    told = _command("status")[1]["sources"]["sequence"]
    assert told["rows"]["activity_logs"] == 31
    assert told["dead_letters"] == {"record": 1}
    assert told["drift"] == {"activity_logs": {"rows": 1, "fields": ["brandNew"]}}
    assert told["coverage"]["activity_logs"]["covered_to"].startswith(here.fake.now.isoformat()[:16])
    assert told["last_run"]["outcome"] == "partial"
    assert _command("state", "show")[1]["sequence"]["state"]["watermark"]
    assert _command("state", "reset", "sequence", "--yes")[1]["changed"] == 1
    told = _command("doctor")[1]
    assert "canary-password" not in json.dumps(told)
    checks = {check["name"]: check["result"] for check in told["checks"]}
    assert (checks["destination"], checks["lock"]) == ("ok", "ok")
    assert [len(rows) for rows in (here.sql("select * from runs"), here.sql("select * from coverage"))] == [2, 1]


def _command(*args: str) -> tuple[int, Any]:
    result = CliRunner().invoke(app, [*args, "--destination", "postgres", "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_one_writer_from_whatever_machine(warehouse: Callable[[str], World], server: Server) -> None:
    """Whoever comes second asks no vendor and exits 75, even without a common file; another database is free."""
    here = warehouse("sequence")
    with advisory_lock.locked(url(here), "postgres"):
        code, told = _command("sync", "sequence")
        assert (code, here.asked()) == (75, 0)
        assert "another machine" in told["error"]
        with advisory_lock.locked(server.database(), "postgres"):
            pass
    here.set(DESTINATION__POSTGRES__CREDENTIALS=server.url("nothing_there"))
    with pytest.raises(GaplessError, match="has no database nothing_there") as failed:
        here.sync()
    assert here.asked() == 0
    assert "canary-password" not in str(failed.value)


@pytest.mark.sweep
def test_each_source_has_its_own_lock(warehouse: Callable[[str], World]) -> None:
    """A sync of one is in the way of that one, and of what concerns all; others load beside it."""
    here = warehouse(NAMES[0])
    with Target.find("postgres").locked(NAMES[1]):
        assert _command("sync", NAMES[0])[0] == 0
        asked = here.asked()
        for command in (["sync", NAMES[1]], ["sync"], ["views"], ["state", "reset", NAMES[1], "--yes"]):
            code, told = _command(*command)
            assert (code, here.asked()) == (75, asked), command
            assert "another sync is writing" in told["error"]
        assert _command("state", "reset", NAMES[0], "--yes")[0] == 0
    assert _command("sync", NAMES[0])[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("command", [["sync", NAMES[1]], pytest.param(["doctor"], marks=pytest.mark.sweep)])
def test_a_table_that_somebody_locked(
    warehouse: Callable[[str], World],
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is waited for, but not for ever: who holds it is named, nobody was asked, and the next sync is exact."""
    here = warehouse(NAMES[1])
    here.synced()
    monkeypatch.setattr(table_locks, "SAID_AFTER", 0.0)
    with closing(psycopg2.connect(url(here), application_name="psql of Ann")) as other, other.cursor() as cursor:
        cursor.execute(f"lock table {NAMES[1]}.runs in access exclusive mode")
        pid = other.info.backend_pid
        here.set(DESTINATION__POSTGRES__CREDENTIALS=f"{url(here)}?options=-clock_timeout%3D300")
        here.fake.requests.clear()
        result = CliRunner().invoke(app, [*command, "--json", "--destination", "postgres"])
    said = f"the table {NAMES[1]}.runs is locked by session {pid} (user gapless, application psql of Ann, since 2"
    assert (said in result.stdout, "0.3 s" in result.stdout) == (True, True), result.stdout
    assert f"waiting: {said}" in caplog.text
    if command[0] == "sync":
        assert (result.exit_code, here.asked()) == (75, 0)
        here.complete()
        here.assert_exact()


@pytest.mark.slow
def test_a_lock_that_comes_in_the_middle(warehouse: Callable[[str], World], monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement waits as long as any other; the sync fails, says where to look, and the next one is exact."""
    here = warehouse(NAMES[1])
    here.synced()
    monkeypatch.setattr(advisory_lock, "wait_for_tables", lambda *_: None)
    here.set(DESTINATION__POSTGRES__CREDENTIALS=f"{url(here)}?options=-clock_timeout%3D100")
    with closing(psycopg2.connect(url(here))) as other, other.cursor() as cursor:
        cursor.execute(f"lock table {NAMES[1]}.{subject(NAMES[1]).main} in access exclusive mode")
        outcome = here.sync()
    assert outcome.outcome == "failed"
    assert "gapless doctor names who holds a table" in str(outcome.error)
    here.complete()
    here.assert_exact()


@pytest.mark.sweep
def test_all_sources_at_once(warehouse: Callable[[str], World]) -> None:
    """A process for each, into an empty database, as a scheduler starts them: exact, with all the views."""
    worlds = [warehouse(name) for name in NAMES]
    command = [sys.executable, "-m", "gapless.pipelines", "sync", "--destination", "postgres"]
    runs = [warm.Popen([*command, here.name], stdout=DEVNULL, stderr=PIPE) for here in worlds]
    ended = [run.communicate(timeout=60)[1] for run in runs]
    assert [run.returncode for run in runs] == [0] * len(runs), ended
    for here in worlds:
        here.database = worlds[-1].database
        here.assert_exact()
    made = worlds[0].sql("select count(distinct source) from activity.timeline")
    assert made == [(len(NAMES),)]


def test_looking_for_it_writes_nothing(
    warehouse: Callable[[str], World], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two commands that begin at once, before any lock, share no file that one may take from the other."""
    warehouse("sequence").set(DLT_DATA_DIR=str(tmp_path / "dlt"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    temporary_folder()  # this process's own; another test may have made it already
    before = sorted(tmp_path.rglob("*"))
    Target.find("postgres")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("statement", some([23, 39], 23))
def test_killed(statement: int, warehouse: Callable[[str], World]) -> None:
    """kill -9 at a counted statement: the lock is free again at once, the next sync ends exact."""
    here = warehouse("sequence")
    assert killed(here, CLIENT, statement)
    here.complete()
    assert here.mismatches() == []


@pytest.mark.sweep
@pytest.mark.parametrize(("commit", "crash"), some([(4, False), (4, True), (9, False), (9, True)], (9, True)))
def test_a_commit_that_goes_wrong(
    commit: int, crash: bool, warehouse: Callable[[str], World], request: pytest.FixtureRequest
) -> None:
    """Done but not confirmed, or not done at all: said or repeated, and exact after the next sync. After a crash
    nothing more is loaded without the lock."""
    server = request.getfixturevalue("own_server" if crash else "server")
    here = warehouse("sequence")
    here.database = Postgres(here.folder, server)
    here.set(**here.database.settings)
    how = {"fault": "crash", "crash": server.restart} if crash else {}
    with closing(Wire(server.port, commit, part=b"COMMIT\0", **how)) as wire:
        through = url(here).replace(str(server.port), str(wire.port))
        here.set(DESTINATION__POSTGRES__CREDENTIALS=through)
        outcome = here.sync(package_records=12)
        assert wire.server_is_up.wait(20)
        assert wire.statements >= commit
        assert outcome.error if crash else outcome.outcome == "complete" or outcome.error
        assert not crash or any(each in str(outcome.error) for each in AFTER_A_CRASH)
    here.set(DESTINATION__POSTGRES__CREDENTIALS=url(here))
    here.complete()
    assert here.mismatches() == []


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        pytest.param("", ("15", "30", "10", "3", "60000", "30", "4MB"), marks=pytest.mark.sweep),
        (
            "?connect_timeout=4&keepalives_idle=5&options=-ctcp_keepalives_idle%3D7%20-cwork_mem%3D1MB",
            ("4", "5", "10", "3", "60000", "7", "1MB"),
        ),
    ],
    ids=["ours", "the user's"],  # of which some are ours, too
)
def test_a_dead_wire_is_noticed_within_a_minute(
    own: str,
    wanted: tuple[str, ...],
    warehouse: Callable[[str], World],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every connection has an end to waiting, at both its ends; what the user says in the URL counts more."""
    here, connect = warehouse("sequence"), psycopg2.connect
    made: dict[str, Any] = {}
    monkeypatch.setattr(
        psycopg2, "connect", lambda *a, **k: made.setdefault(str((a, k)), (a, k)) and connect(*a, **k)
    )
    here.set(DESTINATION__POSTGRES__CREDENTIALS=url(here) + own)
    here.complete()
    assert len(made) >= 3  # the lock's, the dataset's and the staging dataset's
    for args, how in made.values():
        with closing(connect(*args, **how)) as db, db.cursor() as cursor:
            said = [db.get_dsn_parameters().get(name) for name in WAITS]
            cursor.execute("select current_setting('tcp_keepalives_idle'), current_setting('work_mem')")
            assert (*said, *cursor.fetchone()) == wanted


@pytest.mark.slow
def test_two_locks_are_not_needed_for_reading(warehouse: Callable[[str], World]) -> None:
    """Readers of Postgres are not shut out while a sync writes."""
    here = warehouse("omni")
    here.synced()
    with Target.find("postgres").locked():
        assert _command("status")[0] == 0
        with pytest.raises(Locked):
            here.sync()


def test_oracle_turns_red(warehouse: Callable[[str], World], server: Server) -> None:
    """The twin: a value, a row or a child changed behind our back is seen."""
    here = warehouse("omni")
    here.synced()
    assert here.mismatches() == []
    database = url(here).rsplit("/", 1)[1]
    for change in (
        "update omni.leads set first_name = 'x' where lead_id = (select min(lead_id) from omni.leads)",
        "delete from omni.action_logs where id = (select min(id) from omni.action_logs)",
    ):
        server.execute(database, change)
        assert here.mismatches()
