"""An account of a vendor with a name of its own: the contract holds for it, beside the vendor's own account, too."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from gapless import sources
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.mcp_server.answers import Answers
from gapless.pipelines.sync import run as run_module
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.ui.database.target import UiTarget
from gapless.pipelines.ui.site import Site
from gapless.pipelines.ui.views import VIEWS
from gapless.sources import SOURCES, Source
from tests.contract import subject as subjects
from tests.contract import test_faces, test_proofs, test_sync
from tests.contract.commands import document, gapless, lose, run
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
    here.monkeypatch.delenv(f"ACCOUNTS__{here.name.upper()}", raising=False)
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
    named.name, named.fake = subject.name, subjects.copied(named.fake)
    named.alone().set(**keys, **{f"{account.upper()}_BASE_URL": address})
    become_another(subject, named)
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


def renamed(subject: Subject, here: World) -> tuple[str, str]:
    """Gives an account another name: its keys have the new one, and the old one is in the database alone."""
    old, new, address = here.name, f"{subject.name}_new", os.environ[f"{here.name.upper()}_BASE_URL"]
    leave(here)
    for need in (*subject.source.needs, f"{subject.name}_base_url"):
        here.monkeypatch.delenv(need.upper().replace(subject.prefix, old.upper()), raising=False)
    here.monkeypatch.setitem(SOURCES, new, Source(new, subject.source.package))
    here.set(**settings([new]), **{f"{new.upper()}_BASE_URL": address, f"ACCOUNTS__{new.upper()}": subject.name})
    return old, new


@pytest.mark.slow
@elsewhere(1)
@of(NAMES[0], NAMES[3])
def test_a_renamed_account(subject: Subject, named: World) -> None:
    """Its first sync under another name is refused, as each record would be there twice; the old one can go on."""
    old, new = renamed(subject, named)
    refused = gapless(named, "sync", new)
    said = " ".join(refused.output.split())
    assert (refused.exit_code, f"are here as {old}" in said) == (2, True), said
    assert f'[accounts] {old} = "{subject.name}"' in said
    assert document(named, "status")["sources"].keys() == {old}
    command = re.search(rf"gapless state drop {old}", said)
    assert command, said
    done = gapless(named, "state", "drop", old, "--yes")
    assert done.exit_code == 0, done.output
    assert gapless(named, "sync", new).exit_code == 0
    named.name = new
    named.assert_exact()
    assert document(named, "gaps")["notes"] == []
    assert document(named, "status")["sources"].keys() == {new}


@pytest.mark.slow
@elsewhere(2)
@of(NAMES[0], NAMES[3])
def test_an_account_under_two_names(subject: Subject, named: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was doubled before is said by each command that looks, with what ends it; then it is said no more."""
    old, new = renamed(subject, named)
    with monkeypatch.context() as patch:
        patch.setattr("gapless.pipelines.sync.account._require_new", lambda *_: None)
        assert gapless(named, "sync", new).exit_code == 0
    for command in (["gaps"], ["status"], ["doctor"], ["sync", new]):
        said = " ".join(gapless(named, *command).output.split())
        assert f"{old} and {new} hold the same records" in said or f"it and {new} hold the same records" in said, said
    found = [note for note in document(named, "gaps")["notes"] if note["kind"] == "same account"]
    assert [(note["source"], note["other"]) for note in found] == [(old, new)]
    done = run(*found[0]["fill"].split()[1:], "--yes")
    assert done.exit_code == 0, done.output
    assert document(named, "gaps")["notes"] == []
    named.name = new
    named.assert_exact()
    if named.database.name != "sqlalchemy":  # which has no views
        assert named.sql("select distinct account from activity.timeline") == [(new,)]


@pytest.mark.slow
@elsewhere(3)
@of(NAMES[3])
def test_gaps_of_an_account_that_left(subject: Subject, named: World) -> None:
    """The command that fills one works as it is typed: it names the account in front, for itself alone."""
    lose(named, f"{subject.id_column} in (select min({subject.id_column}) from {subject.main})")
    leave(named)
    found = document(named, "gaps")
    begin = f"ACCOUNTS__{named.name.upper()}={subject.name} gapless "
    assert all(one["fill"].startswith(begin) for one in found["gaps"]), found["gaps"]
    for step in [step for line in found["remedies"] for step in line.split(" && ")]:
        named.set(**dict([begin.split(maxsplit=1)[0].split("=")]))
        sources.reread()
        named.monkeypatch.setitem(SOURCES, named.name, Source(named.name, subject.source.package))
        done = run(*step.removeprefix(begin).split())
        assert done.exit_code == 0, done.output
    assert document(named, "gaps")["gaps"] == []


@pytest.mark.slow
@elsewhere(0)
@of(NAMES[3])
def test_the_policy_of_an_account_that_left(subject: Subject, named: World) -> None:
    """Rules that are still set, and that its rows are not under, are a gap, which the command that is named ends."""
    leave(named)
    assert document(named, "gaps")["gaps"] == []
    named.set(**{f"{named.name.upper()}_PRIVACY": f"{subject.main}.{subject.column(subject.text)}=drop"})
    (gap,) = document(named, "gaps")["gaps"]
    assert (gap["kind"], gap["fill"].split()[:4]) == ("privacy", ["gapless", "privacy", "apply", named.name])
    assert run(*gap["fill"].split()[1:]).exit_code == 0
    assert document(named, "gaps")["gaps"] == []


@pytest.mark.slow
@elsewhere(1)
@of(NAMES[0])
def test_the_page_and_the_assistant_see_an_account_that_comes(subject: Subject, named: World) -> None:
    """A dataset that a sync adds while they run is in the next answer, whether the settings name it or not."""
    if named.database.name not in ("duckdb", "postgres"):
        pytest.skip("the page and the assistant open DuckDB and Postgres alone")
    target, account = Target.find(named.database.name), named.name
    page, assistant = Page(target), Answers(Site(UiTarget(target)), 500, 20.0)
    assert account in page("health")
    leave(named)
    assert f'value="{account}" selected' in page("timeline", source=account)
    assert sources.left_accounts() == [account]
    leave(named)
    described: Any = assistant.table(f"{account}.{subject.main}")
    assert [one["account"] for one in described["proven"]["by_account"]] == [account]
    leave(named)
    named.set(**{f"ACCOUNTS__{account.upper()}": subject.name})
    Answers(Site(UiTarget(target)), 500, 20.0).gaps()
    assert (account in SOURCES, sources.left_accounts()) == (True, [])


@pytest.mark.slow
@elsewhere(2)
@of(NAMES[3])
def test_a_vendors_own_name_that_is_given_up(
    subject: Subject, synced: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody misses it once it is deleted, also where the command was killed before the views were made anew."""
    new, address = f"{subject.name}_new", os.environ[f"{subject.prefix}_BASE_URL"]
    for setting in (*subject.source.needs, f"{subject.name}_base_url"):
        monkeypatch.delenv(setting.upper(), raising=False)
    monkeypatch.setitem(SOURCES, new, Source(new, subject.source.package))
    synced.set(**settings([new]), **{f"{new.upper()}_BASE_URL": address, f"ACCOUNTS__{new.upper()}": subject.name})
    refused = gapless(synced, "sync", new)
    assert (refused.exit_code, f"gapless state drop {subject.name}" in " ".join(refused.output.split())) == (2, True)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gapless.pipelines.views.refresh.without", killed)
        assert gapless(synced, "state", "drop", subject.name, "--yes").exit_code == 130
    assert gapless(synced, "state", "drop", subject.name, "--yes").exit_code == 0
    assert gapless(synced, "sync", new).exit_code == 0
    assert document(synced, "gaps")["gaps"] == []
    refused = gapless(synced, "state", "drop", new, "--yes")
    assert (refused.exit_code, "is synced" in refused.output) == (2, True)
    synced.name = new
    synced.assert_exact()
