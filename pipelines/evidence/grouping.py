"""Groups what is open for one reason into one problem: fifty parents that answered 500 are one thing to know.

Every place that shows gaps shows problems: the sync, `gaps`, `status`, the page, the webhook, `doctor`, Dagster.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gapless.pipelines.printable import WORD
from gapless.sources import SOURCES

if TYPE_CHECKING:
    from gapless.pipelines.evidence.gap import Gap, Kind
    from gapless.sources._http.errors import Answer
    from gapless.sources._ledger.session import Failure

SHOWN = 3
"""Ids that are named of a group."""
ID = "…"
"""Stands in a reason for the id that each of a group has."""


@dataclass(frozen=True)
class Problem:
    """Gaps of one source, of one kind and for one reason, which one command fills; times are ISO 8601 in UTC."""

    gaps: Sequence[Gap]
    """At least one."""
    answer: Answer
    """Why, of the first of them; without ids, which differ."""

    @property
    def status(self) -> int | None:
        """Returns what the vendor answered, if that is the reason."""
        return self.answer.status

    @property
    def reason(self) -> str:
        """Returns why, in our words and, where it has some, the vendor's."""
        says = f"the vendor says: {self.answer.says}" if self.answer.says else ""
        # It stands within a sentence, so that no full stop may end it.
        return "; ".join(filter(None, (self.answer.advice, says))).rstrip(".")

    @property
    def source(self) -> str:
        """Returns the source's name."""
        return self.gaps[0].source

    @property
    def kind(self) -> Kind:
        """Returns the kind of all its gaps."""
        return self.gaps[0].kind

    @property
    def stream(self) -> str:
        """Returns the table that is not complete; empty: nothing is known of the source."""
        return self.gaps[0].stream

    @property
    def ids(self) -> list[str]:
        """Returns the records' or parents' ids, each once, as far as the gaps name one."""
        return list(dict.fromkeys(filter(None, (gap.failed.key or gap.parent for gap in self.gaps))))

    @property
    def of(self) -> int | None:
        """Returns how many parents there are in all, if these are parents."""
        return self.gaps[0].of

    @property
    def since(self) -> str | None:
        """Returns the earliest time from which records are not here; None: from the beginning, of one at least."""
        starts = [gap.since for gap in self.gaps]
        return None if None in starts else min(filter(None, starts))

    @property
    def until(self) -> str | None:
        """Returns the latest time up to which records are not here; None: up to now."""
        ends = [gap.until for gap in self.gaps]
        return None if None in ends else max(filter(None, ends))

    @property
    def times(self) -> int:
        """Returns how many rounds in a row it failed, the most of them."""
        return max(gap.failed.times for gap in self.gaps)

    @property
    def first_at(self) -> str | None:
        """Returns when the first of them failed for the first time."""
        return min(filter(None, (gap.failed.first_at for gap in self.gaps)), default=None)

    @property
    def fill(self) -> str:
        """Returns the one command that fills all of it: without an id a sync reads all that failed."""
        return self.gaps[0].fill if len(self.gaps) == 1 else without_option(self.gaps[0].fill)

    def to_json(self) -> dict[str, object]:
        """Returns what programs read; `ids` are the first ones."""
        return {
            **{name: getattr(self, name) for name in ("source", "kind", "stream", "status", "reason")},
            "count": len(self.gaps),
            **{name: getattr(self, name) for name in ("of", "since", "until", "times", "first_at", "fill")},
            "ids": self.ids[:SHOWN],
        }


def problems(gaps: Iterable[Gap]) -> list[Problem]:
    """Returns the problems of gaps, in the order of their first ones."""
    groups: dict[tuple[object, ...], list[tuple[Gap, Answer]]] = {}
    for gap in gaps:
        alike, found = common(gap.failed.reason or gap.why, gap.failed.key, gap.parent)
        key = (gap.source, gap.kind, gap.stream, alike, without_option(gap.fill))
        groups.setdefault(key, []).append((gap, found))
    return [Problem([gap for gap, _ in some], some[0][1]) for some in groups.values()]


def common(text: str, *ids: str) -> tuple[object, Answer]:
    """Returns what a reason has in common with others that are the same one, and its parts without `ids`."""
    # Here, because it takes long to import and `--help` must not.
    from gapless.sources._http.errors import answer_of

    found = answer_of(without_ids(text, *ids))
    # Counts, seconds and the vendor's own words differ although the reason is one.
    return (found.status, re.sub(r"\d+", "0", found.advice)), found


def remedies(found: Iterable[Problem]) -> list[str]:
    """Returns the commands that fill all problems, each once; one plain sync for whatever a plain sync fills."""
    fills = dict.fromkeys(problem.fill for problem in found)
    syncs = {fill: sync for fill in fills if (sync := _SYNC.fullmatch(fill))}
    of_source = Counter(sync[1] for sync in syncs.values())
    others = [fill for fill in fills if fill not in syncs]
    # A sync that follows another step, such as a reset, reads what failed as well.
    covered = {fill.rpartition(" && ")[2] for fill in others}
    plain, by_id = dict[str, dict[str, None]](), []
    for fill, sync in syncs.items():
        source, options = sync.groups()
        if without_option(fill) in covered:
            continue
        # One parent alone is read for a few requests; several are read by one sync, which tries failed ones first.
        if fill != without_option(fill) and of_source[source] == 1:
            by_id.append(fill)
        else:
            plain.setdefault(options, {})[source] = None
    return [*(f"gapless sync {' '.join(sources)}{options}" for options, sources in plain.items()), *by_id, *others]


def is_plain_sync(fill: str) -> bool:
    """Returns whether a command is a sync of all that is new, which every scheduler runs anyway."""
    return _SYNC.fullmatch(without_option(fill)) is not None


def without_option(fill: str) -> str:
    """Returns a command without `--id`."""
    return _ID.sub("", fill)


_ID = re.compile(rf" --id {WORD}", re.DOTALL)
_SYNC = re.compile(
    rf"gapless sync (\S+)(?:{_ID.pattern})?((?: --destination {WORD})?(?: --accept-append)?)", re.DOTALL
)
"""The source and the options of a sync that reads everything new, or one id."""


def failure_lines(source: str, failures: Iterable[Failure]) -> Iterator[str]:
    """Yields one line for each reason of failures that are no gap; a single failure as it is."""
    groups: dict[tuple[object, ...], list[Failure]] = {}
    for one in failures:
        groups.setdefault((one.stream, one.kind, common(one.reason, one.key)[0]), []).append(one)
    for some in groups.values():
        first = some[0]
        if len(some) == 1:
            said = str(first)
            # What a sync says of its own tables begins with the source already.
            yield said if said.startswith((f"{source}: ", f"{source}.")) else f"{source}: {said}"
        else:
            of = f"{first.stream}: " if first.stream else ""
            ids = examples([one.key for one in some if one.key])
            such = f" ({ids})" if ids else ""
            reason = without_ids(first.reason, first.key)
            yield f"{source}: {of}{len(some):,} {_noun(source, first.kind)}{such}: {reason}"


def examples(ids: Sequence[str]) -> str:
    """Returns the first ids as one text."""
    return ", ".join(ids[:SHOWN]) + (", …" if len(ids) > SHOWN else "")


def without_ids(text: str, *ids: str) -> str:
    """Returns a reason without these ids, the longest first, as one may be part of another."""
    for id_ in sorted(ids, key=len, reverse=True):
        text = text.replace(id_, ID) if len(id_) > 1 else text  # one character stands in any word
    return text


def _noun(source: str, kind: str) -> str:
    parents = SOURCES[source].stream.parents
    nouns = {
        "parent": parents.noun if parents else "parents",
        "nameless": "records without an id",
        "record": "records",
    }
    return nouns.get(kind, "failures")
