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
        pytest.skip("it is read with its parent's others")
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
