"""gaps, verify and backfill on a real Postgres: what they find there, and the commands they name."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.sources.tines.fake import TinesFake
from tests.support.oracle import mismatches
from tests.support.postgres import Reader, Server
from tests.support.world import World


def gapless(*arguments: str) -> tuple[int, Any]:
    result = CliRunner().invoke(app, [*arguments, "--destination", "postgres", "--json"])
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.sweep
def test_a_loss_and_a_backfill(server: Server, world: Callable[[Any], World]) -> None:
    """Rows that were deleted there are a gap that names its command and destination, and come back; a backfill
    remembers there what it has done."""
    fake = TinesFake(page_cap=10, retention=timedelta(days=30))
    fake.seed(4, logs=30)
    url = server.database()
    here = world(fake).set(DESTINATION__POSTGRES__CREDENTIALS=url)
    here.set(TINES_INITIAL_VALUE=(fake.now - timedelta(days=20)).isoformat())
    assert gapless("sync", "tines")[0] == 0
    assert gapless("gaps") == (0, {"exit_code": 0, "gaps": []})
    with closing(psycopg2.connect(url)) as db, db, db.cursor() as cursor:
        cursor.execute(
            "delete from tines.action_logs where action_id = (select min(action_id) from tines.action_logs)"
        )
    code, found = gapless("verify", "tines", "--whole")
    assert (code, found["sources"][0]["missing"] > 0) == (3, True)
    _, gaps = gapless("gaps")
    (fill,) = {gap["fill"] for gap in gaps["gaps"]}
    assert fill == "gapless verify tines --repair --destination postgres"
    assert CliRunner().invoke(app, shlex.split(fill)[1:]).exit_code == 0
    assert gapless("gaps")[0] == 0
    span = ("--since", (fake.now - timedelta(days=40)).isoformat(), "--until", fake.now.isoformat())
    first, second = gapless("backfill", "tines", *span), gapless("backfill", "tines", *span)
    assert (first[0], first[1]["sources"][0]["outcome"]) == (0, "complete")
    assert (second[0], second[1]["sources"], "done_at" in second[1]) == (0, [], True)
    with closing(psycopg2.connect(url)) as db:
        assert mismatches(Reader(db), "tines", fake.truth()) == []
