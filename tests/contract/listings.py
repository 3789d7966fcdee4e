"""A vendor that cuts a listing short, empties a page, or forgets a parent, in whatever form a source's pages have."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2 as httpx

from tests.contract.subject import Subject
from tests.support.world import World

Bend = Callable[["ListingPage"], httpx.Response]


class ListingPage:
    """An answer of the vendor that is one page of a listing."""

    def __init__(self, subject: Subject, request: httpx.Request, answer: httpx.Response) -> None:
        self.subject, self.request, self.answer = subject, request, answer
        self.body: Any = json.loads(answer.content) if answer.status_code == 200 else None

    @property
    def names_next(self) -> bool:
        """Whether it is a page that leads to another one."""
        if not self.subject.next_marks:
            return 'rel="next"' in self.answer.headers.get("link", "")
        return isinstance(self.body, dict) and any(self._mark(keys) for keys in self.subject.next_marks)

    def as_last(self) -> httpx.Response:
        """The same records, and no next page."""
        headers = {}
        for keys in self.subject.next_marks:
            self._parent_of(keys)[keys[-1]] = None
        if not self.subject.next_marks:
            links = self.answer.headers["link"].split(", ")
            headers = {"link": ", ".join(link for link in links if 'rel="next"' not in link)}
        return self._answer(headers)

    def emptied(self) -> httpx.Response:
        """No record, and the same next page."""
        if isinstance(self.body, list):
            self.body = []
        else:
            self.body |= {name: [] for name in self.subject.lists if name in self.body}
        return self._answer({"link": self.answer.headers["link"]} if "link" in self.answer.headers else {})

    def _answer(self, headers: dict[str, str]) -> httpx.Response:
        return httpx.Response(200, json=self.body, headers=headers)

    def _parent_of(self, keys: tuple[str, ...]) -> dict[str, Any]:
        found = self.body
        for key in keys[:-1]:
            found = found[key]
        return found  # type: ignore[no-any-return]  # a fake's answer is JSON of any shape

    def _mark(self, keys: tuple[str, ...]) -> Any:
        try:
            return self._parent_of(keys).get(keys[-1])
        except (KeyError, TypeError, AttributeError):
            return None


def bend(here: World, subject: Subject, how: Bend, *, skip: int = 0, times: int | None = None) -> None:
    """The vendor's pages that name a next one are bent: after `skip` of them so many, None: all."""
    seen = 0

    def answer(request: httpx.Request) -> httpx.Response | None:
        nonlocal seen
        page = ListingPage(subject, request, here.fake.handle(request))
        here.fake.requests.pop()  # it is noted again when the vendor answers it
        if not page.names_next:
            return None
        seen += 1
        return how(page) if seen > skip and (times is None or seen <= skip + times) else None

    here.intercept = answer
