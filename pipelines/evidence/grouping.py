"""Groups what failed for one reason into one line: fifty parents that answered 500 are one thing to know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gapless.sources import SOURCES

if TYPE_CHECKING:
    from gapless.pipelines.evidence.gap import Gap
    from gapless.sources._ledger.session import Failure

SHOWN = 3
"""Ids that are named of a group."""
ID = "…"
"""Stands in a reason for the id that each of a group has."""


@dataclass(frozen=True)
class Group:
    """Failures, or gaps, of one reason; `ids` of those that name one, in their order."""

    reason: str
    count: int
    ids: Sequence[str] = ()

    @property
    def examples(self) -> str:
        """Returns the first ids."""
        return ", ".join(self.ids[:SHOWN]) + (", …" if len(self.ids) > SHOWN else "")


def failure_lines(source: str, failures: Iterable[Failure]) -> Iterator[str]:
    """Yields one line for each reason; a single failure as it is."""
    groups: dict[tuple[str, str, str], list[Failure]] = {}
    for one in failures:
        groups.setdefault((one.stream, one.kind, _without(one.reason, one.key)), []).append(one)
    for (stream, kind, reason), some in groups.items():
        if len(some) == 1:
            yield f"{source}: {some[0]}"
        else:
            group = Group(reason, len(some), [one.key for one in some if one.key])
            of = f"{stream}: " if stream else ""
            such = f" ({group.examples})" if group.ids else ""
            yield f"{source}: {of}{group.count:,} {_noun(source, kind)}{such}: {reason}"


def gap_groups(gaps: Iterable[Gap]) -> Iterator[tuple[Gap, Group]]:
    """Yields the first gap of each group, and the group: of one kind, stream and reason, which one sync fills."""
    groups: dict[tuple[str, str, str, str, str], list[Gap]] = {}
    for gap in gaps:
        key = (gap.source, gap.kind, gap.stream, _without(gap.why, gap.parent), _without(gap.fill, gap.parent))
        groups.setdefault(key, []).append(gap)
    for key, some in groups.items():
        yield some[0], Group(key[3], len(some), [gap.parent for gap in some if gap.parent])


def _without(text: str, id_: str) -> str:
    return text.replace(id_, ID) if len(id_) > 1 else text


def _noun(source: str, kind: str) -> str:
    parents = SOURCES[source].stream.parents
    nouns = {
        "parent": parents.noun if parents else "parents",
        "nameless": "records without an id",
        "record": "records",
    }
    return nouns.get(kind, "failures")
