"""What is forgotten stays forgotten, and neither an alarm comes of it nor does a loss hide behind it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from tests.contract.commands import document, gapless, gaps, lose, run
from tests.contract.conftest import NAMES, ROOT, elsewhere, of
from tests.contract.subject import Row, Subject
from tests.support import warm
from tests.support.oracle import Truth
from tests.support.world import World, some


@dataclass
class Person:
    """A parent with all its records, if there are parents, and one record of another parent."""

    subject: Subject
    parent: str | None
    record: str

    def is_of(self, row: Row) -> bool:
        of_parent = self.parent is not None and self.subject.of_parent(row) == self.parent
        return of_parent or str(row[self.subject.id]) == self.record

    def without(self, truth: Truth) -> Truth:
        """The vendor's records, without the person's."""
        left = {**truth, self.subject.main: [row for row in truth[self.subject.main] if not self.is_of(row)]}
        if table := self.subject.parents_table:
            left[table] = [row for row in truth[table] if str(row[self.subject.parent_id]) != self.parent]
        return left


def person(subject: Subject, here: World) -> Person:
    rows = subject.records(here.fake)
    if not subject.parents_table:
        return Person(subject, None, str(rows[len(rows) // 2][subject.id]))
    parent = subject.of_parent(rows[0])
    other = next(row for row in rows if subject.of_parent(row) != parent)
    return Person(subject, parent, str(other[subject.id]))


def forget(here: World, who: Person) -> None:
    """Forgets the person by two commands."""
    if who.parent:
        table = who.subject.parents_table or ""
        found = document(here, "forget", here.name, "--id", who.parent, "--table", table, "--yes")
        assert (found["kind"], found["parents"]) == ("parent", 1)
        assert found["rows"][who.subject.main] == found["records"] > 0
    found = document(here, "forget", here.name, "--id", who.record, "--table", who.subject.main, "--yes")
    assert (found["error"], found.get("kind")) == (None, "record")


def stays_forgotten(here: World, who: Person) -> None:
    """Nothing of the person is here, all else is, and nobody complains."""
    here.assert_exact(who.without(here.fake.truth()))
    assert gaps(here) == []
    ((rows,),) = here.sql(f"select count(*) from coverage where parent = '{who.parent}'")
    assert rows == 0


def changed(subject: Subject, here: World) -> None:
    """A new record of each parent, the forgotten one too, and a change of one that is there."""
    here.fake.advance(minutes=30)
    for parent in subject.parents(here.fake):
        subject.add(here.fake, parent)


@pytest.mark.slow
@elsewhere(1)
@of(NAMES[-1])
def test_forget(subject: Subject, synced: World) -> None:
    """No sync, comparison, repair or backfill brings the forgotten back."""
    who, name = person(subject, synced), subject.name
    forget(synced, who)
    stays_forgotten(synced, who)
    for _ in range(3):
        changed(subject, synced)
        assert synced.sync().outcome == "complete"
        stays_forgotten(synced, who)
    assert synced.sync().outcome == "complete"
    for arguments in (["--whole"], ["--repair"], ["--cells", "--repair"], []):
        result = gapless(synced, "verify", name, *arguments)
        assert result.exit_code == 0, result.output
        stays_forgotten(synced, who)
    if synced.database.name == "postgres" and subject.parents_table:
        for shard in ("1/2", "2/2"):
            changed(subject, synced)
            assert gapless(synced, "sync", name, "--shard", shard).exit_code == 0
        assert synced.sync().outcome == "complete"
        stays_forgotten(synced, who)
    since, until = (f"{synced.fake.now + timedelta(days=days):%Y-%m-%d}" for days in (-20, 1))
    result = gapless(synced, "backfill", name, "--since", since, "--until", until)
    assert result.exit_code == 0, result.output
    stays_forgotten(synced, who)
    assert gapless(synced, "state", "reset", name, "--yes").exit_code == 0
    assert synced.sync().outcome == "complete"
    stays_forgotten(synced, who)


@pytest.mark.slow
@of(NAMES[0])
def test_the_key_is_written_into_the_working_folder(subject: Subject, synced: World) -> None:
    """Where nobody names a folder of settings and the working folder has none, a checkout's stays as it is."""
    environment = {name: value for name, value in os.environ.items() if name != "DLT_PROJECT_DIR"}
    checkout = {file: file.read_bytes() for file in (ROOT / ".dlt").iterdir()}

    def run(*words: str) -> str:
        line = [sys.executable, "-m", "gapless.pipelines", *words, "--json"]
        return warm.run(line, cwd=synced.folder, env=environment, check=True).stdout

    who = person(subject, synced)
    done = json.loads(run("forget", subject.name, "--id", who.record, "--yes"))
    assert done["key_file"] == str(synced.folder / ".dlt" / "secrets.toml")
    assert (synced.folder / ".dlt").stat().st_mode & 0o777 == 0o700
    run("state", "reset", subject.name, "--yes")
    run("sync", subject.name)
    assert synced.sql(f"select 1 from {subject.main} where {subject.id_column} = '{who.record}'") == []
    assert {file: file.read_bytes() for file in (ROOT / ".dlt").iterdir()} == checkout


@pytest.mark.slow
@of(NAMES[1])
def test_a_database_restored_from_before(subject: Subject, synced: World) -> None:
    """Nobody comes back: a sync is refused before any request until the same is forgotten again, or given up."""
    file = synced.folder / "gapless.duckdb"
    backup, who = file.read_bytes(), person(subject, synced)
    forget(synced, who)
    assert gapless(synced, "keep", subject.name, "9999d", "--yes").exit_code == 0
    assert synced.sync().outcome == "complete"
    stays_forgotten(synced, who)
    file.write_bytes(backup)
    number = "3 erasures" if who.parent else "2 erasures"
    for _ in range(2):
        requests, refused = len(synced.fake.requests), gapless(synced, "sync", subject.name)
        assert (refused.exit_code, len(synced.fake.requests)) == (2, requests)
        assert f"the database knows nothing of {number} of " in refused.output
        assert f"gapless forget {subject.name} and gapless keep {subject.name} …" in refused.output
    forget(synced, who)
    assert "of 1 erasure of " in gapless(synced, "sync", subject.name).output
    assert gapless(synced, "keep", subject.name, "9998d", "--yes").exit_code == 0
    assert synced.sync().outcome == "complete"
    stays_forgotten(synced, who)
    file.write_bytes(backup)
    noted = Path(gapless(synced, "sync", subject.name).output.split("give these erasures up, delete ")[1].split()[0])
    assert who.record not in noted.read_text()
    assert noted.stat().st_mode & 0o777 == 0o600
    noted.unlink()
    synced.complete()
    synced.assert_exact()


@pytest.mark.slow
@of(NAMES[1])
def test_a_loss_beside_the_forgotten(subject: Subject, synced: World) -> None:
    """A record that is lost is told of and brought back, the forgotten one is not."""
    who = person(subject, synced)
    forget(synced, who)
    left = who.without(synced.fake.truth())[subject.main][-1][subject.id]
    lose(synced, f"cast({subject.id_column} as varchar) = '{left}'")
    assert [gap["kind"] for gap in gaps(synced)]
    code = document(synced, "verify", subject.name, "--whole")["exit_code"]
    assert code == 3
    assert gapless(synced, "verify", subject.name, "--repair").exit_code == 0
    stays_forgotten(synced, who)


@of(NAMES[0])
def test_nothing_matches(subject: Subject, synced: World) -> None:
    """Nothing is changed, and the command says so; a look changes nothing either."""
    before = synced.rows(subject.main)
    found = document(synced, "forget", subject.name, "--id", "987654321", "--yes")
    assert (found["exit_code"], "nothing of" in found["error"]) == (2, True)
    record = person(subject, synced).record
    found = document(synced, "forget", subject.name, "--id", record, "--table", subject.main, "--dry-run")
    assert (found["exit_code"], found["rows"][subject.main]) == (0, 1)
    assert synced.rows(subject.main) == before
    assert not (synced.folder / ".dlt").exists()


@pytest.mark.slow
@of(NAMES[0])
def test_a_lost_key(subject: Subject, synced: World) -> None:
    """A sync ends before its first request, with what to do; with the key it goes on."""
    who = person(subject, synced)
    forget(synced, who)
    key = synced.folder / ".dlt" / "secrets.toml"
    assert key.stat().st_mode & 0o777 == 0o600
    synced.set(GAPLESS_ERASURE_KEY="another key of 26 letters.")
    changed(subject, synced)
    synced.fake.requests.clear()
    result = run("sync", subject.name)
    assert (result.exit_code, synced.fake.requests) == (2, []), result.output
    assert "GAPLESS_ERASURE_KEY" in result.output
    assert document(synced, "forget", subject.name, "--id", who.record, "--yes")["exit_code"] == 2
    synced.monkeypatch.delenv("GAPLESS_ERASURE_KEY")
    assert synced.sync().outcome == "complete"
    stays_forgotten(synced, who)


def alter(here: World, statement: str) -> None:
    with duckdb.connect(str(here.folder / "gapless.duckdb")) as db:
        db.execute(statement)


@pytest.mark.slow
@of(NAMES[1])
def test_lost_tombstones(subject: Subject, synced: World) -> None:
    """Who drops their table does not bring anybody back: no sync, and no comparison, until it is there again."""
    who = person(subject, synced)
    forget(synced, who)
    alter(synced, f"alter table {subject.name}.erased rename to kept")
    synced.fake.requests.clear()
    for command in (("sync",), ("verify", "--repair")):
        result = run(command[0], subject.name, *command[1:])
        assert (result.exit_code, synced.fake.requests) == (2, []), result.output
        assert "their tombstones in the table erased are gone" in " ".join(result.output.split())
    with pytest.raises(PipelineStepFailed, match="their tombstones in the table erased are gone"):
        own_run(subject, synced)
    assert synced.fake.requests == []
    alter(synced, f"alter table {subject.name}.kept rename to erased")
    assert synced.sync().outcome == "complete"
    stays_forgotten(synced, who)


@pytest.mark.slow
@of(NAMES[0])
def test_copies(subject: Subject, synced: World) -> None:
    """A copy loses at the next copy what the file forgot, keeps what it forgot itself out, and goes on alone."""
    who, name = person(subject, synced), subject.name
    path = synced.folder / "second.duckdb"
    synced.set(DESTINATION__SECOND__DESTINATION_TYPE="duckdb", DESTINATION__SECOND__CREDENTIALS=str(path))
    assert run("copy", name, "--to", "second").exit_code == 0
    own = next(str(row[subject.id]) for row in subject.records(synced.fake)[::-1] if not who.is_of(row))
    table = ["--table", subject.main, "--yes"]
    forget(synced, who)
    assert run("forget", name, "--id", own, *table, "--destination", "second").exit_code == 0
    changed(subject, synced)
    assert synced.sync().outcome == "complete"
    for _ in range(2):
        result = run("copy", name, "--to", "second")
        assert result.exit_code == 0, result.output
        copied = ids_in(path, subject)
        wanted = {str(row[subject.id]) for row in who.without(synced.fake.truth())[subject.main]}
        assert copied == wanted - {own}
        assert in_file(path, f"select 1 from {name}.coverage where parent = '{who.parent}'") == []
    assert (
        len(in_file(path, f"select 1 from {name}.erasures"))
        == len(in_file(synced.folder / "gapless.duckdb", f"select 1 from {name}.erasures")) + 1
    )
    assert run("verify", name, "--whole", "--destination", "second").exit_code == 0
    assert run("gaps", name, "--destination", "second").exit_code == 0


@pytest.mark.slow
@of(NAMES[0])
def test_a_new_copy(subject: Subject, synced: World) -> None:
    """A copy that is made after a forgetting knows of it: a sync into it brings nobody back."""
    who, name = person(subject, synced), subject.name
    path = synced.folder / "second.duckdb"
    synced.set(DESTINATION__SECOND__DESTINATION_TYPE="duckdb", DESTINATION__SECOND__CREDENTIALS=str(path))
    forget(synced, who)
    assert run("copy", name, "--to", "second").exit_code == 0
    changed(subject, synced)
    result = run("sync", name, "--destination", "second")
    assert result.exit_code == 0, result.output
    copied = ids_in(path, subject)
    assert copied == {str(row[subject.id]) for row in who.without(synced.fake.truth())[subject.main]}


def ids_in(path: Path, subject: Subject) -> set[str]:
    return {str(key) for (key,) in in_file(path, f"select {subject.id_column} from {subject.name}.{subject.main}")}


def in_file(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as db:
        return db.execute(query).fetchall()


@pytest.mark.slow
@of(NAMES[1])
def test_where(subject: Subject, synced: World) -> None:
    """All records with a value in a column are forgotten, and those that come later with it as well."""
    name, column = subject.name, subject.text_column
    value = next(subject.text_of(row) for row in subject.records(synced.fake) if subject.text_of(row))
    ((before,),) = synced.sql(f"select count(*) from {subject.main} where {column} = '{value}'")
    found = document(synced, "forget", name, "--where", f"{subject.main}.{column}={value}", "--yes")
    assert (found["error"], found["records"]) == (None, before)
    for _ in range(2):
        changed(subject, synced)
        assert synced.sync().outcome == "complete"
        assert synced.sql(f"select count(*) from {subject.main} where {column} = '{value}'") == [(0,)]
        assert gaps(synced) == []
    result = gapless(synced, "verify", name, "--repair")
    assert result.exit_code == 0, result.output
    assert synced.sql(f"select count(*) from {subject.main} where {column} = '{value}'") == [(0,)]


def own_run(subject: Subject, here: World, refresh: Any = None) -> None:
    """Reads the source by a pipeline of the user's, without a command of ours."""
    file = dlt.destinations.duckdb(str(here.folder / "gapless.duckdb"))
    pipeline = dlt.pipeline("mine", destination=file, dataset_name=subject.name, pipelines_dir=str(here.folder))
    try:
        pipeline.run(subject.source.build(), refresh=refresh)
    finally:
        pipeline.deactivate()


@pytest.mark.slow
@of(NAMES[0])
def test_a_pipeline_of_ones_own(subject: Subject, synced: World) -> None:
    """dlt's own run into the dataset brings nobody back, also when it drops what is there and reads all again."""
    who = person(subject, synced)
    forget(synced, who)
    changed(subject, synced)
    for refresh in (None, "drop_sources"):
        own_run(subject, synced, refresh)
        assert ids_in(synced.folder / "gapless.duckdb", subject) == {
            str(row[subject.id]) for row in who.without(synced.fake.truth())[subject.main]
        }


@pytest.mark.slow
@pytest.mark.parametrize("bad", some(["record", "nameless"], "nameless"))
@of(NAMES[0])
def test_who_stands_in_a_dead_letter_alone(subject: Subject, bad: str, synced: World) -> None:
    """A record that cannot be read is forgotten by a value in it, and so is one that comes later; none is missed."""
    who, name = "canary.person", subject.name
    fields: dict[str, Any] = subject.with_text([who]) | ({subject.id: []} if bad == "nameless" else {})
    subject.add_one(synced.fake, **fields)
    assert synced.sync().outcome == "partial"
    assert synced.sql("select kind from dead_letters") == [(bad,)]
    where = f"{subject.main}.{subject.text_column}={who}"
    found = document(synced, "forget", name, "--where", where, "--yes")
    assert (found["error"], found["rows"]) == (None, {"dead_letters": 1})
    for _ in range(2):
        synced.fake.now += timedelta(minutes=30)
        subject.add_one(synced.fake, **fields)
        assert synced.sync().outcome == "complete"
        assert (synced.letters(), gaps(synced)) == ([], [])
        result = gapless(synced, "verify", name, "--whole")
        assert result.exit_code == 0, result.output


SPELT = "Zo\u00cb \u00d8rsted-Stra\u1e9eE \u0130\u212a 10%"
"""Letters of which SQLite folds none, some in which Python's and DuckDB's small letters differ, and a wild card."""


@pytest.mark.slow
@elsewhere(0)
@of(NAMES[0])
def test_where_folds_every_letter(subject: Subject, world: Any) -> None:
    """Rows that are here and rows that come later are found alike, on each destination."""
    here, name = world(subject.filled()), subject.name
    parent = subject.parents(here.fake)[0]
    texts = [SPELT, SPELT.lower(), SPELT.replace("10%", "10 of")]
    for text in texts:
        subject.add(here.fake, parent, **subject.with_text(text))
    here.complete()
    column = subject.text_column
    found = document(here, "forget", name, "--where", f"{subject.main}.{column}={SPELT.swapcase()}", "--yes")
    assert (found["error"], found["records"]) == (None, 2)
    subject.add(here.fake, parent, **subject.with_text(SPELT.lower()))
    here.complete()
    left = here.sql(f"select {column} from {subject.main} where {column} like 'Zo%' or {column} like 'zo%'")
    assert left == [(texts[2],)]
    assert gaps(here) == []


@pytest.mark.slow
@of(NAMES[0])
def test_where_of_a_hashed_column(subject: Subject, world: Any) -> None:
    """Common spellings are found by their hashes; that others are not is said."""
    here, column = world(subject.filled()), subject.text_column
    here.set(**{f"{subject.prefix}_PRIVACY": f"{subject.main}.{column}=hash", "GAPLESS_HASH_KEY": "k" * 32})
    for text in ("Ann.Lee@Example.com", "ann.lee@example.com", "ANN.LEE@EXAMPLE.COM"):
        subject.add(here.fake, subject.parents(here.fake)[0], **subject.with_text(text))
    here.complete()
    where = f"{subject.main}.{column}=Ann.Lee@Example.com"
    found = document(here, "forget", subject.name, "--where", where, "--yes")
    assert (found["records"], "is hashed" in found["warning"]) == (3, True)
    nothing = document(here, "forget", subject.name, "--where", f"{subject.main}.{column}=nobody", "--yes")
    assert (nothing["exit_code"], "is hashed" in nothing["error"]) == (2, True)
