"""One part of a split sync: parents are dealt out by a hash of their ids, the same on every machine and in every run.

What a shard reads of a parent it alone writes, so that shards can write the same tables at once. Nothing of a shard
is remembered but by parent: a sync split into 8 goes on where one of 4, or a whole one, left off.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b

from gapless.sources._http.errors import SettingError

MOST = 1_000


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `of`; the default is all of it."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Of "3/8". Raises ValueError."""
        found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
        number, of = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= of <= MOST:
            raise ValueError(f"{text!r} is no shard: expected K/N such as 3/8, K from 1 to N, N up to {MOST:,}")
        return cls(number, of)

    @property
    def whole(self) -> bool:
        return self.of == 1

    def contains(self, parent: str) -> bool:
        """Whether this shard reads the parent of that id. Every id belongs to exactly one of `of`."""
        if self.whole:
            return True
        mark = blake2b(parent.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(mark) % self.of == self.number - 1

    def split_budget(self, requests_per_minute: int) -> int:
        """Of a rate budget: all shares together are the whole. Raises SettingError for more shards than requests."""
        if self.whole:
            return requests_per_minute
        if requests_per_minute < self.of:
            raise SettingError(
                "requests_per_minute", f"is {requests_per_minute:,}; it cannot be split into {self.of:,} shards"
            )
        return requests_per_minute // self.of + (self.number <= requests_per_minute % self.of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"
