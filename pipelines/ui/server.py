"""Serves the page until it is stopped. What keeps out other users, ports and sites is in guard.py."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, Locked, WrongSettings
from gapless.pipelines.ui.database.session import RUNNING
from gapless.pipelines.ui.database.target import UiTarget, require_readable
from gapless.pipelines.ui.guard import LOOPBACK, PATH, Door, Keys
from gapless.pipelines.ui.opening import open_browser
from gapless.pipelines.ui.site import Site

if TYPE_CHECKING:
    from gapless.pipelines.ui.guard import Application

HOST = "127.0.0.1"
"""By default the page is for this machine alone."""
NEEDS = ("starlette", "jinja2", "uvicorn")
"""What the extra `ui` brings."""
TOKEN = "GAPLESS_UI_TOKEN"
SHORTEST = 16
"""Characters of a key that somebody chose."""
EVERYWHERE = ("0.0.0.0", "::", "")
"""Addresses that are no name a browser could ask for."""


@dataclass(frozen=True)
class Place:
    """Where the page is served."""

    host: str = HOST
    """Address to listen on."""
    port: int = 0
    """0: a free one."""
    base: str = ""
    """The path under which a proxy serves it, as /gapless."""
    origin: str = ""
    """What a browser shows when a proxy stands before it, as https://data.example.com."""


def serve(target: Target, place: Place, browser: bool, message: Callable[[str], None]) -> None:
    """Serves the page until Ctrl-C or SIGTERM and prints its address.

    Raises WrongSettings without the extra `ui`, for another destination or a wrong place, GaplessError if the port is
    in use.
    """
    from gapless.pipelines.destinations.publish import configured
    from gapless.pipelines.destinations.reader import require_known_layouts

    _check(target)
    with suppress(Locked):  # the page itself says that a sync is writing
        require_known_layouts(target)
    door = _door(place)
    site = Site(UiTarget(target, configured() if target.file else None))
    with _listening(place.host, place.port) as listening:
        address = _address(place, listening.getsockname()[1])
        url = f"{address}{door.base}/"
        # Browsers keep what is behind # to themselves, so the key is in no server's log.
        opening = f"{url}#key={door.keys.token}"
        # Who set the key knows it, and then it stands in no log.
        shown = f"{url} and its key is {TOKEN}" if os.environ.get(TOKEN) else opening
        message(f"the page is at {shown}")
        message("Press Ctrl-C to stop it.")
        if not _is_local(place):
            message(
                f"it listens on {place.host} without TLS: whoever is on the way can read it, and its key. Put a proxy"
                " with TLS before it."
            )
        with open_browser(opening) if browser else nullcontext():
            _run(_app(site, door), listening)


def _check(target: Target) -> None:
    """Raises WrongSettings for a destination that the page cannot read, and without the extra."""
    require_readable(target, "the page")
    if not all(map(find_spec, NEEDS)):
        raise WrongSettings("gapless ui needs the extra ui: pip install -e '.[ui]'")


def _door(place: Place) -> Door:
    """Returns who is let in. Raises WrongSettings for a place or a key that cannot be used."""
    base = place.base.rstrip("/")
    if not PATH.fullmatch(base):
        raise WrongSettings(f"--base-path {place.base!r} is no path such as /gapless.")
    origin = place.origin.rstrip("/")
    parts = urlsplit(origin)
    if origin and (parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query):
        raise WrongSettings(f"--origin {place.origin!r} is no address such as https://data.example.com.")
    names = {name for name in (parts.hostname, place.host.lower()) if name and name not in EVERYWHERE}
    return Door(Keys(_token()), LOOPBACK | names, origin, base)


def _token() -> str:
    """Returns the key: that of the environment, or a new one for each start, so that old addresses open nothing."""
    given = os.environ.get(TOKEN, "").strip()
    if given and len(given) < SHORTEST:
        raise WrongSettings(f"{TOKEN} has {len(given)} characters, but needs at least {SHORTEST}.")
    return given or secrets.token_urlsafe(24)


def _address(place: Place, port: int) -> str:
    """Returns what people type, without the path."""
    if place.origin:
        return place.origin.rstrip("/")
    host = HOST if place.host in EVERYWHERE else place.host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _is_local(place: Place) -> bool:
    return place.host.startswith("127.") or place.host in LOOPBACK


def _listening(host: str, port: int) -> socket.socket:
    """Returns a listening socket. Raises GaplessError if the port is in use, WrongSettings for a wrong host."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # create_server() would make a plain OSError of a name that nobody knows.
        socket.getaddrinfo(host, port, family)
        # Opened here and handed over, so that the port is ours before its address is printed.
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise WrongSettings(f"--host {host!r} is no address of this machine: {error.strerror}.") from None
        raise GaplessError(f"port {port}: {error.strerror}. Leave out --port to use a free one.") from None


def _app(site: Site, door: Door) -> Application:
    """Returns the page as a web application."""
    from gapless.pipelines.ui.app import build

    return build(site, door)


@contextmanager
def _no_signals() -> Iterator[None]:
    """Leaves the signals to us: uvicorn raises them again at its end, which would look like a failure."""
    yield


def _run(app: Application, listening: socket.socket) -> None:
    """Runs the server until Ctrl-C or SIGTERM; queries that run then are stopped, as their answer is for nobody."""
    import uvicorn

    # Requests are not logged: an address may hold what somebody searched for.
    config = uvicorn.Config(
        app, lifespan="off", log_level="error", access_log=False, timeout_graceful_shutdown=1, ws="none",
        server_header=False, proxy_headers=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[method-assign]

    # uvicorn waits for requests that run, and they wait for their queries.
    def stop(*_: Any) -> None:
        server.should_exit = True
        RUNNING.stop()

    before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[listening])
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
