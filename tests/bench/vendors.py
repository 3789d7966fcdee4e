"""The two vendors as the benchmark serves them: answers rendered before the clock starts, and what stands in them.

A vendor answers a path and its query with a status and pieces of bytes; no socket and no clock may enter. `grow`
puts the new records in, as time would. Only what a sync asks for is served: pages of 100 logs, newest first; the
listing of leads and each lead's logs. tests/bench/test_bench.py holds them to the vendors' pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from itertools import islice
from typing import Protocol

from tests.bench.records import Truth, omni_leads, omni_logs, sequence_logs

PAGE, LEADS_PAGE = 100, 500
Answer = tuple[int, list[bytes]]
NOT_FOUND: Answer = (404, [b'{"error":{"type":"not_found","message":"No such resource"}}'])
BAD_REQUEST: Answer = (400, [b'{"error":{"type":"bad_request","message":"Served are pages of 100, newest first"}}'])


class Vendor(Protocol):
    truth: Truth
    """Of all that is served now."""
    least_requests: int
    """The fewest that read all of it, less those for what has been read already."""

    def grow(self) -> None: ...

    def shrink(self) -> None: ...

    def answer(self, path: str, query: dict[str, str]) -> Answer: ...


class Sequence:
    """`records` logs, and `new` more once grown; the cursor c3 leads to the third page, counted from the oldest."""

    def __init__(self, records: int, new: int) -> None:
        if new % PAGE or records % PAGE:
            raise ValueError(f"records and new must be whole pages of {PAGE}")
        self._history, self._all = Truth(), Truth()
        old = list(_pages(sequence_logs(records, self._history)))
        self._all = copy(self._history)
        new_pages = list(_pages(sequence_logs(new, self._all, newer=new)))
        self._pages = (new_pages + old)[::-1]  # the oldest first: a page keeps its place when newer ones come
        self._old = len(old)
        self.shrink()

    def grow(self) -> None:
        self.truth, self._served = self._all, len(self._pages)
        self.least_requests = self._served - self._old + 1

    def shrink(self) -> None:
        self.truth, self._served = self._history, self._old
        self.least_requests = self._old

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        if path != "/api/activity-logs":
            return NOT_FOUND
        if query.get("limit") != str(PAGE) or query.get("sortOrder", "DESC") != "DESC":
            return BAD_REQUEST
        cursor = query.get("after") or f"c{self._served}"
        index = int(cursor[1:]) - 1 if cursor[1:].isdecimal() else -1
        if not 0 <= index < self._served:
            return BAD_REQUEST
        after = f'"c{index}"' if index else "null"
        tail = f'],"pagination":{{"after":{after},"before":null,"totalResultSize":{self.truth.logs}}}}}'
        return 200, [b'{"items":[', self._pages[index], tail.encode()]


class Omni:
    """`parents` leads that share `records` logs evenly; `new` more are dealt to them one by one."""

    def __init__(self, records: int, new: int, parents: int) -> None:
        self._history = Truth()
        leads = list(omni_leads(parents))
        self._ids = [lead for lead, _ in leads]
        self._listing = list(_pages((line for _, line in leads), LEADS_PAGE))
        self._old = self._dealt(omni_logs(records, self._history))
        self._all = copy(self._history)
        self._new = self._dealt(omni_logs(new, self._all, newer=True))
        self.least_requests = len(self._listing) + parents
        self.shrink()

    def grow(self) -> None:
        self.truth, self._grown = self._all, True

    def shrink(self) -> None:
        self.truth, self._grown = self._history, False

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        if path == "/api/v0/analytics":
            return self._analytics(query)
        lead = path.removeprefix("/api/v1/leads/").removesuffix("/action-logs")
        if lead not in self._old:
            return NOT_FOUND
        old, new = self._old[lead], self._new[lead] if self._grown else b""
        return 200, [b"[", old, b"," if old and new else b"", new, b"]"]

    def _analytics(self, query: dict[str, str]) -> Answer:
        index = int(query.get("token", "0"))
        following = f'"{index + 1}"' if index + 1 < len(self._listing) else "null"
        head = (
            f'{{"start":null,"end":null,"nextToken":{following},"totals":{{"count":{len(self._ids)}}},"breakdown":['
        )
        return 200, [head.encode(), self._listing[index], b"]}"]

    def _dealt(self, logs: Iterable[bytes]) -> dict[str, bytes]:
        hands: list[list[bytes]] = [[] for _ in self._ids]
        for index, log in enumerate(logs):
            hands[index % len(hands)].append(log)
        return {lead: b",".join(hand) for lead, hand in zip(self._ids, hands, strict=True)}


def vendor(shape: str, records: int, new: int, parents: int) -> Vendor:
    return Sequence(records, new) if shape == "sequence" else Omni(records, new, parents)


def _pages(records: Iterator[bytes], size: int = PAGE) -> Iterator[bytes]:
    while page := list(islice(records, size)):
        yield b",".join(page)
