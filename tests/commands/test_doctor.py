"""The doctor: everything that can keep a sync from working is found, said without a secret, and can be mended."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from typer.testing import CliRunner, Result

from gapless.pipelines.cli.doctor import keys
from gapless.pipelines.destinations.target import Target
from gapless.sources import SOURCES
from gapless.sources.omni.fake import OmniFake

KEYS = {need.upper() for source in SOURCES.values() for need in source.needs}


def gapless(*args: str) -> Result:
    return CliRunner().invoke(doctor_app(), ["doctor", *args])


def doctor_app() -> Any:
    return import_module("gapless.pipelines.cli.app").app


def found(*args: str) -> dict[str, dict[str, str]]:
    """The doctor's findings by name."""
    return {check["name"]: check for check in json.loads(gapless("--json", *args).stdout)["checks"]}


@pytest.fixture
def omni(world: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Omni alone is configured."""
    fake = OmniFake()
    fake.seed(1, logs=1)
    here = world(fake)
    for key in KEYS - {"OMNI_API_KEY"}:
        monkeypatch.delenv(key, raising=False)
    return here


def test_all_is_well(world: Callable[[Any], Any], tmp_path: Path) -> None:
    """With everything in order it ends with 0, one request per vendor and no database file left behind."""
    worlds = [
        world(getattr(import_module(f"gapless.sources.{name}.fake"), f"{name.capitalize()}Fake").demo())
        for name in SOURCES
    ]
    result = gapless()
    assert result.exit_code == 0, result.stdout
    assert "fail" not in result.stdout
    assert "OMNI_API_KEY from Environment Variables" in result.stdout
    assert [len(here.fake.requests) for here in worlds] == [1, 1, 1, 1]
    assert not (tmp_path / "gapless.duckdb").exists()


def test_no_value_is_shown(omni: Any) -> None:
    """Where a key comes from is told, never what it is, also when the vendor repeats it."""
    omni.set(OMNI_API_KEY="canary-key-0123456789")
    omni.intercept = lambda request: httpx.Response(401, json={"error": {"message": "bad canary-key-0123456789"}})
    for args in ([], ["--json"]):
        result = gapless(*args)
        assert result.exit_code == 1
        assert "canary" not in result.output


def test_sources_that_are_not_configured(omni: Any) -> None:
    """A source without any credentials is no failure as long as there is another."""
    checks = found()
    assert checks["omni key"]["result"] == "ok"
    assert {checks[f"{name} settings"]["result"] for name in SOURCES if name != "omni"} == {"-"}
    assert gapless().exit_code == 0


def test_no_source_is_configured() -> None:
    """Without any source there is nothing to sync, which is a failure and points to the demo."""
    check = found()["sources"]
    assert (check["result"], "gapless demo" in check["mends"]) == ("fail", True)
    assert gapless().exit_code == 1


def test_half_a_configuration(omni: Any) -> None:
    """A source with some of its settings fails and names those it lacks."""
    omni.set(KIZEN_API_KEY="some-key")
    check = found()["kizen settings"]
    assert check["result"] == "fail"
    assert check["found"] == "KIZEN_BUSINESS_ID, KIZEN_USER_ID not set"
    assert "[sources.kizen]" in check["mends"]


def test_a_base_url_that_is_none(omni: Any) -> None:
    """A setting that cannot be is told by its name, without asking anybody."""
    omni.set(OMNI_BASE_URL="example.com")
    check = found()["omni settings"]
    assert check["result"] == "fail"
    assert "OMNI_BASE_URL must be scheme and host" in check["found"]
    assert omni.fake.requests == []


@pytest.mark.parametrize(
    ("status", "mends"), [(401, "Check OMNI_API_KEY"), (403, "Check OMNI_API_KEY"), (404, "Check OMNI_BASE_URL")]
)
def test_the_vendor_refuses(status: int, mends: str, omni: Any) -> None:
    """A key that is refused and a URL that is wrong are told apart by what mends them."""
    omni.fake.failing["/api"] = status
    check = found()["omni key"]
    assert (check["result"], check["mends"][: len(mends)]) == ("fail", mends)


def test_a_quota_is_used_up(omni: Any) -> None:
    """The check says until when, and that nothing is to be done."""
    omni.intercept = lambda request: httpx.Response(429, headers={"Retry-After": "86400"})
    check = found()["omni key"]
    assert (check["result"], "UTC; nothing more is asked" in check["found"]) == ("fail", True)
    assert check["mends"].startswith("Wait until then")


def test_the_vendor_is_not_there(omni: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor that cannot be reached is given up on after a few seconds at most, not after a sync's minutes."""
    assert keys.PING_SETTINGS["gapless_retry_budget"] <= 5
    monkeypatch.setattr(keys, "PING_SETTINGS", {"gapless_retry_budget": 0.05})
    omni.set(OMNI_BASE_URL="http://127.0.0.1:9", GAPLESS_RETRY_BUDGET="1")
    check = found()["omni key"]
    assert check["result"] == "fail"
    assert "the retry budget of 0.05 s" in check["found"]
    assert "OMNI_BASE_URL and this machine's network" in check["mends"]


def test_another_sync_holds_the_lock(omni: Any) -> None:
    """A lock that is held fails, and waiting mends it."""
    with Target.find("duckdb").locked():
        check = found()["lock"]
    assert (check["result"], check["mends"]) == ("fail", "Wait until it has ended.")


def test_a_destination_that_is_no_database(omni: Any, tmp_path: Path) -> None:
    """A file that DuckDB cannot open fails and is left as it is."""
    (tmp_path / "gapless.duckdb").write_text("dear diary")
    check = found()["destination"]
    assert (check["result"], (tmp_path / "gapless.duckdb").read_text()) == ("fail", "dear diary")


def test_a_copy_that_no_sync_can_publish(omni: Any, tmp_path: Path) -> None:
    """Its folder is not there: found before a reader misses the newest data."""
    omni.set(GAPLESS_PUBLISH=str(tmp_path / "readers.duckdb"))
    assert found()["copy"]["result"] == "ok"
    omni.set(GAPLESS_PUBLISH=str(tmp_path / "away" / "readers.duckdb"))
    check = found()["copy"]
    assert (check["result"], check["mends"]) == ("fail", "Correct GAPLESS_PUBLISH.")
    omni.set(GAPLESS_PUBLISH=str(tmp_path / "readers.duckdb"), GAPLESS_PUBLISH_MODE="777")
    check = found()["copy"]
    assert (check["result"], check["mends"]) == ("fail", "Correct GAPLESS_PUBLISH_MODE.")


def test_a_destination_that_is_unknown(omni: Any) -> None:
    """A destination that dlt does not know is a failing line like any other."""
    check = found("--destination", "nowhere")["destination"]
    assert check["result"] == "fail"
    assert "there is no destination 'nowhere'" in check["found"]


def test_versions(omni: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed libraries are held to the ranges of the package's own metadata; a pip command mends them."""
    needs = ["dlt>=1,<99", "duckdb<0.5", "rich>=13", 'sqlglot<1; extra == "dev"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: needs if name == "gapless" else [])
    checks = found()
    assert checks["dlt"]["result"] == "ok"
    assert (checks["duckdb"]["result"], checks["duckdb"]["mends"]) == ("fail", 'pip install "duckdb<0.5"')
    assert not {"rich", "sqlglot"} & set(checks)


@pytest.mark.slow
def test_what_was_dropped_is_one_line(omni: Any) -> None:
    """Of a source, with one command, however many tables and columns."""
    omni.synced()
    omni.database.change("omni", "drop table action_logs__messages__documents", "alter table leads drop column email")
    checks: list[dict[str, str]] = json.loads(gapless("--json").stdout)["checks"]
    (line,) = [check for check in checks if check["name"] == "omni tables"]
    assert line["found"].count("the table ") == 2
    assert line["mends"].startswith("gapless sync omni makes it again")


def test_after_a_first_sync_that_was_stopped(omni: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells of no older layout, does not send the reader to itself, and names the sync that goes on."""

    def stopped(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr("gapless.sources._http.client.Client.get", stopped)
        assert CliRunner().invoke(doctor_app(), ["sync", "omni"]).exit_code == 130
    checks = found()
    assert "layout" not in checks
    assert checks["omni data"]["found"].endswith("`gapless sync omni` goes on")
