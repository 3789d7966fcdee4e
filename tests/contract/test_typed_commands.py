"""Whatever goes wrong at another destination, each command that is named carries it, so it works as it is printed."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx2 as httpx
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.cli.doctor import keys
from tests.commands.test_error_messages import COMMANDS
from tests.contract.conftest import NAMES, of
from tests.contract.subject import Subject
from tests.support.world import World, some

TYPED = ["--destination", "second"]


def second(here: World) -> World:
    """The same file under another name, as a warehouse would be named; nothing is asked again at leisure."""
    here.monkeypatch.setattr(keys, "PING_SETTINGS", {"gapless_retry_budget": 0.01})
    return here.set(DESTINATION__SECOND__DESTINATION_TYPE="duckdb", DESTINATION__SECOND__CREDENTIALS="gapless.duckdb")


def lacking(text: str) -> list[str]:
    """The commands in a text that would look at, or fill, the default file."""
    # A long line is wrapped, also within a cell of a table.
    said = " ".join(re.sub(r"[─│╭╮╰╯`]", " ", text).split())
    found = []
    for part in re.split(r"\bgapless (?=[a-z])", said)[1:]:
        words = part.split()
        name = " ".join(words[:2]) if words[0] == "state" else words[0]
        if "--destination" in COMMANDS.get(name.strip(":;,."), ()) and not re.search("--destination .*second", part):
            found.append(f"gapless {part}")
    return found


def run(*lines: str) -> None:
    """No command that one of these names would go elsewhere."""
    found = {}
    for line in lines:
        done = CliRunner().invoke(app, [*line.split(), *TYPED])
        assert "Usage:" not in done.output, done.output
        found |= {line: done.output} if lacking(done.output) else {}
    assert not found


def _rows(subject: Subject, here: World) -> None:
    here.database.change(subject.name, f"delete from {subject.source.main.name}")


def _tables(subject: Subject, here: World) -> None:
    here.database.change(subject.name, f"drop table {subject.source.main.name}")


def _ledger(subject: Subject, here: World) -> None:
    here.database.change(subject.name, "drop table coverage")


def _doubled(subject: Subject, here: World) -> None:
    table = subject.source.main.name
    here.database.change(subject.name, f"insert into {table} select * from {table}")


def _altered(subject: Subject, here: World) -> None:
    here.database.change(subject.name, f"update {subject.source.main.name} set _dlt_id = _dlt_id || 'x'")


def _refused(subject: Subject, here: World) -> None:
    here.intercept = lambda request: httpx.Response(401)


def _failing(subject: Subject, here: World) -> None:
    here.fail_after(2)


WRONG: dict[str, Callable[[Subject, World], None]] = {
    name.removeprefix("_"): change
    for name, change in globals().items()
    if name in ("_rows", "_tables", "_ledger", "_doubled", "_altered", "_refused", "_failing")
}


@of(NAMES[0])
def test_before_the_first_sync(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be typed first."""
    name = subject.name
    for need in subject.source.needs:
        monkeypatch.setenv(need.upper(), str(subject.source.demo.get(need, "x")))
    monkeypatch.setenv("DESTINATION__SECOND__DESTINATION_TYPE", "duckdb")
    monkeypatch.setenv("DESTINATION__SECOND__CREDENTIALS", "second.duckdb")
    run("status", "gaps", f"gaps {name}", f"verify {name}", "views", "state show")
    run(*(f"state {step} {name} --yes" for step in ("reset", "adopt")), f"state rewind {name} --to 2026-01-01 --yes")
    run(f"keep {name} 400d --yes", f"forget {name} --id x --yes", f"privacy apply {name} --yes", "compact")


@pytest.mark.slow
@of(NAMES[0])
@pytest.mark.parametrize("change", some(WRONG.values(), _tables, _failing), ids=WRONG)
def test_when_something_is_wrong(change: Callable[[Subject, World], None], subject: Subject, synced: World) -> None:
    """Rows, tables, the ledger, the vendor."""
    here, name = second(synced), subject.name
    change(subject, here)
    run("gaps", f"verify {name} --cells", "doctor", f"sync {name}", f"sync {name}", f"verify {name}")
