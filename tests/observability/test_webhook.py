"""The webhook: who is told what of which round, that it tells nothing private, and that no sync depends on it."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from typer.testing import CliRunner, Result

from gapless.pipelines import redaction
from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import Locked
from gapless.pipelines.observability.post import deliver, site
from gapless.pipelines.observability.webhook import Webhook, document
from gapless.pipelines.outcome import Outcome
from gapless.sources._http.errors import BadRequest, Unavailable
from gapless.sources._http.testing import serve
from gapless.sources._ledger.session import Failure
from gapless.sources.omni.fake import OmniFake
from gapless.sources.tines.fake import TinesFake
from tests.contract.subject import filled
from tests.support import warm
from tests.support.world import World

Begin = Callable[[Any], World]
ROOT = Path(__file__).resolve().parents[2]
TOKEN = "canary-token-0123456789"
KEY = "canary-key-0123456789"


class Chat:
    """Takes messages; `statuses` are its first answers, then all goes well."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.taken: list[dict[str, Any]] = []
        self.asked: list[httpx.Request] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.taken.append(json.loads(request.content))
        return httpx.Response(status, text="ok", headers={"Location": "http://127.0.0.1:9/elsewhere"})


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    made = Chat()
    monkeypatch.setattr(redaction, "_known", set())
    with serve(made.handle) as url:
        monkeypatch.setenv("GAPLESS_WEBHOOK_URL", f"{url}/services/{TOKEN}")
        yield made


def gapless(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def one_parent_fails(here: World) -> None:
    """Of a parent the vendor says 403, and repeats the key."""
    lead = here.fake.truth()["action_logs"][0]["leadId"]
    here.intercept = lambda request: (
        httpx.Response(403, json={"error": {"message": f"no {KEY}"}}) if lead in request.url.path else None
    )


@pytest.mark.slow
def test_a_partial_round_is_told(world: Begin, chat: Chat) -> None:
    """One POST: a line for people, the exit code and each source in numbers; no id, no key, no vendor's word."""
    here = world(OmniFake.demo())
    one_parent_fails(here)
    assert gapless("sync", "omni").exit_code == 3
    (told,) = chat.taken
    (source,) = told["sources"]
    assert told["text"].startswith("gapless: partial on duckdb: omni partial, ")
    assert "omni: 1 of 25 leads answered 403 (for the first time, at " in told["text"]
    assert told["text"].endswith("tried first next time; `gapless gaps omni` lists it")
    assert (told["event"], told["exit_code"], told["destination"], told["error"]) == ("partial", 3, "duckdb", None)
    assert (source["source"], source["outcome"], source["failures"], source["error"]) == (
        "omni",
        "partial",
        {"parent": 1},
        None,
    )
    assert [(source["run_id"], source["requests"])] == here.sql("select run_id, requests from runs")
    assert source["rows"]["action_logs"] == here.sql("select count(*) from action_logs")[0][0]
    sent = json.dumps(told)
    assert not [lead for (lead,) in here.sql("select lead_id from leads") if lead in sent]
    assert "canary" not in sent


def test_failures_are_counted_by_their_kind() -> None:
    """A reason that reads like a record's line does not make its failure a record's; JSON has the lines."""
    failures = [Failure("no", "logs", "parent", "7"), Failure("leads: record 5 is gone")]
    outcome = Outcome("omni", started_at=datetime.now(UTC), outcome="partial", failures=failures)
    (source,) = document("partial", 3, "duckdb", [outcome], None)["sources"]
    assert source["failures"] == {"parent": 1, "other": 1}
    assert outcome.to_json()["failures"] == ["logs: parent 7: no", "leads: record 5 is gone"]


def test_a_failed_round_is_told(world: Begin, chat: Chat) -> None:
    """The class of the error and what to do about it, of each source."""
    here = world(TinesFake.demo())
    here.fake.failing["/api/v1"] = 401
    assert gapless("sync", "tines").exit_code == 1
    (told,) = chat.taken
    assert (told["event"], told["exit_code"], told["sources"][0]["error"]) == ("failed", 1, "Unauthorized")
    assert "the key was refused; check the source's key settings" in told["text"]


def test_a_round_that_ends_early_is_told(world: Begin, chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no source is to blame for is told by its class; its text may hold anything."""
    world(TinesFake.demo())

    def broken(*args: object) -> Iterator[None]:
        raise RuntimeError(KEY)

    monkeypatch.setattr("gapless.pipelines.sync.run.sync", broken)
    assert gapless("sync", "tines").exit_code == 1
    (told,) = chat.taken
    assert (told["error"], told["sources"], KEY in json.dumps(told)) == ("RuntimeError", [], False)


def test_who_is_not_told(world: Begin, chat: Chat) -> None:
    """Nobody hears of a complete sync, of wrong settings, or of a lock that is held."""
    world(TinesFake.demo())
    assert gapless("sync", "tines").exit_code == 0
    assert gapless("sync", "nobody").exit_code == 2
    with Target.find("duckdb").locked():
        assert gapless("sync", "tines").exit_code == 75
    assert chat.asked == []


@pytest.mark.sweep
def test_on(world: Begin, chat: Chat) -> None:
    """GAPLESS_WEBHOOK_ON chooses; `recovered` is the first complete sync after one that was not, once."""
    here = world(filled("omni")).set(GAPLESS_WEBHOOK_ON="failed, recovered")
    here.synced()
    one_parent_fails(here)
    here.fake.advance(60)
    assert gapless("sync", "omni").exit_code == 3
    assert chat.taken == []
    here.mend()
    assert [gapless("sync", "omni").exit_code for _ in range(2)] == [0, 0]
    assert [(told["event"], told["exit_code"]) for told in chat.taken] == [("recovered", 0)]


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("GAPLESS_WEBHOOK_ON", "always", "GAPLESS_WEBHOOK_ON: always is not known; expected failed, partial"),
        ("GAPLESS_WEBHOOK_URL", f"ftp://h/{TOKEN}", "GAPLESS_WEBHOOK_URL: expected a URL such as https://"),
        ("GAPLESS_WEBHOOK_URL", TOKEN, "GAPLESS_WEBHOOK_URL: expected a URL such as https://"),
    ],
)
def test_wrong_settings(setting: str, value: str, told: str, world: Begin, chat: Chat) -> None:
    """Said before any request, not when it is needed; without the URL."""
    here = world(TinesFake.demo()).set(**{setting: value})
    done = gapless("sync", "tines")
    assert (done.exit_code, told in done.stderr, here.fake.requests) == (2, True, [])
    assert TOKEN not in done.output


def test_from_the_files(world: Begin, chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL stands in secrets.toml, when to tell in config.toml, under [gapless]."""
    url = os.environ["GAPLESS_WEBHOOK_URL"]
    monkeypatch.delenv("GAPLESS_WEBHOOK_URL")
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "secrets.toml").write_text(f'[gapless]\ngapless_webhook_url = "{url}"\n')
    (tmp_path / ".dlt" / "config.toml").write_text('[gapless]\ngapless_webhook_on = ["failed"]\n')
    here = world(TinesFake.demo())
    here.fake.failing["/api/v1"] = 401
    done = warm.run([sys.executable, "-m", "gapless.pipelines", "sync", "tines"])
    assert done.returncode == 1, done.stderr
    assert [told["event"] for told in chat.taken] == ["failed"]
    assert TOKEN not in done.stderr


def test_what_passes_is_tried_again(world: Begin, chat: Chat) -> None:
    """A chat that is busy for a moment gets the message, once."""
    here = world(TinesFake.demo())
    here.fake.failing["/api/v1"] = 401
    chat.statuses = [503, 429]
    done = gapless("sync", "tines")
    assert (len(chat.asked), len(chat.taken)) == (3, 1)
    assert "webhook" not in done.stderr


@pytest.mark.parametrize("status", [302, 404])
def test_a_message_that_is_not_taken(status: int, world: Begin, chat: Chat) -> None:
    """One line on stderr, the host and no token in it; the exit code is the sync's; no redirect is followed."""
    here = world(TinesFake.demo())
    here.fake.failing["/api/v1"] = 401
    chat.statuses = [status]
    done = gapless("sync", "tines")
    (line,) = [line for line in done.stderr.splitlines() if "webhook" in line]
    assert line.split(" ", 1)[1].startswith("the webhook did not get the message: POST http://127.0.0.1")
    assert (done.exit_code, str(status) in line, len(chat.asked), TOKEN in done.output) == (1, True, 1, False)


@contextmanager
def silent() -> Iterator[str]:
    """Accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/{TOKEN}"


@contextmanager
def trickling() -> Iterator[str]:
    """Sends a byte of a header now and then."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Event()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                while not ended.wait(0.05):
                    try:
                        connection.send(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/{TOKEN}"
        ended.set()
        thread.join()


@pytest.mark.parametrize("slow", [silent, trickling])
def test_the_deadline_is_for_all_of_it(slow: Any) -> None:
    """However slowly it answers, the sync goes on after the seconds it was given."""
    with slow() as url, pytest.raises(Unavailable) as raised:
        deliver(url, {"text": "hello"}, seconds=0.3)
    assert TOKEN not in str(raised.value)


def test_only_the_site_is_shown() -> None:
    """Neither an error nor a repr holds more of the address than scheme, host and port."""
    assert site(f"https://user:{TOKEN}@hooks.test:8443/{TOKEN}?{TOKEN}") == "https://hooks.test:8443"
    assert TOKEN not in repr(Webhook(f"https://hooks.test/{TOKEN}", frozenset()))
    with serve(lambda request: httpx.Response(400, text=TOKEN)) as url, pytest.raises(BadRequest) as raised:
        deliver(f"{url}/{TOKEN}", {})
    assert TOKEN not in str(raised.value)


# -- what is said again ------------------------------------------------------------------------------


def long_ago(here: World, hours: float) -> None:
    """What was said was said so many hours ago."""
    earlier = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    here.database.change(
        here.name, f'update runs set told = json_merge_patch(told, \'{{"at": "{earlier}"}}\') where told is not null'
    )


@pytest.mark.slow
def test_the_same_is_said_once_a_day(world: Begin, chat: Chat) -> None:
    """A key that stays revoked: one message, another after a day with since when, and one when it works again."""
    here = world(filled("tines"))
    here.synced()
    here.fake.failing["/api/v1"] = 401
    assert [gapless("sync", "tines").exit_code for _ in range(3)] == [1, 1, 1]
    (first,) = chat.taken
    assert (first["event"], first["reminder"], first["sources"][0]["rounds"]) == ("failed", False, 1)
    assert "nothing newer than " in first["text"]
    long_ago(here, 23.9)
    gapless("sync", "tines")
    assert len(chat.taken) == 1
    long_ago(here, 24)
    gapless("sync", "tines")
    again = chat.taken[1]
    assert (again["event"], again["reminder"], again["sources"][0]["rounds"]) == ("failed", True, 5)
    assert "gapless: still failed on duckdb: tines (the whole source) failed: the key was refused" in again["text"]
    assert "(fifth round in a row, first at " in again["text"]
    assert again["sources"][0]["since"] == first["sources"][0]["since"] == first["sources"][0]["started_at"]
    here.mend()
    assert [gapless("sync", "tines").exit_code for _ in range(2)] == [0, 0]
    assert [told["event"] for told in chat.taken[2:]] == ["recovered"]


@pytest.mark.sweep
def test_a_change_is_said_at_once(world: Begin, chat: Chat) -> None:
    """One more lead that fails, and a source that then fails as a whole; not what goes away beside what stays."""
    here = world(filled("omni"))
    here.synced()
    first, second, third, *_ = [lead["leadId"] for lead in here.fake.truth()["leads"]]
    counts = []
    for failing in ({first: 500}, {first: 500}, {first: 500, second: 500}, {first: 500}, {first: 500, third: 403}):
        here.mend()
        here.fake.failing.update({f"/{lead}/": status for lead, status in failing.items()})
        assert gapless("sync", "omni").exit_code == 3
        counts.append(len(chat.taken))
    assert counts == [1, 1, 2, 2, 3]
    (source,) = chat.taken[-1]["sources"]
    assert {(one["kind"], one["status"], one["count"], one["of"]) for one in source["problems"]} == {
        ("failing", 500, 1, 4), ("failing", 403, 1, 4),
    }  # fmt: skip
    here.fake.failing["/api/v1"] = 401
    assert gapless("sync", "omni").exit_code == 1
    assert [told["event"] for told in chat.taken] == ["partial"] * 3 + ["failed"]


@pytest.mark.slow
def test_what_did_not_arrive_is_said_again(world: Begin, chat: Chat) -> None:
    """The chat was away when it failed: the next round says it."""
    here = world(TinesFake.demo())
    here.fake.failing["/api/v1"] = 401
    chat.statuses = [404]
    assert [gapless("sync", "tines").exit_code for _ in range(3)] == [1, 1, 1]
    assert (len(chat.asked), len(chat.taken)) == (2, 1)


@pytest.mark.slow
def test_who_fails_beside_others(world: Begin, chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole source that failed is the event, though another one is complete; one of them alone may recover."""
    tines, omni = world(filled("tines")), world(filled("omni"))
    monkeypatch.setenv("TINES_API_KEY", "key-of-a-test")
    omni.synced()
    tines.fake.failing["/api/v1"] = 401
    one_parent_fails(omni)
    assert gapless("sync", "omni", "tines").exit_code == 1
    assert [(one["source"], one["outcome"]) for one in chat.taken[0]["sources"]] == [
        ("omni", "partial"), ("tines", "failed"),
    ]  # fmt: skip
    omni.mend()
    assert [gapless("sync", "omni", "tines").exit_code for _ in range(2)] == [1, 1]
    assert [(told["event"], told["sources"][0]["outcome"]) for told in chat.taken[1:]] == [("failed", "complete")]


@pytest.mark.slow
@pytest.mark.parametrize("destination", ["postgres"])
def test_a_split_source_recovers_as_a_whole(destination: str, world: Begin, chat: Chat) -> None:
    """Once each of its parts has come to its end, and once, however it was split when it failed."""
    here = world(filled("tines"))

    def events(*syncs: str, failing: bool = False) -> list[str]:
        here.fake.failing = {"/api/v1": 401} if failing else {}
        chat.taken.clear()
        for shard in syncs:
            part = ("--shard", shard) if shard else ()
            assert gapless("sync", "tines", "--destination", destination, *part).exit_code == failing
        return [told["event"] for told in chat.taken]

    assert events("", failing=True) == ["failed"]
    assert events("1/2") == []
    assert events("2/2", "2/2") == ["recovered"]
    assert events("2/2", failing=True) == ["failed"]
    assert events("1/2") == []
    assert events("") == ["recovered"]


def test_a_round_that_ends_early_is_said_once(world: Begin, chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is away cannot hold a note: a local file does, until a round comes to its end."""
    world(TinesFake.demo())

    def broken(*args: object) -> Iterator[None]:
        raise RuntimeError(KEY)

    with monkeypatch.context() as patched:
        patched.setattr("gapless.pipelines.sync.run.sync", broken)
        assert [gapless("sync", "tines").exit_code for _ in range(2)] == [1, 1]
        assert len(chat.taken) == 1
    assert gapless("sync", "tines").exit_code == 0
    monkeypatch.setattr("gapless.pipelines.sync.run.sync", broken)
    gapless("sync", "tines")
    assert [told["error"] for told in chat.taken] == ["RuntimeError", "RuntimeError"]


@pytest.mark.slow
def test_strict_changes_the_exit_code_alone(world: Begin, chat: Chat) -> None:
    """What happened is still partial."""
    here = world(filled("omni"))
    here.synced()
    one_parent_fails(here)
    assert gapless("sync", "omni", "--strict").exit_code == 1
    assert [(told["event"], told["exit_code"]) for told in chat.taken] == [("partial", 1)]


@pytest.mark.slow
def test_rather_twice_than_never(world: Begin, chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can read what was said: a source that failed is said."""
    here = world(TinesFake.demo())
    here.fake.failing["/api/v1"] = 401

    def unreadable(*args: object) -> None:
        raise Locked("another program")

    monkeypatch.setattr("gapless.pipelines.observability.reminders._past", unreadable)
    assert [gapless("sync", "tines").exit_code for _ in range(2)] == [1, 1]
    here.mend()
    assert gapless("sync", "tines").exit_code == 0
    assert [told["event"] for told in chat.taken] == ["failed", "failed"]
