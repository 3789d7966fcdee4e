"""`gapless privacy apply`: rows that were loaded in clear become what a sync under today's policy would have made."""

from __future__ import annotations

import hmac
import json
import os
import sys
from typing import Any

import httpx2 as httpx
import pytest

from gapless.sources._schema.layout import LAYOUT_TABLE
from tests.contract.commands import document, everything, fill, gapless, gaps
from tests.contract.conftest import NAMES, Begin, elsewhere, of
from tests.contract.subject import Subject
from tests.contract.test_personal_data import PERSON, personal, policy
from tests.sources.test_security import written
from tests.support import warm
from tests.support.world import World

KEY = "a key of 16 characters"


def private(subject: Subject, here: World) -> None:
    """Sets the policy for every text that may be personal."""
    rules = ", ".join(f"{where}={action}" for where, action in policy(subject).items())
    here.set(**{"GAPLESS_HASH_KEY": KEY, f"{subject.prefix}_PRIVACY": rules})


def with_a_person(subject: Subject, world: Begin) -> World:
    """Returns a vendor whose every text names a person, with a record that cannot be read, synced in clear."""
    fake = subject.filled(2, 6)
    subject.add_one(fake, **subject.with_text([PERSON]))
    here = world(fake)

    def answer(request: httpx.Request) -> httpx.Response:
        served = fake.handle(request)
        links = {"link": served.headers["link"]} if "link" in served.headers else {}
        return httpx.Response(served.status_code, json=personal(subject, served.json()), headers=links)

    here.intercept = answer
    assert here.sync().outcome == "partial"
    return here


def rows(subject: Subject, here: World) -> dict[str, list[tuple[Any, ...]]]:
    """Returns all rows of the vendor, and of the letters what does not depend on the time of the sync."""
    letters = here.sql("select stream, kind, key, parent, reason, raw_json from dead_letters")
    return {**everything(here, subject.tables), "dead_letters": sorted(letters, key=repr)}


@pytest.mark.slow
@elsewhere(0)
@of(NAMES[0])
def test_rows_are_as_a_sync_makes_them_today(subject: Subject, world: Begin) -> None:
    """Each cell of each table; nothing says any more that the policy changed; a second time changes nothing."""
    here = with_a_person(subject, world)
    assert any(PERSON in text for _, text in written(here.folder)) or here.database.name == "postgres"
    # As a sync sets a table aside that somebody took a column from.
    here.database.change(subject.name, f"create table {subject.main}__lost_id as select * from {subject.main}")
    private(subject, here)
    assert [one["kind"] for one in gaps(here, subject.name) if one["kind"] == "privacy"] == ["privacy"]
    shown = document(here, "privacy", "apply", subject.name, "--dry-run")
    done = document(here, "privacy", "apply", subject.name, "--yes")
    assert shown["sources"] == done["sources"]
    assert sum(done["sources"][0]["cells"].values()) > 10
    assert (done["exit_code"], done["sources"][0]["not_here"]) == (0, [])
    assert [where for where, text in written(here.folder) if PERSON in text] == []
    assert [one["kind"] for one in gaps(here, subject.name) if one["kind"] == "privacy"] == []
    assert document(here, "privacy", "apply", subject.name, "--yes")["sources"][0]["cells"] == {}
    compared = document(here, "verify", subject.name, "--cells", "--whole")["sources"][0]
    assert (compared["cells"], compared["differing"], compared["differing_parents"]) == (6, {}, [])
    applied = rows(subject, here)
    here.database.remove()
    here.sync()
    assert rows(subject, here) == applied


def hashed(text: str, key: str = KEY) -> str:
    return hmac.new(key.encode(), text.encode(), "sha256").hexdigest()


@pytest.mark.slow
@of(NAMES[0])
def test_what_is_not_here_any_more(subject: Subject, synced: World) -> None:
    """A rule that was taken back, a key that was changed: said, exit 3, with the command that brings values back."""
    column = subject.text_column
    setting, where = f"{subject.prefix}_PRIVACY", f"{subject.main}.{column}"
    before = everything(synced, subject.tables)
    synced.set(**{setting: f"{where}=hash, {subject.main}._extra=keep", "GAPLESS_HASH_KEY": KEY})
    assert gapless(synced, "privacy", "apply", subject.name, "--yes").exit_code == 0
    synced.set(GAPLESS_HASH_KEY="another key of 16 characters")
    done = gapless(synced, "privacy", "apply", "--yes")
    assert (done.exit_code, f"{where}: an earlier policy" in done.stdout) == (3, True), done.output
    cells = {cell for (cell,) in synced.sql(f"select {column} from {subject.main} where {column} is not null")}
    assert all(len(cell) == 64 for cell in cells)
    synced.set(**{setting: ""})
    assert [gap["kind"] for gap in gaps(synced)] == ["privacy"]
    assert "state reset" in gaps(synced)[0]["fill"]
    found = document(synced, "privacy", "apply", "--yes")
    assert (found["exit_code"], found["sources"][0]["cells"]) == (3, {})
    assert {one for one in found["sources"][0]["not_here"] if not one.endswith("._extra")} == {where}
    assert gaps(synced) == []
    assert gapless(synced, "verify", subject.name, "--cells", "--whole", "--repair").exit_code == 0
    assert everything(synced, subject.tables) == before


@pytest.mark.slow
@of(NAMES[0])
def test_a_policy_that_was_set_between_two_syncs(subject: Subject, world: Begin) -> None:
    """Of rows of before and after none is hashed twice; what a vendor sent as 64 hex digits is hashed, too."""
    column, digest = subject.text_column, "0123456789abcdef" * 4
    fake = subject.filled(2, 6)
    first = subject.add_one(fake, **subject.with_text(digest))
    here = world(fake)
    here.complete()
    here.set(**{f"{subject.prefix}_PRIVACY": f"{subject.main}.{column}=hash", "GAPLESS_HASH_KEY": KEY})
    fake.advance(600)
    second = subject.add_one(fake, **subject.with_text("later"))
    assert here.sync().outcome == "partial"
    fill(here, gaps(here))
    held = dict(here.sql(f"select {subject.id_column}, {column} from {subject.main}"))
    assert {held[first], held[second]} == {hashed(digest), hashed("later")}
    here.complete()


@pytest.mark.slow
@of(NAMES[3])
def test_inside_of_json(subject: Subject, world: Begin) -> None:
    """A path into a JSON column, through lists: the same by a sync and by `privacy apply`; the rest stays."""
    main = [name for name, kind in subject.tables[subject.main].items() if kind == "JSON" and name != "_extra"]
    if not main:
        return
    value = {"user": [{"email": PERSON, "n": 1}, {"email": None}], "other": [1.50, "x"]}
    fake = subject.filled(2, 6)
    record = subject.add_one(fake, **{subject.json: value})
    here = world(fake)
    here.complete()
    rule = f"{subject.main}.{subject.column(subject.json)}.$.user[*].email=hash"
    here.set(**{f"{subject.prefix}_PRIVACY": rule, "GAPLESS_HASH_KEY": KEY})
    assert gapless(here, "privacy", "apply", "--yes").exit_code == 0
    query = f"select {subject.column(subject.json)} from {subject.main} where {subject.id_column} = '{record}'"
    ((applied,),) = here.sql(query)
    assert json.loads(applied) == {**value, "user": [{"email": hashed(PERSON), "n": 1}, {"email": None}]}
    assert [where for where, text in written(here.folder) if PERSON in text] == []
    compared = document(here, "verify", subject.name, "--cells", "--whole")
    assert compared["exit_code"] == 0


KILLED = """
import os, sys
from gapless.pipelines.maintenance import privacy, private_rows
from gapless.pipelines.destinations.target import Target
from gapless.sources import SOURCES, Source
for package in filter(None, os.environ["GAPLESS_SOURCES"].split(",")):
    source = Source.at(package)
    SOURCES[source.name] = source
left = iter(range(int(sys.argv[2])))
real = private_rows.PrivateRows._names
def names(self, *given):
    if next(left, None) is None:
        os.kill(os.getpid(), 9)
    return real(self, *given)
private_rows.PrivateRows._names = names
privacy.apply(Target.find(sys.argv[3]), [sys.argv[1]])
os.kill(os.getpid(), 9)
"""


@pytest.mark.sweep
@elsewhere(1)
@of(NAMES[0])
def test_killed_anywhere(subject: Subject, world: Begin) -> None:
    """Nothing or all is changed; the command again makes it what a sync would have made."""
    here = with_a_person(subject, world)
    private(subject, here)
    before = rows(subject, here)
    for steps in (1, 4, 9, 999):
        words = ["-c", KILLED, subject.name, str(steps), here.database.name]
        assert warm.run([sys.executable, *words], env=dict(os.environ)).returncode == -9
        now = rows(subject, here)
        assert (now == before) is (steps != 999)
        assert bool([one for one in gaps(here) if one["kind"] == "privacy"]) is (steps != 999)
    assert document(here, "privacy", "apply", "--yes")["sources"][0]["cells"] == {}
    assert rows(subject, here) == now
    here.database.remove()
    here.sync()
    assert rows(subject, here) == now


@pytest.mark.slow
@of(NAMES[0])
def test_what_a_vendor_says_of_an_error(subject: Subject, world: Begin) -> None:
    """Under a policy class and status alone are kept, in the ledger, in logs and in what is printed."""
    here = world(subject.filled(2, 6))
    here.complete()
    here.intercept = lambda request: httpx.Response(400, json={"error": {"message": f"no {PERSON} here"}})
    plain = gapless(here, "sync", subject.name)
    assert PERSON in plain.output + plain.stderr
    column = subject.text_column
    here.set(**{f"{subject.prefix}_PRIVACY": f"{subject.main}.{column}=drop"})
    assert gapless(here, "privacy", "apply", "--yes").exit_code == 0
    done = gapless(here, "sync", subject.name)
    assert (PERSON in done.output + done.stderr, "400" in done.output + done.stderr) == (False, True)
    assert [where for where, text in written(here.folder) if PERSON in text] == []


@of(NAMES[0])
def test_a_key_that_can_be_guessed(subject: Subject, world: Begin) -> None:
    """Fewer than 16 characters: refused before the first request, by every command that would use it."""
    column = subject.text_column
    here = world(subject.filled(2, 6))
    here.set(**{f"{subject.prefix}_PRIVACY": f"{subject.main}.{column}=hash", "GAPLESS_HASH_KEY": "15 characters.."})
    for command in (("sync", subject.name), ("privacy", "apply", subject.name, "--yes")):
        done = gapless(here, *command)
        assert (done.exit_code, "GAPLESS_HASH_KEY has fewer than 16 characters" in done.stderr) == (2, True)
    assert here.asked() == 0


@of(NAMES[0])
def test_a_database_of_a_newer_gapless(subject: Subject, synced: World) -> None:
    """Refused, and nothing is changed."""
    private(subject, synced)
    before = rows(subject, synced)
    synced.database.change(subject.name, f"update {LAYOUT_TABLE} set version = 99")
    done = gapless(synced, "privacy", "apply", "--yes")
    assert (done.exit_code, "upgrade gapless" in done.stderr) == (2, True), done.output
    assert rows(subject, synced) == before
