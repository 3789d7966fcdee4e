"""Opens the page in a browser without its key in a command line, which other users of the machine can read."""

from __future__ import annotations

import shutil
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from threading import Timer

BROWSER_AFTER = 0.3
"""Seconds for the server to start."""
PAGE = '<!doctype html><meta charset="utf-8"><title>gapless</title><meta http-equiv="refresh" content="0;url={}">\n'


@contextmanager
def open_browser(url: str) -> Iterator[None]:
    """Opens a browser on a file that leads to `url` and that only this user can read; removes it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="gapless-ui-"))  # mode 0700
    try:
        file = folder / "open.html"
        file.touch(mode=0o600)
        file.write_text(PAGE.format(escape(url, quote=True)), encoding="utf-8")
        opening = Timer(BROWSER_AFTER, webbrowser.open, [file.as_uri()])
        # Else Ctrl-C in the first moment would wait for the browser.
        opening.daemon = True
        opening.start()
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
