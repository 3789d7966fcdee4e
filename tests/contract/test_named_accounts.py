"""An account of a vendor with a name of its own: the contract holds for it, beside the vendor's own account, too."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable

import duckdb
import pytest

from gapless import sources
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.sync import run as run_module
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.ui.views import VIEWS
from gapless.sources import SOURCES, Source
from tests.contract import subject as subjects
from tests.contract import test_faces, test_proofs, test_sync
from tests.contract.commands import document, gapless, run
from tests.contract.conftest import NAMES, Begin, elsewhere, of
from tests.contract.subject import Subject
from tests.contract.test_accounts import become_another, test_another_account_with_the_same_ids
from tests.support.page import Page
from tests.support.world import World, settings, some

PROMISES = (
    test_sync.test_first,
    test_sync.test_idle,
    test_sync.test_changed,
    test_sync.test_by_id,
    test_sync.test_a_window,
    test_proofs.test_verify,
    test_proofs.test_repair,
    test_proofs.test_plan,
    test_proofs.test_backfill,
    test_faces.test_views,
    test_faces.test_status,
    test_another_account_with_the_same_ids,
)


@pytest.fixture
def named(name: str, world: Begin, monkeypatch: pytest.MonkeyPatch) -> World:
    """The vendor by the settings of an account, and the database after its first sync."""
    account, vendor = f"{name}_eu", SOURCES[name]
    monkeypatch.setitem(SOURCES, account, Source(account, vendor.package))
    here = world(subjects.subject(account).filled())
    address = os.environ[f"{name.upper()}_BASE_URL"]
    for setting in (*vendor.needs, f"{name}_base_url"):
        monkeypatch.delenv(setting.upper(), raising=False)
    here.name = account
    here.set(**settings([account]), **{f"{account.upper()}_BASE_URL": address, f"ACCOUNTS__{account.upper()}": name})
    here.synced()
    return here


@pytest.mark.slow
@pytest.mark.parametrize("promise", some(PROMISES, test_sync.test_changed, test_faces.test_views))
@of(NAMES[0], NAMES[2])
def test_what_is_promised(promise: Callable[..., None], subject: Subject, named: World) -> None:
    """What holds for the vendor's own account holds for one with another name."""
    promise(subjects.subject(named.name), named)


def charted(page: Page, source: str) -> dict[str, int]:
    """Records by account, as the page's chart of volume has them."""
    shown, records = page("volume", source=source), Counter[str]()
    for name, count in re.findall(r"<title>[^<]*, (\w+): ([\d,]+) records?</title>", shown):
        records[name] += int(count.replace(",", ""))
    return dict(records)


@pytest.mark.slow
@of(NAMES[0], NAMES[3])
def test_side_by_side(subject: Subject, named: World) -> None:
    """Two accounts whose ids overlap stand in one database, each whole; the views tell them apart."""
    account, theirs, address = named.name, named.fake, os.environ[f"{named.name.upper()}_BASE_URL"]
    named.name, named.fake = subject.name, subjects.copied(theirs)
    named.set(**{f"{subject.prefix}_BASE_URL": address, f"{subject.prefix}_REQUESTS_PER_MINUTE": "1000000"})
    become_another(subject, named)
    named.complete()
    named.assert_exact()
    every = "select source, account, count(distinct record_id) from activity.timeline group by all order by all"
    assert named.sql(every) == [(subject.name, subject.name, 24), (subject.name, account, 24)]
    page = Page(named.folder / "gapless.duckdb", named.folder / "copy.duckdb")
    shown = {chosen: charted(page, chosen) for chosen in (subject.name, account, "")}
    assert shown == {subject.name: {subject.name: 24}, account: {account: 24}, "": {subject.name: 24, account: 24}}
    for view in (name for name, one in VIEWS.items() if one.in_menu):
        assert 'class="notice"><p>' not in page(view, **({"source": account} if view == "timeline" else {})), view
    named.name, named.fake = account, theirs
    named.complete()
    named.assert_exact()
    assert gapless(named, "verify", account, "--whole").exit_code == 0


@pytest.mark.slow
@of(NAMES[1])
def test_a_copy(subject: Subject, named: World) -> None:
    """The copy has the account's dataset, and its views."""
    second = named.folder / "second.duckdb"
    named.set(DESTINATION__SECOND__DESTINATION_TYPE="duckdb", DESTINATION__SECOND__CREDENTIALS=str(second))
    assert run("copy", named.name, "--to", "second").exit_code == 0
    with duckdb.connect(str(second), read_only=True) as db:
        events = "select distinct source, account from activity.timeline"
        assert db.execute(events).fetchall() == [(subject.name, named.name)]
        assert db.execute(f"select count(*) from {named.name}.{subject.main}").fetchall() == [(24,)]


@of(NAMES[3])
def test_hundreds_of_accounts_fit_into_memory(
    subject: Subject, named: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an account leaves in DuckDB's memory is written out before there are too many of them."""
    settled = list[bool]()
    monkeypatch.setattr(run_module, "SETTLED", 1)
    settle = Target.settle
    monkeypatch.setattr(Target, "settle", lambda target: settled.append(settle(target) is None))
    outcomes = run_module.sync([named.name, named.name], Target.find("duckdb"), SyncRequest())
    assert [outcome.outcome for outcome in outcomes] == ["complete", "complete"]
    assert settled == [True]


def leave(here: World) -> None:
    """Takes an account out of the settings, but for its keys."""
    here.monkeypatch.delenv(f"ACCOUNTS__{here.name.upper()}")
    here.monkeypatch.delitem(SOURCES, here.name)
    here.monkeypatch.setattr(sources, "_LEFT", set())


def notes(here: World) -> list[tuple[str, str]]:
    return [(note["source"], note["kind"]) for note in document(here, "gaps")["notes"]]


@pytest.mark.slow
@elsewhere(0)
@of(NAMES[0], NAMES[3])
def test_an_account_that_leaves_the_settings(subject: Subject, named: World) -> None:
    """Its rows stay in the views, every command that looks says so, and nobody syncs it, although it has its keys."""
    account, address = named.name, os.environ[f"{named.name.upper()}_BASE_URL"]
    keys = {**settings([account, subject.name]), f"{subject.prefix}_BASE_URL": address}
    leave(named)
    assert notes(named) == [(account, "not in the settings")]
    assert document(named, "status")["sources"][account]["rows"][subject.main] == 24
    named.name = subject.name
    named.alone().set(**keys, **{f"{account.upper()}_BASE_URL": address})
    done = gapless(named, "sync")
    assert done.exit_code == 0, done.output
    assert f'Put it back ([accounts] {account} = "{subject.name}")' in done.stderr
    assert f"{account}: started" not in done.stderr
    assert document(named, "compact", account)["bytes_after"] > 0
    later = document(named, "gaps", "--max-age", "1s")["gaps"]
    assert account not in {gap["source"] for gap in later}
    done = gapless(named, "privacy", "apply", account, "--yes")
    assert "no source" not in done.output, done.output
    if named.database.name != "sqlalchemy":  # which has no views
        found = {check["name"]: check["found"] for check in document(named, "doctor")["checks"]}
        assert "settings do not name it" in found[f"{account} settings"]
        every = "select distinct account from activity.timeline order by account"
        assert named.sql(every) == [(subject.name,), (account,)]
        assert named.sql("select distinct account from activity.freshness order by account") == named.sql(every)
    named.set(**{f"ACCOUNTS__{account.upper()}": subject.name})
    sources.reread()
    named.monkeypatch.setitem(SOURCES, account, Source(account, subject.source.package))
    assert notes(named) == []


@pytest.mark.slow
@of(NAMES[0])
def test_datasets_that_no_setting_names(subject: Subject, named: World) -> None:
    """One of a vendor that is not registered is named, and its rows are in no view; a copy of a schema is none."""
    here = named
    tables = ("coverage", "dead_letters", "runs", "_dlt_loads", "_dlt_version")
    for schema in ("acme", "copied", "copied_staging"):
        here.database.change(here.name, f"create schema {schema}")
        for table in tables:
            here.database.change(here.name, f"create table {schema}.{table} as from {here.name}.{table}")
    here.database.change(here.name, "update acme._dlt_version set schema_name = 'acme'")
    assert notes(here) == [("acme", "not in the settings")]
    assert here.sql("select distinct account from activity.timeline") == [(here.name,)]
    assert gapless(here, "views").exit_code == 0
    assert "acme" not in document(here, "status")["sources"]
