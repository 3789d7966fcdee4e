"""What every way of paging shares: a listing must end."""

from __future__ import annotations

from gapless.sources._http.errors import Loop


class LoopGuard:
    """Raises `Loop` when a cursor, token, page number or next-link comes a second time in one listing."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: set[str] = set()

    def pass_on(self, mark: str) -> str:
        """`mark` itself, if it is new."""
        if mark in self._seen:
            raise Loop(
                method="GET",
                path=self._path,
                status=200,
                detail="the vendor sent a page mark that it had sent before, so the listing would never end",
            )
        self._seen.add(mark)
        return mark
