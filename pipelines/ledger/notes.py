"""Says what a person should do about a destination besides filling its gaps: end an erasure that was broken off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from gapless.pipelines.destinations.reader import Reader, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.erasure.unfinished import finishing, notes_of, sentence
from gapless.sources import SOURCES


@dataclass(frozen=True)
class Note:
    """What a person should do; it makes no data incomplete."""

    source: str
    kind: str
    """erasure"""
    message: str
    fill: str
    """The command that ends it."""

    def to_json(self) -> dict[str, str]:
        """Returns the fields as JSON values."""
        return asdict(self)


def notes(target: Target, names: Sequence[str] = ()) -> list[Note]:
    """Returns what to do about these sources, without names about all. Raises Locked, GaplessError."""
    with reading(target) as reader:
        return [*_erasures(reader, names or [*SOURCES], target.destination)]


def _erasures(reader: Reader, names: Sequence[str], destination: str) -> Iterator[Note]:
    for name in notes_of(reader, names):
        yield Note(name, "erasure", sentence(name, destination), finishing(name, destination))
