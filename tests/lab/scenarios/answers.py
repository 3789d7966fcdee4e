"""A vendor's answer, taken apart and put together again, in whatever form a source's pages have."""

from __future__ import annotations

import json
from typing import Any

import httpx2 as httpx

from tests.contract.subject import Subject

TOTALS = ("totalResultSize", "count", "n_submissions", "logs_count")
"""Fields in which vendors tell how many there are."""


class Answer:
    """One answer of the vendor: its rows, its total and its way to the next page may be changed."""

    def __init__(self, subject: Subject, fake: Any, request: httpx.Request) -> None:
        self.subject, self.request = subject, request
        self.response: httpx.Response = fake.handle(request)
        self.body: Any = json.loads(self.response.content) if self.response.status_code == 200 else None
        self.parents = [*map(str, subject.parents(fake))]

    @property
    def list_name(self) -> str | None:
        """The field with the rows; None where the answer is a plain list."""
        return next((n for n in self.subject.lists if isinstance(self.body, dict) and n in self.body), None)

    @property
    def is_listing(self) -> bool:
        return isinstance(self.body, list) or self.list_name is not None

    @property
    def rows(self) -> list[Any]:
        return self.body if isinstance(self.body, list) else self.body[self.list_name]

    @rows.setter
    def rows(self, rows: list[Any]) -> None:
        if isinstance(self.body, list):
            self.body = rows
        else:
            self.body[self.list_name] = rows

    @property
    def of(self) -> str | None:
        """The parent whose records these are; None: another listing, or a single record."""
        known = self.parents if self.subject.parents_table else []
        return next((p for p in known if self.subject.part_of_path(p) in self.request.url.path), None)

    @property
    def kind(self) -> str:
        """What it is: `records`, `parents` or `detail`."""
        if not self.is_listing:
            return "detail" if self.body is not None else ""
        return "records" if self.of or not self.subject.parents_table else "parents"

    @property
    def names_next(self) -> bool:
        """Whether it is a page that leads to another one."""
        if not self.subject.next_marks:
            return 'rel="next"' in self.response.headers.get("link", "")
        return isinstance(self.body, dict) and any(self._at(keys) for keys in self.subject.next_marks)

    @property
    def is_first(self) -> bool:
        """Whether it is the first page."""
        params = self.request.url.params
        return not ({"after", "token"} & params.keys()) and params.get("page", "1") == "1"

    def cut(self) -> Answer:
        """The same records, and no next page."""
        for keys in self.subject.next_marks:
            if self._at(keys) is not None:
                self._parent_of(keys)[keys[-1]] = None
        link = self.response.headers.get("link")
        if link:
            self.response.headers["link"] = ", ".join(one for one in link.split(", ") if 'rel="next"' not in one)
        return self

    def total(self, change: Any) -> Answer:
        """Another total, wherever one is told; `change` gets the true one."""
        for place in self._places():
            for name in set(TOTALS) & place.keys():
                if isinstance(place[name], int):
                    place[name] = change(place[name])
        return self

    def _places(self) -> list[dict[str, Any]]:
        body = self.body if isinstance(self.body, dict) else {}
        return [one for one in (body, *map(body.get, ("meta", "pagination", "totals"))) if isinstance(one, dict)]

    def sent(self) -> httpx.Response:
        """What is sent."""
        link = self.response.headers.get("link")
        return httpx.Response(200, json=self.body, headers={"link": link} if link else {})

    def _at(self, keys: tuple[str, ...]) -> Any:
        try:
            return self._parent_of(keys).get(keys[-1])
        except (KeyError, TypeError, AttributeError):
            return None

    def _parent_of(self, keys: tuple[str, ...]) -> dict[str, Any]:
        found: dict[str, Any] = self.body
        for key in keys[:-1]:
            found = found[key]
        return found
