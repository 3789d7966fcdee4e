"""Rows of a Postgres that are hidden from our role: every command says so in plain words, and what ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg2.errors import InsufficientPrivilege
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.cli.doctor import keys
from gapless.pipelines.cli.output import _message_and_code
from tests.contract.subject import subject
from tests.support.postgres import Server
from tests.support.world import World

COMMANDS = (
    ("gaps", "sequence"),
    ("status",),
    ("verify", "sequence", "--whole"),
    ("verify", "sequence", "--repair"),
    ("views",),
    ("state", "reset", "sequence", "--yes"),
    ("sync", "sequence"),
)


class _Hidden(InsufficientPrivilege):
    pgcode = "42501"


def synced_by_a_role(server: Server, world: Callable[[Any], World]) -> tuple[str, str]:
    """A new database after one sync by a new role that owns nothing else; returns the names of both."""
    url = server.database()
    database, role = url.rpartition("/")[2], f"reader_{url.rpartition('/')[2]}"
    server.execute(database, f"create role {role} login; grant create, temporary on database {database} to {role}")
    here = world(subject("sequence").filled(2, 8))
    here.set(DESTINATION__POSTGRES__CREDENTIALS=url.replace("gapless:canary-password", f"{role}:x"))
    assert gapless("sync", "sequence")[0] == 0
    return database, role


def gapless(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*arguments, "--destination", "postgres"])
    return done.exit_code, " ".join(done.output.split())


def test_hidden_rows_are_an_error_that_is_expected() -> None:
    """It is one sentence with its next step, and no defect of ours."""
    error = _Hidden('query would be affected by row-level security policy for table "activity_logs"')
    lines, code = _message_and_code(error)
    assert (list(lines), code) == (
        [
            "the table activity_logs hides rows from this role by row level security, so nothing can be known of"
            " them; gapless doctor names the statement that opens it"
        ],
        1,
    )
    (closed,), _ = _message_and_code(_Hidden("permission denied for table runs"))
    assert closed.endswith("permission denied for table runs; gapless doctor names the statement that opens it")


@pytest.mark.slow
@pytest.mark.parametrize("table", ["activity_logs", "coverage", "runs"])
def test_rows_hidden_from_a_role(table: str, server: Server, world: Callable[[Any], World]) -> None:
    """No command ends well, none calls it unexpected, and the doctor has the statement."""
    database, _ = synced_by_a_role(server, world)
    name = f"sequence.{table}"
    server.execute(database, f"alter table {name} enable row level security, force row level security")
    for command in COMMANDS:
        code, said = gapless(*command)
        assert (code != 0, "row level security" in said, "not expected" in said) == (True, True, False), (
            command,
            said,
        )
    assert f"alter table {name} disable row level security;" in gapless("doctor")[1]


@pytest.mark.slow
@pytest.mark.parametrize("table", ["activity_logs", "runs", "dead_letters"])
def test_a_table_closed_to_a_role(table: str, server: Server, world: Callable[[Any], World]) -> None:
    """It is no missing table: no command ends well or says that a sync makes it again."""
    database, role = synced_by_a_role(server, world)
    server.execute(
        database, f"alter table sequence.{table} owner to gapless; revoke all on sequence.{table} from {role}"
    )
    for command in (("gaps", "sequence"), ("status",), ("sync", "sequence")):
        code, said = gapless(*command)
        assert (code != 0, "is missing" in said, "not expected" in said) == (True, False, False), (
            command,
            said,
        )


@pytest.mark.slow
def test_the_schema_of_the_views_is_closed(
    server: Server, world: Callable[[Any], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor names the grant, and not itself."""
    database, role = synced_by_a_role(server, world)
    server.execute(
        database, f"alter schema activity owner to gapless; revoke all on schema activity from {role}, public"
    )
    assert "permission denied for schema activity" in gapless("status")[1]
    monkeypatch.setattr(keys, "PING_SETTINGS", {"gapless_retry_budget": 0.01})
    code, said = gapless("doctor")
    assert (code, "gapless doctor names" in said, bool(role)) == (1, False, True), said
    assert "grant usage, create on schema activity to" in said
