"""Gone is a conclusion: the first request for it says so, and the listing of the same round lacks it, too."""

from __future__ import annotations

import json
from typing import Any

import httpx2 as httpx
import pytest

from gapless.sources._ledger.dead_letters import NOT_SERVED
from tests.contract.commands import gapless, gaps, lose
from tests.contract.conftest import NAMES, Begin, of
from tests.contract.subject import Subject
from tests.contract.test_ends import ends_exact
from tests.support.world import World


def parents_of(subject: Subject, here: World) -> list[Any]:
    if not subject.parents_table:
        pytest.skip("the source has no parents")
    read = {subject.of_parent(row) for row in subject.records(here.fake)}
    return [parent for parent in subject.parents(here.fake) if str(parent) in read]


@pytest.mark.slow
@of(NAMES[0])
def test_a_parent_that_is_listed_and_not_found(subject: Subject, world: Begin) -> None:
    """It is failing, not gone: recorded, exit 3, read first next time."""
    here = world(subject.filled())
    parent = str(parents_of(subject, here)[-1])
    here.fake.failing[subject.part_of_path(parent)] = 404
    assert here.sync().outcome == "partial"
    assert here.letters() == [("parent", parent, 1)]
    assert [(gap["kind"], gap["parent"]) for gap in gaps(here)] == [("failing", parent)]
    here.mend()
    assert ends_exact(here) == 1


@pytest.mark.slow
@of(NAMES[3])
def test_a_later_page_that_is_not_found(subject: Subject, world: Begin) -> None:
    """A page that is not found says nothing about its parent."""
    here = world(subject.filled(3, 24))
    parents_of(subject, here)
    if subject.whole:
        pytest.skip("a parent's records come in one answer, so there is no later page")

    def later(request: httpx.Request) -> httpx.Response | None:
        of_parent = "page" in request.url.params and request.url.path.count("/") > 3
        return httpx.Response(404) if of_parent and request.url.params["page"] != "1" else None

    here.intercept = later
    assert here.sync().outcome == "partial"
    assert gaps(here)
    here.mend()
    assert ends_exact(here) == 1


@pytest.mark.sweep
@of(NAMES[2])
def test_a_record_that_is_listed_and_not_found(subject: Subject, synced: World) -> None:
    """The vendor's index was ahead of its store: the record is failing until it is served."""
    if not subject.one_by_one:
        pytest.skip("pages hold whole records")
    new = str(subject.add_one(synced.fake))
    synced.fake.failing[new] = 404
    for attempts in (1, 2):
        assert synced.sync().outcome == "partial"
        assert synced.letters() == [("record", new, attempts)]
    synced.mend()
    assert ends_exact(synced) == 1
    assert synced.letters() == []


@pytest.mark.sweep
@of(NAMES[1])
def test_a_bad_record_that_goes(subject: Subject, synced: World) -> None:
    """A record with a dead letter that the vendor deletes: its letter is closed, and its text stays."""
    bad = subject.add_one(synced.fake, **subject.with_text([]))
    assert synced.sync().outcome == "partial"
    ((text,),) = synced.sql("select raw_json from dead_letters")
    synced.fake.delete(bad)
    synced.sync()  # a vendor without an endpoint for one record cannot be asked for it
    still_open = synced.sql("select healed_at from dead_letters") == [(None,)]
    if still_open:
        assert (subject.source.stream.by_id, subject.source.stream.walks) == (None, True)
        return
    for _ in range(2):
        assert gaps(synced) == []
        ((key, reason, kept),) = synced.sql("select key, reason, raw_json from dead_letters")
        assert (key, reason.startswith(NOT_SERVED), kept) == (str(bad), True, text)
        synced.complete()


@pytest.mark.sweep
@of(NAMES[1])
def test_a_bad_record_that_is_not_found_once(subject: Subject, synced: World) -> None:
    """A dead letter whose retry answers 404 is still open, as long as the vendor lists its record."""
    if subject.source.stream.by_id != "record":
        pytest.skip("a record cannot be asked for")
    bad = str(subject.add_one(synced.fake, **subject.with_text([])))
    assert synced.sync().outcome == "partial"
    synced.fake.failing[f"/{bad}"] = 404
    assert synced.sync().outcome == "partial"
    assert [(kind, key) for kind, key, _ in synced.letters()] == [("record", bad)]
    synced.mend()
    subject.edit(synced.fake, bad, "mended")
    assert ends_exact(synced) == 1


@pytest.mark.slow
@of(NAMES[3])
def test_parents_that_are_not_listed_any_more(subject: Subject, synced: World) -> None:
    """They are closed and counted, once and without a failure, and are no gap, however long ago that was."""
    parent = parents_of(subject, synced)[-1]
    delete_parent(subject, synced.fake, parent)
    synced.complete()
    asked = synced.asked()
    assert gaps(synced) == []
    assert closed(synced) == [str(parent)]
    synced.complete()
    assert synced.asked() == asked - 1
    assert gaps(synced) == []


@pytest.mark.slow
@of(NAMES[0])
def test_a_parent_that_is_not_listed_but_served(subject: Subject, synced: World) -> None:
    """It is read on as long as it is served: a listing that leaves it out costs no record and brings no alarm."""
    parent = parents_of(subject, synced)[-1]
    known = subject.parents(synced.fake)
    synced.intercept = lambda request: _without(subject, synced.fake.handle(request), parent, known)
    synced.complete()
    subject.add(synced.fake, parent)
    synced.complete()
    # Its own row is as it was listed last.
    records = f"{subject.name}.{subject.main} "
    assert [one for one in synced.mismatches() if one.startswith(records)] == []
    assert (gaps(synced), closed(synced)) == ([], [])
    lose(synced, f"cast({subject.source.stream.column} as varchar) = '{parent}'")
    assert synced.sync().outcome == "partial"
    assert gapless(synced, "verify", subject.name, "--repair").exit_code == 0
    assert [one for one in synced.mismatches() if one.startswith(records)] == []
    assert gaps(synced) == []
    synced.mend()
    synced.complete()
    synced.assert_exact()


def closed(here: World) -> list[str]:
    """Parents that are not read any more."""
    told = "error like 'gone: %' or error like 'not followed any more: %'"
    return [parent for (parent,) in here.sql(f"select parent from coverage where failures = 0 and ({told})")]


def delete_parent(subject: Subject, fake: Any, parent: Any) -> None:
    """Deletes a parent at the vendor."""
    assert subject.delete_parent, "a listing has no parents"
    subject.delete_parent(fake, parent)


def _without(subject: Subject, answer: httpx.Response, parent: Any, known: list[Any]) -> httpx.Response:
    """A page of parents without one of them, and with a total that fits."""
    body = json.loads(answer.content)
    name = next((n for n in subject.lists if isinstance(body, dict) and n in body), "")
    rows = body[name] if name else []
    # Only the listing of parents has rows with all of the parents' ids.
    if rows and all(row.get(subject.parent_id) in known for row in rows):
        body[name] = [row for row in rows if row[subject.parent_id] != parent]
        for place in (body, body.get("meta"), body.get("totals")):
            if isinstance(place, dict) and isinstance(place.get("count"), int):
                place["count"] -= 1
    return httpx.Response(answer.status_code, json=body)
