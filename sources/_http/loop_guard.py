"""The check that paging ends: a vendor that sends a cursor twice would be read for ever. No HTTP may enter."""

from __future__ import annotations

from gapless.sources._http.errors import Loop


class LoopGuard:
    """Remembers the cursors, tokens, page numbers or next links of one listing, whose `path` is for messages."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: set[str] = set()

    def pass_on(self, mark: str) -> str:
        """Returns `mark`; raises Loop when it comes a second time."""
        if mark in self._seen:
            raise Loop(
                method="GET",
                path=self._path,
                status=200,
                detail="the vendor sent the same cursor twice, so the listing would never end",
            )
        self._seen.add(mark)
        return mark
