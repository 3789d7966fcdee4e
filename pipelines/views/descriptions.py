"""Says in words what a database holds: each table, column and view.

No description is written here, but of what every view has: those of tables come from the models, the ledger and
dlt's door, those of views from the headers of their files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from gapless.pipelines.views.catalog import SCHEMA
from gapless.pipelines.views.view import MARK, View
from gapless.sources import SOURCES, Source

Columns = Mapping[str, str]
"""What each column holds; under the empty name, what the table does."""
COMMON = {
    "source": "The vendor.",
    "account": "Name of the account: the vendor's own, or one of `[accounts]`.",
}
"""Columns of views that need no line in a header."""
NOTES: Mapping[str, Columns] = {
    MARK: {
        "": "What the other views were made from; gapless makes them anew when that changes.",
        "mark": "Digest of the files of the views and sources, and of the tables that were missing.",
        "sources": "The sources that were synced when the views were made.",
        "needs": "The tables and views that they read and are.",
    },
    "_published": {
        "": "One row, in a published copy only: when it was made.",
        "published_at": "When the copy was published.",
    },
}
"""What gapless keeps in the schema of the views for itself."""


class Descriptions:
    """Describes the tables of every registered source, and these views."""

    def __init__(self, views: Iterable[View]) -> None:
        self.views = {view.name: view for view in views}

    def of(self, dataset: str, name: str, column: str = "") -> str:
        """Returns what a column holds, without one what the table or view does; empty for what is not ours."""
        if dataset != SCHEMA:
            return tables(SOURCES[dataset]).get(name, {}).get(column, "") if dataset in SOURCES else ""
        if name not in self.views:
            return NOTES.get(name, {}).get(column, "")
        view = self.views[name]
        return self._of_view(view, column) if column else view.about

    def _of_view(self, view: View, column: str) -> str:
        like = self.views[view.like].columns if view.like else {}
        known = {**COMMON, **like, **view.columns}
        if column in known:
            return known[column]
        # A column that is passed on keeps its name and its meaning.
        passed = (self.of(dataset, name, column) for dataset, _, name in (read.partition(".") for read in view.reads))
        return next(filter(None, passed), "")


@cache
def tables(source: Source) -> dict[str, Columns]:
    """Returns the tables of a source's dataset, the vendor's first, then the ledger's, then dlt's own."""
    from gapless.sources._dlt.tables import DESCRIPTIONS
    from gapless.sources._extract.hints import DESCRIPTIONS as KEYS
    from gapless.sources._extract.hints import columns, shapes
    from gapless.sources._ledger.erasure.tombstones import DESCRIPTIONS as ERASURES
    from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RUNS
    from gapless.sources._ledger.ledger import DESCRIPTIONS as LOSSES
    from gapless.sources._schema.layout import DESCRIPTIONS as LAYOUT

    every = shapes((*source.tables, COVERAGE, DEAD_LETTERS, RUNS))
    made: dict[str, Columns] = {}
    for shape in every:
        texts = {name: str(hint.get("description", "")) for name, hint in columns(shape).items()}
        made[shape.name] = {"": shape.description, **texts}
    return {
        **made,
        **ERASURES,
        **LOSSES,
        **LAYOUT,
        **{name: {**KEYS, **texts} for name, texts in DESCRIPTIONS.items()},
    }
