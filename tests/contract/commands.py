"""The command line as the contract's tests call it."""

from __future__ import annotations

import json
import shlex
from typing import Any

from typer.testing import CliRunner, Result

from gapless.pipelines.cli.app import app
from gapless.sources import SOURCES
from tests.support.world import World


def gapless(here: World, *arguments: str) -> Result:
    """Runs a command on the test's destination."""
    return run(*arguments, *here.database.option)


def run(*arguments: str) -> Result:
    """Runs a command as it stands."""
    return CliRunner().invoke(app, arguments)


def document(here: World, *arguments: str) -> dict[str, Any]:
    """What a command says with --json; its exit code is the one that it says."""
    result = gapless(here, *arguments, "--json")
    found: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == found["exit_code"], result.output
    return found


def gaps(here: World, *names: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document(here, "gaps", *names)["gaps"]
    return found


def typed(here: World, line: str) -> list[Result]:
    """Runs the commands of a line as a shell would: what stands before one is set for it alone."""
    done = []
    for command in line.split(" && "):
        words = shlex.split(command)
        begin = words.index("gapless")
        with here.monkeypatch.context() as patch:
            for setting in words[:begin]:
                patch.setenv(*setting.split("=", 1))
            done.append(run(*words[begin + 1 :]))
    return done


def fill(here: World, found: list[dict[str, Any]]) -> None:
    """Runs what was printed, each command once; then there must be no gap any more."""
    for line in dict.fromkeys(gap["fill"] for gap in found):
        for command in line.split(" && "):
            program, *arguments = shlex.split(command)
            done = run(*arguments)
            assert (program, done.exit_code) == ("gapless", 0), done.output
    assert gaps(here) == []


def lose(here: World, where: str = "true") -> None:
    """Deletes records and all below them, behind the back of everyone."""
    table = SOURCES[here.name].main
    roots = f"select _dlt_id from {table.name} where {where}"
    trees = reversed(list(table.schema.tree()))
    here.database.change(
        here.name,
        *(f"delete from {t.name} where {'_dlt_root_id' if t.parent else '_dlt_id'} in ({roots})" for t in trees),
    )


def everything(here: World, tables: Any) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the vendor's own tables."""
    return {table: here.rows(table) for table in tables}
