"""Something of somebody else that has the name of one of our views."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import duckdb
import psycopg2
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from tests.contract.subject import filled
from tests.support.databases import Postgres
from tests.support.world import World

Begin = Callable[[Any], World]
SETTING = "DESTINATION__POSTGRES__CREDENTIALS"
KINDS = {
    "duckdb": "create table activity.timeline (a int)",
    Postgres.name: "create materialized view activity.timeline as select 1 as a",
}


@pytest.mark.slow
@pytest.mark.parametrize("destination", KINDS)
def test_a_table_in_the_place_of_a_view(destination: str, world: Begin) -> None:
    """It is named, with what to do, where views are made."""
    here = world(filled("omni")).alone()
    here.synced()
    taken = f"drop view activity.timeline cascade; {KINDS[destination]}"
    if destination == "duckdb":
        with duckdb.connect("gapless.duckdb") as connection:
            connection.execute(taken.replace(" cascade", ""))
    else:
        with closing(psycopg2.connect(here.database.settings[SETTING])) as server, server, server.cursor() as cursor:
            cursor.execute(taken)
    said = "activity.timeline is no view, and has the name of one: rename it, or drop it. The data are complete"
    ended = CliRunner().invoke(app, ["views", *here.database.option])
    assert (ended.exit_code, said in " ".join(ended.output.split())) == (1, True), ended.output
    assert "WrongObject" not in ended.output
