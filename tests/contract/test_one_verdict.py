"""One verdict: what `gapless gaps` tells, the status, the page, the assistant's server and Dagster tell, too."""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import pytest

from gapless.pipelines.config import unwritten
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.ledger.status import statuses
from gapless.pipelines.mcp_server.proven import summary, verdicts
from gapless.pipelines.ui.address import parse
from gapless.pipelines.ui.database.target import UiTarget
from gapless.pipelines.ui.site import Question, Site
from gapless.pipelines.ui.views import VIEWS, health
from gapless.sources import SOURCES
from gapless.sources._ledger.shard import WHOLE
from tests.contract.commands import gapless, gaps
from tests.contract.conftest import NAMES, of
from tests.contract.subject import Subject
from tests.support.world import World, some


def dropped(here: World) -> None:
    """Somebody drops the whole dataset."""
    with duckdb.connect(str(here.folder / "gapless.duckdb")) as db:
        db.execute(f"drop schema {here.name} cascade")


def replaced(here: World) -> None:
    """A view stands where the records were."""
    main = SOURCES[here.name].main.name
    here.database.change(
        here.name, f"alter table {main} rename to old", f"create view {main} as select * from old limit 3"
    )


def not_written(here: World) -> None:
    """The last sync could not be written, as on a full disk, and this machine alone remembers."""
    target = Target.find("duckdb")
    unwritten.note(target.note_file(here.name, WHOLE), "no space left")


def told(here: World) -> dict[str, bool]:
    """Whether each of them says that something is open."""
    target = Target.find("duckdb")
    site = Site(UiTarget(target))
    with site.connected() as (db, _):
        cards = health.fetch(Question(site, parse("", VIEWS), db, site.clock()))["cards"]
        mcp = summary(verdicts(site, db), site.clock())
    status = [one for one in statuses(target) if one.source == here.name]
    return {
        "gaps": bool(gaps(here)),
        "status": bool(status) and not status[0].complete,
        "page": any(card.problems for card in cards if card.source == here.name),
        "assistant": not mcp["complete"],
    }


@pytest.mark.slow
@of(NAMES[1])
def test_a_comparison_of_all_misses_what_is_gone(subject: Subject, synced: World) -> None:
    """Without a name, too: what was synced here once is compared, and nothing of it was."""
    dropped(synced)
    done = gapless(synced, "verify", "--whole")
    assert (done.exit_code, f"gapless sync {subject.name}" in done.output) == (1, True), done.output


@pytest.mark.parametrize("damage", some([dropped, replaced, not_written], dropped))
@of(NAMES[1])
def test_all_say_the_same(damage: Callable[[World], None], subject: Subject, synced: World) -> None:
    """Of what stands in no ledger, too: a dataset that is gone, a view in a table's place, a sync not written."""
    assert not any(told(synced).values())
    damage(synced)
    assert told(synced) == {"gaps": True, "status": True, "page": True, "assistant": True}
