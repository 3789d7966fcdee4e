"""The part of a destination that one command writes to, and locks for itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

from gapless.sources._ledger.shard import Shard


@dataclass(frozen=True)
class Part:
    """Some sources, or the parents of them that one shard of a split reads; without sources everything."""

    sources: tuple[str, ...] = ()
    """Names, in alphabetical order."""
    shard: Shard = field(default_factory=Shard)

    @property
    def mark(self) -> str:
        """Returns what tells its working folder from those of other parts; empty for everything."""
        names = "-".join(self.sources)
        if len(names) > 60:  # file names are short
            names = blake2b(names.encode(), digest_size=8).hexdigest()
        shard = "" if self.shard.whole else f"{self.shard.number}-of-{self.shard.of}"
        return "".join(f"-{text}" for text in (names, shard) if text)
