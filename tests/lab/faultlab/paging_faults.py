"""Wrong paging, as far as a vendor could send it: loops, foreign links, shifts, counts that lie."""

from __future__ import annotations

import json
from typing import Any

import httpx2 as httpx

from tests.lab.faultlab.answer_faults import Bend, Exchange
from tests.lab.faultlab.wire import Acts, plain

MANY = ("first", "incremental")
"""Phases that read enough pages."""
HERE = ("for ever",)
FOREIGN = {
    "another host": "http://127.0.0.2:9/api/activities?page=2",
    "another port": "http://127.0.0.1:9/api/activities?page=2",
    "another scheme": "https://127.0.0.1/api/activities?page=2",
    "no scheme": "//127.0.0.2:9/api/activities?page=2",
    "a script": "javascript:alert(1)",
    "a user's password": "http://lab:secret@127.0.0.1/api/activities?page=2",
}


def _answer(body: Any) -> Acts:
    return plain(httpx.Response(200, json=body))


def _asked(x: Exchange) -> str | None:
    """The page mark of the request."""
    name = {"sequence": "after", "omni": "token", "tines": "page", "kizen": "page"}[x.source]
    found: str | None = x.request.url.params.get(name)
    return found


def _marked(x: Exchange, mark: str | int | None) -> Acts:
    """The right page, but for the mark of the next one."""
    body = x.body
    if x.source == "sequence":
        body["pagination"] = body["pagination"] | {"after": mark}
    elif x.source == "omni" and isinstance(body, dict):
        body["nextToken"] = mark
    elif x.source == "tines":
        body["meta"] = body["meta"] | {"next_page_number": mark}
    elif x.source == "kizen" and "results" in body:
        body["next"] = mark
    return _answer(body)


def _again(x: Exchange) -> Acts:
    """The next page is this one."""
    if x.source == "kizen":
        return _marked(x, str(x.request.url))
    if x.source == "tines":
        return _marked(x, int(_asked(x) or 1))
    return _marked(x, _asked(x)) if _asked(x) else plain(x.good)


def _to_and_fro(x: Exchange) -> Acts:
    """From the first page to the second, to the third, to the second, …"""
    if x.source == "tines":
        return _marked(x, 3 - int(_asked(x) or 1))
    seen: list[str] = x.fake.__dict__.setdefault("_lab_seen", [])
    asked = _asked(x)
    if asked and asked not in seen:
        seen.append(asked)
    return _marked(x, seen[0]) if len(seen) > 1 and asked == seen[1] else plain(x.good)


def _twice(x: Exchange) -> Acts:
    """The newest page, then the same records once more under a mark of their own, then on."""
    after = x.body["pagination"].get("after")
    if after is None:
        return plain(x.good)
    x.fake._cursors["the same again"] = ("DESC", None)  # the place of the newest page
    return _marked(x, "the same again")


def _added(x: Exchange) -> Acts:
    """While pages are read a record comes in at their top."""
    if x.source == "sequence":
        x.fake.add_log()
    elif parent := _parent(x):
        x.fake.add_log(parent)
    return plain(x.good)


def _removed(x: Exchange) -> Acts:
    """While pages are read a record that was read goes from their top, and the rest moves up."""
    if _parent(x) and x.body["action_logs"]:
        x.fake.delete(x.body["action_logs"][0]["id"])
    return plain(x.good)


def _parent(x: Exchange) -> int | None:
    parts = x.request.url.path.split("/")
    return int(parts[-2]) if parts[-1] == "logs" else None


def _counted(x: Exchange, number: int) -> Acts:
    text = json.dumps(x.body)
    for name in ("totalResultSize", "count"):
        body = json.loads(text)
        for place in (body, body.get("pagination"), body.get("meta")) if isinstance(body, dict) else ():
            if isinstance(place, dict) and name in place:
                place[name] = number
        text = json.dumps(body)
    return _answer(json.loads(text))


PAGING_BENDS = [
    Bend("the same page mark again", "stop", _again, sites=HERE, phases=MANY),
    Bend("page marks A, B, A", "stop", _to_and_fro, sources=("sequence", "tines"), sites=HERE, phases=MANY),
    Bend("a mark the vendor refuses", "harmless", lambda x: _marked(x, "bm9uc2Vuc2U="), sources=("sequence",),
         sites=("once first",), phases=MANY),
    *(
        Bend(f"next-link to {name}", "one alone", lambda x, link=link: _marked(x, link), sources=("kizen",),
             sites=("once first", "for ever", "one parent"))
        for name, link in FOREIGN.items()
    ),
    Bend("the first page's place twice", "harmless", _twice, sources=("sequence",), sites=("once first",)),
    Bend("a record comes while pages are read", "harmless", _added, sources=("sequence", "tines"),
         sites=("once first", "once later"), phases=MANY),
    Bend("a record goes while pages are read", "harmless", _removed, sources=("tines",),
         sites=("once later", "one parent"), phases=("first",)),
    *(
        Bend(f"a total of {number}", "harmless", lambda x, n=number: _counted(x, n), sites=("once first", "for ever"))
        for number in (0, 10**12, -1)
    ),
]  # fmt: skip
