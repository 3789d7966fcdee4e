"""Writes a destination anew under the lock, so that deleted rows are in no byte of it; then its published copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from gapless.pipelines.destinations import publish
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.erasure.unfinished import note_finished, unfinished
from gapless.pipelines.evidence.seen import take_in_stored
from gapless.sources import SOURCES


@dataclass(frozen=True)
class Compacted:
    """A destination that was written anew, with its bytes before and after."""

    before: int
    after: int
    seconds: float
    """How long it took, without the copy."""
    left: str | None
    """What a person should know of bytes that stay."""
    published: publish.Published | None = None
    """The copy for readers, where GAPLESS_PUBLISH names one: the earlier one held the deleted rows, too."""


def compact(target: Target, names: Sequence[str] = ()) -> Compacted | None:
    """Compacts the datasets of these sources, without names all; a DuckDB file and a DuckLake always as a whole.

    Returns None where nothing was synced yet. Raises WrongSettings where this destination cannot be compacted, Locked
    while somebody else uses it, GaplessError when it fails: nothing is changed then.
    """
    publish.require_usable(target)
    began = monotonic()
    with target.closed(*(() if target.backend.compacts_whole else names)):
        take_in_stored(target)
        notes = unfinished(target, names or SOURCES)
        sizes = target.backend.compact([*(names or SOURCES)])
    if sizes is None:
        return None
    took, copy = monotonic() - began, publish.configured() if target.file else None
    published = publish.publish(target, copy) if copy else None
    # Last: a kill before it leaves the note, and the next command does all of it again.
    if sizes.left is None:
        note_finished(target, notes)
    return Compacted(sizes.before, sizes.after, took, sizes.left, published)
