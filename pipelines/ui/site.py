"""What a view is asked with: the address, the database, and what is remembered between two questions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from threading import Lock
from time import monotonic
from typing import Any, TypeVar, cast

from gapless.pipelines.evidence.seen import take_in_new
from gapless.pipelines.ui.address import Address
from gapless.pipelines.ui.database.session import Database
from gapless.pipelines.ui.database.target import UiTarget
from gapless.sources import SOURCES

T = TypeVar("T")
Object = tuple[str, str | None, str | None]
"""Source, type and id of what something happened to."""
REMEMBERED = 64
"""Answers."""
FRESH = 30.0
"""Seconds for which an answer is used again if the data is the same; of a server's data that is not known."""
PERIODS = {"90d": ("90 days", 90), "30d": ("30 days", 30), "7d": ("7 days", 7), "24h": ("24 hours", 1)}
"""Value of the address -> label, and days before the newest record."""


@dataclass
class Site:
    """The page of one process."""

    target: UiTarget
    clock: Callable[[], datetime] = field(default=partial(datetime.now, UTC))
    _answers: OrderedDict[Hashable, tuple[float, object]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)
    _looked_at: set[str] = field(default_factory=set)
    """Datasets that no setting named when they were seen first."""

    @contextmanager
    def connected(self, seconds: float | None = None) -> Iterator[tuple[Database, bool]]:
        """Yields the database for one question, and whether accounts came that were not known. Raises as the target.

        A sync may have added them, in another process, since this one began.
        """
        with self.target.connected(seconds) as db:
            yield db, take_in_new(db.reader, self._looked_at)

    def remembered(self, key: Hashable, make: Callable[[], T]) -> T:
        """Returns what was made under this key, if the data is still the same and it was not long ago."""
        # Read before the answer is made: if a sync ends meanwhile, the answer counts as one of the old data.
        whole = (self.target.state, key)
        with self._lock:
            at, found = self._answers.get(whole, (0.0, None))
        if at and monotonic() - at < FRESH:
            return cast(T, found)
        # Without the lock, as a slow query must not keep other views waiting; two may then make the same.
        made = make()
        with self._lock:
            self._answers[whole] = (monotonic(), made)
            while len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
        return made


@dataclass(frozen=True)
class Question:
    """One view of one address."""

    site: Site
    address: Address
    db: Database
    now: datetime

    @property
    def source(self) -> str:
        """Returns the source that was chosen, which the views call `account`; empty: all."""
        return self.address["source"]

    @property
    def sources(self) -> list[str]:
        """Returns the names of the sources to show."""
        return [self.source] if self.source else list(SOURCES)

    def where(self, *columns: str) -> tuple[str, list[str]]:
        """Returns the SQL condition for the filters of these names, which are columns as well, and its values.

        `source` is an account's name; the column of that name is the vendor's.
        """
        # Names of columns come from the code alone; what stands in the address is only ever a value.
        chosen = [name for name in columns if self.address[name]]
        names = ("account" if name == "source" else name for name in chosen)
        return " and ".join(["true", *(f"{name} = ?" for name in names)]), [self.address[n] for n in chosen]

    def since(self, column: str = "occurred_at", table: str = "activity.timeline") -> str:
        """Returns the SQL condition for the period, counted back from the newest time in `column`."""
        if not self.address["period"]:
            return "true"
        days = PERIODS[self.address["period"]][1]
        # Before the newest record and not before today: what is not synced any more still shows something.
        return f"{column} >= (select max({column}) from {table}) - interval '{days} days'"

    def remembered(self, key: Hashable, make: Callable[[], T]) -> T:
        """Returns what `Site.remembered` says."""
        return self.site.remembered(key, make)

    def labels(self, source: str, ids: Iterable[str]) -> dict[str, str]:
        """Returns the names of these objects, as far as the source's parents have one: id -> name."""
        parents = SOURCES[source].stream.parents
        return self._labels(source, parents.noun, ids) if parents else {}

    def _labels(self, source: str, noun: str, ids: Iterable[str]) -> dict[str, str]:
        listing, wanted = SOURCES[source].named_listings.get(noun), sorted({key for key in ids if key})
        if listing is None or not wanted:
            return {}
        key = f"cast({listing.table.id_column} as varchar)"
        marks = ", ".join("?" * len(wanted))
        table = f"{source}.{listing.table.name}"
        found = self.db.rows_if_exists(
            f"select {key}, {listing.label} from {table} where {key} in ({marks})", *wanted
        )
        return {str(one): str(name) for one, name in found if name}

    def object_names(self, objects: Iterable[Object]) -> dict[Object, str]:
        """Returns the names of these objects, as far as the source lists them: its parents, or beside the records."""
        found = dict[Object, str]()
        wanted = [*objects]
        for source in {source for source, _, _ in wanted}:
            for noun in SOURCES[source].named_listings:
                own = [one for one in wanted if one[0] == source and _plural(one[1]) == noun]
                names = self._labels(source, noun, [key or "" for _, _, key in own])
                found |= {one: names[one[2]] for one in own if one[2] in names}
        return found

    def named(self, text: str) -> list[str]:
        """Returns the ids of the objects whose name holds a text, the first 200 of each source."""
        found: list[str] = []
        for name in self.sources:
            for listing in SOURCES[name].named_listings.values():
                rows = self.db.rows_if_exists(
                    f"select cast({listing.table.id_column} as varchar) from {name}.{listing.table.name}"
                    f" where strpos(lower({listing.label}), lower(?)) > 0 limit 200",
                    text,
                )
                found += [str(key) for (key,) in rows]
        return found


def _plural(kind: str | None) -> str:
    """Returns the noun of a listing of objects of this type."""
    name = (kind or "").lower()
    return f"{name.removesuffix('y')}ies" if name.endswith("y") else f"{name}s"


def source_choices() -> dict[str, str]:
    """Returns the sources to choose from."""
    return {name: name for name in SOURCES}


def period_choices() -> dict[str, str]:
    """Returns the periods to choose from."""
    return {value: label for value, (label, _) in PERIODS.items()}


FILTERS: dict[str, Any] = {"source": source_choices, "period": period_choices}
"""The filters that several views have."""
