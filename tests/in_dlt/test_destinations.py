"""A dlt user with another destination than DuckDB: limited and whole runs, changes, files of each format, replace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from tests.contract.conftest import NAMES
from tests.in_dlt.conftest import User
from tests.support.databases import DATABASES, Database
from tests.support.oracle import mismatches

pytestmark = [pytest.mark.sweep, pytest.mark.filterwarnings("ignore:Coercing Subquery")]  # dlt's own SQL, for SQLite
FORMATS: dict[str, list[Any]] = {"postgres": ["insert_values"], "ducklake": ["parquet"]}


def cases() -> Iterator[Any]:
    """Each source on Postgres, and one on a lake, each in one form."""
    for destination in FORMATS:
        # A lake takes a minute for each source.
        for turn, name in enumerate(NAMES[-1:] if destination == "ducklake" else NAMES):
            rows = bool(turn % 2)
            here = DATABASES[destination].at_hand()
            marks = pytest.mark.skipif(not here, reason="its driver is not installed")
            form = "rows" if rows else "arrow"
            yield pytest.param(name, destination, rows, marks=marks, id=f"{name}-{destination}-{form}")


@pytest.fixture
def _extensions(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB's extensions for a lake stand where `install` would put them, as on a machine with the internet."""
    with duckdb.connect() as db:
        ((platform,),) = db.execute("pragma platform").fetchall()
    folder = tmp_path / ".duckdb" / "extensions" / f"v{duckdb.__version__}" / platform
    folder.mkdir(parents=True)
    for name in ("ducklake", "sqlite_scanner"):
        if (spec := find_spec(f"duckdb_extension_{name}")) and spec.origin:
            (file,) = Path(spec.origin).parent.rglob(f"{name}.duckdb_extension")
            (folder / file.name).symlink_to(file)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.usefixtures("_extensions")
@pytest.mark.parametrize(("name", "other", "form"), [*cases()])
def test_another_destination(user: User, other: str, form: bool) -> None:
    """All is there once after each run."""
    database = DATABASES[other](user.world.folder)
    user.world.set(**database.settings)

    def run(limit: int | None = None, **how: Any) -> None:
        source = user.source(rows=form)
        user.pipeline(destination=other).run(source.add_limit(limit) if limit else source, **how)

    run(limit=1)
    json_is_encoded_once(user, database)
    run()
    assert differences(user, database) == []
    newest = max(user.subject.records(user.fake), key=lambda row: row[user.subject.time])
    user.subject.edit(user.fake, newest[user.subject.id], "edited")
    user.subject.add_one(user.fake, at=user.fake.now - timedelta(minutes=50))
    for word in FORMATS[other]:
        run(loader_file_format=word)
        assert differences(user, database) == []
    run(write_disposition="replace")
    run()
    assert differences(user, database) == []


@pytest.mark.parametrize("form", [False, True])
def test_sqlite(user: User, form: bool) -> None:
    """It is refused before a request, as dlt would encode JSON twice."""
    pytest.importorskip("sqlalchemy")  # of an extra
    user.world.set(**DATABASES["sqlalchemy"](user.world.folder).settings)
    user.fake.requests.clear()
    with pytest.raises(PipelineStepFailed, match="sqlalchemy is refused"):
        user.pipeline(destination="sqlalchemy").run(user.source(rows=form))
    assert user.fake.requests == []


def differences(user: User, database: Database) -> list[str]:
    with database.opened(user.subject.name) as db:
        return mismatches(db, user.subject.name, user.fake.truth())


def json_is_encoded_once(user: User, database: Database) -> None:
    """In the ledger, too, which is no rows of the user's."""
    with database.opened(user.subject.name) as db:
        cells = db.execute("select missing from coverage where missing is not null").fetchall()
    for (cell,) in cells:
        assert isinstance(cell if isinstance(cell, list) else json.loads(cell), list)
