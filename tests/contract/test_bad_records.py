"""Bad records at every level, among good ones: those load, each bad one is kept exactly or is a letter that says why.

Nothing is bricked: the next sync goes through, and once the vendor has mended his records all is exact.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import httpx2 as httpx
import pytest

from gapless.sources._ledger.dead_letters import NOT_SERVED
from tests.contract.commands import gapless
from tests.contract.conftest import NAMES, Begin, elsewhere, of
from tests.contract.subject import Subject
from tests.support.bad_records import ANOTHER, KINDS, LOADED, NOT_JSON, OF_20_MB, PARENTS, Kind, Row, dumped

LEFT_OUT = '"not a JSON object; left out, because it may hold an excluded field"'
"""Of a table with fields that are never kept."""


class Misbehaving:
    """A vendor of whom some records are bad, until he mends them."""

    def __init__(self, subject: Subject, world: Begin, kinds: dict[str, Kind]) -> None:
        self.subject = subject
        self.fake = subject.empty(page_cap=40)
        self.never_kept = frozenset().union(*subject.never_kept.values())
        self.here = world(self.fake)
        self.here.intercept = self._answer
        self.mended = False
        self.kinds = kinds
        self.raw: dict[str, bytes] = {}
        self._fill()

    def outcome(self, label: str) -> str:
        if label in self.subject.not_served:
            return "skip"
        outcome = self.kinds[label].but(self.subject) or self.kinds[label].outcome
        return self.here.database.cannot_store(self.raw.get(label, b"")) or outcome

    def _fill(self) -> None:
        parent = self._parent()[self.subject.parent_id] if self.subject.add_parent else None
        for number in range(20):
            self._add(parent, number)
        for number, (label, kind) in enumerate(self.kinds.items()):
            row = self._parent(__kind__=label) if label in PARENTS else self._add(parent, number, __kind__=label)
            raw = kind.bad(self._clean(row), self.subject)
            if raw is not None and self.outcome(label) != "skip":
                self.raw[label] = raw

    def _parent(self, **fields: Any) -> Row:
        assert self.subject.add_parent
        return self.subject.add_parent(self.fake, **fields)

    def _add(self, parent: Any, number: int, **fields: Any) -> Row:
        at = self.fake.now - timedelta(seconds=number)
        return self.subject.add(self.fake, parent, **{**fields, "at": at, **self.subject.with_children})

    def _clean(self, row: Row) -> Row:
        return {key: value for key, value in row.items() if key != "__kind__" and key not in self.never_kept}

    def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = self.fake.handle(request)
        labels: list[str] = []
        content = dumped(self._marked(json.loads(answer.content), labels))
        content = re.sub(rb'"@@(\d+)@@"', lambda mark: self.raw[labels[int(mark[1])]], content)
        headers = [(name, value) for name, value in answer.headers.multi_items() if name != "content-length"]
        return httpx.Response(answer.status_code, content=content, headers=headers)

    def _marked(self, value: Any, labels: list[str]) -> Any:
        """With a mark in the place of each bad record."""
        if isinstance(value, list):
            return [self._marked(item, labels) for item in value]
        if not isinstance(value, dict):
            return value
        if value.get("__kind__") in self._served():
            labels.append(value["__kind__"])
            return f"@@{len(labels) - 1}@@"
        return {key: self._marked(item, labels) for key, item in self._clean(value).items()}

    def _served(self) -> set[str]:
        """Mending is for those that were letters."""
        return {label for label in self.raw if not self.mended or self.outcome(label) == LOADED}

    def truth(self) -> dict[str, list[Row]]:
        """What must be loaded of what is served now."""
        truth: dict[str, list[Row]] = {}
        for table, rows in self.fake.truth().items():
            truth[table] = []
            for row in rows:
                label, given = row.get("__kind__"), {k: row[k] for k in self.subject.given if k in row}
                if label not in self._served():
                    truth[table].append(self._clean(row))
                elif self.outcome(label) == LOADED:
                    truth[table].append(self._read(label, row) | given)
        return truth

    def _read(self, label: str, row: Row) -> Row:
        read = self.kinds[label].truth
        found: Row = read(self._clean(row), self.subject) if read else json.loads(self.raw[label])
        return found

    def letters(self) -> dict[tuple[str, str], str]:
        """Stream and raw JSON -> the reason of each open letter; with the record's key where there is no JSON."""
        select = "select stream, coalesce(raw_json, key), reason from dead_letters where healed_at is null"
        rows = self.here.sql(select)
        assert len({row[:2] for row in rows}) == len(rows)
        return {(stream, raw): reason for stream, raw, reason in rows}

    def expected_letters(self) -> dict[tuple[str, str], str]:
        letters = {}
        for label, raw in self.raw.items():
            if self.outcome(label) != LOADED:
                letter = self._letter(label, raw)
                # Several are one letter there, as their texts are left out.
                letters[letter] = "JSON" if LEFT_OUT in letter else self.outcome(label)
        return letters

    def _letter(self, label: str, raw: bytes) -> tuple[str, str]:
        stream = str(self.subject.parents_table if label in PARENTS else self.subject.main)
        if self.outcome(label) in ("expected", ANOTHER):  # no detail that one could read; the listing told its id
            rows = next(rows for rows in self.fake.truth().values() if any(r.get("__kind__") == label for r in rows))
            return stream, str(next(row[self.subject.id] for row in rows if row.get("__kind__") == label))
        if stream in self.subject.never_kept and (self.outcome(label) == NOT_JSON or not raw.startswith(b"{")):
            return stream, LEFT_OUT
        return stream, raw.decode(errors="backslashreplace").replace("\0", "\\x00")


@pytest.mark.slow
@elsewhere(1)
@of(NAMES[2])
def test_all_good_ones_and_a_letter_for_each_bad_one(subject: Subject, world: Begin) -> None:
    """In one sync; again in the next; and none when the vendor has mended them."""
    it = Misbehaving(subject, world, KINDS | (PARENTS if subject.parents_table else {}))
    assert len(it.raw) >= 40
    for _ in range(2):
        outcome = it.here.sync()
        assert (outcome.outcome, outcome.error) == ("partial", None)
        it.here.assert_exact(it.truth())
        held, wanted = it.letters(), it.expected_letters()
        assert held.keys() == wanted.keys()
        assert {raw: held[raw] for raw, reason in wanted.items() if reason not in held[raw]} == {}
    assert max(it.here.sql("select covered_to from coverage where covered_to is not null"))[0] <= it.fake.now
    it.mended = True
    stream = subject.source.stream
    if stream.by_id or not stream.walks:
        told = [failure.reason for failure in it.here.sync().failures]
        assert bool(told) == stream.walks
        assert all("nameless" in reason for reason in told)
        it.here.assert_exact(it.truth())
    if stream.walks:  # nobody can tell which record a nameless letter was, short of reading all again
        gapless(it.here, "state", "reset", subject.name, "--yes")
        it.here.complete()
        it.here.assert_exact(it.truth())
    assert it.letters() == {}
    left = it.here.sql("select kind, reason from dead_letters")
    # Nobody knows which record a nameless one was, nor one whose id was none, such as `true`.
    assert [row for row in left if row[0] != "nameless" and not row[1].startswith(NOT_SERVED)] == []


@pytest.mark.sweep
@of(NAMES[-1])
def test_a_body_of_20_mb(subject: Subject, world: Begin) -> None:
    """One long text is no reason to fail."""
    it = Misbehaving(subject, world, OF_20_MB)
    it.here.complete()
    it.here.assert_exact(it.truth())


@pytest.mark.slow
@of(NAMES[0])
def test_drift_is_told(subject: Subject, world: Begin) -> None:
    """Fields that no model knows stand in `_extra`, and `status` names them and counts their rows."""
    labels = ("keys of ours", "keys that normalise alike")
    it = Misbehaving(subject, world, {label: KINDS[label] for label in labels})
    it.here.complete()
    table, twin = it.subject.main, it.subject.twin
    told = json.loads(gapless(it.here, "status", "--json").stdout)["sources"][subject.name]["drift"][table]
    ours = {"_dlt_id", "_dlt_load_id", "_extra", "_dlt_list_idx", "_dlt_parent_id"}
    assert (told["rows"], set(told["fields"])) == (2, ours | {twin})
