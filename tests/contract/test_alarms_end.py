"""An alarm ends with the commands that are named, whatever the vendor or a clock has done meanwhile."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx2 as httpx
import pytest

from gapless.sources import SOURCES
from gapless.sources._schema.layout import LAYOUT, LAYOUT_TABLE
from tests.contract.commands import fill, gapless, gaps, lose, run, typed
from tests.contract.conftest import NAMES, Begin, of
from tests.contract.subject import Subject
from tests.contract.test_gone import delete_parent, parents_of
from tests.support.databases import DATABASES
from tests.support.world import World, some

ROUNDS = 2
CHOOSING = [name for name, source in SOURCES.items() if source.stream.only]
"""Sources with a setting that names the only ids to read."""


def ended(here: World) -> bool:
    """Whether the commands that are named end each alarm, and those that they lead to."""
    for _ in range(ROUNDS):
        for line in dict.fromkeys(gap["fill"] for gap in gaps(here)):
            typed(here, line)
    return gaps(here) == []


@pytest.mark.slow
@of(NAMES[0])
def test_a_parent_that_failed_and_is_deleted(subject: Subject, synced: World) -> None:
    """Its id alone says that it is not found, and the listing that it is gone."""
    parent = parents_of(subject, synced)[-1]
    subject.add(synced.fake, parent)
    synced.fake.failing[subject.part_of_path(parent)] = 500
    assert synced.sync().outcome == "partial"
    synced.mend()
    delete_parent(subject, synced.fake, parent)
    assert [gap["kind"] for gap in gaps(synced)] == ["failing"]
    assert ended(synced)


@pytest.mark.slow
@of(NAMES[0])
def test_a_parent_that_was_never_read_and_is_deleted(subject: Subject, synced: World) -> None:
    parent = parents_of(subject, synced)[-1]
    synced.database.change(subject.name, f"delete from coverage where parent = '{parent}'")
    assert [gap["kind"] for gap in gaps(synced)] == ["never asked"]
    delete_parent(subject, synced.fake, parent)
    assert ended(synced)


@pytest.mark.slow
@of(NAMES[0])
def test_a_parent_that_lost_rows_and_is_deleted(subject: Subject, synced: World) -> None:
    """Nobody can bring them back: `verify` says that it is not listed, and the repair that is named finds it gone."""
    if not subject.tells_total:
        pytest.skip("without a total nobody counts a parent's records")
    parent = parents_of(subject, synced)[-1]
    synced.database.change(subject.name, f"update coverage set records = records + 1 where parent = '{parent}'")
    delete_parent(subject, synced.fake, parent)
    assert [gap["kind"] for gap in gaps(synced)] == ["lost"]
    assert gapless(synced, "verify", subject.name, "--whole").exit_code == 3
    assert ended(synced)


@of(NAMES[2])
def test_a_record_of_the_look_back_is_deleted(subject: Subject, synced: World) -> None:
    """A listing that shows it to be gone is enough: later syncs do not ask for it, and fail, again and again."""
    key = subject.add_one(synced.fake, at=synced.fake.now)
    synced.complete()
    synced.fake.delete(key)
    for sync in range(3):
        synced.complete()
        assert (synced.letters(), gaps(synced)) == ([], [])
        assert sync == 0 or synced.asked(key) == 0


@pytest.mark.parametrize("parent", [None, "elsewhere"], ids=["none", "one that is not listed"])
@of(NAMES[2])
def test_a_record_that_names_another_parent_than_the_listing(
    subject: Subject, world: Begin, parent: str | None
) -> None:
    """It is stored as it says itself, and is not missed where it was listed."""
    if not subject.one_by_one:
        pytest.skip("its records name no parent of their own, so none can name another one")
    fake = subject.filled()
    name = str(subject.source.stream.column).partition("__")[0]
    row = subject.records(fake)[0]
    here = world(fake)

    def answer(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith(str(row[subject.id])):
            return None
        record = json.loads(fake.handle(request).content)
        return httpx.Response(200, json=record | {name: {**record[name], "id": parent} if parent else None})

    here.intercept = answer
    for _ in range(2):
        here.complete()
        assert gaps(here) == []
    assert gapless(here, "verify", subject.name, "--whole").exit_code == 0
    here.database.change(subject.name, f"delete from {subject.main}", "update runs set held = null")
    assert {gap["kind"] for gap in gaps(here)} >= {"lost"}


@pytest.mark.slow
@of(NAMES[-1])
def test_a_run_of_a_clock_that_was_wrong(subject: Subject, world: Begin) -> None:
    """A run of next month hides neither that syncs fail today, nor that one came to its end."""
    here = world(subject.filled())
    here.synced()
    later = ", ".join(f'"{name}" = "{name}" + interval \'30 days\'' for name in ("started_at", "finished_at"))
    here.database.change(subject.name, f"update runs set {later}")
    here.fail_after(0, status=401)
    assert here.sync().outcome == "failed"
    assert [gap["kind"] for gap in gaps(here)] == ["not asked"]
    here.database.change(subject.name, f"update runs set {later} where outcome = 'failed'")
    here.mend()
    here.complete()
    assert gaps(here) == []


@pytest.mark.slow
@of(NAMES[0])
def test_one_shard_that_fails_each_time(subject: Subject, sharded: World, writers: str) -> None:
    """Another shard that comes to its end after it does not hide that its parents are not asked."""
    here, there = sharded, ("--destination", writers)

    def shard(number: int) -> int:
        return run("sync", subject.name, "--shard", f"{number}/2", *there).exit_code

    def told() -> list[tuple[str, str]]:
        found = json.loads(run("gaps", "--json", *there).stdout)["gaps"]
        return [(gap["kind"], gap["fill"]) for gap in found]

    assert [shard(1), shard(2), told()] == [0, 0, []]
    for _ in range(2):
        here.fail_after(0, status=401)
        assert shard(2) == 1
        here.mend()
        assert shard(1) == 0
        assert told() == [("not asked", f"gapless sync {subject.name} --shard 2/2 --destination {writers}")]
    assert "shard 2/2 answered 401" in " ".join(run("status", *there).output.split())
    assert [shard(2), told()] == [0, []]


@pytest.mark.slow
@of(NAMES[0])
def test_a_shard_where_none_can_write(subject: Subject, synced: World) -> None:
    """Somebody noted one in a file: the command that is named reads the whole source."""
    synced.database.change(subject.name, "update runs set shard = '1/2'")
    assert [(gap["kind"], gap["fill"]) for gap in gaps(synced)] == [("shard", f"gapless sync {subject.name}")]
    assert ended(synced)


@pytest.mark.slow
@of(NAMES[0])
@pytest.mark.parametrize(
    "damage",
    some(
        [
            "drop table _dlt_version",
            "alter table _dlt_version drop column schema",
            "alter table _dlt_version drop column version",
            "alter table _dlt_loads drop column status",
            "alter table _dlt_pipeline_state drop column state",
        ],
        "alter table _dlt_version drop column version",
        "alter table _dlt_loads drop column status",
    ),
)
def test_what_dlt_notes_is_made_again(damage: str, subject: Subject, synced: World) -> None:
    """By syncs alone, also while the vendor has nothing new."""
    synced.database.change(subject.name, damage)
    assert {gap["kind"] for gap in gaps(synced)} >= {"damaged"}
    for _ in range(3):
        gapless(synced, "sync", subject.name)
    assert gaps(synced) == []
    synced.complete()
    synced.assert_exact()


@pytest.mark.slow
@of(NAMES[1])
@pytest.mark.parametrize("column", some(["attempts", "reason", "stream", "kind"], "attempts"))
def test_records_and_letters_at_once(column: str, subject: Subject, synced: World) -> None:
    """A column of the records that may be null, and one that every dead letter needs: syncs go on, and all ends."""
    table = next(one for one in SOURCES[synced.name].main.schema.columns if one.nullable and one.name[0] != "_")
    synced.database.change(
        synced.name,
        f"alter table {SOURCES[synced.name].main.name} drop column {table.name}",
        f"alter table dead_letters drop column {column}",
    )
    assert gaps(synced) != []
    ended = gapless(synced, "sync", synced.name)
    assert ended.exit_code == 3, ended.output
    fill(synced, gaps(synced))
    synced.complete()
    synced.assert_exact()


@pytest.mark.slow
@of(NAMES[0])
@pytest.mark.parametrize("column", some(["coverage.failures", "runs.rows", "dead_letters.key"], "coverage.failures"))
def test_a_column_that_was_renamed(column: str, subject: Subject, synced: World) -> None:
    """It must not be null, and no sync writes it any more: `gaps` has the statement that ends it, too."""
    table, name = column.split(".")
    synced.database.change(subject.name, f"alter table {table} rename column {name} to was_{name}")
    told = " ".join(gap["why"] for gap in gaps(synced))
    (remedy,) = re.findall(r"Its owner ends that: (.*?);", told)
    synced.database.change(subject.name, remedy)
    gapless(synced, "sync", subject.name)
    fill(synced, gaps(synced))
    synced.complete()
    synced.assert_exact()


@pytest.mark.slow
@of(NAMES[1])
@pytest.mark.parametrize("broken_off", some([True, False], True))
@pytest.mark.parametrize(
    "column",
    some(["dead_letters.parent", "dead_letters.healed_at", "coverage.error", "runs.held"], "dead_letters.parent"),
)
def test_a_column_that_may_be_null(column: str, broken_off: bool, subject: Subject, synced: World) -> None:
    """While a letter is open, also where the sync that makes it again breaks off: each command bears it."""
    bad = subject.add_one(synced.fake, **subject.with_text([]))
    assert synced.sync().outcome == "partial"
    table, name = column.split(".")
    synced.database.change(subject.name, f"alter table {table} drop column {name}")
    if broken_off:
        synced.fail_after(0, 401)
        synced.sync()
        synced.mend()
    for words in (("gaps",), ("status",), ("verify", subject.name), ("state", "show"), ("doctor",), ("views",)):
        assert "was not expected" not in (done := gapless(synced, *words)).output, done.output
    subject.edit(synced.fake, bad, "mended")
    gapless(synced, "sync", subject.name)
    fill(synced, gaps(synced))
    synced.complete()
    synced.assert_exact()


@pytest.mark.slow
@of(NAMES[0])
@pytest.mark.parametrize("column", some(["version", "written_by", "shape", "since"], "version", "shape"))
def test_the_mark_of_the_layout_is_made_again(column: str, subject: Subject, synced: World) -> None:
    """A table with three of its four columns is no table of somebody else's."""
    synced.database.change(subject.name, f"alter table {LAYOUT_TABLE} drop column {column}")
    assert gapless(synced, "sync", subject.name).exit_code == 0
    assert [row[0] for row in synced.sql(f"select version from {LAYOUT_TABLE}")] == [LAYOUT]
    assert gaps(synced) == []
    synced.complete()


@pytest.mark.slow
@of(NAMES[0])
@pytest.mark.parametrize("engine", some(["duckdb", "postgres"], "duckdb"))
def test_no_run_is_left_and_no_column(engine: str, subject: Subject, world: Begin, tmp_path: Path) -> None:
    """Each column of the records that a question asks for, with nothing that says how many there were."""
    here = world(subject.filled())
    here.database = DATABASES[engine](tmp_path)
    here.set(**here.database.settings)
    here.complete()
    table = subject.source.main
    asked = {table.time_column, subject.source.stream.column, "rows_below" if table.schema.children else None}
    for column in sorted(filter(None, asked)):
        cascade = " cascade" if engine == "postgres" else ""
        here.database.change(
            subject.name, "delete from runs", f'alter table {table.name} drop column "{column}"{cascade}'
        )
        assert {gap["kind"] for gap in gaps(here)} >= {"damaged"}, column
        assert not json.loads(gapless(here, "status", "--json").stdout)["sources"][subject.name]["complete"]
        gapless(here, "sync", subject.name)
        assert ended(here), column
    here.assert_exact()


INVENTED = {
    "a parent that fails": ("coverage", "failures = 2, error = 'GET /x answered 500: no'"),
    "a parent without a check": ("coverage", "last_checked_at = null"),
    "a parent with records": ("coverage", "records = 5, missing = null, covered_from = null"),
    "a parent that misses an interval": (
        "coverage", "missing = '[[\"2026-01-01T00:00:00+00:00\", \"2026-01-02T00:00:00+00:00\"]]'"
    ),
    "a parent of a load that never was": ("coverage", "_dlt_load_id = '1'"),
    "a letter of a parent": ("dead_letters", "kind = 'parent', parent = null"),
    "a letter of a record": ("dead_letters", "kind = 'record', key = '4711'"),
    "a letter of a record without an id": ("dead_letters", "kind = 'nameless', key = 'abc'"),
    "a letter of a record that is said to be missing": (
        "dead_letters", "kind = 'record', key = '4711', reason = 'missing: the vendor serves it'"
    ),
    "a letter of a record that is said to differ": (
        "dead_letters", "kind = 'record', key = '4711', reason = 'differs: in a cell'"
    ),
    "a letter of an unknown stream": ("dead_letters", "stream = 'nothing', kind = 'record', key = '4711'"),
    "a letter of an unknown kind": ("dead_letters", "kind = 'whatever', key = '4711'"),
}  # fmt: skip
"""Rows that no sync wrote, of a parent that never was."""
UNREADABLE = {
    "proofs of an unknown stream": "update coverage set stream = 'x'",
    "proofs that miss no intervals": 'update coverage set missing = \'[["x", "y"]]\'',
    "proofs that miss what is no list": "update coverage set missing = '{\"a\": 1}'",
    "counts that are no object": "update runs set held = '[1]'",
    "counts that are no numbers": 'update runs set held = \'{"x": "many"}\'',
    "states that are none": "update _dlt_pipeline_state set state = 'garbage'",
    "states that are empty": "update _dlt_pipeline_state set state = ''",
    "schemas that are none": "update _dlt_version set schema = 'garbage'",
    "schemas that are empty": "update _dlt_version set schema = '{}'",
    "schemas of another name": "update _dlt_version set schema_name = 'other'",
}
"""Changes of the ledger, and of what dlt notes, after which nobody can read it."""


@pytest.mark.slow
@of(NAMES[-1])
@pytest.mark.parametrize("damage", some(UNREADABLE, "proofs that miss no intervals", "states that are none"))
def test_what_cannot_be_read(damage: str, subject: Subject, synced: World) -> None:
    """No command ends with an error that nobody expected: it is named or harmless, and ends with what is named."""
    synced.database.change(subject.name, UNREADABLE[damage])
    gaps(synced)
    assert ended(synced)
    synced.complete()
    assert gaps(synced) == []
    synced.assert_exact()


GHOST = "815"


@pytest.mark.slow
@of(NAMES[0], NAMES[-1])
@pytest.mark.parametrize("row", some(INVENTED, "a parent that fails", "a letter of a record"))
def test_a_row_of_a_parent_that_never_was(row: str, subject: Subject, synced: World) -> None:
    """What it claims ends with the commands that are named."""
    table, values = INVENTED[row]
    ghost = GHOST if subject.source.stream.parents else ""
    if table == "coverage" and not ghost:
        pytest.skip("it has no parents, and of a listing the ledger has one row, which is real")
    load, now = "(select max(load_id) from _dlt_loads)", "now()"
    main = subject.source.main.name
    if table == "coverage":
        columns, cells = "covered_to, last_checked_at", f"{now}, {now}"
    else:
        columns, cells = "kind, key, reason, attempts, first_seen_at, last_seen_at", (
            f"'parent', '{ghost}', 'GET /x answered 500: no', 1, {now}, {now}"
        )  # fmt: skip
    rest = ", failures" if table == "coverage" else ""
    zero = ", 0" if table == "coverage" else ""
    synced.database.change(
        subject.name,
        f"insert into {table} (stream, parent, {columns}{rest}, _dlt_load_id, _dlt_id)"
        f" select '{main}', '{ghost}', {cells}{zero}, {load}, 'ghost'",
        f"update {table} set {values} where _dlt_id = 'ghost'",
    )
    found = gaps(synced)
    assert found
    assert ended(synced), gaps(synced)
    synced.complete()
    synced.assert_exact()


@pytest.mark.parametrize("how", some(["lost", "set back", "deleted", "parents"], "lost", "set back", "parents"))
@of(*CHOOSING)
def test_what_a_setting_leaves_out_since_then(subject: Subject, synced: World, how: str) -> None:
    """Rows of parents that are read no more are missed all the same, and the commands that are named reach them."""
    setting = subject.source.stream.only
    if not setting:
        pytest.skip("no setting names the only ids to read")
    column = subject.source.stream.column
    one = subject.records(synced.fake)[0]
    record = subject.source.stream.by_id == "record"
    chosen = str(one[subject.id] if record else subject.of_parent(one))
    # dlt looks for a setting under three names.
    place = f"SOURCES__{subject.name.upper()}__" if how == "parents" else ""
    synced.set(**{f"{place}{setting.upper()}": chosen})
    if how == "lost":
        lose(synced, f"{subject.id_column if record else column} <> '{chosen}'")
        synced.database.change(subject.name, "update runs set held = null")
        assert gapless(synced, "verify", subject.name, "--whole").exit_code == 3
    elif how == "parents":
        parents = subject.source.stream.parents
        assert parents
        synced.database.change(subject.name, f"delete from {parents.table.name}")
        synced.sync()  # as it was scheduled, with the setting: it lists none of them
    elif how == "deleted":
        parent = parents_of(subject, synced)[-1]
        lose(synced, f"{column} = '{parent}'")
        delete_parent(subject, synced.fake, parent)
    else:
        gapless(synced, "state", "reset", subject.name, "--yes")
        synced.sync()
    assert gaps(synced)
    assert ended(synced)
    if how != "deleted":
        synced.assert_exact()
