"""What a killed sync left in a working folder goes with the next command on its dataset; what is in use stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gapless.pipelines.destinations.backend import Backend
from gapless.pipelines.destinations.duckdb_connections import in_memory
from gapless.pipelines.destinations.duckdb_file import duckdb_file
from gapless.pipelines.destinations.target import Target
from gapless.sources._ledger.shard import Shard

PACKAGE = "load/normalized/1.1/records.parquet"


class Server(Backend):
    """A database server, which several syncs write to at once."""


def killed(target: Target, *sources: str) -> list[Path]:
    """Leaves a load package of each source, as a sync that is killed does; returns their files."""
    folder = target.working_folder(*sources)
    made = [folder / name / PACKAGE for name in sources]
    for file in made:
        file.parent.mkdir(parents=True)
        file.write_text("a person")
    return made


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Target:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Target(Server("server", "server://here"))


def test_packages_of_killed_syncs(whole: Target) -> None:
    """They go, whatever sources the sync had, and whichever part of them it read."""
    shard = Target(whole.backend, Shard(2, 3))
    first, second = killed(whole, "one", "two")
    (part,), (other,) = killed(shard, "one"), killed(Target(Server("server", "server://elsewhere")), "one")
    with whole.lock("one"):
        pass
    assert [file.exists() for file in (first, second, part, other)] == [False, True, False, True]


def test_a_shard_leaves_the_others_theirs(whole: Target) -> None:
    """Shards work at the same time."""
    (other,) = killed(Target(whole.backend, Shard(2, 3)), "one")
    with Target(whole.backend, Shard(1, 3)).lock("one"):
        assert other.exists()
    with whole.lock():
        assert not other.exists()


def test_what_duckdb_spilled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that DuckDB had no memory for go with the process that wrote them, or with the next one."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    gone, here = (tmp_path / "gapless" / "duckdb" / str(number) for number in (2**22 + 7, os.getppid()))
    beside = tmp_path / "a.duckdb.tmp"
    for folder in (gone, here, beside):
        folder.mkdir(parents=True)
        (folder / "duckdb_temp_storage_DEFAULT-0.tmp").write_text("a person")
    (tmp_path / "gapless").chmod(0o700)
    in_memory().__exit__(None, None, None)
    with duckdb_file(tmp_path / "a.duckdb").opened():
        pass
    assert [any(folder.iterdir()) for folder in (gone, here, beside)] == [False, True, False]
