"""What a vendor does to its answers, as data: which ones, how often, and what comes instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import httpx2 as httpx

from tests.contract.subject import Subject
from tests.lab.scenarios.answers import Answer

How = Callable[[Answer], httpx.Response | None]
EVER = 10_000


@dataclass(frozen=True)
class Bend:
    """One way of answering. `how` may return None: the vendor's own answer is sent."""

    name: str
    how: How
    which: Callable[[Answer], bool]
    skip: int = 0
    """So many of these answers are as they should be."""
    times: int = 1
    """So many come bent."""
    fits: Callable[[Subject], object] = lambda subject: True
    hole: bool = False
    """Rows are missing in the midst of pages: only the total at the end of a listing tells of them."""

    @property
    def called(self) -> str:
        where = f", from the {self.skip + 1}. on" if self.skip else ""
        return f"{self.name}{where}, {'for ever' if self.times == EVER else f'{self.times}x'}"


def records(answer: Answer) -> bool:
    return answer.kind == "records"


def parents(answer: Answer) -> bool:
    return answer.kind == "parents"


def pages(answer: Answer) -> bool:
    """Pages with a next one."""
    return answer.is_listing and answer.names_next


def later(answer: Answer) -> bool:
    return answer.is_listing and not answer.is_first


def detail(answer: Answer) -> bool:
    return answer.kind == "detail"


def any_answer(answer: Answer) -> bool:
    return True


def _has_parents(subject: Subject) -> bool:
    return bool(subject.parents_table)


def _tells(subject: Subject) -> bool:
    """Whether what a page of records lacks can be known."""
    return subject.tells_total and not subject.whole


def _details(subject: Subject) -> bool:
    return subject.one_by_one


def _paged(subject: Subject) -> bool:
    return not subject.whole


def _cut(answer: Answer) -> httpx.Response:
    return answer.cut().sent()


def _emptied(answer: Answer) -> httpx.Response:
    answer.rows = []
    return answer.sent()


def _nothing(answer: Answer) -> httpx.Response:
    answer.rows = []
    return answer.cut().sent()


def _half(answer: Answer) -> httpx.Response:
    answer.rows = answer.rows[: len(answer.rows) // 2]
    return answer.sent()


def _first_gone(answer: Answer) -> httpx.Response:
    answer.rows = answer.rows[1:]
    return answer.sent()


def _reversed(answer: Answer) -> httpx.Response:
    answer.rows = answer.rows[::-1]
    return answer.sent()


def _twice(answer: Answer) -> httpx.Response:
    answer.rows = [*answer.rows, *answer.rows]
    return answer.sent()


def _total(change: Callable[[int], object]) -> How:
    return lambda answer: answer.total(change).sent()


def _cut_with_total(change: Callable[[int], object]) -> How:
    """Cut, and the total is no help."""
    return lambda answer: answer.total(change).cut().sent()


def _status(code: int, **how: str) -> How:
    return lambda answer: httpx.Response(code, **how)  # type: ignore[arg-type]  # only texts are given


def _text(text: str) -> How:
    return lambda answer: httpx.Response(200, text=text, headers={"content-type": "application/json"})


def _torn(answer: Answer) -> httpx.Response:
    content = answer.response.content
    return httpx.Response(200, content=content[: len(content) // 2], headers={"content-type": "application/json"})


def _others(answer: Answer) -> httpx.Response:
    """The records with null in place of the list."""
    if isinstance(answer.body, list):
        return httpx.Response(200, json=None)
    answer.body[str(answer.list_name)] = None
    return answer.sent()


HTML = "<!doctype html><title>Sign in</title><h1>Sign in</h1>"


def shapes() -> list[Bend]:
    """Listings that end early, are empty, doubled or reordered."""
    return [
        Bend("a page names no next one", _cut, pages, fits=_tells),
        Bend("a page names no next one", _cut, pages, skip=1),
        Bend("a page names no next one", _cut, pages, skip=2, times=2, fits=_tells),
        Bend("a page names no next one", _cut, pages, times=EVER, fits=_tells),
        Bend("a page is empty and names a next one", _emptied, pages),
        Bend("a page is empty and names a next one", _emptied, pages, skip=1, times=2, fits=_tells),
        Bend("a page is empty and names a next one", _emptied, pages, times=EVER, fits=_tells),
        Bend("a page is empty and the last", _nothing, pages, fits=_tells),
        Bend("a page is empty and the last", _nothing, pages, skip=1, fits=_tells),
        Bend("a page is empty and the last", _nothing, pages, skip=1, times=EVER, fits=_tells),
        Bend("half a page is missing", _half, pages, fits=_tells, hole=True),
        Bend("half a page is missing", _half, pages, skip=1, times=3, fits=_tells, hole=True),
        Bend("half of each page is missing", _half, pages, times=EVER, fits=_tells, hole=True),
        Bend("each page lacks its first row", _first_gone, pages, times=EVER, fits=_tells, hole=True),
        Bend("a page is in another order", _reversed, pages, times=2),
        Bend("every page is in another order", _reversed, pages, times=EVER),
        Bend("a page has each row twice", _twice, pages, times=2),
        Bend("every page has each row twice", _twice, pages, times=EVER),
        Bend("null in place of the list", _others, records),
        Bend("the listing of parents is empty", _nothing, parents, fits=_has_parents),
        Bend("the listing of parents lacks one, and says so", _first_gone, parents, fits=_has_parents),
        Bend("the listing of parents lacks one, for ever", _first_gone, parents, times=EVER, fits=_has_parents),
        Bend("half of the parents is missing", _half, parents, times=2, fits=_has_parents),
    ]


def totals() -> list[Bend]:
    """Totals that lie, rise, fall or are missing."""
    return [
        Bend("the total is one too high", _total(lambda n: n + 1), pages, fits=_tells),
        Bend("the total is three too high", _total(lambda n: n + 3), any_answer, times=EVER, fits=_tells),
        Bend("the total is one too low", _total(lambda n: n - 1), pages, times=2, fits=_tells),
        Bend("the total is 0", _total(lambda n: 0), pages, times=EVER, fits=_tells),
        Bend("the total is null", _total(lambda n: None), pages, times=EVER, fits=_tells),
        Bend("the total is negative", _total(lambda n: -1), pages, times=EVER, fits=_tells),
        Bend("the total falls on later pages", _total(lambda n: n - 2), later, times=EVER, fits=_tells),
        Bend("the total rises on later pages", _total(lambda n: n + 2), later, times=2, fits=_tells),
        Bend("a page is the last, and its total is null", _cut_with_total(lambda n: None), later, fits=_tells),
        Bend("a page is the last, and its total is lower", _cut_with_total(lambda n: n - 3), later, fits=_tells),
    ]


def refusals() -> list[Bend]:
    """Answers that are none."""
    whole = [
        Bend(f"{what}", how, any_answer, skip=skip, times=times)
        for what, how in (
            ("401", _status(401)),
            ("403", _status(403)),
            ("404", _status(404)),
            ("429", _status(429, text="{}")),
            ("503", _status(503)),
            ("a sign-in page with 200", _status(200, html=HTML)),
            ("an empty body", _text("")),
            ("an empty object", _text("{}")),
        )
        for skip, times in ((0, EVER), (2, EVER), (1, 2))
    ]
    return [
        *whole,
        Bend("a torn body", _torn, any_answer, skip=1, times=EVER),
        Bend("410", _status(410), any_answer, skip=1, times=EVER),
        Bend("404 on later pages", _status(404), later, times=EVER, fits=_paged),
        Bend("404 on a later page", _status(404), later, times=1, fits=_paged),
        Bend("400 on later pages", _status(400), later, times=EVER, fits=_paged),
        Bend("404 for a parent's records", _status(404), records, times=1, fits=_has_parents),
        Bend("404 for every parent's records", _status(404), records, times=EVER, fits=_has_parents),
        Bend("500 for a parent's records", _status(500), records, skip=1, times=EVER, fits=_has_parents),
        Bend("404 for the listing of parents", _status(404), parents, times=EVER, fits=_has_parents),
        Bend("404 for a record", _status(404), detail, times=1, fits=_details),
        Bend("404 for every record", _status(404), detail, times=EVER, fits=_details),
        Bend("500 for later records", _status(500), detail, skip=3, times=EVER, fits=_details),
    ]


BENDS: tuple[Bend, ...] = tuple(chain(shapes(), totals(), refusals()))
