"""A model that changes between two syncs: what becomes of the rows that are here, on each destination."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import dlt
import pytest

from gapless.pipelines.layout import upgrade
from gapless.sources import SOURCES, Source
from gapless.sources._extract.source import source
from gapless.sources._incremental.context import Connection
from gapless.sources._schema.record import CamelRecord, Instant, Integer, Many, Record, Text
from tests.fifth import okta
from tests.fifth.conftest import PACKAGE
from tests.fifth.okta import api
from tests.fifth.okta.fake import OktaFake
from tests.support.databases import DATABASES
from tests.support.world import World, some

AT_HAND = [name for name, each in DATABASES.items() if each.at_hand()]
WIDENS = ("duckdb", "postgres")
Begin = Callable[[OktaFake], World]


class ActorBefore(CamelRecord):
    """Who did it."""

    id: Text | None = None


class TargetBefore(CamelRecord):
    """To what."""

    id: Text | None = None


class Before(CamelRecord):
    """An event, as the model was."""

    id_field = "uuid"
    time_field = "published"

    uuid: Text
    published: Instant
    size: Integer | None = None
    mood: Text
    actor: ActorBefore | None = None
    target: Many[TargetBefore] = []


class Lenient(Before):
    """The same without a field that must be there: SQLite keeps that for ever."""

    mood: Text | None = None  # type: ignore[assignment]  # optional, unlike above


class Label(CamelRecord):
    """A label, with what is below it."""

    name: Text
    words: Many[Text] = []


class ActorNow(ActorBefore):
    """Who did it, with a field more."""

    display_name: Text | None = None


class TargetNow(TargetBefore):
    """To what, with a field more."""

    rank: Integer | None = None


class Now(CamelRecord):
    """An event, as the model is: with more fields, and with `mood` under another name."""

    id_field = "uuid"
    time_field = "published"

    uuid: Text
    published: Instant
    size: Integer | None = None
    temper: Text | None = None
    actor: ActorNow | None = None
    target: Many[TargetNow] = []
    labels: Many[Label] = []
    checked_at: Instant | None = None
    count: Integer | None = None


class Wider(Now):
    """The same, in which a size is a text."""

    size: Text | None = None  # type: ignore[assignment]  # optional, unlike above


def model(monkeypatch: pytest.MonkeyPatch, record: type[Record]) -> None:
    """From now on the source has this model of its records."""
    stream = replace(okta.STREAM, table=replace(okta.STREAM.table, model=record))

    @source("okta", stream, requests_per_minute=60, lag=3600.0)
    def build(okta_api_token: str = dlt.secrets.value, okta_base_url: str = dlt.config.value) -> Connection:
        return Connection(partial(api.client, okta_api_token, okta_base_url))

    monkeypatch.setattr(okta, "STREAM", stream)
    monkeypatch.setattr(okta, "okta", build)
    monkeypatch.setitem(SOURCES, "okta", Source.at(PACKAGE))


def vendor(odd: object = "many") -> OktaFake:
    """Thirty-one events; one has none of the new fields, and of one `count` is an odd one."""
    fake = OktaFake(page_cap=8)
    for number in range(30):
        targets = [{"id": f"t{one}", "rank": one, "hue": "red"} for one in range(number % 3)]
        labels = [{"name": f"l{one}", "words": ["a", "b"][: one + 1], "hue": one} for one in range(number % 4)]
        fake.add_log(
            at=fake.now - timedelta(hours=number),
            size=number,
            mood="calm",
            target=targets,
            labels=labels,
            checkedAt="2026-03-01T10:00:00+02:00",
            count=odd if number == 7 else 2**60 + number,
        )
    fake.add_log(size=None, mood="none", target=None)
    return fake


def broken_off(here: World, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """A sync that ends as soon as this step of an upgrade is done, and before it is noted."""
    done = getattr(upgrade, step)

    def then_ends(*args: Any) -> Any:
        list(done(*args) or ())
        raise OSError("the machine went down")

    with monkeypatch.context() as patch:
        patch.setattr(upgrade, step, then_ends)
        assert "the machine went down" in str(here.sync().error)


def as_text(fake: OktaFake) -> None:
    """The vendor sends each size as a text from now on."""
    for row in fake.truth()["log_events"]:
        fake.change(row["uuid"], size=row.get("size") if row.get("size") is None else str(row["size"]))


def tables(here: World) -> dict[str, list[Any]]:
    """What stands in the tables, but for the load that brought it, and what only one of the models has."""
    found = {}
    for table in ("log_events", "log_events__target", "log_events__labels", "log_events__labels__words"):
        with here.database.opened("okta") as db:
            rows = db.execute(f"select * from {table}")
            names = [column[0] for column in (rows or db._cursor).description]
            cells = [dict(zip(names, row, strict=True)) for row in rows.fetchall()]
        found[table] = sorted(
            ({n: _plain(n, c) for n, c in row.items() if n not in LEFT_OUT} for row in cells), key=str
        )
    return found


LEFT_OUT = ("_dlt_load_id", "mood", "temper")


def _plain(name: str, cell: Any) -> Any:
    if name == "_extra" and cell is not None:
        return {
            key: one for key, one in (json.loads(cell) if isinstance(cell, str) else cell).items() if key != "mood"
        }
    return cell


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Coercing Subquery")  # dlt's own SQL for SQLite
@pytest.mark.parametrize("destination", some(AT_HAND, "duckdb"))
def test_fields_that_stood_in_extra_move(destination: str, okta: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into columns, columns of objects, child tables and their children: as if the new model had read all."""
    model(monkeypatch, Lenient if destination == "sqlalchemy" else Before)
    here = okta(vendor())
    here.complete()
    model(monkeypatch, Now)
    for step in ("adapt", "_load_nothing", "move_fields", "_write"):
        broken_off(here, monkeypatch, step)
    outcome = here.complete()
    assert here.asked() == 1, "it was read again"
    assert "30 rows had checked_at in _extra" in str(outcome.note)
    assert "log_events.mood is not in the model any more" in str(outcome.note)
    # Those of the look-back were read again, and have it in `_extra`.
    assert here.sql("select count(*) from log_events where mood = 'calm' or _extra is not null") == [(31,)]
    assert here.sql("select count(*) from log_events where mood = 'calm'") == [(28,)]
    after = tables(here)
    (odd,) = [row for row in after["log_events"] if row["_extra"] and "count" in row["_extra"]]
    assert (odd["count"], odd["_extra"]["count"]) == (None, "many")
    assert here.complete().note is None
    here.database.remove()
    here.fake.change(odd["uuid"], count=None, hidden="many")
    here.complete()
    anew = tables(here)
    for row in anew["log_events"]:
        if "hidden" in (row["_extra"] or {}):
            row["_extra"]["count"] = row["_extra"].pop("hidden")
    assert after.keys() == anew.keys()
    for table, rows in anew.items():
        assert after[table] == sorted(rows, key=str), table


@pytest.mark.slow
@pytest.mark.parametrize("destination", some([name for name in WIDENS if DATABASES[name].at_hand()], "duckdb"))
def test_a_wider_type(destination: str, okta: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The column is widened with what is in it, and takes what did not fit."""
    model(monkeypatch, Before)
    here = okta(vendor())
    here.complete()
    model(monkeypatch, Wider)
    as_text(here.fake)
    here.fake.add_log(size="12 MB", mood="calm")
    here.complete()
    sizes = {size for (size,) in here.sql("select size from log_events")}
    assert sizes == {None, "12 MB", *map(str, range(30))}
    here.complete()


@pytest.mark.slow
def test_a_narrower_type_is_refused(okta: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked, nothing is changed, and the sentence says what to do."""
    model(monkeypatch, Wider)
    here = okta(vendor(odd=None))
    as_text(here.fake)
    here.complete()
    before = here.sql("select uuid, size from log_events order by all")
    model(monkeypatch, Now)
    outcome = here.sync()
    assert "log_events.size is bigint in the model and text in the database" in str(outcome.error)
    assert here.asked() == 0
    assert here.sql("select uuid, size from log_events order by all") == before


@pytest.mark.slow
def test_a_new_field_that_must_be_is_refused(okta: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are here without it."""
    model(monkeypatch, Now)
    here = okta(vendor(odd=None))
    here.complete()
    model(monkeypatch, Before)
    outcome = here.sync()
    assert "log_events.mood is new in the model and may not be null" in str(outcome.error)
    assert here.asked() == 0
