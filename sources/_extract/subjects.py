"""Says what of a source's dataset can be erased."""

from __future__ import annotations

from gapless.sources._incremental.stream import Stream
from gapless.sources._ledger.erasure.tombstones import Subjects


def subjects_of(dataset: str, stream: Stream) -> Subjects:
    """Returns what can be erased of a source's dataset."""
    return Subjects(dataset, stream.table, stream.column, stream.parents.table if stream.parents else None)
