"""The schema `activity`: views over all sources that are there, made of the files in sql/ and in
each source's own folder views/, one each.

After a sync they are made anew only when they must be: another file, another rule of dialect.py, a table that
came or went, a view that is not there. No data depend on them, so that a sync whose views fail has not failed.
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

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, WrongSettings
from gapless.pipelines.views.catalog import SCHEMA, Catalog, opened
from gapless.pipelines.views.expand import expanded, timeline_of
from gapless.sources import SOURCES, Source

FILES = Path(__file__).parent / "sql"
DEFAULT_TIMELINE = Path(__file__).with_name("default_timeline.sql")
RULES = Path(__file__).with_name("dialect.py")
MARK = "_made"
"""A view that tells of what the others were made."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class View:
    name: str
    query: str
    """In DuckDB's SQL, with the header."""

    @property
    def grain(self) -> str:
        """What it has one row for, as its header says."""
        (said,) = re.findall(r"^-- One row per (.*)\.$", self.query, re.MULTILINE)
        return str(said)

    @property
    def key(self) -> list[str]:
        (said,) = re.findall(r"^-- Key: (.*)\.$", self.query, re.MULTILINE)
        return str(said).split(", ")

    @property
    def reads(self) -> set[str]:
        """Tables and views (`dataset.name`)."""
        return set(re.findall(r"\b(?:from|join) (\w+\.\w+)", self.query))


@dataclass(frozen=True)
class ViewCount:
    name: str
    grain: str
    rows: int


def views() -> tuple[View, ...]:
    """Returns the views over the registered sources, each after those that it reads."""
    return _views(tuple(SOURCES.values()))


@cache
def _views(sources: tuple[Source, ...]) -> tuple[View, ...]:
    texts = {file.stem: expanded(file.read_text(encoding="utf-8"), sources) for file in sorted(FILES.glob("*.sql"))}
    for source in sources:
        texts[f"stg_{source.name}"] = timeline_of(source, DEFAULT_TIMELINE.read_text(encoding="utf-8"))
        for file in source.views:
            name = f"stg_{source.name}" if file.stem == "timeline" else file.stem
            texts[name] = file.read_text(encoding="utf-8")
    named = {name: View(name, text) for name, text in texts.items()}
    needs = {name: sorted(read.removeprefix(f"{SCHEMA}.") for read in view.reads) for name, view in named.items()}
    return tuple(named[name] for name in TopologicalSorter(needs).static_order() if name in named)


def refresh(target: Target, folder: Path) -> None:
    """After a sync, with the lock held. Raises nothing: what fails is a line on stderr."""
    try:
        with opened(target, folder) as catalog:
            make(catalog)
    except WrongSettings as error:
        _log.info("%s", error)
    except Exception as error:
        _log.warning("%s", _failed(error))


def listed(target: Target) -> list[ViewCount] | None:
    """Makes all of them and counts their rows; None when nothing was synced yet. Raises Locked, GaplessError."""
    if target.file and not target.file.exists():
        return None
    with target.locked() as folder:
        try:
            with opened(target, folder) as catalog:
                make(catalog, anew=True)
                return list(_counted(catalog))
        except GaplessError:
            raise
        except Exception as error:
            raise GaplessError(_failed(error)) from error


def make(catalog: Catalog, anew: bool = False) -> None:
    """Of the tables that are there, if that has not been done."""
    names = [view.name for view in views()]
    reads = set[str]().union(*(view.reads for view in views()))
    own = {f"{SCHEMA}.{name}" for name in (*names, MARK)}
    there = catalog.there(reads | own)
    missing = reads - there - own
    mark = _mark(missing)
    if anew or not own <= there or catalog.value(MARK, "mark") != mark:
        told = {MARK: f"select '{mark}' as mark"}
        catalog.make({**{view.name: view.query for view in views()}, **told}, missing)


def _mark(missing: set[str]) -> str:
    seen = blake2b(RULES.read_bytes(), digest_size=16)
    for text in (*(view.name + view.query for view in views()), *sorted(missing)):
        seen.update(text.encode() + b"\0")
    return seen.hexdigest()


def _counted(catalog: Catalog) -> Iterator[ViewCount]:
    for view in sorted(views(), key=lambda view: view.name):
        yield ViewCount(view.name, view.grain, int(catalog.value(view.name, "count(*)")))


def _failed(error: Exception) -> str:
    from gapless.pipelines.errors import explain

    return (
        f"the views in the schema {SCHEMA} could not be made: {explain(error)}. The data are complete without them;"
        " when that is mended, gapless views makes them"
    )
