"""Reads which sources a destination once held, and which it holds that no setting names.

The views, or a database without views itself, remember the first ones, also when somebody dropped a whole dataset.
"""

from __future__ import annotations

from contextlib import suppress
from threading import Lock

from gapless.pipelines.destinations._catalogs.left import datasets, take_in, unnamed
from gapless.pipelines.destinations.reader import Reader, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError
from gapless.pipelines.evidence.gap import Commands
from gapless.sources import SOURCES, left_accounts, reread

VIEWS, MARK = "activity", "_made"
"""The dataset of the views, and the view that holds what the others were made from."""
_READING = Lock()
"""Of those who read the settings once more."""


def once_synced(reader: Reader, target: Target) -> set[str]:
    """Returns the sources that were synced once, as the target remembers it."""
    return _in_views(reader) | target.backend.remembered()


def _in_views(reader: Reader) -> set[str]:
    """Returns the sources that were synced when the views were last made; none where there are no views."""
    # An older version made a view without this column.
    if "sources" not in reader.columns(VIEWS, [MARK]).get(MARK, ()):
        return set()
    found = reader.rows(VIEWS, "select sources from {0}", MARK)
    return set(found[0][0].split()) if found and found[0][0] else set()


def take_in_left(reader: Reader, target: Target) -> tuple[list[str], list[str]]:
    """Registers the accounts that a destination holds and no setting names, so that they are read.

    Returns these accounts, and datasets of ours whose vendor is not known.
    """
    here = target.backend.datasets(reader)
    unknown = take_in(here, reader)
    return [name for name in left_accounts() if name in here], unknown


def take_in_stored(target: Target) -> None:
    """Does as `take_in_left` for a command that has not opened its destination; nothing where it cannot be read."""
    with suppress(GaplessError), reading(target) as reader:
        take_in_left(reader, target)


def take_in_new(reader: Reader, looked_at: set[str]) -> bool:
    """Registers accounts whose datasets came since, for a process that runs on; returns whether there were any.

    The settings are read once more first, as they may name them by now. Adds the datasets to `looked_at`, so that
    those of no known vendor cost nothing later.
    """
    fresh = set(unnamed(datasets(reader))) - looked_at
    looked_at |= fresh
    if fresh:
        with _READING:
            reread()
            take_in(datasets(reader), reader)
    return bool(fresh)


def left_sentence(name: str, destination: str = "duckdb") -> str:
    """Returns what it means that no setting names a dataset, and what ends it."""
    known = SOURCES.get(name)
    back = f'[accounts] {name} = "{known.vendor}"' if known else "in [accounts] or [gapless] sources"
    stay = "its rows stay, and nothing new comes" if known else "no view has its rows, and nothing new comes"
    what = f"its tables are here and the settings do not name it: {stay}"
    end = f"`{Commands(known, destination).typed(f'state drop {name}')}` deletes it" if known else "drop its schema"
    return f"{name}: {what}. Put it back ({back}), or {end}"
