"""Carries over to a copy what is noted beside the file: syncs of which the database itself says nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from gapless.pipelines.config import unwritten
from gapless.pipelines.destinations.reader import Reader
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError
from gapless.pipelines.evidence.gap import Commands
from gapless.pipelines.evidence.rounds import read_rounds, was_followed
from gapless.sources import Source
from gapless.sources._ledger.shard import Shard

Notes = dict[Shard, unwritten.Unwritten]
"""The last sync of each shard, or of the whole source, that was killed or could not be written."""


def unwritten_syncs(target: Target, reader: Reader, source: Source) -> Notes:
    """Returns the syncs of a source that are noted beside a destination and that no later one has followed."""
    try:
        files = target.note_files(source.name)
    except GaplessError:  # there is no folder for working files, and so no note
        return {}
    rounds = read_rounds(reader, source.name, datetime.now(UTC)) if files else []
    noted = {shard: last for path, shard in files.items() if (last := unwritten.noted(path))}
    return {shard: last for shard, last in noted.items() if not was_followed(rounds, shard, last.at)}


def carry_notes(there: Target, source: Source, notes: Notes) -> list[str]:
    """Notes the same beside the copy, and nothing else, as it has what the file has; returns what to say of it."""
    try:
        for path in there.note_files(source.name):
            unwritten.clear(path)
        for shard, last in notes.items():
            unwritten.carry(there.note_file(source.name, shard), last)
    except GaplessError:
        pass
    commands = Commands.at(source, there)
    return [
        f"the sync of the file that {'began' if last.begun else 'ended'} at {last.at.isoformat(timespec='seconds')}"
        f" {last.how}, so the copy is not known to be whole: {commands.typed(commands.sync(shard=shard))}"
        for shard, last in notes.items()
    ]
