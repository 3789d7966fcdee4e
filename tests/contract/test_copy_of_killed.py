"""A copy of a file whose first sync was killed tells what the file tells, until the sync that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from gapless.pipelines.config import unwritten
from gapless.pipelines.destinations.target import Target
from gapless.sources._ledger.shard import WHOLE
from tests.contract.commands import fill, gapless, gaps
from tests.contract.conftest import NAMES, Begin, of
from tests.contract.subject import Subject
from tests.contract.test_first_kill import killed
from tests.support.databases import DATABASES, require
from tests.support.world import World, some


def copied_to(engine: str, here: World, folder: Path) -> World:
    """The copy; it tells what the file tells, in the same words but for the destination."""
    require(engine)
    database = DATABASES[engine](folder)
    here.set(**database.settings)
    told = [(gap["kind"], gap["why"]) for gap in gaps(here)]
    code = gapless(here, "copy", "--to", engine).exit_code
    there = World(here.name, here.fake, here.folder, here.monkeypatch, database)
    assert [(gap["kind"], gap["why"]) for gap in gaps(there)] == told
    assert (code == 0) == (told == [])
    return there


@pytest.mark.slow
@of(NAMES[1])
@pytest.mark.parametrize("engine", some(["postgres", "sqlalchemy", "ducklake"], "postgres"))
def test_before_its_first_load(engine: str, subject: Subject, world: Begin, tmp_path: Path) -> None:
    """Nothing is here to copy, and no command says that nothing is wanted."""
    here = world(subject.filled())
    killed(here, "sync", subject.name)
    there = copied_to(engine, here, tmp_path)
    assert [gap["kind"] for gap in gaps(there)] == ["not asked"]
    fill(there, gaps(there))
    there.assert_exact()


@pytest.mark.slow
@of(NAMES[0])
@pytest.mark.parametrize("engine", some(["postgres", "sqlalchemy", "ducklake"], "postgres"))
def test_after_its_first_load(engine: str, subject: Subject, world: Begin, tmp_path: Path) -> None:
    """What was loaded is copied, and that it is not all; a copy of a file that was synced on ends it."""
    here = world(subject.filled())
    here.fail_after(4, status=401)
    here.sync(package_records=4)
    here.mend()
    here.database.change(subject.name, "delete from runs")
    unwritten.begin(Target.find(here.database.name).note_file(subject.name, WHOLE))
    there = copied_to(engine, here, tmp_path)
    assert "not asked" in [gap["kind"] for gap in gaps(there)]
    here.complete()
    there = copied_to(engine, here, tmp_path)
    assert gaps(there) == []
    there.assert_exact()
