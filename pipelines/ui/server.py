"""Serves the page on the loopback interface, to requests with the access token in the printed address.

The token keeps out other users of this machine, and pages of other sites in the same browser.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import webbrowser
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from typing import Any

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import COMPLETE, GaplessError, WrongSettings
from gapless.pipelines.ui.queries import UiTarget, select

ASGIApplication = Callable[..., Awaitable[None]]

HOST = "127.0.0.1"
"""The page has no passwords, so it is for this machine alone."""
APP = Path(__file__).parent / "app.py"
"""The notebook."""
BROWSER_AFTER = 1.0
"""Seconds for the server to start."""


def serve(target: Target, port: int, browser: bool, message: Callable[[str], None]) -> None:
    """Serves the page until Ctrl-C and prints its address.

    Raises WrongSettings without the extra `ui` or for another destination, GaplessError if the port is in use.
    """
    from gapless.pipelines.destinations.publish import configured

    if target.file is None:
        raise WrongSettings(
            f"the page reads a DuckDB file, not destination {target.destination!r}. Leave out --destination."
        )
    if not find_spec("marimo"):
        raise WrongSettings("gapless ui needs the extra ui: pip install -e '.[ui]'")
    select(UiTarget(target.file, configured()))
    with _listening(port) as listening:
        # New for each start: an address in a browser's history opens nothing later.
        token = secrets.token_urlsafe(16)
        url = f"http://{HOST}:{listening.getsockname()[1]}/?access_token={token}"
        message(f"the page is at {url}")
        message("Press Ctrl-C to stop it.")
        if browser:
            opening = Timer(BROWSER_AFTER, webbrowser.open, [url])
            # Else Ctrl-C in the first second would wait for the browser.
            opening.daemon = True
            opening.start()
        _run(_app(token), listening)


def _listening(port: int) -> socket.socket:
    """Returns a listening socket. Raises GaplessError if the port is in use."""
    try:
        # Opened here and handed over, so that the port is ours before its address is printed.
        return socket.create_server((HOST, port))
    except OSError as error:
        raise GaplessError(f"port {port}: {error.strerror}. Leave out --port to use a free one.") from None


def _app(token: str) -> ASGIApplication:
    """Returns the notebook as a web application that asks for the token."""
    import marimo

    builder = marimo.create_asgi_app(quiet=True, include_code=False, token=token)
    app: ASGIApplication = builder.with_app(path="", root=str(APP)).build()
    return app


def _run(app: ASGIApplication, listening: socket.socket) -> None:
    """Runs the server until Ctrl-C, which ends the process."""
    import uvicorn

    # Requests are not logged: their address holds the token.
    config = uvicorn.Config(_ending(app), lifespan="on", log_level="error", timeout_graceful_shutdown=1)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:  # before the server had begun
        _end()


def _ending(app: ASGIApplication) -> ASGIApplication:
    """Returns the application, which ends the process when the server has closed its connections.

    All that would follow waits for marimo's threads, one for each open page: for long, on a busy machine.
    """

    async def ends(scope: Any, receive: Any, send: Any) -> None:
        async def hears() -> Any:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                _end()
            return message

        await app(scope, hears if scope["type"] == "lifespan" else receive, send)

    return ends


def _end() -> None:
    """Ends the process at once; the page only reads, so nothing is left half done."""
    sys.stderr.flush()
    os._exit(COMPLETE)
