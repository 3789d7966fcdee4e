"""Decides whether a listing was read to its end, by the totals that the vendor names and the distinct ids that came.

One object sees every page of one reading. A page without a next one claims the end; that alone proves nothing,
because a vendor may cut a listing short once. No request is made here.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence

EMPTY_PAGES = 3
"""Empty pages in a row that are followed when each names a next one; more would be followed for ever."""


class ListingEnd:
    """Judges by the pages of one reading whether it came to its end.

    `met` and `total` go on from an earlier session that read the first part; `met` None: it did not count.
    """

    def __init__(self, met: int | None = 0, total: int | None = None) -> None:
        self._before, self._counts_all = met or 0, met is not None
        self._ids = array("q")
        self._earlier, self._earlier_total = array("q"), total
        self._previous: frozenset[int] = frozenset()
        self._seam: frozenset[int] = frozenset()
        self._nameless, self._previous_nameless = 0, Counter[int]()
        self._empty = 0
        self._moved, self._moved_before = False, False
        self.total, self.last_total = total, total
        """The totals of the first and of the last page that has one."""
        self.began = False
        """Whether a page was seen."""
        self.broken: str | None = None
        """Why what was read so far proves nothing alone, and must be read again from the first page."""

    def again(self) -> ListingEnd:
        """Returns what judges another reading of the same listing, from its first page.

        What this one met counts there, too, if only pages were short and the vendor still reports the same total: its
        order may be another one at each request.
        """
        other = ListingEnd()
        if (not self.broken or self._moved) and self.total is not None and self.total == self.last_total:
            other._earlier, other._earlier_total = self._ids if self._moved else self._ids + self._earlier, self.total
            other._moved_before = self._moved
        return other

    def see(
        self,
        ids: Sequence[str],
        total: int | None,
        *,
        nameless: Sequence[str] = (),
        overlaps: bool = False,
        seam: Sequence[str] | None = None,
    ) -> None:
        """Notes the ids of a page, the texts of its records without a readable id, and its total.

        `overlaps`: it begins with the end of the one before. `seam` holds those that may be the page's last, one of
        which an overlapping page must have; None: the last of `ids`.
        """
        self.began = True
        found, texts = list(map(hash, ids)), list(map(hash, nameless))  # 8 bytes an id, however long the listing is
        self._empty = 0 if found or texts else self._empty + 1
        if overlaps and self._seam and self._seam.isdisjoint([*found, *texts]):
            self._moved = True
            self.broken = self.broken or "records moved between two pages, and what moved up was not met"
        self._ids.extend(one for one in found if one not in self._previous)
        self._count_nameless(Counter(texts), overlaps)
        self._previous = frozenset(found)
        if found or texts:
            self._seam = frozenset(map(hash, [*ids[-1:], *nameless] if seam is None else seam))
        # A negative total says nothing.
        if total is not None and total >= 0:
            if self.last_total is not None and total < self.last_total:
                self._moved, self.broken = False, "records vanished while its pages were read, and others moved up"
            self.total, self.last_total = total if self.total is None else self.total, total

    def _count_nameless(self, texts: Counter[int], overlaps: bool) -> None:
        # Two such records may have one text, so each counts, except those that pages share because they overlap.
        self._nameless += (texts - self._previous_nameless if overlaps else texts).total()
        self._previous_nameless = texts

    @property
    def endless(self) -> bool:
        """Returns whether so many empty pages came in a row that no further one is worth a request."""
        return self._empty > EMPTY_PAGES

    @property
    def met(self) -> int | None:
        """Returns how many records came, without those that two neighbouring pages share; None: not counted."""
        return self._before + len(self._ids) + self._nameless if self._counts_all else None

    @property
    def wasted(self) -> bool:
        """Returns whether the rest of this reading cannot prove anything, so that another one had better begin."""
        return self.endless or (self.broken is not None and not self._moved)

    def why_not(self, expected: int | None = None, *, fell: bool = False) -> str | None:
        """Returns why the end is not proven, None if it is; without any total the vendor's word is all there is.

        `expected` is the total that the listing of parents has. With `fell` a total that fell meanwhile counts,
        because the vendor sent it twice.
        """
        total = self.last_total if fell else self.total
        needed = max((one for one in (total, expected) if one is not None), default=None)
        if needed is None:
            return None
        if not self._counts_all:
            return f"the records read before are not counted, and the vendor tells {needed:,}"
        joined = self._same_total and not self._moved_before
        distinct = self._before + len({*self._ids, *(self._earlier if joined else ())}) + self._nameless
        return f"{distinct:,} of {needed:,} records came before its end" if distinct < needed else None

    def why_again(self, expected: int | None = None) -> str | None:
        """Returns why a listing that is paged by numbers must be read again; None if its end is proven."""
        return self.broken if self.broken and not self._stands_still else self.why_not(expected)

    @property
    def _same_total(self) -> bool:
        return self._earlier_total == self.total == self.last_total

    @property
    def _stands_still(self) -> bool:
        """Returns whether two readings met the same: then its pages are only longer or shorter than was asked."""
        both = self._moved and self._moved_before
        return both and self._same_total and set(self._ids) == set(self._earlier)
