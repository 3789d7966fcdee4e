"""Serving the page on the loopback interface, to whoever has the key in the address that is printed:
other people of this machine, and pages of other sites in the same browser, do not.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import webbrowser
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from typing import Any

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import COMPLETE, GaplessError, WrongSettings
from gapless.pipelines.ui.queries import UiTarget, show

HOST = "127.0.0.1"
APP = Path(__file__).parent / "app.py"
BROWSER_AFTER = 1.0
"""Seconds for the server to begin."""


def serve(target: Target, port: int, browser: bool, say: Callable[[str], None]) -> None:
    """Until Ctrl-C. Raises WrongSettings without the extra or for another destination, GaplessError for a port that
    is taken."""
    from gapless.pipelines.destinations.publish import configured

    if target.file is None:
        raise WrongSettings(
            f"the page reads a DuckDB file, and destination {target.destination!r} is none. Leave out --destination."
        )
    if not find_spec("marimo"):
        raise WrongSettings("gapless ui needs the extra ui: pip install -e '.[ui]'")
    show(UiTarget(target.file, configured()))
    with _listening(port) as listening:
        key = secrets.token_urlsafe(16)
        url = f"http://{HOST}:{listening.getsockname()[1]}/?access_token={key}"
        say(f"the page is at {url}\nCtrl-C ends it")
        if browser:
            opening = Timer(BROWSER_AFTER, webbrowser.open, [url])
            opening.daemon = True
            opening.start()
        _serve(_app(key), listening)


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise GaplessError(f"port {port} cannot be had: {error.strerror}. Leave out --port for a free one.") from None


def _app(key: str) -> Any:
    import marimo

    return marimo.create_asgi_app(quiet=True, include_code=False, token=key).with_app(path="", root=str(APP)).build()


def _serve(app: Any, listening: socket.socket) -> None:
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:  # how it is meant to end; Python would wait for marimo's threads, one per open page
        sys.stderr.flush()
        os._exit(COMPLETE)
