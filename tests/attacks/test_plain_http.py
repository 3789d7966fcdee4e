"""Nothing secret goes to another machine without encryption, and nothing for this machine goes through a proxy."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx2 as httpx
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.cli.commands import sync
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.observability import collector, post, telemetry, webhook
from gapless.pipelines.sync import build
from gapless.sources import SOURCES
from gapless.sources._http.environment.plain_http import is_loopback, plain_http_problem
from gapless.sources._http.testing import serve
from tests.contract.subject import subject
from tests.support.world import CREDENTIALS, World

Begin = Callable[[Any], World]
FIRST = list(SOURCES)[:1]
FOREIGN = "http://vendor.example"


@contextmanager
def listening_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A proxy that reads along, as every one can that is on the way; yields what it read, a text for each request."""
    got: list[str] = []

    class Reading(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            got.append(self.request.recv(65_536).decode())
            self.request.sendall(b"HTTP/1.1 401 No\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Reading) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
        for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.server_address[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        yield got
        proxy.shutdown()


def gapless(*arguments: str) -> tuple[int, str]:
    told = CliRunner().invoke(app, list(arguments))
    return told.exit_code, " ".join(told.output.split())


@pytest.mark.parametrize("name", SOURCES)
def test_a_foreign_host_by_http(name: str, world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2 before any request, with the setting; doctor says the same. Allowed, the key goes: the test sees it."""
    here = world(subject(name).filled()).alone().set(**{f"{name.upper()}_BASE_URL": FOREIGN})
    with listening_proxy(monkeypatch) as got:
        code, said = gapless("sync", name)
        assert (code, got) == (2, []), said
        assert f"{name.upper()}_BASE_URL is plain http to vendor.example" in said
        code, said = gapless("doctor")
        assert (code, got, f"fail {name} settings" in said) == (1, [], True), said
        here.set(GAPLESS_ALLOW_HTTP="1")
        assert gapless("sync", name)[0] == 1
        keys = [CREDENTIALS[need.upper()] for need in SOURCES[name].needs if not need.endswith("_url")]
        assert any(key in got[0] for key in [*keys, " Basic "])


@pytest.mark.parametrize("name", FIRST)
def test_this_machine_is_asked_without_a_proxy(name: str, world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would read the key, and could not reach this machine's loopback."""
    here = world(subject(name).filled())
    with listening_proxy(monkeypatch) as got:
        here.complete()
        with serve(lambda request: httpx.Response(200)) as url:
            post.deliver(f"{url}/token", {})
        assert got == []
    here.assert_exact()


@pytest.mark.parametrize(
    ("host", "own"),
    [
        *((host, True) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST")),
        *(
            (host, False)
            for host in ("localhost.evil.test", "127.0.0.1.evil.test", "0.0.0.0", "::", "10.0.0.1", "2130706433")
        ),
        *((host, False) for host in ("127.1", "0x7f.0.0.1", "::ffff:10.0.0.1", "127.0.0.1@evil.test", "")),
    ],
)
def test_what_is_this_machine(host: str, own: bool) -> None:
    """By its own names alone: a name that is looked up may lead anywhere."""
    assert is_loopback(host) == own
    assert (plain_http_problem("http", host, {}) is None) == own
    assert plain_http_problem("https", host, {}) is None
    assert plain_http_problem("http", host, {"GAPLESS_ALLOW_HTTP": "0"}) == plain_http_problem("http", host, {})
    assert plain_http_problem("http", host, {"GAPLESS_ALLOW_HTTP": "1"}) is None


def test_the_webhooks_token(world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in the URL; a sync ends before it asks anybody, and doctor says the same."""
    here = (
        world(subject(FIRST[0]).filled())
        .alone()
        .set(GAPLESS_WEBHOOK_URL="http://hooks.example/canary-token-0123456789")
    )
    with listening_proxy(monkeypatch) as got:
        code, said = gapless("sync", here.name)
        assert (code, "GAPLESS_WEBHOOK_URL: is plain http to hooks.example" in said) == (2, True), said
        code, said = gapless("doctor")
        assert (code, "fail webhook" in said, "canary" in said) == (1, True, False), said
        assert (got, here.fake.requests[1:]) == ([], [])  # but for the doctor's
    here.set(GAPLESS_WEBHOOK_URL="https://hooks.example/canary-token-0123456789")
    assert "messages go to https://hooks.example" in gapless("doctor")[1]
    monkeypatch.setenv("GAPLESS_WEBHOOK_URL", "http://127.0.0.1:9/x")
    assert webhook.configured()


def test_the_collectors_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key among its headers nothing is sent by plain http to another machine; without one it is as before."""
    said: list[str] = []

    def wanted() -> list[bool]:
        said.clear()
        return [telemetry._wanted(signal, lambda text, **_: said.append(text)) for signal in ("traces", "metrics")]

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:4318")
    assert (wanted(), said) == ([True, True], [])
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=canary")
    assert wanted() == [False, True]
    assert ["plain http to collector.example" in text for text in said] == [True]
    assert telemetry.problems() == said
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=canary")
    assert wanted() == [False, False]
    monkeypatch.setenv("GAPLESS_ALLOW_HTTP", "1")
    assert wanted() == [True, True]
    monkeypatch.delenv("GAPLESS_ALLOW_HTTP")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example")
    assert (wanted(), collector._session("traces")) == ([True, True], None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
    assert (wanted(), collector._session("traces").trust_env) == ([True, True], False)


def test_the_host_of_each_key_is_named(world: Begin) -> None:
    """By sync when it is not the vendor's usual one, by doctor always."""
    here = world(subject(FIRST[0]).filled()).alone()
    code, said = gapless("sync", here.name)
    (url,) = [
        check["found"].partition("sent to ")[2] for check in checks() if check["name"] == f"{here.name} settings"
    ]
    assert (code, said.count(f"{here.name}: its key is sent to {url}")) == (0, 1), said
    assert url.startswith("http://127.0.0.1:")
    assert f"accepted by the vendor at {url}" in [check["found"] for check in checks()]


def test_a_host_that_changes_while_we_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said once, not in each round of `--every`, and again when the setting leads elsewhere by then."""
    name, need = FIRST[0], f"{FIRST[0].upper()}_BASE_URL"
    for key, value in CREDENTIALS.items():
        monkeypatch.setenv(key, value)
    rounds: Any = sync._Rounds([name], *[None] * 5)  # none of them is used here
    for host in ("https://one.example", "https://one.example", "https://two.example"):
        monkeypatch.setenv(need, host)
        replace(rounds, strict=True).print_hosts()
    said = capsys.readouterr().err
    assert [said.count(f"{name}: its key is sent to https://{host}.example") for host in ("one", "two")] == [1, 1]


def checks() -> list[dict[str, str]]:
    return list(json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)["checks"])


@pytest.mark.parametrize("name", SOURCES)
def test_the_vendors_own_host_needs_no_word(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said of each host that a setting names, and of a vendor that gives each account a host of its own."""
    for key, value in CREDENTIALS.items():
        monkeypatch.setenv(key, value)
    own = {need for need in SOURCES[name].needs if need.endswith("_url")}
    for need in own:
        monkeypatch.setenv(need.upper(), "https://acme.example")
    assert [host for _, host in build.hosts_of_choice([name])] == ["https://acme.example"] * len(own)
    monkeypatch.setenv(f"{name.upper()}_BASE_URL", "https://elsewhere.example/prefix")
    assert list(build.hosts_of_choice([name])) == [(name, "https://elsewhere.example")]
    monkeypatch.setenv(f"{name.upper()}_BASE_URL", FOREIGN)
    with pytest.raises(WrongSettings, match="plain http"):
        build.check_settings(SOURCES[name])
    assert list(build.hosts_of_choice([name])) == []
