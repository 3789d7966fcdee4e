"""The web application: which address is answered by what. Views fetch, templates draw; no query may enter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Mount, Route

from gapless.pipelines.errors import GaplessError, explain
from gapless.pipelines.printable import command
from gapless.pipelines.ui import rendering
from gapless.pipelines.ui.address import Address, parse
from gapless.pipelines.ui.database.results import DOWNLOADED, to_csv, to_parquet
from gapless.pipelines.ui.database.session import Database, QueryUnavailable, is_of_the_database
from gapless.pipelines.ui.guard import Application, Door, Guard
from gapless.pipelines.ui.site import Question, Site
from gapless.pipelines.ui.views import VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable

FORM_BYTES = 4_096
"""Of the form that takes the key."""
LAYOUTS = {"view": "fragment_view.html", "result": "fragment_result.html"}
"""Template of an answer to htmx by the id of the element that it replaces."""
FOREVER = {"cache-control": "public, max-age=31536000, immutable"}
"""Of static files, whose address has a digest of them."""


def build(site: Site, door: Door) -> Application:
    """Returns the application for one target."""
    pages = Pages(site, door)
    routes = [
        Route("/", pages.entrance),
        Route("/login", pages.login, methods=["POST"]),
        Route("/static/{digest}/{path:path}", pages.static),
        Route(f"/{door.keys.folder}/", pages.view),
        Route(f"/{door.keys.folder}/download", pages.download),
    ]
    mounted: list[Any] = [Mount(door.base, routes=routes)] if door.base else routes
    handlers: Mapping[Any, Callable[..., Any]] = {404: pages.missing}
    app = Starlette(
        routes=mounted,
        exception_handlers=handlers,
        middleware=[Middleware(GZipMiddleware, minimum_size=1_000, compresslevel=5)],
    )
    return Guard(app, door)


class Pages:
    """The answers."""

    def __init__(self, site: Site, door: Door) -> None:
        self._site, self._door = site, door

    def entrance(self, request: Request) -> Response:
        """Returns the form for the key; an address with the key behind # fills it in by itself."""
        return self._login_form(request)

    async def login(self, request: Request) -> Response:
        """Gives a session to whoever has the key, and leads to the page."""
        body = b""
        # In parts and bounded: whoever sends it has not shown the key yet.
        async for part in request.stream():
            body += part
            if len(body) > FORM_BYTES:
                return PlainTextResponse("too long", 413)
        form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        query = form.get("query", "").removeprefix("?")
        if not self._door.keys.is_token(form.get("key", "").strip()):
            return self._login_form(request, query=query, wrong=True)
        to = self._door.folder + (f"?{query}" if query else "")
        # 303 makes the browser ask by GET, so that a reload does not send the key again.
        return RedirectResponse(to, 303, {"set-cookie": self._door.cookie()})

    def _login_form(self, request: Request, query: str = "", wrong: bool = False) -> Response:
        values = {**self._common(), "query": query, "wrong": wrong}
        return HTMLResponse(rendering.render("login.html", values), 401 if wrong or query else 200)

    def static(self, request: Request) -> Response:
        """Returns one of the static files, which are no secret."""
        path = PurePosixPath(request.path_params["path"])
        file = rendering.STATIC.joinpath(path)
        # Only what is found in the folder counts, so neither `..` nor an absolute path leads out of it.
        known = file in set(rendering.STATIC.rglob("*.*"))
        if not known or request.path_params["digest"] != rendering.static_digest():
            return PlainTextResponse("not found", 404)
        return FileResponse(file, headers=FOREVER)

    def missing(self, request: Request, _: Exception) -> Response:
        """Says that there is nothing."""
        return PlainTextResponse("There is no such page.", 404)

    def _closed(self, request: Request) -> Response | None:
        """Returns what whoever has no session gets instead of the page; None: there is a session."""
        if request.scope["gapless.session"]:
            return None
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            # A browser keeps the cookie back when another site's link leads here, but not when this page leads on.
            return HTMLResponse(rendering.render("again.html", {**self._common(), "again": _again(request)}))
        query = request.url.query
        values = {**self._common(), "query": query, "wrong": False}
        return HTMLResponse(rendering.render("login.html", values), 401)

    def view(self, request: Request) -> Response:
        """Returns a view: as a page, or the part of it that htmx asks for."""
        if closed := self._closed(request):
            return closed
        address = parse(request.url.query, VIEWS)
        layout = LAYOUTS.get(request.headers.get("hx-target", ""), "page.html")
        # htmx sends a form with all its fields; the address has only those that are set.
        moved = layout == LAYOUTS["result"] and not request.headers.get("hx-current-url", "").endswith(address.url())
        headers = {"hx-push-url": address.url()} if moved else {}
        values = {
            **self._common(),
            "layout": layout,
            "address": address,
            "views": VIEWS,
            "here": address.url(),
        }
        return HTMLResponse(self._drawn(address, request.url.query, values), headers=headers)

    def _drawn(self, address: Address, query: str, values: dict[str, Any]) -> str:
        try:
            with self._site.connected() as (db, came):
                if came:  # what the address names may be one of them
                    address = parse(query, VIEWS)
                    values |= {"address": address, "here": address.url()}
                question = self._question(address, db)
                found = address.view.fetch(question)
                values |= {"now": question.now, "published": _published(self._site, db)}
                return rendering.render(f"{address.view.name}.html", {**values, **found})
        except (QueryUnavailable, GaplessError) as error:
            return self._notice(values, *map(str, error.args))
        except Exception as error:
            # A table may have lost a column that a view reads; an error of our own must not look like that.
            if not is_of_the_database(error):
                raise
            again = command(self._site.target.target.destination, "views")
            return self._notice(values, explain(error), f"{again} creates the views again")

    def _notice(self, values: dict[str, Any], message: str, step: str = "") -> str:
        more = {"now": self._site.clock(), "published": None, "message": message, "step": step}
        return rendering.render("notice.html", {**values, **more})

    def _question(self, address: Address, db: Database) -> Question:
        return Question(self._site, address, db, self._site.clock())

    def download(self, request: Request) -> Response:
        """Returns the result of a person's query as a file."""
        if not request.scope["gapless.session"]:
            return PlainTextResponse("no session", 401)
        sql, kind = request.query_params.get("sql", ""), request.query_params.get("format", "csv")
        make = {"csv": to_csv, "parquet": to_parquet}.get(kind)
        if make is None or not sql.strip():
            return PlainTextResponse("format is csv or parquet, sql a query", 400)
        try:
            with self._site.target.connected() as db:
                made = make(db.statement(sql, DOWNLOADED), db.require_time)
        except (QueryUnavailable, GaplessError) as error:
            return PlainTextResponse(str(error.args[0]), 400)
        types = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
        headers = {"content-disposition": f'attachment; filename="gapless.{kind}"'}
        return Response(made, media_type=types[kind], headers=headers)

    def _common(self) -> dict[str, Any]:
        base = self._door.base
        return {
            "base": base,
            "static": f"{base}/static/{rendering.static_digest()}",
            "target": self._site.target.name,
            "where": str(self._site.target.file or self._site.target.target.destination),
        }


def _again(request: Request) -> str:
    """Returns the address of a request, relative to itself."""
    return f"?{request.url.query}"


def _published(site: Site, db: Database) -> Any:
    """Returns when the copy was published that is read; None: it is no copy."""
    if not site.target.is_copy:
        return None
    found = db.rows_if_exists("select published_at from activity._published")
    return found[0][0] if found else None
