"""Ids that are odd: of which no path can be made, and typed otherwise than the vendor writes them."""

from __future__ import annotations

import pytest

from gapless.sources._ledger.window import UUID, as_named
from tests.contract.commands import document, gaps
from tests.contract.conftest import NAMES, Begin, of
from tests.contract.subject import Subject
from tests.support.world import some


@pytest.mark.slow
@of(NAMES[0], NAMES[2])
@pytest.mark.parametrize("odd", some([".", ".."], ".."))
def test_dots(odd: str, subject: Subject, world: Begin) -> None:
    """All others are read; each command says that this one could not be."""
    parents = subject.source.stream.parents
    if (
        not subject.add_parent
        or not parents
        or subject.tables[parents.table.name][subject.column(subject.parent_id)] == "BIGINT"
    ):
        pytest.skip("its parents' ids are numbers, or it has none")
    here = world(subject.filled())
    subject.add_parent(here.fake, **{subject.parent_id: odd})
    for _ in range(2):
        outcome = here.sync()
        assert (outcome.outcome, len(outcome.failures)) == ("partial", 1)
        assert [one for one in here.mismatches() if odd not in one.split()] == []
        (told,) = gaps(here)
        assert (told["kind"], told["parent"]) == ("failing", odd)
        assert "cannot be part of a URL path" in told["why"]
        assert not any("/./" in path or "/../" in path for _, path, _ in here.fake.requests)
    found = document(here, "verify", subject.name, "--whole")
    assert (found["exit_code"], [*found["sources"][0]["failed"]]) == (3, [odd])


@pytest.mark.slow
@of(NAMES[0], NAMES[2])
@pytest.mark.parametrize("by", some(["--id", "setting"], "--id"))
def test_capital_letters(by: str, subject: Subject, world: Begin) -> None:
    """A UUID that is typed in capitals is read as the vendor writes it: no second parent has the same records."""
    here, stream = world(subject.filled()), subject.source.stream
    rows = subject.records(here.fake) if stream.by_id else []
    keys = [str(row[subject.id]) if stream.by_id == "record" else subject.of_parent(row) for row in rows]
    key = next((one for one in keys if UUID.fullmatch(one) and one != one.upper()), "")
    if not key or (by == "setting" and not stream.only):
        pytest.skip("nothing of it is read by an id that is a UUID")
    if by == "setting":
        with here.monkeypatch.context() as patch:
            patch.setenv(str(stream.only).upper(), key.upper())
            here.complete()
            if stream.by_id == "parent":
                assert (document(here, "verify", subject.name, "--whole")["exit_code"], gaps(here)) == (0, [])
        assert here.asked(key) > 0
    here.complete()
    here.complete(ids=[key.upper()])
    assert here.asked(key) > 0
    here.assert_exact()
    assert gaps(here) == []


def test_an_id_that_is_here_as_it_was_typed() -> None:
    """Nobody says in which letters a vendor writes its ids: what is here stays as it is; an id of no form, too."""
    capital, small = "7C65C1E5-82E2-4662-B728-B4FA42485E3A", "7c65c1e5-82e2-4662-b728-b4fa42485e3a"
    assert as_named([capital, small, "ABC", "17"], lambda some: {capital}) == [capital, small, "ABC", "17"]
    assert as_named([capital, small, "ABC", "17"], lambda some: ()) == [small, "ABC", "17"]
