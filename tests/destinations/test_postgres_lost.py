"""A Postgres that goes in the middle of any command, before any of its statements: clear words, and all goes on."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from tests.support.databases import Postgres
from tests.support.world import World, some

Begin = Callable[[Any], World]
COMMANDS = (
    "sync omni", "status", "gaps", "verify omni", "verify omni --repair", "views", "doctor", "state show",
    "backfill omni --since 2026-01-01 --until 2026-02-01", "state rewind omni --to 2026-01-01 --yes", "compact",
    "forget omni --id nobody --yes", "plan omni", "privacy apply omni --yes", "state reset omni --yes",
    "keep omni 36000d --yes",
)  # fmt: skip
ENDED = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> %s"


class Loss:
    """Ends all sessions of a database before one statement of ours; those of a server that is `away` stay ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, away: bool) -> None:
        self.statements, self.at, self.away = 0, -1, away
        self._connect, loss = psycopg2.connect, self

        class Cursor(psycopg2.extensions.cursor):
            def execute(self, *arguments: Any) -> None:
                loss.meet(self)
                super().execute(*arguments)

            def copy_expert(self, *arguments: Any, **more: Any) -> None:
                loss.meet(self)
                super().copy_expert(*arguments, **more)

        def connect(*arguments: Any, **more: Any) -> Any:
            if loss.is_away:
                return self._connect("postgresql://gapless@127.0.0.1:1/gone")
            return self._connect(*arguments, **more, cursor_factory=Cursor)

        monkeypatch.setattr(psycopg2, "connect", connect)

    @property
    def is_away(self) -> bool:
        return self.away and 0 <= self.at < self.statements

    def meet(self, cursor: Any) -> None:
        if self.statements == self.at:
            with closing(self._connect(cursor.connection.dsn, password="x")) as other, other.cursor() as ending:
                ending.execute(ENDED, (other.info.backend_pid,))
        self.statements += 1


@pytest.fixture
def destination() -> str:
    return Postgres.name


def gapless(line: str) -> tuple[int, str]:
    ended = CliRunner().invoke(app, [*line.split(), "--destination", "postgres"])
    return ended.exit_code, " ".join(ended.output.split())


PLAIN = (0, 1, 3, 4)
"""Codes of what was done all the same, what failed, and what is not complete."""
A_DEFECT = re.compile(
    r"not expected|Traceback|AdminShutdown"
    r"|\b(?:Interface|Operational|Programming|Database|Attribute|Assertion)\w*Error"
)


@pytest.mark.slow
@pytest.mark.parametrize("away", [False, True], ids=["ended", "away"])
@pytest.mark.parametrize("line", some(COMMANDS, "sync omni"))
def test_a_server_that_goes(line: str, away: bool, one_source: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of each command: no defect is reported, the code is 1 or that of what was done all the same, and
    the next sync is exact."""
    with monkeypatch.context() as counting:
        loss = Loss(counting, away)
        assert gapless(line)[0] in (*PLAIN, 2)
    wrong = []
    for at in range(0, loss.statements, max(1, loss.statements // 3)):
        one_source.fake.advance(30)
        with monkeypatch.context() as meanwhile:
            Loss(meanwhile, away).at = at
            code, said = gapless(line)
        if code not in PLAIN or A_DEFECT.search(said):
            wrong.append((at, loss.statements, code, said))
    assert wrong == []
    one_source.complete()
    one_source.assert_exact()
