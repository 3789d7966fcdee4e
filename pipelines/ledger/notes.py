"""Says what a person should do about a destination besides filling its gaps.

That is to end an erasure that was broken off, and to put back an account that left the settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from gapless.pipelines.destinations.reader import Reader, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.erasure.unfinished import finishing, notes_of, sentence
from gapless.pipelines.evidence.seen import left_sentence, take_in_left
from gapless.sources import SOURCES


@dataclass(frozen=True)
class Note:
    """What a person should do; it makes no data incomplete."""

    source: str
    kind: str
    """erasure, or not in the settings"""
    message: str
    fill: str = ""
    """The command that ends it; empty: none does."""

    def to_json(self) -> dict[str, str]:
        """Returns the fields as JSON values."""
        return asdict(self)


def notes(target: Target, names: Sequence[str] = ()) -> list[Note]:
    """Returns what to do about these sources, without names about all. Raises Locked, GaplessError."""
    with reading(target) as reader:
        found = [*notes_by(reader, target)]
    return [note for note in found if not names or note.source in names]


def notes_by(reader: Reader, target: Target) -> Iterator[Note]:
    """Yields what to do about all sources, by a reader that is open."""
    left, unknown = take_in_left(reader, target)
    for name in (*left, *unknown):
        yield Note(name, "not in the settings", left_sentence(name))
    for name in notes_of(reader, [*SOURCES]):
        yield Note(name, "erasure", sentence(name, target.destination), finishing(name, target.destination))
