"""A load that broke off after it had replaced the proofs: a loss stays told, and what is here is not denied."""

from __future__ import annotations

import threading

import httpx2 as httpx
import pytest

from gapless.sources import SOURCES
from gapless.sources._ledger.markers import NOT_KEPT
from tests.contract.commands import document, fill, gapless, gaps
from tests.contract.conftest import NAMES, elsewhere, of
from tests.contract.subject import Subject
from tests.support.merges import killed_after
from tests.support.world import LET_THROUGH, World

INTERVAL = ["2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"]
"""Before all records of the fakes: no sync ends it by itself."""
DENIED = ("nothing is here yet", "never asked", "never read", "nothing was compared")


FULL = """
create function full_disk() returns trigger language plpgsql as
$$ begin perform pg_sleep(1); raise exception 'disk full'; end $$;
create trigger full_disk before insert or update on {} for each row execute function full_disk()
"""
"""Of Postgres, whose loads have jobs of their own: the proofs are merged meanwhile."""


def breaks_off(here: World) -> None:
    """One sync whose load replaces the proofs, and not the records."""
    if here.database.name == "ducklake":
        pytest.skip("its merges take turns, and no test can choose which comes first")
    if here.database.name == "postgres":
        main, begun = SOURCES[here.name].main.name, threading.Event()

        def fill_disk(request: object) -> httpx.Response:
            # While it reads, as a sync refuses a table that has a trigger when it begins.
            if not begun.is_set():
                begun.set()
                here.database.change(here.name, FULL.format(main))
            return LET_THROUGH

        here.intercept = fill_disk
        assert here.sync().outcome == "failed"
        here.mend()
        here.database.change(here.name, f"drop trigger full_disk on {main}; drop function full_disk()")
    else:
        with killed_after("coverage"):
            assert here.sync().outcome == "failed"
    none = "select count(*) from coverage where _dlt_load_id not in (select load_id from _dlt_loads)"
    assert here.sql(none) != [(0,)]


def noted(subject: Subject, here: World) -> None:
    """A loss is noted of one parent, or of the listing, as a sync notes it."""
    first = f"(select min(parent) from coverage where stream = '{subject.main}')"
    cells = f"missing = '[[\"{INTERVAL[0]}\", \"{INTERVAL[1]}\"]]', error = '{NOT_KEPT}'"
    change = f"update coverage set {cells} where stream = '{subject.main}' and parent = {first}"
    here.database.change(subject.name, change)


def told(here: World) -> list[tuple[str, str | None, str | None]]:
    return [(gap["kind"], gap["since"], gap["until"]) for gap in gaps(here) if gap["kind"] == "lost"]


@pytest.mark.slow
@elsewhere(2)
@of(NAMES[0], NAMES[1])
def test_a_loss_stays_told(subject: Subject, synced: World) -> None:
    """Until it is acknowledged, also while nobody has read again what the broken load replaced."""
    if not subject.source.stream.walks:  # a walk notes it in its state, too
        noted(subject, synced)
        assert told(synced) == [("lost", *INTERVAL)]
    for number in range(2):
        subject.add_one(synced.fake)
        breaks_off(synced)
        if not number and subject.source.stream.walks:
            noted(subject, synced)
        assert told(synced) == [("lost", *INTERVAL)]
    synced.sync()
    found = gaps(synced)
    assert [(gap["kind"], gap["since"], gap["until"]) for gap in found] == [("lost", *INTERVAL)]
    synced.assert_exact()
    fill(synced, found)


@pytest.mark.slow
@elsewhere(3)
@of(NAMES[2], NAMES[3])
def test_what_is_here_is_not_denied(subject: Subject, synced: World) -> None:
    """The proof is in doubt, and says so everywhere; the command that is named ends that."""
    name = subject.name
    added = subject.add_one(synced.fake)
    breaks_off(synced)
    found = gaps(synced)
    command = " ".join(["gapless sync", name, *synced.database.option])
    assert {gap["kind"] for gap in found} == {"not asked", "set back"}
    assert {gap["fill"].partition(" --id ")[0] for gap in found} <= {command, f"gapless sync {name}"}
    assert all("its proof is in doubt since a load broke off at 20" in gap["why"] for gap in found), found
    proofs = document(synced, "status")["sources"][name]["coverage"][subject.main]
    assert (proofs["complete"], proofs["covered_to"], proofs["unproven"] > 0) == (False, None, True)
    shown = gapless(synced, "gaps", name).stdout + gapless(synced, "status").output
    assert "is in doubt" in " ".join(shown.split())
    assert not [words for words in DENIED if words in shown]
    result = gapless(synced, "verify", name, "--whole")
    assert (result.exit_code, "nothing was compared" in result.output) == (3, False), (added, result.output)
    synced.complete()
    synced.assert_exact()
    assert gaps(synced) == []
