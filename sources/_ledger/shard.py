"""A shard: one part of a split sync. Parents are assigned by a hash of their ids, the same on every machine.

Only one shard writes the rows of a parent, so that shards can write the same tables at once. State is stored by
parent, not by shard: a sync split into 8 resumes where one split into 4, or a whole one, stopped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b

from gapless.sources._http.errors import SettingError

# advisory_lock.py packs both numbers of a shard into one, `of * MOST + number`.
MOST = 1_000


@dataclass(frozen=True)
class Shard:
    """Part `number` (counted from 1) of `of` parts; the default is the whole sync."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parses a text such as "3/8". Raises ValueError for any other."""
        found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
        number, of = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= of <= MOST:
            raise ValueError(f"{text!r} is no shard: expected K/N such as 3/8, K from 1 to N, N up to {MOST:,}")
        return cls(number, of)

    @property
    def whole(self) -> bool:
        """Returns whether the sync is not split."""
        return self.of == 1

    def contains(self, parent: str) -> bool:
        """Returns whether this shard reads the parent with this id. Every id belongs to exactly one shard."""
        if self.whole:
            return True
        # Python's own hash of a text differs in each process.
        hashed = blake2b(parent.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(hashed) % self.of == self.number - 1

    def split_budget(self, requests_per_minute: int) -> int:
        """Returns this shard's part of a rate budget, in requests per minute; all parts add up to the whole.

        Raises SettingError if there are more shards than requests.
        """
        if self.whole:
            return requests_per_minute
        if requests_per_minute < self.of:
            raise SettingError(
                "requests_per_minute", f"is {requests_per_minute:,}; it cannot be split into {self.of:,} shards"
            )
        return requests_per_minute // self.of + (self.number <= requests_per_minute % self.of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


WHOLE = Shard()
