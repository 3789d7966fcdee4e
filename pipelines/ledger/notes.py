"""Says what a person should do about a destination besides filling its gaps.

That is to end an erasure that was broken off, to put back an account that left the settings, and to end that two
datasets hold the records of one account.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass

from gapless.pipelines.destinations.reader import Reader, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.erasure.unfinished import finishing, notes_of, sentence
from gapless.pipelines.evidence.gap import Commands
from gapless.pipelines.evidence.rows.twins import twins
from gapless.pipelines.evidence.seen import left_sentence, take_in_left
from gapless.pipelines.sync.build import is_served
from gapless.sources import SOURCES


@dataclass(frozen=True)
class Note:
    """What a person should do; it makes no data incomplete."""

    source: str
    kind: str
    """erasure, not in the settings, or same account"""
    message: str
    fill: str = ""
    """The command that ends it; empty: none does."""
    other: str = ""
    """The other dataset that it is about, where there are two."""

    def to_json(self) -> dict[str, str]:
        """Returns the fields as JSON values."""
        return asdict(self)


def notes(target: Target, names: Sequence[str] = ()) -> list[Note]:
    """Returns what to do about these sources, without names about all. Raises Locked, GaplessError."""
    with reading(target) as reader:
        found = [*notes_by(reader, target)]
    return [note for note in found if not names or note.source in names or note.other in names]


def notes_by(reader: Reader, target: Target) -> Iterator[Note]:
    """Yields what to do about all sources, by a reader that is open."""
    left, unknown = take_in_left(reader, target)
    for name in (*left, *unknown):
        yield Note(name, "not in the settings", left_sentence(name, target.destination))
    for name in notes_of(reader, [*SOURCES]):
        yield Note(name, "erasure", sentence(name, target.destination), finishing(name, target.destination))
    yield from twin_notes(reader, target)


def twin_notes(reader: Reader, target: Target, about: Collection[str] | None = None) -> Iterator[Note]:
    """Yields what to do about two datasets of one account; with `about` where one of them has one of these names."""
    for pair in twins(reader, about):
        keep, drop = pair.first, pair.second
        if not pair.further and not is_served(keep):
            keep, drop = drop, keep
        steps = [
            f"give {keep} its settings again" * (not is_served(keep)),
            f"take {drop} out of the settings" * is_served(drop),
            f"`{dropping(drop, target)}`",
        ]
        what = (
            f"it and {keep} hold the same records, {pair.same} of their newest: one account, which views count twice"
        )
        which = f"Go on with {keep}{', which reaches further back' * pair.further}"
        message = f"{drop}: {what}. {which}: {', then '.join(filter(None, steps))}"
        yield Note(drop, "same account", message, dropping(drop, target), keep)


def dropping(name: str, target: Target) -> str:
    """Returns the command that deletes a dataset."""
    return Commands.at(SOURCES[name], target).typed(f"state drop {name}")
