"""Makes dbt's file of sources: every table and view with its descriptions, and when its data is late.

https://docs.getdbt.com/reference/source-properties; since dbt 1.10 `freshness` and `loaded_at_field` are configs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gapless.pipelines.errors import GaplessError, WrongSettings
from gapless.pipelines.views.catalog import SCHEMA
from gapless.pipelines.views.descriptions import Columns, Descriptions, tables
from gapless.pipelines.views.refresh import views
from gapless.pipelines.views.view import View
from gapless.sources import SOURCES
from gapless.sources._ledger.ledger import COVERAGE
from gapless.sources.facts import Facts

NAME = "sources.yml"
Properties = dict[str, Any]
"""A mapping of dbt's, as YAML has it: texts, lists and mappings."""
CHECKED = "last_checked_at"
"""Of the ledger: a vendor without anything new is fresh as long as it is asked."""


def write(path: Path, sources: Sequence[str], force: bool = False) -> Path:
    """Writes the file, into `path` where that is a folder; returns where it is.

    Raises WrongSettings for a file that is there already, unless `force`d, GaplessError if it cannot be written.
    """
    import yaml

    file = path / NAME if path.is_dir() or path.suffix not in (".yml", ".yaml") else path
    text = yaml.safe_dump(properties(sources), sort_keys=False, allow_unicode=True, width=110)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise WrongSettings(f"{file} is there already. Give --force to replace it, or another path.") from None
    except OSError as error:
        raise GaplessError(f"{file} cannot be written: {error.strerror}") from None
    return file


def properties(sources: Sequence[str]) -> Properties:
    """Returns what the file holds, of these sources and of the views."""
    return {"version": 2, "sources": [*(_source(name) for name in sources), _views()]}


def _source(name: str) -> Properties:
    source = SOURCES[name]
    about = f"Activity logs of {name}, loaded by gapless."
    every = [_table(table, texts) for table, texts in tables(source).items()]
    for one in every:
        if one["name"] == COVERAGE.name:
            one["config"] = {"loaded_at_field": CHECKED, "freshness": freshness(source.facts)}
    return {"name": name, "schema": name, "description": about, "loader": "gapless", "tables": every}


def freshness(facts: Facts) -> Properties:
    """Returns how old the newest check of a source may be, in dbt's words."""
    limits = {"warn_after": facts.warn_after_hours, "error_after": facts.fail_after_hours}
    return {name: _period(hours) for name, hours in limits.items()}


def _period(hours: float) -> Properties:
    # dbt takes whole numbers alone.
    if hours == int(hours):
        return {"count": int(hours), "period": "hour"}
    return {"count": max(1, round(hours * 60)), "period": "minute"}


def _views() -> Properties:
    words = Descriptions(every := views())
    made = [_table(view.name, _texts(words, view)) for view in every]
    about = "Views over all accounts, made by gapless after each sync."
    return {"name": SCHEMA, "schema": SCHEMA, "description": about, "loader": "gapless", "tables": made}


def _texts(words: Descriptions, view: View) -> Columns:
    return {name: words.of(SCHEMA, view.name, name) for name in ("", *view.column_names)}


def _table(name: str, texts: Columns) -> Properties:
    columns = [{"name": column, "description": text} for column, text in texts.items() if column]
    return {"name": name, "description": texts[""], "columns": columns}
