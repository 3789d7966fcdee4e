"""Postgres as the destination: a real server, started here; the same oracle as for DuckDB.

What the server cannot hold is a dead letter; whoever writes to a database has it for himself, from wherever he comes.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations import advisory_lock
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, Locked
from gapless.pipelines.outcome import Outcome
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.sync.run import sync
from gapless.sources import SOURCES
from tests.contract.subject import subject
from tests.support import warm
from tests.support.oracle import _rows, contract, mismatches
from tests.support.postgres import Reader, Server
from tests.support.postgres_wire import Wire
from tests.support.world import CREDENTIALS, World, some

Begin = Callable[[Any], World]
TYPES = {"VARCHAR": "character varying", "DOUBLE": "double precision", "JSON": "jsonb"}
NUL = "holds the character U+0000, which Postgres cannot store"
HUGE = "holds a number of 10,000 digits or more, which Postgres cannot store"
UNSTORABLE: dict[str, list[tuple[dict[str, Any], str]]] = {
    "omni": [
        ({"summary": "a\0b"}, NUL),
        (
            {
                "messages": [
                    {
                        "id": "m",
                        "channel": "SMS",
                        "direction": "INBOUND",
                        "documents": [{"id": "d", "filename": "a\0.pdf"}],
                    }
                ]
            },
            NUL,
        ),
        ({"output": {"deep": [{"in\0a key": 1}]}}, NUL),
    ],
    "sequence": [
        ({"origin": "\0"}, NUL),
        ({"activityLogItems": [{"id": "i", "metadata": ["\\\0"]}]}, NUL),
        ({"brandNew": {"a": "\0"}}, NUL),
        ({"activityLogItems": [{"id": "i", "metadata": ["HUGE"]}]}, HUGE),
    ],
    "kizen": [({"notes": "a\0b"}, NUL), ({"fields": [{"id": "f", "value": "\0"}]}, NUL), ({"mentions": ["\0"]}, NUL)],
    "tines": [({"message": "\0"}, NUL), ({"inbound_event": {"n": "HUGE"}}, HUGE)],
}
"""What sound JSON Postgres cannot store, at every level, and the reason it must be given. HUGE is on the wire
1e200000."""
LOGS = {name: source.main.name for name, source in SOURCES.items()}
LOOKS_ALIKE = {name: {subject(name).text: "\\u0000 12e123456"} for name in SOURCES}
"""Just text: a backslash and letters."""
WAITS = ("connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
KILLED = """
import os, signal, sys
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.sync.run import sync
from gapless.pipelines.sync.request import SyncRequest
real, left = Psycopg2SqlClient.execute_query, iter(range(int(sys.argv[2])))
def counted(self, *args, **kwargs):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *args, **kwargs)
Psycopg2SqlClient.execute_query = counted
list(sync([sys.argv[1]], Target.find("postgres"), SyncRequest(package_records=12)))
"""


@dataclass
class Warehouse:
    """A vendor and an empty Postgres database, which is to hold what it has."""

    world: World
    url: str

    @property
    def fake(self) -> Any:
        return self.world.fake

    def sync(self, **job: Any) -> Outcome:
        self.fake.requests.clear()
        (outcome,) = sync([self.world.name], Target.find("postgres"), SyncRequest(**job))
        return outcome

    def complete(self, **job: Any) -> Outcome:
        outcome = self.sync(**job)
        assert (outcome.outcome, outcome.error, outcome.failures) == ("complete", None, [])
        return outcome

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.url, options=f"-csearch_path={self.world.name}")) as db:
            return list(Reader(db).execute(query).fetchall())

    def mismatches(self, truth: Any = None) -> list[str]:
        with closing(psycopg2.connect(self.url)) as db:
            return mismatches(Reader(db), self.world.name, truth or self.fake.truth())


@pytest.fixture
def warehouse(server: Server, world: Begin) -> Callable[..., Warehouse]:
    def begin(name: str, server: Server = server) -> Warehouse:
        fake = subject(name).empty(page_cap=8)
        fake.fill(4, 20 if subject(name).parents_table else 30)
        url = server.database()
        return Warehouse(world(fake).set(DESTINATION__POSTGRES__CREDENTIALS=url), url)

    return begin


def add(fake: Any, name: str, **fields: Any) -> Any:
    """One record, of the first parent; its id."""
    return subject(name).add_one(fake, **fields)


@pytest.mark.parametrize("name", some(SOURCES, "omni", "sequence"))
def test_what_it_can_hold_and_what_not(name: str, warehouse: Callable[[str], Warehouse]) -> None:
    """All good rows stand, what Postgres cannot store is a letter with its JSON; mended, changed, idle: exact, and
    value by value what DuckDB gets."""
    here, table = warehouse(name), LOGS[name]
    fake = here.fake
    here.world.intercept = lambda request: _with_huge_numbers(fake.handle(request))
    add(fake, name, **LOOKS_ALIKE[name])
    bad = {add(fake, name, **fields): (fields, reason) for fields, reason in UNSTORABLE[name]}
    assert here.sync().outcome == "partial"
    records = {record["id"]: record for record in fake.truth()[table]}
    assert sorted(here.mismatches()) == sorted(f"{name}.{table} {i}: missing" for i in bad)
    letters = here.sql("select key, reason, raw_json from dead_letters")
    assert {(key, reason) for key, reason, _ in letters} == {(str(i), reason) for i, (_, reason) in bad.items()}
    kept = {key: json.loads(raw.replace("1e200000", '"HUGE"')) for key, _, raw in letters}
    again = here.sync()  # asks for what failed by its id, where there is a way
    assert (again.outcome, len(again.failures)) == ("partial", len(bad))
    assert sorted(here.mismatches()) == sorted(f"{name}.{table} {i}: missing" for i in bad)
    assert all(records[i].items() >= kept[str(i)].items() >= fields.items() for i, (fields, _) in bad.items())
    for i, (fields, _) in bad.items():
        fake.change(i, **dict.fromkeys(fields))
    fake.advance(45)
    here.complete()
    assert here.mismatches() == []
    assert here.sql("select * from dead_letters") == []
    _typed_as_the_contract_says(here)
    here.world.complete()
    with here.world._open() as one, closing(psycopg2.connect(here.url)) as other:
        for each in subject(name).tables:
            assert _values(Reader(other), name, each) == _values(one, name, each), each


def _with_huge_numbers(answer: httpx.Response) -> httpx.Response:
    return httpx.Response(answer.status_code, content=answer.content.replace(b'"HUGE"', b"1e200000"))


def _values(db: Any, name: str, table: str) -> dict[str, Any]:
    rows = _rows(db, name, table, child="__" in table)
    return {row_id: (parent, index, node.cells) for parent, index, row_id, node in rows}


def _typed_as_the_contract_says(here: Warehouse) -> None:
    for table, columns in contract(here.world.name).items():
        query = f"select column_name, data_type from information_schema.columns where table_name = '{table}'"
        held = dict(here.sql(f"{query} and table_schema = '{here.world.name}'"))
        wanted = {column: TYPES.get(kind, kind.lower()) for column, kind in columns.items()}
        assert {column: held.get(column) for column in wanted} == wanted, table


def test_what_a_merge_looks_for_has_an_index(warehouse: Callable[[str], Warehouse]) -> None:
    """The keys of root tables and what ties the rows below to them: no package reads a table of a billion rows."""
    here = warehouse("omni")
    here.complete()
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


def test_the_commands(warehouse: Callable[[str], Warehouse]) -> None:
    """Sync, status, state and doctor as on DuckDB: coverage, letters, drift and runs are told."""
    here = warehouse("sequence")
    for key in (key for key in CREDENTIALS if not key.startswith("SEQUENCE_")):
        here.world.monkeypatch.delenv(key)  # doctor asks every vendor whose keys are there
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
    assert _command("state", "reset", "sequence", "--yes")[1] == {"source": "sequence", "changed": 1}
    told = _command("doctor")[1]
    assert "canary-password" not in json.dumps(told)
    checks = {check["name"]: check["result"] for check in told["checks"]}
    assert (checks["destination"], checks["lock"]) == ("ok", "ok")
    assert [len(rows) for rows in (here.sql("select * from runs"), here.sql("select * from coverage"))] == [2, 1]


def _command(*args: str) -> tuple[int, Any]:
    result = CliRunner().invoke(app, [*args, "--destination", "postgres", "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_one_writer_from_whatever_machine(
    warehouse: Callable[[str], Warehouse], server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever comes second asks no vendor and exits 75, even without a common file; another database is free."""
    here = warehouse("sequence")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # another machine has other files
    with advisory_lock.locked(here.url, "postgres"):
        code, told = _command("sync", "sequence")
        assert (code, here.world.asked()) == (75, 0)
        assert "another machine" in told["error"]
        with advisory_lock.locked(server.database(), "postgres"):
            pass
    here.world.set(DESTINATION__POSTGRES__CREDENTIALS=server.url("nothing_there"))
    with pytest.raises(GaplessError, match="cannot reach postgres") as failed:
        here.sync()
    assert (failed.type, here.world.asked()) == (GaplessError, 0)
    assert "canary-password" not in str(failed.value)


def test_looking_for_it_writes_nothing(
    warehouse: Callable[[str], Warehouse], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two commands that begin at once, before any lock, share no file that one may take from the other."""
    warehouse("sequence").world.set(DLT_DATA_DIR=str(tmp_path / "dlt"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    Target.find("postgres")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("statement", [23, 39])
def test_killed(statement: int, warehouse: Callable[[str], Warehouse]) -> None:
    """kill -9 at a counted statement: the lock is free again at once, the next sync ends exact."""
    here = warehouse("sequence")
    killed = warm.run([sys.executable, "-c", KILLED, "sequence", str(statement)])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    here.complete()
    assert here.mismatches() == []


@pytest.mark.parametrize("crash", [False, True], ids=["answer lost", "server crashed"])
@pytest.mark.parametrize("commit", [4, 9])
def test_a_commit_that_goes_wrong(
    commit: int, crash: bool, warehouse: Callable[..., Warehouse], request: pytest.FixtureRequest
) -> None:
    """Done but not confirmed, or not done at all: said or repeated, and exact after the next sync. After a crash
    nothing more is loaded without the lock."""
    server = request.getfixturevalue("own_server" if crash else "server")
    here = warehouse("sequence", server)
    how = {"fault": "crash", "crash": server.restart} if crash else {}
    with closing(Wire(server.port, commit, part=b"COMMIT\0", **how)) as wire:
        through = here.url.replace(str(server.port), str(wire.port))
        here.world.set(DESTINATION__POSTGRES__CREDENTIALS=through)
        outcome = here.sync(package_records=12)
        assert wire.server_is_up.wait(20)
        assert wire.statements >= commit
        assert outcome.error if crash else outcome.outcome == "complete" or outcome.error
        assert not crash or "the lock on this database of postgres is lost" in str(outcome.error)
    here.world.set(DESTINATION__POSTGRES__CREDENTIALS=here.url)
    here.complete()
    assert here.mismatches() == []


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        ("", ("15", "30", "10", "3", "60000", "30", "4MB")),
        (
            "?connect_timeout=4&keepalives_idle=5&options=-ctcp_keepalives_idle%3D7%20-cwork_mem%3D1MB",
            ("4", "5", "10", "3", "60000", "7", "1MB"),
        ),
    ],
    ids=["ours", "the user's"],
)
def test_a_dead_wire_is_noticed_within_a_minute(
    own: str,
    wanted: tuple[str, ...],
    warehouse: Callable[[str], Warehouse],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every connection has an end to waiting, at both its ends; what the user says in the URL counts more."""
    here, connect = warehouse("sequence"), psycopg2.connect
    made: dict[str, Any] = {}
    monkeypatch.setattr(
        psycopg2, "connect", lambda *a, **k: made.setdefault(str((a, k)), (a, k)) and connect(*a, **k)
    )
    here.world.set(DESTINATION__POSTGRES__CREDENTIALS=here.url + own)
    here.complete()
    assert len(made) >= 3  # the lock's, the dataset's and the staging dataset's
    for args, how in made.values():
        with closing(connect(*args, **how)) as db, db.cursor() as cursor:
            said = [db.get_dsn_parameters().get(name) for name in WAITS]
            cursor.execute("select current_setting('tcp_keepalives_idle'), current_setting('work_mem')")
            assert (*said, *cursor.fetchone()) == wanted


def test_two_locks_are_not_needed_for_reading(warehouse: Callable[[str], Warehouse]) -> None:
    """Readers of Postgres are not shut out while a sync writes."""
    here = warehouse("tines")
    here.complete()
    with Target.find("postgres").locked():
        assert _command("status")[0] == 0
        with pytest.raises(Locked):
            here.sync()


def test_oracle_turns_red(warehouse: Callable[[str], Warehouse], server: Server) -> None:
    """The twin: a value, a row or a child changed behind our back is seen."""
    here = warehouse("omni")
    here.complete()
    assert here.mismatches() == []
    database = here.url.rsplit("/", 1)[1]
    for change in (
        "update omni.leads set first_name = 'x' where lead_id = (select min(lead_id) from omni.leads)",
        "delete from omni.action_logs where id = (select min(id) from omni.action_logs)",
    ):
        server.execute(database, change)
        assert here.mismatches()
