"""A dlt user with a pipeline of their own, for every registered source and the fifth one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dlt
import duckdb
import pytest

from tests.contract import conftest as contract
from tests.contract.conftest import NAMES, _registered, subject  # noqa: F401  # fixtures
from tests.contract.subject import Subject
from tests.support.oracle import Truth, mismatches
from tests.support.world import World


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every source, unless a test names them itself."""
    named = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if not any(names == "name" or names[0] == "name" for names in named):
        contract.pytest_generate_tests(metafunc)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the sweeps each source takes one form of an idiom; over all idioms every source is met in both."""
    dropped = [item for item in items if _is_other_form(item)]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in set(dropped)]


def _is_other_form(item: pytest.Item) -> bool:
    chosen = getattr(item, "callspec", None)
    if "in_dlt" not in item.path.parts or chosen is None or not {"name", "rows"} <= chosen.params.keys():
        return False
    turn = (NAMES.index(chosen.params["name"]) + len(item.originalname)) % 2
    return item.get_closest_marker("sweep") is not None and bool(chosen.params["rows"]) != bool(turn)


@dataclass
class User:
    """Writes a few lines with dlt, and looks at the rows."""

    subject: Subject
    world: World
    number: int = 0

    @property
    def fake(self) -> Any:
        return self.world.fake

    def source(self, **settings: Any) -> Any:
        return self.subject.source.build(**settings)

    def pipeline(self, name: str = "mine", destination: Any = None, **how: Any) -> dlt.Pipeline:
        """A pipeline into the dataset that is named like the source."""
        folder = str(self.world.folder / "pipelines")
        to = destination or dlt.destinations.duckdb(str(self.file(name)))
        return dlt.pipeline(name, destination=to, pipelines_dir=folder, **{"dataset_name": self.subject.name, **how})

    def command(self, *words: str) -> None:
        """Runs dlt's command line, which a person would let go on."""
        command = [sys.executable, "-m", "dlt", "--non-interactive", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def file(self, name: str = "mine") -> Any:
        return self.world.folder / f"{name}.duckdb"

    def sql(self, query: str, name: str = "mine") -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.file(name)), read_only=True) as db:
            db.execute(f"use {self.subject.name}; set timezone = 'UTC'")
            return db.execute(query).fetchall()

    def count(self, table: str | None = None, name: str = "mine") -> int:
        ((found,),) = self.sql(f"select count(*) from {table or self.subject.main}", name)
        return int(found)

    def tables(self, name: str = "mine") -> set[str]:
        query = f"select table_name from duckdb_tables() where schema_name = '{self.subject.name}'"
        with duckdb.connect(str(self.file(name)), read_only=True) as db:
            return {table for (table,) in db.execute(query).fetchall()}

    def differences(self, truth: Truth | None = None, name: str = "mine") -> list[str]:
        """All in which the dataset differs from what the vendor has, rows without a parent included."""
        with duckdb.connect(str(self.file(name)), read_only=True) as db:
            return [
                *mismatches(db, self.subject.name, self.fake.truth() if truth is None else truth),
                *self._orphans(db),
            ]

    def _orphans(self, db: duckdb.DuckDBPyConnection) -> list[str]:
        found = []
        for table in self.subject.source.tables:
            for shape in table.schema.tree():
                if shape.parent:
                    own, parent = f"{self.subject.name}.{shape.name}", f"{self.subject.name}.{shape.parent}"
                    query = f"select count(*) from {own} where _dlt_parent_id not in (select _dlt_id from {parent})"
                    ((rows,),) = db.execute(query).fetchall()
                    found += [f"{shape.name}: {rows} orphans"] if rows else []
        return found


@pytest.fixture
def user(subject: Subject, world: Callable[[Any], World]) -> User:  # noqa: F811  # the fixture of that name
    """Somebody who has never used gapless's own commands; the vendor has 4 parents and 24 records."""
    return User(subject, world(subject.filled()))
