"""The page of `gapless ui` without a server: its application is called as a server would."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.ui.app import build
from gapless.pipelines.ui.database.target import UiTarget
from gapless.pipelines.ui.guard import COOKIE, Application, Door, Keys
from gapless.pipelines.ui.site import Site

TOKEN = "canary-token-0123456789"
HOST = "127.0.0.1:8000"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def call(
    app: Application,
    path: str,
    headers: Mapping[str, str],
    method: str = "GET",
    body: bytes = b"",
    kind: str = "http",
) -> Answer:
    """Sends one request, as it is, to an application."""
    sent: list[Any] = []
    target, _, query = path.partition("?")
    scope = {
        "type": kind, "method": method, "path": target, "raw_path": target.encode(), "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
        "scheme": "http", "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 50000), "http_version": "1.1",
        "root_path": "", "asgi": {"version": "3.0"},
    }  # fmt: skip

    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:
        for message in messages:
            return message
        await asyncio.Event().wait()  # nobody hangs up

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    if sent[0]["type"] == "websocket.close":
        return Answer(0, {}, b"")
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, b"".join(one.get("body", b"") for one in sent[1:]))


class Page:
    """The page of a target, with a session; `page("timeline", source="x")` is the HTML of a view."""

    def __init__(
        self, target: Target | Path, copy: Path | None = None, now: datetime | None = None, door: Door | None = None
    ) -> None:
        self.door = door or Door(Keys(TOKEN))
        found = Target.of_file(target) if isinstance(target, Path) else target
        self.site = Site(UiTarget(found, copy))
        if now:
            self.site.clock = lambda: now
        self.app = build(self.site, self.door)

    @property
    def session(self) -> dict[str, str]:
        return {"host": HOST, "cookie": f"{COOKIE}={self.door.keys.session()}"}

    def get(self, path: str = "", **headers: str) -> Answer:
        """An answer to whoever has a session; `path` is below the page's folder."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return call(self.app, self.door.folder + path, {**self.session, **more})

    def __call__(self, view: str = "", **parameters: str) -> str:
        """The HTML of a view, which is shown without an error."""
        answer = self.get("?" + urlencode({"view": view, **parameters} if view else parameters))
        assert answer.status == 200, answer.text
        return answer.text
