"""A source as others use it: a scheduler that builds it, a dlt user without `pipelines`, two syncs at once."""

from __future__ import annotations

import socket
from dataclasses import replace

import dlt
import pytest

from gapless.pipelines.config import DLT_SETTINGS
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import Locked, WrongSettings
from gapless.pipelines.sync.build import build
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.sync.run import sync
from gapless.sources import SOURCES
from gapless.sources._extract.source import source
from gapless.sources._ledger.session import Session
from tests.contract.conftest import NAMES, Begin, of
from tests.contract.subject import Subject
from tests.support.world import World


def test_building_asks_nobody(subject: Subject, world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedulers build a source at parse time: no socket is opened, no name looked up."""
    world(subject.empty())

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    session = Session()
    assert build(subject.source, session).name == subject.name
    assert session.client is not None
    assert session.client.stats.requests == 0
    session.client.close()


def _pipeline(here: World) -> dlt.Pipeline:
    return dlt.pipeline(
        here.name,
        destination=dlt.destinations.duckdb(str(here.folder / "gapless.duckdb")),
        dataset_name=here.name,
        pipelines_dir=str(here.folder / "work"),
    )


@pytest.mark.slow
@of(NAMES[1])
def test_plain_dlt(subject: Subject, world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source is an ordinary dlt source, with no setting and nothing else of `pipelines`: after an error the same
    object begins anew, instead of bringing nothing and calling it done; run once more it sees what changed."""
    fake = subject.filled()
    here = world(fake)
    for setting in DLT_SETTINGS.keys() - {"RUNTIME__DLTHUB_TELEMETRY"}:
        monkeypatch.delenv(setting, raising=False)
    session = Session()
    source = subject.source.build(session=session)
    pipeline = _pipeline(here)
    for answered in (0, 2):  # the listing fails, or what comes after it
        here.fail_after(answered, status=401)
        with pytest.raises(Exception, match="401"):
            pipeline.run(source, loader_file_format="parquet")
        here.mend()
    pipeline.run(source, loader_file_format="parquet")
    here.assert_exact()
    fake.advance(45)
    _pipeline(here).run(source, loader_file_format="parquet")
    here.assert_exact()
    assert session.client
    session.client.close()


@of(NAMES[0])
def test_the_run_is_told(subject: Subject, synced: World) -> None:
    """One row of `runs` per sync, the failed one too, with what it did."""
    requests = synced.asked()
    synced.fail_after(0, status=401)
    synced.sync()
    first, second = synced.sql("select outcome, rows > 0, requests, error from runs order by started_at")
    assert first == ("complete", True, requests, None)
    assert second[0] == "failed"
    assert "401" in second[3]


def test_a_loser_of_the_lock_asks_nobody(subject: Subject, world: Begin) -> None:
    """One writer per file: the second one ends before any request, and the first one's working files stay."""
    here = world(subject.empty())
    with Target.find("duckdb").locked() as folder:
        (folder / "mine").touch()
        with pytest.raises(Locked):
            here.sync()
        assert (folder / "mine").exists()
    assert here.asked() == 0


def test_what_is_not_configured_is_told_before_any_request(subject: Subject, world: Begin) -> None:
    """Also when it is the last of several sources."""
    other = next(name for name in SOURCES if name != subject.name)
    here = world(subject.filled())
    needed = SOURCES[other].needs[0].upper()
    here.monkeypatch.delenv(needed, raising=False)
    with pytest.raises(WrongSettings, match=needed):
        list(sync([subject.name, other], Target.find("duckdb"), SyncRequest()))
    assert here.asked() == 0
    assert not (here.folder / "gapless.duckdb").exists()


def test_a_key_of_two_columns_is_refused(subject: Subject) -> None:
    """Rows are looked up by the id alone, so such a source would call every record missing."""
    stream, table = subject.source.stream, subject.source.main
    other = replace(stream, table=replace(table, key=(table.id_column, "account")))
    with pytest.raises(ValueError, match="alone"):
        source("accounts", other, requests_per_minute=1)
