"""Who may look at the page: the key, the session, names of hosts, other sites and ports, headers of each answer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gapless.pipelines.ui import guard
from gapless.pipelines.ui.guard import COOKIE, Door, Keys
from gapless.pipelines.ui.rendering import static_digest
from tests.support.page import HOST, TOKEN, Page, call

OTHER_PORT = "http://127.0.0.1:9999"
NAVIGATION = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(tmp_path / "none.duckdb")


def login(page: Page, key: str, **headers: str) -> guard.MutableMapping[str, str]:
    answer = call(page.app, "/login", {"host": HOST, **headers}, "POST", f"key={key}&query=view%3Druns".encode())
    return {"status": str(answer.status), **answer.headers}


def test_the_key_gives_a_session_that_is_not_the_key(page: Page) -> None:
    """The cookie is for the page's own folder, out of reach for scripts and for other sites; it opens the page."""
    answer = login(page, TOKEN)
    value, *attributes = answer["set-cookie"].split("; ")
    assert (answer["status"], answer["location"]) == ("303", f"{page.door.folder}?view=runs")
    assert attributes == [f"Path={page.door.folder}", "HttpOnly", "SameSite=Strict"]
    assert TOKEN not in value
    assert page.door.keys.folder not in value
    assert call(page.app, page.door.folder, {"host": HOST, "cookie": value}).status == 200


@pytest.mark.parametrize("key", ["", "x", TOKEN[:-1], TOKEN + "x", "%00", TOKEN.upper()])
def test_another_key_gives_none(page: Page, key: str) -> None:
    """Not even a hint where the page is."""
    answer = login(page, key)
    assert (answer["status"], "set-cookie" in answer) == ("401", False)
    assert page.door.keys.folder not in str(answer)


@pytest.mark.parametrize(
    "cookie",
    ["", COOKIE, f"{COOKIE}=", f"{COOKIE}={TOKEN}", f"{COOKIE}=1.2.3", f"{COOKIE}=.", f"{COOKIE}=é.x", "x=y"],
)
@pytest.mark.parametrize("path", ["", "?view=sql&sql=select+1", "download?sql=select+1"])
def test_without_a_session_nothing_is_shown(page: Page, path: str, cookie: str) -> None:
    """Neither a view nor data; a form that takes the key."""
    answer = call(page.app, page.door.folder + path, {"host": HOST, "cookie": cookie})
    assert answer.status == 401
    assert b"<main id=" not in answer.body


def test_a_session_of_another_key_or_an_old_one(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is none; nor is one whose time was changed."""
    keys = page.door.keys
    old = keys.session()
    assert keys.is_session(old)
    assert not Keys("another-token-0123456789").is_session(old)
    assert not keys.is_session("9" + old)
    now = time.time()
    monkeypatch.setattr(guard, "time", lambda: now + guard.SESSION_AGE + 1)
    assert not keys.is_session(old)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "x@127.0.0.1", "[::2]",
     "127.0.0.1:8000, evil.example", "", "0.0.0.0:8000", "[::1", "2130706433", "127.1"],
)  # fmt: skip
def test_foreign_names(page: Page, host: str) -> None:
    """A name that leads here is not ours, as DNS rebinding would have it."""
    for path in ("/", page.door.folder, "/login", "/nowhere"):
        answer = call(page.app, path, {**page.session, "host": host})
        assert (answer.status, "not shown to other sites" in answer.text) == (403, True)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:9000", "LOCALHOST", "[::1]:8000", "127.0.0.1"])
def test_our_names(page: Page, host: str) -> None:
    """At any port, as a tunnel may have another one."""
    assert call(page.app, page.door.folder, {**page.session, "host": host}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": OTHER_PORT},
        {"origin": "null"},
        {"origin": "null", "sec-fetch-site": "cross-site", **NAVIGATION},
        {"origin": "https://127.0.0.1:8000"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "object"},
    ],
)
def test_requests_of_other_sites_and_ports(page: Page, headers: dict[str, str]) -> None:
    """Get nothing, with a session and without, by whatever method."""
    for method in ("GET", "POST", "HEAD", "OPTIONS", "PUT"):
        answer = call(page.app, page.door.folder, {**page.session, **headers}, method)
        assert answer.status == 403, (method, headers)
        assert "access-control-allow-origin" not in answer.headers
    assert login(page, TOKEN, **headers)["status"] == "403"


def test_a_link_of_another_site_leads_here(page: Page) -> None:
    """The browser keeps the cookie back then, so the page leads to itself once more, or else to the form."""
    link = {"host": HOST, "sec-fetch-site": "cross-site", **NAVIGATION}
    first = call(page.app, f"{page.door.folder}?view=runs", link)
    assert (first.status, 'content="0;url=?view=runs"' in first.text, "cookie" in str(first.headers)) == (
        200,
        True,
        False,
    )
    second = call(page.app, f"{page.door.folder}?view=runs", {**link, "sec-fetch-site": "same-origin"})
    assert (second.status, 'value="view=runs"' in second.text) == (401, True)


def test_no_websocket(page: Page) -> None:
    """Whoever asks, with a session or without."""
    for headers in (page.session, {**page.session, "origin": OTHER_PORT}, {"host": "evil.example"}):
        assert call(page.app, page.door.folder, headers, kind="websocket").status == 0


@pytest.mark.parametrize("path", ["/", "/nowhere", "/login", "/static/x/page.css", "folder", "folder?view=sql"])
def test_headers_of_every_answer(page: Page, path: str) -> None:
    """What a browser may do with the page, and that it keeps nothing of it."""
    answer = call(page.app, path.replace("folder", page.door.folder), page.session)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;")
    assert "unsafe" not in policy
    assert {part.strip() for part in policy.split(";")} >= {
        "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'",
    }  # fmt: skip
    wanted = {
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }
    assert {name: answer.headers.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("path", ["../app.py", "..%2fapp.py", "/etc/passwd", "vendor/../../app.py", ""])
def test_static_files_are_those_of_their_folder(page: Page, path: str) -> None:
    """And nothing else; a browser may keep them."""
    assert call(page.app, f"/static/{static_digest()}/{path}", {"host": HOST}).status == 404
    answer = call(page.app, f"/static/{static_digest()}/page.css", {"host": HOST})
    assert (answer.status, "immutable" in answer.headers["cache-control"]) == (200, True)


def test_behind_a_proxy(tmp_path: Path) -> None:
    """Its name and its origin are ours, under its path; with TLS the cookie is for TLS alone."""
    names = guard.LOOPBACK | {"data.example.com"}
    page = Page(tmp_path / "none.duckdb", door=Door(Keys(TOKEN), names, "https://data.example.com", "/gapless"))
    headers = {"host": "data.example.com", "origin": "https://data.example.com"}
    answer = call(page.app, "/gapless/login", headers, "POST", f"key={TOKEN}".encode())
    assert (answer.status, "Secure" in answer.headers["set-cookie"]) == (303, True)
    assert answer.headers["location"].startswith("/gapless/")
    assert call(page.app, page.door.folder, {**headers, "cookie": answer.headers["set-cookie"]}).status == 200
    assert call(page.app, "/login", headers, "POST", f"key={TOKEN}".encode()).status == 404
    assert call(page.app, page.door.folder, {**headers, "origin": "https://evil.example"}).status == 403
