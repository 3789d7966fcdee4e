"""A dataset holds the rows of one account: another is refused, a rotated key or a moved host is proven by ids."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pytest

from gapless.sources._ledger.window import instant
from tests.contract.commands import document, everything, gapless
from tests.contract.conftest import NAMES, everywhere, of
from tests.contract.subject import Subject
from tests.support.world import World, some

NEW = "a-key-of-another-value"


def rotate(subject: Subject, here: World, *, every: bool = True) -> None:
    """Has vendor and settings agree on other keys, `every` one or the first: those of an account, or of a person."""
    now = subject.source.demo
    new = {**now, **dict.fromkeys([*now][: None if every else 1], NEW)}
    here.set(**{name.upper(): str(value) for name, value in new.items()})
    old, other = (vars(subject.empty(**subject.keys_of(lambda name, keys=keys: keys[name]))) for keys in (now, new))
    keys = {name: value for name, value in other.items() if isinstance(value, str | dict) and value != old[name]}
    vars(here.fake).update(keys)


def become_another(subject: Subject, here: World) -> None:
    """Puts a vendor there with other keys, whose records have the same ids, and other times and texts."""
    rotate(subject, here)
    for row in subject.records(here.fake):
        at = instant(row[subject.time], "time") - timedelta(minutes=7)
        text = subject.with_text("of another account", row)
        here.fake.change(row[subject.id], **{subject.time: here.fake._stamp(at), **text})
    here.fake.requests.clear()


def move(subject: Subject, here: World) -> None:
    setting = f"{subject.prefix}_BASE_URL"
    here.set(**{setting: os.environ[setting].replace("127.0.0.1", "localhost")})
    here.fake.requests.clear()


def state(subject: Subject, here: World) -> dict[str, list[tuple[Any, ...]]]:
    return everything(here, [*subject.tables, "runs", "coverage", "dead_letters", "_dlt_loads"])


@pytest.mark.slow
@everywhere
def test_another_account_with_the_same_ids(subject: Subject, synced: World) -> None:
    """No job writes a row or compares one; and no word of a key is printed."""
    before = state(subject, synced)
    become_another(subject, synced)
    for command in (("sync",), ("verify", "--repair"), ("state", "adopt", "--yes")):
        words = [*command[:2], subject.name, *command[2:]] if command[0] == "state" else [command[0], subject.name]
        result = gapless(synced, *words, *(command[1:] if command[0] != "state" else ()))
        assert (result.exit_code, NEW in result.output) == (2, False), result.output
        assert "another account" in " ".join(result.output.split())
    assert state(subject, synced) == before


@of(NAMES[1], NAMES[3])
def test_every_job_asks(subject: Subject, synced: World) -> None:
    """What reads a window, a single record or a part is refused as a whole sync is."""
    before = state(subject, synced)
    become_another(subject, synced)
    window = ("--since", "2020-01-01", "--until", "2030-01-01")
    jobs = [("sync", *window), ("backfill", *window), ("sync", "--shard", "1/2")]
    jobs += (
        [("sync", "--id", str(subject.records(synced.fake)[0][subject.id]))] if subject.source.stream.by_id else []
    )
    for command, *options in jobs:
        result = gapless(synced, command, subject.name, *options)
        assert result.exit_code == 2, result.output
    assert state(subject, synced) == before


@pytest.mark.slow
@of(NAMES[1], NAMES[3])
def test_what_only_looks_says_so(subject: Subject, synced: World) -> None:
    """A plan is refused as a sync is, before another source's; the doctor says it where the settings show it."""
    become_another(subject, synced)
    result = gapless(synced, "plan", subject.name)
    assert (result.exit_code, "another account" in " ".join(result.output.split())) == (2, True), result.output
    move(subject, synced)
    assert document(synced, "plan", subject.name)["sources"][0]["requests"] == 0
    assert synced.fake.requests == []
    found = [one for one in document(synced, "doctor")["checks"] if one["name"] == f"{subject.name} account"]
    assert [(one["result"], "holds the rows of" in one["found"]) for one in found] == [("fail", True)]
    assert f"gapless state adopt {subject.name}" in found[0]["mends"]


@pytest.mark.slow
@of(NAMES[0], NAMES[-1])
def test_a_moved_host(subject: Subject, synced: World) -> None:
    """Refused without a request, with both hosts; adopted where ids prove that it is the same account."""
    move(subject, synced)
    for command in ("sync", "verify"):
        result = gapless(synced, command, subject.name)
        said = " ".join(result.output.split())
        assert (result.exit_code, synced.fake.requests) == (2, [])
        assert "the rows of 127.0.0.1, and the settings name localhost" in said
        assert f"gapless state adopt {subject.name}" in said
    result = gapless(synced, "state", "adopt", subject.name, "--yes")
    assert (result.exit_code, "served are here with the same id" in " ".join(result.output.split())) == (0, True)
    if not subject.one_by_one:  # the links of such pages name the first address
        synced.complete()
        synced.assert_exact()


@pytest.mark.slow
@of(NAMES[0], NAMES[2])
def test_a_rotated_key(subject: Subject, synced: World) -> None:
    """Proven by ids, said once and remembered; then it costs no request."""
    idle = synced.complete().requests
    rotate(subject, synced, every=False)
    rotated = synced.complete()
    assert ("the account is the same" in (rotated.note or ""), rotated.packages) == (True, 1)
    again = synced.complete()
    assert (again.note, again.requests, again.packages) == (None, idle, 0)
    synced.assert_exact()


@pytest.mark.slow
@of(NAMES[0], NAMES[3])
def test_a_rotated_key_while_something_fails(subject: Subject, synced: World) -> None:
    """What cannot be read just now is passed over, and others prove the account: it fails alone, not the source."""
    newest = max(subject.records(synced.fake), key=lambda row: str(row[subject.time]))
    if subject.parents_table and not subject.one_by_one:
        synced.fake.failing[subject.part_of_path(subject.of_parent(newest))] = 403
    else:
        synced.fake.failing[f"/{newest[subject.id]}"] = 403
    rotate(subject, synced, every=False)
    rotated = synced.sync()
    assert "the account is the same" in (rotated.note or rotated.error or ""), rotated
    assert rotated.outcome in ("complete", "partial")
    synced.mend()
    assert synced.sync().outcome == "complete"
    synced.assert_exact()


def emptied(subject: Subject, here: World, how: str) -> None:
    """Leaves no row of the account: by retention, by forgetting each record and parent, or by somebody's SQL."""
    if how == "keep":
        assert gapless(here, "keep", subject.name, "20d", "--yes").exit_code == 0
    elif how == "forget":
        # The parents' own tombstones name them and their records.
        table = subject.parents_table or subject.main
        column = subject.column(subject.parent_id) if subject.parents_table else subject.id_column
        for (key,) in here.sql(f"select {column} from {table}"):
            done = gapless(here, "forget", subject.name, "--id", str(key), "--table", table, "--yes", "--no-compact")
            assert done.exit_code == 0, done.output
    else:
        here.database.change(subject.name, *(f"delete from {table}" for table in subject.tables))
    assert here.sql(f"select count(*) from {subject.main}") == [(0,)]


@pytest.mark.slow
@pytest.mark.parametrize("how", some(["forget", "keep", "delete"], "forget"))
@of(NAMES[1])
def test_another_account_when_no_row_is_left(subject: Subject, world: Any, how: str) -> None:
    """Refused as well: nothing proves that it is the same; a person may say so, which must be said plainly."""
    if how == "keep" and subject.parents_table:
        pytest.skip("a retention leaves the parents, which prove the account")
    fake = subject.empty()
    fake.now -= timedelta(days=30)
    subject.fill(fake, 2, 8)
    synced = world(fake)
    synced.sync()
    emptied(subject, synced, how)
    before = state(subject, synced)
    become_another(subject, synced)
    refused = gapless(synced, "sync", subject.name)
    assert (refused.exit_code, f"gapless state adopt {subject.name}" in " ".join(refused.output.split())) == (2, True)
    asked = gapless(synced, "state", "adopt", subject.name)
    assert (asked.exit_code, state(subject, synced)) == (2, before)
    if how == "forget":
        assert "another account" in " ".join(asked.output.split())
        return
    assert "only you can know" in " ".join(asked.output.split())
    assert gapless(synced, "state", "adopt", subject.name, "--yes").exit_code == 0
    assert synced.sync().error is None


@pytest.mark.slow
@of(NAMES[1])
def test_a_rotated_key_when_all_was_forgotten(subject: Subject, synced: World) -> None:
    """What the new key serves is known by its tombstones, so it is the same account; and it stays forgotten."""
    emptied(subject, synced, "forget")
    rotate(subject, synced, every=False)
    rotated = synced.complete()
    assert "the account is the same" in (rotated.note or "")
    assert synced.sql(f"select count(*) from {subject.main}") == [(0,)]


@pytest.mark.slow
@of(NAMES[1])
def test_a_rotated_key_of_an_empty_account(subject: Subject, world: Any) -> None:
    """Where nothing was ever stored, any key may be the account's."""
    here = world(subject.empty())
    here.complete()
    rotate(subject, here, every=False)
    here.complete()
