"""Tables that their owner changed: what cannot be written to is named before the first request, with the statement
that ends it, and that statement ends it; what is harmless works on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from tests.contract.commands import gaps
from tests.contract.subject import filled
from tests.support.databases import DATABASES
from tests.support.postgres import Server
from tests.support.world import CREDENTIALS, World, some

pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery")  # dlt's own SQL for SQLite
Begin = Callable[[Any], World]
NO_VIEWS = "drop schema activity cascade; "
VIEW = "alter table {t} rename to kept; create view {t} as select * from {d}.kept"
FULL = "update {t} set error = ''; alter table {t} alter column error set not null"
CASES: dict[tuple[str, str], tuple[str, str]] = {
    # where, what was done: (the statements; of {t}, the table, and {d}, the dataset), what is said of it
    ("postgres", "a unique index"): ("create unique index one on {t} (created_at, type)", "the unique index one"),
    ("postgres", "a unique constraint"): (
        "alter table {t} add constraint one unique (created_at, type)", "the constraint one",
    ),
    ("postgres", "a check"): ("alter table {t} add constraint few check (length(id) < 1000)", "the check few"),
    ("postgres", "not null"): (FULL, "refuses nulls in its column error"),
    ("postgres", "a foreign key"): (
        "create table {d}.ours (id varchar primary key); insert into {d}.ours select distinct lead_id from {t};"
        " alter table {t} add constraint of_ours foreign key (lead_id) references {d}.ours",
        "the foreign key of_ours",
    ),
    ("postgres", "a reference"): (
        "alter table {t} add constraint mine unique (id); create table {d}.theirs (id varchar references {t} (id))",
        "is referred to by the foreign key",
    ),
    ("postgres", "a trigger"): (
        "create function {d}.f() returns trigger language plpgsql as 'begin return new; end';"
        " create trigger look before insert on {t} for each row execute function {d}.f()",
        "the trigger look",
    ),
    ("postgres", "a rule"): ("create rule quiet as on insert to {t} do instead nothing", "the rule quiet"),
    ("postgres", "a type"): (
        NO_VIEWS + "alter table {t} alter column summary type varchar(20) using ''",
        "the column summary as character varying(20), not as character varying",
    ),
    ("postgres", "another type"): (
        NO_VIEWS + "alter table {t} alter column completed_at type varchar",
        "the column completed_at as character varying",
    ),
    ("postgres", "a column that must be"): (
        "alter table {t} add column tag varchar not null default ''; alter table {t} alter column tag drop default",
        "a column tag of somebody else's",
    ),
    ("postgres", "a renamed column that must be"): (
        FULL + "; alter table {t} rename column error to fault", "a column fault of somebody else's",
    ),
    ("postgres", "a generated column"): (
        NO_VIEWS + "alter table {t} drop column error;"
        " alter table {t} add column error varchar generated always as (id) stored",
        "computes its column error",
    ),
    ("postgres", "a view"): (VIEW, "is a view"),
    ("postgres", "partitions"): (
        NO_VIEWS + "create table {t}__own as select * from {t}; drop table {t};"
        " create table {t} (like {t}__own) partition by range (id);"
        " create table {t}__a partition of {t} for values from (minvalue) to (maxvalue);"
        " insert into {t} select * from {t}__own",
        "has no partition for every row",
    ),
    ("postgres", "row level security"): (
        "alter table {t} enable row level security; alter table {t} force row level security", "row level security",
    ),
    ("postgres", "a publication"): ("create publication p_{n} for table {t}", "without a replica identity"),
    ("postgres", "a view on a table without its key"): (
        "create view {d}.mine as select type from {t}; alter table {t} drop column id cascade",
        "the view omni.mine reads",
    ),
    ("duckdb", "a unique index"): ("create unique index one on {t} (created_at)", "the unique index one"),
    ("duckdb", "not null"): (FULL, "refuses nulls in its column error"),
    ("duckdb", "a type"): (
        "alter table {t} alter column completed_at set data type varchar",
        "the column completed_at as VARCHAR, not as TIMESTAMP WITH TIME ZONE",
    ),
    ("duckdb", "a column that must be"): (
        "alter table {t} add column tag varchar default ''; alter table {t} alter column tag set not null;"
        " alter table {t} alter column tag drop default",
        "a column tag of somebody else's",
    ),
    ("duckdb", "a check"): (
        "create table {d}.kept as from {t}; drop table {t}; create table {t} (id varchar check (length(id) < 1000));"
        " {columns} insert into {t} by name from {d}.kept",
        "has a constraint (check)",
    ),
    ("duckdb", "a view"): (VIEW, "is a view"),
    ("ducklake", "not null"): (FULL, "refuses nulls in its column error"),
    ("ducklake", "a view"): (VIEW, "is a view"),
    ("sqlalchemy", "a unique index"): ("create unique index one on {n} (created_at)", "the unique index one"),
    ("sqlalchemy", "a trigger"): ("create trigger look before insert on {n} begin select 1; end", "the trigger look"),
    ("sqlalchemy", "a column that must be"): (
        "create table kept as select *, '' as tag from {n}; drop table {n};"
        " create table {n} (tag text not null, {texts}); insert into {n} select tag, {names} from kept",
        "a column tag of somebody else's",
    ),
    ("sqlalchemy", "a view"): ("alter table {n} rename to kept; create view {n} as select * from kept", "is a view"),
}  # fmt: skip
"""The source is omni, the table its action_logs."""
HARMLESS = {
    "postgres": [
        NO_VIEWS + "alter table {t} alter column id type text",
        "alter table {t} add column note varchar", "create index plain on {t} (type, status)",
        "create view {d}.mine as select id, type from {t}", "comment on table {t} is 'of omni'",
        "grant select on {t} to public", "create unique index sure on {t} (id)",
        "create unique index row_ids on {t} (_dlt_id)",
        "alter table {t} add column tag varchar not null default 'x'",
        "alter table {t} add column nr bigint generated always as identity",
        "alter table {t} add column size integer generated always as (length(id)) stored",
        "create materialized view {d}.deep as select id from {t}", "create schema other", "analyze {t}",
    ],
    "duckdb": [
        "alter table {t} add column note varchar", "create index plain on {t} (type, status)",
        "create view {d}.mine as select id, type from {t}", "comment on table {t} is 'of omni'",
        "create unique index sure on {t} (id)",
    ],
    "ducklake": ["alter table {t} add column note varchar", "create view {d}.mine as select id, type from {t}"],
    "sqlalchemy": ["alter table {n} add column note varchar", "create index plain on {n} (type)",
                   "create view mine as select id from {n}"],
}  # fmt: skip
FOREIGN_TYPES = {
    "postgres": ["alter table {t} add column place inet", "alter table {t} add column tags varchar[]"],
    "duckdb": ["alter table {t} add column tags varchar[]", "alter table {t} add column place struct(x double)"],
    "ducklake": ["alter table {t} add column tags varchar[]"],
    "sqlalchemy": ["alter table {n} add column thing whatever", "alter table {n} add column untyped"],
}
TABLE = "action_logs"
TABLES = "select table_name from information_schema.tables where table_schema = 'sequence'"
COLUMNS = (
    "select table_name, column_name from information_schema.columns where table_schema = 'sequence' order by 1, 2"
)
THEIRS = [
    "create table sequence.activity_logs (id integer, what varchar)",
    "create table sequence.runs (id integer); create table sequence.coverage (x integer)",
]


def gapless(here: World, *args: str) -> Any:
    return CliRunner().invoke(app, [*args, *here.database.option])


def begun(world: Begin) -> World:
    """A database with a first sync in it; the vendor has something new."""
    here = world(filled("omni"))
    for key in (key for key in CREDENTIALS if not key.startswith("OMNI_")):
        here.monkeypatch.delenv(key, raising=False)
    here.synced()
    here.fake.advance(30)
    here.fake.requests.clear()
    return here


def change(here: World, statements: str) -> None:
    """Runs them as the owner of the database does."""
    with here.database.opened("omni") as db:
        found = db.execute(f"select * from {TABLE} limit 0")
        names = [column[0] for column in (found or db._cursor).description]
    typed = " ".join(f'alter table omni.{TABLE} add column "{name}" varchar;' for name in names if name != "id")
    text = statements
    places = {"t": f"omni.{TABLE}", "n": TABLE, "d": "omni", "columns": typed, "names": ", ".join(names)}
    places["texts"] = ", ".join(f"{name} text" for name in names)
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", value)
    here.database.change("omni", *_statements(text))


def _statements(text: str) -> list[str]:
    """A trigger's body has semicolons of its own."""
    return [one for one in re.split(r";(?! end)", text) if one.strip()]


def at_hand(*engines: str) -> list[str]:
    return [engine for engine in engines if DATABASES[engine].at_hand()]


USUAL = [("postgres", "a unique index")]


@pytest.mark.slow
@pytest.mark.parametrize(("destination", "done"), some([case for case in CASES if at_hand(case[0])], *USUAL))
def test_an_obstacle(destination: str, done: str, world: Begin) -> None:
    """Said before the first request, by the doctor too; its statement, typed by the owner, ends it: exact again."""
    statements, said = CASES[destination, done]
    here = begun(world)
    change(here, statements)
    if done == "a view":
        assert any(said in gap["why"] for gap in gaps(here)), "no sync has met it yet"
    for _ in range(5):
        outcome = here.sync()
        if outcome.error is None:
            break
        assert here.asked() == 0, outcome.error
        assert said in outcome.error, outcome.error
        said = ""  # one may hide another
        found = gapless(here, "doctor")
        assert found.exit_code == 1
        remedies = re.findall(r"Its owner ends that: (.*?;)(?=$|; )", outcome.error)
        assert remedies, outcome.error
        assert " ".join(found.output.split()).count(remedies[0][:60]) >= 1, found.output
        for remedy in remedies:
            change(here, remedy.rstrip(";"))
    assert outcome.error is None
    here.sync()
    here.complete()
    here.assert_exact()


@pytest.mark.slow
@pytest.mark.parametrize("destination", some(at_hand(*HARMLESS), "duckdb"))
def test_what_is_harmless(destination: str, world: Begin) -> None:
    """All of it at once: nobody is bothered."""
    here = begun(world)
    for statement in HARMLESS[destination]:
        change(here, statement)
    assert gapless(here, "doctor").exit_code == 0
    here.complete()
    here.assert_exact()


@pytest.mark.slow
@pytest.mark.parametrize("destination", some(at_hand(*FOREIGN_TYPES), "duckdb"))
def test_columns_of_types_that_dlt_does_not_know(destination: str, world: Begin) -> None:
    """Are read over, also when dlt compares all columns, as it does for a new version of the schema."""
    here = begun(world)
    for statement in (*FOREIGN_TYPES[destination], "delete from {d}_dlt_version"):
        change(here, statement.replace("{d}", "" if destination == "sqlalchemy" else "omni."))
    here.complete()
    here.assert_exact()


@pytest.mark.slow
@pytest.mark.parametrize("destination", some(at_hand("duckdb", "postgres", "ducklake"), "postgres"))
@pytest.mark.parametrize("tables", THEIRS)
def test_a_schema_of_somebody_else(destination: str, tables: str, world: Begin) -> None:
    """Whose tables have our names: nothing is added to them, and nothing is asked."""
    here = world(filled("sequence"))
    for key in (key for key in CREDENTIALS if not key.startswith("SEQUENCE_")):
        here.monkeypatch.delenv(key, raising=False)
    here.synced()
    cascade = " cascade" if destination == "postgres" else ""
    ours = [table for (table,) in here.sql(TABLES)]
    here.database.change("sequence", *(f"drop table sequence.{table}{cascade}" for table in ours))
    here.database.change("sequence", *tables.split("; "))
    before = here.sql(COLUMNS)
    for _ in range(2):
        outcome = here.sync()
        assert outcome.error
        assert "holds tables of somebody else" in outcome.error
        assert here.asked() == 0
    assert here.sql(COLUMNS) == before
    assert "holds tables of somebody else" in gapless(here, "doctor").output


CLOSED = {
    "the schema": "revoke all on schema omni from {role}",
    "one table": "revoke insert, delete on omni.action_logs from {role}",
    "reading": "revoke select on omni._dlt_version from {role}",
    "temporary tables": "revoke temporary on database {database} from public",
}


@pytest.mark.slow
@pytest.mark.parametrize("destination", ["postgres"])
@pytest.mark.parametrize("closed", some(CLOSED, "one table"))
def test_tables_of_another_role(destination: str, closed: str, world: Begin, server: Server) -> None:
    """A role that may do all works on; what it may not is named, with the grant that ends it."""
    here = begun(world)
    url = here.database.settings["DESTINATION__POSTGRES__CREDENTIALS"]
    database, role = url.rpartition("/")[2], f"role_{url.rpartition('/')[2]}"
    everywhere = " ".join(
        f"grant all on schema {schema} to {role}; grant all on all tables in schema {schema} to {role};"
        for schema in ("omni", "activity")
        if schema != "activity" or here.sql("select 1 from pg_namespace where nspname = 'activity'")
    )
    server.execute(database, f"create role {role} login; grant create on database {database} to {role}; {everywhere}")
    here.set(DESTINATION__POSTGRES__CREDENTIALS=url.replace("gapless:canary-password", role))
    here.sync()
    assert here.sync().error is None
    server.execute(database, CLOSED[closed].format(role=role, database=database))
    here.fake.requests.clear()
    for _ in range(4):
        outcome = here.sync()
        if outcome.error is None:
            break
        assert here.asked() == 0, outcome.error
        assert re.search("is closed to the role|make no temporary tables", outcome.error), outcome.error
        for grant in re.findall(r"(grant .*?;)", outcome.error):
            server.execute(database, grant)
    assert outcome.error is None, outcome.error


@pytest.mark.parametrize("destination", ["postgres"])
def test_a_first_sync_that_may_make_no_schema(destination: str, world: Begin, server: Server) -> None:
    """Said before the first request."""
    here = world(filled("omni"))
    url = server.database()
    database, role = url.rpartition("/")[2], f"role_{url.rpartition('/')[2]}"
    server.execute(database, f"create role {role} login")
    here.set(DESTINATION__POSTGRES__CREDENTIALS=url.replace("gapless:canary-password", role))
    outcome = here.sync()
    assert f"grant create on database {database} to {role};" in str(outcome.error)
    assert here.asked() == 0


CANARY = "ada.canary@example.com"
REFUSING = {
    "postgres": [
        "create unique index one on {t} (summary)",
        "alter table {t} add constraint few check (length(summary) < 12)",
        "alter table {t} add constraint known foreign key (summary) references {d}.kept",
    ],
    "duckdb": ["create unique index one on {t} (summary)"],
    "sqlalchemy": ["create unique index one on {n} (summary)"],
}
CLOSE = "create table {d}.kept (summary varchar primary key); update {t} set summary = null"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("destination", "refusing"),
    some([(d, one) for d in at_hand(*REFUSING) for one in REFUSING[d]], ("postgres", REFUSING["postgres"][0])),
)
def test_no_value_of_a_record_is_said(
    destination: str, refusing: str, world: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the database refuses while it is written to quotes the record; no line of any command does."""
    here = begun(world)
    lead = here.fake.truth()["leads"][0]["leadId"]
    change(here, CLOSE.replace("{d}.", "" if destination == "sqlalchemy" else "{d}.").replace("{t}", TABLE))
    change(here, refusing)
    for number in range(2):
        here.fake.add_log(lead, id=f"canary-{number}", summary=CANARY)
    # As if it were done meanwhile.
    monkeypatch.setattr("gapless.pipelines.sync.mending.tables.obstacles", lambda *_: [])
    for args in (["sync"], ["--debug", "sync", "--json"]):
        ended = gapless(here, *args)
        assert ended.exit_code == 1
        assert CANARY not in ended.output
        assert "canary-" not in ended.output
        assert any(kind in ended.output for kind in ("Violation", "ConstraintException", "IntegrityError"))
    assert CANARY not in str(here.sql("select error from runs"))
    for line in ("status", "gaps", "verify"):
        assert CANARY not in gapless(here, line).output
