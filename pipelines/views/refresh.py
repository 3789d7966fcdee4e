"""Creates the views of the schema `activity`, from the files in sql/ and in each source's folder views/.

After a sync they are created again only if a file (of this folder, of a source) or the set of tables changed, or if a
view is missing. A sync does not fail if its views fail, because no data depends on them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from hashlib import blake2b
from pathlib import Path

import gapless.sources as home
from gapless.pipelines.destinations._catalogs import left
from gapless.pipelines.destinations.reader import require_known_layouts
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, WrongSettings, explain
from gapless.pipelines.printable import command
from gapless.pipelines.views.catalog import SCHEMA, Catalog, StoredIn, table_of
from gapless.pipelines.views.comments import describe, is_described
from gapless.pipelines.views.dlt_catalog import opened
from gapless.pipelines.views.expand import expand, of_account, of_accounts, part_of
from gapless.pipelines.views.indexes import make_indexes
from gapless.pipelines.views.models import model_columns
from gapless.pipelines.views.view import MARK, View
from gapless.sources import SOURCES, Source, vendors

FILES = Path(__file__).parent / "sql"
HOME = Path(str(home.__file__)).parent
DEFAULTS = {"timeline": "stg", "ocsf": "ocsf"}
"""A source's parts of views over all of them, with what begins the name of the view that each becomes.

A source that has no file for one gets what `default_….sql` says.
"""
TAKEN = re.compile(r'"(\w+)" is not a view|Existing object "?(\w+)"? is of type')
"""What Postgres and DuckDB say of a table, a foreign table or a materialized view in the place of a view."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ViewCount:
    """How many rows a view has."""

    name: str
    grain: str
    rows: int


def views(catalog: Catalog | None = None) -> tuple[View, ...]:
    """Returns the views over the registered sources, each after those that it reads.

    Of accounts with a name of their own only those that the catalog holds: there may be hundreds.
    """
    return _views(tuple(SOURCES[name] for name in _chosen(catalog)))


def _chosen(catalog: Catalog | None) -> list[str]:
    named = {f"{name}.coverage": name for name, source in SOURCES.items() if source.is_named}
    here = catalog.existing(named) if catalog and named else set(named)
    return [name for name in SOURCES if name not in named.values() or f"{name}.coverage" in here]


@cache
def _views(sources: tuple[Source, ...]) -> tuple[View, ...]:
    texts = {}
    for source in sources:
        for part, prefix in DEFAULTS.items():
            template = Path(__file__).with_name(f"default_{part}.sql").read_text(encoding="utf-8")
            texts[f"{prefix}_{source.name}"] = part_of(source, template)
        for file in source.views:
            text = file.read_text(encoding="utf-8")
            if file.stem in DEFAULTS:
                texts[f"{DEFAULTS[file.stem]}_{source.name}"] = of_account(text, source)
            else:
                texts[file.stem] = of_accounts(text, [one for one in sources if one.package == source.package])
    timelines = {source.name: texts[f"stg_{source.name}"] for source in sources}
    for file in sorted(FILES.glob("*.sql")):
        texts[file.stem] = expand(file.read_text(encoding="utf-8"), sources, timelines)
    parts = {f"{prefix}_{source.name}": part for source in sources for part, prefix in DEFAULTS.items()}
    named = {name: View(name, text, parts.get(name, "")) for name, text in texts.items()}
    needs = {name: sorted(read.removeprefix(f"{SCHEMA}.") for read in view.reads) for name, view in named.items()}
    # In this order each view is created after those that it reads.
    return tuple(named[name] for name in TopologicalSorter(needs).static_order() if name in named)


def refresh(target: Target, folder: Path) -> None:
    """Creates outdated views after a sync, while the lock is held. Logs an error instead of raising it."""
    try:
        with opened(target, folder) as catalog:
            make(catalog)
    # The destination can have no views, which is no fault of this sync.
    except WrongSettings as error:
        _log.info("%s", error)
        _remember(target)
    except Exception as error:
        _log.warning("%s", _failed(error, target))


def without(target: Target, folder: Path, dropped: str) -> None:
    """Makes the views without a dataset that was dropped on purpose, so that nobody misses it. Raises nothing."""
    try:
        with opened(target, folder) as catalog:
            if catalog.existing({f"{SCHEMA}.{MARK}"}) or catalog.existing({f"{name}.coverage" for name in SOURCES}):
                make(catalog, anew=True, dropped=dropped)
    except WrongSettings as error:  # there are no views
        _log.info("%s", error)
        _remember(target, dropped)
    except Exception as error:
        _log.warning("%s", _failed(error, target))


def _remember(target: Target, dropped: str = "") -> None:
    """Has a destination without views remember its sources. Logs an error instead of raising it."""
    try:
        target.backend.remember(dropped)
    except Exception as error:
        _log.warning("%s", explain(error))


def listed(target: Target) -> list[ViewCount] | None:
    """Creates all views and counts their rows; None if nothing was synced yet. Raises Locked, GaplessError."""
    if target.file and not target.backend.exists():
        return None
    # Under the lock: DuckDB has one writer, and two that replace a view at once fail in Postgres.
    with target.locked() as folder:
        require_known_layouts(target)
        try:
            with opened(target, folder) as catalog:
                make(catalog, anew=True)
                return list(_count_rows(catalog))
        except GaplessError:
            raise
        except Exception as error:
            raise GaplessError(_failed(error, target)) from error


def make(catalog: Catalog, anew: bool = False, dropped: str = "") -> None:
    """Creates the views over existing tables, unless they are up to date; `anew` creates them anyway.

    A source that was `dropped` on purpose is not remembered. Then it sets the comments that tables, columns and views
    lack.
    """
    _take_in_left(catalog)
    if anew or not _are_current(catalog):
        _create(catalog, views(catalog), dropped)
    elif is_described(catalog):
        return
    describe(catalog, views(catalog))


def _take_in_left(catalog: Catalog) -> None:
    """Registers the accounts that are here and that no setting names: else their rows would leave the views."""
    if catalog.dialect in ("duckdb", "postgres"):
        stored = StoredIn(catalog)
        left.take_in(left.datasets(stored), stored)


def _create(catalog: Catalog, every: tuple[View, ...], dropped: str) -> None:
    names = [view.name for view in every]
    reads = set[str]().union(*(view.reads for view in every))
    own = {f"{SCHEMA}.{name}" for name in (*names, MARK)}
    existing = catalog.existing(reads | own)
    missing = reads - existing - own
    there = reads & existing - own
    words = set(re.findall(r"\w+", " ".join(view.query for view in every)))
    lacking = model_columns(there) - catalog.columns(there)
    missing |= {name for name in lacking if name.rpartition(".")[2] in words}
    # A dataset that somebody drops is missed by its name here.
    synced = {name for name in SOURCES if f"{name}.coverage" in existing}
    synced |= _remembered(catalog, own <= existing) - {dropped}
    cells = {
        "mark": _mark(missing, _chosen(catalog)),
        "sources": " ".join(sorted(synced)),
        "needs": " ".join(sorted(reads | own | missing)),
    }
    made_from = {MARK: "select " + ", ".join(f"'{text}' as {name}" for name, text in cells.items())}
    make_indexes(catalog, existing)
    catalog.create({**{view.name: view.query for view in every}, **made_from}, missing)


def _are_current(catalog: Catalog) -> bool:
    """Returns whether the views are those that would be made; no source is imported for it."""
    if not catalog.existing({f"{SCHEMA}.{MARK}"}):
        return False
    try:
        needs = set(str(catalog.value(MARK, "needs")).split())
    except Exception:  # an older version made them
        return False
    return bool(catalog.value(MARK, "mark") == _mark(_missing(catalog, needs), _chosen(catalog)))


def _missing(catalog: Catalog, needs: set[str]) -> set[str]:
    """Returns which tables and columns of these are not there; columns are among them only if they once were not."""
    columns = {name for name in needs if name.count(".") > 1}
    tables = needs - columns
    found = catalog.columns({table_of(name) for name in columns}) if columns else set()
    return (tables - catalog.existing(tables)) | (columns - found)


def _remembered(catalog: Catalog, made: bool) -> set[str]:
    """Returns the sources that the views remember as synced; none where an older version made them."""
    try:
        return set(str(catalog.value(MARK, "sources")).split()) if made else set()
    except Exception:
        return set()


def _mark(missing: set[str], chosen: list[str]) -> str:
    """Returns a digest of all files that the views are made from, of the sources, and of the tables that are missing.

    A view is made without a missing table, and anew as soon as it is there.
    """
    hashed = blake2b(digest_size=16)
    folders = [(FILES, "*.sql"), (Path(__file__).parent, "*")]
    # What the ledger and dlt's columns are said to be.
    folders += [
        (HOME / "_ledger", "ledger.py"),
        (HOME / "_ledger" / "erasure", "*.py"),
        (HOME / "_dlt", "tables.py"),
        (HOME / "_extract", "hints.py"),
        (HOME / "_schema", "layout.py"),
    ]
    # A source's models decide the columns of a missing table, and its declaration the timeline.
    folders += [(source.folder, pattern) for source in vendors().values() for pattern in ("*.py", "views/*.sql")]
    for file in (file for folder, pattern in folders for file in sorted(folder.glob(pattern)) if file.is_file()):
        hashed.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    for text in (*chosen, *sorted(missing)):
        hashed.update(text.encode() + b"\0")
    return hashed.hexdigest()


def _count_rows(catalog: Catalog) -> Iterator[ViewCount]:
    for view in sorted(views(catalog), key=lambda view: view.name):
        yield ViewCount(view.name, view.grain, int(str(catalog.value(view.name, "count(*)"))))


def _failed(error: Exception, target: Target) -> str:
    """Returns the message for views that could not be created."""
    from gapless.pipelines.errors import root_cause

    found = TAKEN.search(str(root_cause(error)))
    name = found and f"{SCHEMA}.{found[1] or found[2]}"
    why = f"{name} is no view, and has the name of one: rename it, or drop it" if name else explain(error)
    return (
        f"the views in the schema {SCHEMA} could not be made: {why}. The data are complete without them;"
        f" when that is mended, {command(target.destination, 'views')} makes them"
    )
