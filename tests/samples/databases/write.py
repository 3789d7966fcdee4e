"""Writes a database of today's layout, with what the simulated vendors remember, for test_older_databases.py.

`python -m tests.samples.databases.write FOLDER` makes the folder's files; README.md here tells what happens to each
source. It is run once for each layout, by the code of that layout, and the files are never made again.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gapless.pipelines.config import DLT_SETTINGS
from gapless.pipelines.ledger import backfills
from gapless.sources import SOURCES
from gapless.sources._http.testing import serve
from tests.contract.subject import subject
from tests.support import postgres
from tests.support.databases import DATABASES, Database
from tests.support.world import CREDENTIALS, IN_A_HURRY, World, settings

NOT_SAVED = ("_lock", "_random", "requests", "failing", "chance")
PARENTS, RECORDS = 3, 24


def write(folder: Path) -> None:
    """Writes the DuckDB file, a dump of a Postgres database, and the vendors' memory after each."""
    folder.mkdir(parents=True)
    memories = {name: _written(name, folder) for name in ("duckdb", "postgres")}
    for name, memory in memories.items():
        with gzip.open(folder / f"vendors.{name}.json.gz", "wt") as file:
            json.dump(memory, file, sort_keys=True)


def _written(destination: str, to: Path) -> dict[str, Any]:
    with ExitStack() as stack:
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        own = {"DLT_PROJECT_DIR": str(home), "XDG_STATE_HOME": str(home / "state")}
        for name, value in {**DLT_SETTINGS, **own, **CREDENTIALS, **IN_A_HURRY, **settings([*SOURCES])}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(home)
        if destination == "postgres":
            server = stack.enter_context(postgres.running())
            database: Database = DATABASES[destination](home, server)  # type: ignore[call-arg]
        else:
            database = DATABASES[destination](home)
        memory = {name: _lived(World(name, _fake(name), home, monkeypatch, database), stack) for name in SOURCES}
        if destination == "postgres":
            (to / "postgres.sql.gz").write_bytes(gzip.compress(_dump(database)))
        else:
            (to / "gapless.duckdb.gz").write_bytes(gzip.compress((home / "gapless.duckdb").read_bytes()))
    return memory


def _fake(name: str) -> Any:
    fake = subject(name).empty(page_cap=4)
    fake._random = random.Random(name)
    subject(name).fill(fake, PARENTS, RECORDS)
    return fake


def _lived(here: World, stack: ExitStack) -> dict[str, Any]:
    """What happens to one source, as README.md tells it; returns what its vendor remembers."""
    own, fake = subject(here.name), here.fake
    here.set(**{**here.database.settings, f"{here.name.upper()}_BASE_URL": stack.enter_context(serve(here.handle))})
    letter = own.add_one(fake, **{own.text: []})
    assert here.sync().outcome == "partial"
    fake.advance(40)
    here.fail_after(4)
    assert here.sync(package_records=5).outcome != "complete"
    here.mend()
    fake.advance(20)
    begun = backfills.sync_request(fake.now - timedelta(days=6), fake.now - timedelta(days=1))
    here.fail_after(6)
    here.sync(window=begun.window, backfill=True, package_records=3)
    here.mend()
    fake.advance(60)
    here.fail_after(3)
    assert here.sync(package_records=4).outcome != "complete"
    here.mend()
    fake.advance(60)
    fields = {name: _as_json(value) for name, value in vars(fake).items() if name not in NOT_SAVED}
    return {"letter": letter, "mended": {own.text: "mended"}, "fields": fields}


def _as_json(value: Any) -> Any:
    """A value as JSON; what JSON has no word for is an object with one key."""
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, timedelta):
        return {"$seconds": value.total_seconds()}
    if isinstance(value, set | frozenset):
        return {"$set": sorted(map(_as_json, value))}
    if isinstance(value, dict):
        return {"$pairs": [[_as_json(key), _as_json(one)] for key, one in value.items()]}
    if isinstance(value, tuple):
        return {"$tuple": [_as_json(one) for one in value]}
    return [_as_json(one) for one in value] if isinstance(value, list) else value


def _dump(database: Any) -> bytes:
    """A database in SQL that psycopg2 can run: rows as `insert`, and no words for psql."""
    tool = postgres._binaries(None) / "pg_dump"
    shown = [str(tool), "--no-owner", "--no-privileges", "--inserts", database.url]
    text = subprocess.run(shown, check=True, capture_output=True, env={**os.environ}).stdout
    return b"\n".join(line for line in text.splitlines() if not line.startswith(b"\\")) + b"\n"


if __name__ == "__main__":
    write(Path(__file__).parent / sys.argv[1])
