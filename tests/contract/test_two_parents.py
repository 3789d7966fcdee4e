"""One record that two parents serve: the second is a dead letter until one of them has it alone."""

from __future__ import annotations

from typing import Any

import httpx2 as httpx
import pytest

from gapless.sources._ledger.dead_letters import OF_TWO
from tests.contract.commands import document, gaps
from tests.contract.conftest import NAMES, Begin, elsewhere, of
from tests.contract.subject import Subject
from tests.support.world import LET_THROUGH, World


def served_by_two(subject: Subject, fake: Any) -> tuple[str, str, str]:
    """Lets a second parent serve the first one's first record as well; their ids and the record's."""
    row = subject.records(fake)[0]
    first, record = subject.of_parent(row), str(row[subject.id])
    second = next(one for one in map(str, subject.parents(fake)) if one != first)
    subject.add(
        fake, next(one for one in subject.parents(fake) if str(one) == second), **{subject.id: row[subject.id]}
    )
    return first, second, record


def kept(subject: Subject, here: World, record: str) -> list[str]:
    column = subject.source.stream.column
    rows = here.sql(f"select {column} from {subject.main} where {subject.id_column} = '{record}'")
    return [str(parent) for (parent,) in rows]


@pytest.mark.sweep
@elsewhere(3)
@of(NAMES[0])
def test_a_record_of_two_parents(subject: Subject, world: Begin) -> None:
    """The first keeps it, whichever is read first later; `sync`, `gaps` and `verify` say so, until it is settled."""
    if not subject.given:
        pytest.skip("its records name their parent themselves, or have none")
    here = world(subject.filled())
    here.synced()
    first, second, record = served_by_two(subject, here.fake)
    for _ in range(2):
        assert here.sync().outcome == "partial"
        assert kept(subject, here, record) == [first]
        (told,) = gaps(here)
        assert (told["kind"], told["parent"], OF_TWO in told["why"], first in told["why"]) == (
            "dead letter", second, True, True,
        )  # fmt: skip
        found = document(here, "verify", subject.name, "--whole")
        assert (found["exit_code"], found["sources"][0]["absent"]) == (3, {second: [record]})
        assert gaps(here) == [told]
    here.fake.delete(int(record) if subject.numbered else record)  # at the first of the two
    here.complete()
    assert (kept(subject, here, record), gaps(here)) == ([second], [])
    assert document(here, "verify", subject.name, "--whole")["exit_code"] == 0


@pytest.mark.sweep
@of(NAMES[3])
def test_two_parents_in_a_first_sync(subject: Subject, world: Begin) -> None:
    """Both are read in one package, or in two: one has it, and the other's is a dead letter."""
    if not subject.given:
        pytest.skip("its records name their parent themselves, or have none")
    for records in (20_000, 3):
        here = world(subject.filled())
        first, second, record = served_by_two(subject, here.fake)
        assert here.sync(package_records=records).outcome == "partial"
        (owner,) = kept(subject, here, record)
        (told,) = gaps(here)
        assert {owner, told["parent"]} == {first, second}
        here.database.remove()


@pytest.mark.sweep
def test_a_record_that_names_its_parent_itself(subject: Subject, world: Begin) -> None:
    """It is this one's whatever a listing says, so it is here once and nothing is missing; another parent here is."""
    if not subject.one_by_one:
        pytest.skip("its records are not read one by one, but with those of their parent")
    here = world(subject.filled())
    here.synced()
    first, second, record = also_listed(subject, here)
    here.sync()
    assert kept(subject, here, record) == [first]
    assert (document(here, "verify", subject.name, "--whole")["exit_code"], gaps(here)) == (0, [])
    column = subject.source.stream.column
    here.database.change(
        here.name, f"update {subject.main} set {column} = '{second}' where {subject.id_column} = '{record}'"
    )
    found = document(here, "verify", subject.name, "--whole")
    assert (found["exit_code"], record in str(found["sources"][0]["absent"])) == (3, True)


def also_listed(subject: Subject, here: World) -> tuple[str, str, str]:
    """Lets the listing of a second parent name the first one's first record; their ids and the record's."""
    row = subject.records(here.fake)[0]
    first, record = subject.of_parent(row), str(row[subject.id])
    second = next(one for one in map(str, subject.parents(here.fake)) if one != first)
    handle = here.fake.handle

    def answer(request: httpx.Request) -> httpx.Response:
        if subject.part_of_path(second) not in request.url.path:
            return LET_THROUGH
        page = handle(request).json()
        page["results"].append({"id": record, subject.time: row[subject.time]})
        return httpx.Response(200, json={**page, "count": page["count"] + (page["next"] is None)})

    here.intercept = answer
    return first, second, record


@pytest.mark.slow
@of(NAMES[2])
@pytest.mark.parametrize("when", ["in the first sync", pytest.param("later", marks=pytest.mark.sweep)])
def test_listed_under_two_parents_for_ever(when: str, subject: Subject, world: Begin) -> None:
    """It is kept under the one that it names itself; a listing that has what is its own, too, is no alarm."""
    if not subject.one_by_one:
        pytest.skip("its records are not read one by one, but with those of their parent")
    here = world(subject.filled())
    if subject.has("relist_after"):
        here.set(**{f"{subject.prefix}_RELIST_AFTER": "0"})
    if when == "later":
        here.complete()
    first, _, record = also_listed(subject, here)
    for _ in range(2):
        here.complete()
        assert (kept(subject, here, record), gaps(here)) == ([first], [])
    assert document(here, "verify", subject.name, "--whole")["exit_code"] == 0
    assert gaps(here) == []
    here.assert_exact()


@pytest.mark.slow
@of(NAMES[2])
def test_a_number_that_counts_the_record_of_another_parent(subject: Subject, synced: World) -> None:
    """The command that is named ends the alarm: the record itself says whose it is."""
    if not subject.one_by_one:
        pytest.skip("its records are not read one by one, but with those of their parent")
    first, second, record = also_listed(subject, synced)
    synced.database.change(subject.name, f"update coverage set records = records + 1 where parent = '{second}'")
    assert [(gap["kind"], gap["parent"]) for gap in gaps(synced)] == [("lost", second)]
    assert document(synced, "verify", subject.name, "--repair")["exit_code"] == 0
    assert (kept(subject, synced, record), gaps(synced)) == ([first], [])
    synced.assert_exact()


@pytest.mark.slow
@of(NAMES[2])
def test_an_answer_that_is_another_parents(subject: Subject, world: Begin) -> None:
    """A listing with nothing of its own may be the sibling's: no sync claims that all is here."""
    if not subject.one_by_one:
        pytest.skip("its records are not read one by one, but with those of their parent")
    here = world(subject.filled())
    first, second = [str(one) for one in subject.parents(here.fake)][:2]
    handle = here.fake.handle

    def answer(request: httpx.Request) -> httpx.Response | None:
        if subject.part_of_path(second) not in request.url.path:
            return None
        path = request.url.path.replace(second, first)
        return handle(httpx.Request(request.method, request.url.copy_with(path=path), headers=request.headers))

    here.intercept = answer
    assert here.sync().outcome == "partial"
    assert gaps(here)
    here.mend()
    assert document(here, "verify", subject.name, "--repair")["exit_code"] == 0
    assert gaps(here) == []
    here.assert_exact()
