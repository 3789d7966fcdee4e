"""Reads which sources a destination once held: the views remember it, also when somebody dropped a whole dataset."""

from __future__ import annotations

from gapless.pipelines.destinations.reader import Reader

VIEWS, MARK = "activity", "_made"
"""The dataset of the views, and the view that holds what the others were made from."""


def once_synced(reader: Reader) -> set[str]:
    """Returns the sources that were synced when the views were last made; none where there are no views."""
    # An older version made a view without this column.
    if "sources" not in reader.columns(VIEWS, [MARK]).get(MARK, ()):
        return set()
    found = reader.rows(VIEWS, "select sources from {0}", MARK)
    return set(found[0][0].split()) if found and found[0][0] else set()
