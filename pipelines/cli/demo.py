"""The whole thing at work in a minute's time: simulated vendors on loopback, the real sync, no key, no network.

Nothing of the user's configuration is read and nothing of it is changed: while the demo runs, dlt knows only what
stands here.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from gapless.pipelines.cli import render
from gapless.pipelines.config import DLT_SETTINGS
from gapless.pipelines.destinations.duckdb_file import FileInUse, connect
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, WrongSettings
from gapless.pipelines.outcome import Outcome
from gapless.pipelines.sync.request import SyncRequest, Watch
from gapless.pipelines.sync.run import sync
from gapless.sources import SOURCES
from gapless.sources._http.testing import serve

FILE = "gapless-demo.duckdb"
MARK = "gapless_demo"
"""A table that only files of the demo have; it is made before anything else."""
MINUTES = 60.0
"""How much time passes between the two syncs."""
UNHURRIED = 600_000
"""Requests per minute: a simulated vendor has no rate limit to keep."""
QUERY = """\
select source, actor as who, action, count(*) as times, max(occurred_at) as latest
from activity.timeline
where actor is not null
group by all
order by times desc, source, who, action
limit 5"""


@dataclass
class DemoResult:
    """What the demo has to show: outcomes of both syncs, rows per table after each, and one query's answer."""

    file: Path
    first: list[Outcome] = field(default_factory=list)
    second: list[Outcome] = field(default_factory=list)
    tables: dict[str, list[int]] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    answer: list[list[Any]] = field(default_factory=list)


def run(file: Path, say: Callable[[str], None], watch: Watch, ended: Callable[[Outcome], None]) -> DemoResult:
    """Raises WrongSettings when `file` is there and not of an earlier demo, GaplessError when it is in use."""
    target = Target.of_file(file)
    _must_be_ours(file)
    with target.lock():
        _begin_anew(file)
    shown = DemoResult(file)
    with ExitStack() as stack:
        vendors = {name: source.fake.demo() for name, source in SOURCES.items()}
        urls = {name: stack.enter_context(serve(vendor.handle)) for name, vendor in vendors.items()}
        stack.enter_context(configuration(urls))
        say("First sync: everything that the simulated vendors have.")
        shown.first = _synced(target, watch, ended)
        _count(shown)
        say("An hour passes: new records, late ones, new parents, open ones that close. Second sync:")
        for vendor in vendors.values():
            vendor.advance(MINUTES)
        shown.second = _synced(target, watch, ended)
    _count(shown)
    _ask(shown)
    return shown


def _synced(target: Target, watch: Watch, ended: Callable[[Outcome], None]) -> list[Outcome]:
    outcomes = []
    for outcome in sync(list(SOURCES), target, SyncRequest(), watch):
        ended(outcome)
        outcomes.append(outcome)
    return outcomes


@contextmanager
def configuration(urls: dict[str, str]) -> Iterator[None]:
    """Makes the demo's settings dlt's whole configuration while the block runs; no proxy is asked for loopback."""
    from gapless.pipelines.destinations._dlt import config

    values: dict[tuple[str, ...], Any] = {
        tuple(setting.lower().split("__")): value for setting, value in DLT_SETTINGS.items()
    }
    for name, source in SOURCES.items():
        own = {**source.facts.demo, f"{name}_base_url": urls[name], f"{name}_requests_per_minute": UNHURRIED}
        values |= {("sources", name, key): value for key, value in own.items()}
    proxies = {name: os.environ.get(name) for name in ("NO_PROXY", "no_proxy")}
    with config.configuration(values):
        os.environ.update(dict.fromkeys(proxies, "127.0.0.1"))
        try:
            yield
        finally:
            for name, before in proxies.items():
                os.environ.pop(name) if before is None else os.environ.update({name: before})


def _must_be_ours(file: Path) -> None:
    if not file.parent.is_dir():
        raise WrongSettings(f"there is no folder {file.parent} to put {file.name} into.")
    if not file.exists():
        return
    try:
        with connect(file, read_only=True) as connection:
            ours = connection.execute("select 1 from duckdb_tables() where table_name = ?", [MARK]).fetchone()
    except FileInUse:
        raise GaplessError(f"{file} is open in another program; close it there.") from None
    except (duckdb.Error, OSError):
        ours = None
    if not ours:
        raise WrongSettings(f"{file} was not made by the demo, so it is left alone. Choose another: --file PATH")


def _begin_anew(file: Path) -> None:
    for old in (file, file.with_name(file.name + ".wal")):
        old.unlink(missing_ok=True)
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"create table {MARK} as select 'The next gapless demo replaces this file.' as note")


def _count(shown: DemoResult) -> None:
    with duckdb.connect(str(shown.file), read_only=True) as connection:
        for name, source in SOURCES.items():
            for table in source.tables:
                for shape in table.schema.tree():
                    found = connection.execute(f'select count(*) from "{name}"."{shape.name}"').fetchone()
                    shown.tables.setdefault(f"{name}.{shape.name}", []).append(found[0] if found else 0)


def _ask(shown: DemoResult) -> None:
    with duckdb.connect(str(shown.file), read_only=True) as connection:
        answer = connection.execute("set timezone = 'UTC'").execute(QUERY)
        shown.columns = [column[0] for column in answer.description or []]
        shown.answer = [list(row) for row in answer.fetchall()]


def told(shown: DemoResult) -> Iterator[Any]:
    """What is printed in the end: the tables, the query and its answer, and what to do next."""
    rows = [[name, *counts, counts[-1] - counts[0]] for name, counts in shown.tables.items()]
    yield render.table("", ["table", "first sync", "second sync", "new"], rows)
    yield f"\nA question, in SQL: who did what most?\n\n{QUERY}\n"
    yield render.table("", shown.columns, [[*row[:-1], f"{row[-1]:%Y-%m-%d %H:%M}"] for row in shown.answer])
    yield f"\nAll of it is in {shown.file}. To look around:\n"
    yield f"  duckdb {shlex.quote(str(shown.file))}"
    script = f"import duckdb; print(duckdb.connect({str(shown.file)!r}).sql('from activity.timeline limit 5'))"
    yield f'  python -c "{script}"' if script.isprintable() and not set(script) & set('"$`\\!') else ""
    yield "\nWith your own keys: set those of one source in the environment or in .dlt/secrets.toml,\n"
    yield from (f"  {' '.join(need.upper() for need in source.needs)}" for source in SOURCES.values())
    yield "\nthen gapless doctor checks them and gapless sync brings your data."


def to_json(shown: DemoResult, code: int) -> dict[str, Any]:
    return {
        "exit_code": code,
        "file": str(shown.file),
        "first": [outcome.to_json() for outcome in shown.first],
        "second": [outcome.to_json() for outcome in shown.second],
        "tables": {name: {"first": counts[0], "second": counts[-1]} for name, counts in shown.tables.items()},
        "query": QUERY,
        "answer": [dict(zip(shown.columns, row, strict=True)) for row in shown.answer],
    }
