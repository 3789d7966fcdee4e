"""The demo: simulated vendors on loopback and the real sync, without keys and without network.

It reads and changes nothing of the user's configuration: while it runs, dlt sees only the settings made here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from rich.console import RenderableType

from gapless.pipelines.cli.render import tables
from gapless.pipelines.config import DLT_SETTINGS
from gapless.pipelines.destinations.duckdb_connections import connect
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.outcome import Outcome
from gapless.pipelines.printable import can_be_typed, escaped, quoted
from gapless.pipelines.sync.request import SyncRequest, Watch
from gapless.pipelines.sync.run import sync
from gapless.sources import Source, vendors
from gapless.sources._http.environment import is_network_setting
from gapless.sources._http.testing import serve

if TYPE_CHECKING:
    from gapless.sources._http.fake_vendor import FakeVendor

MARK = "gapless_demo"
"""A table that marks a file as the demo's; it is created before anything else."""
MINUTES = 60.0
"""Simulated minutes between the two syncs."""
NO_RATE_LIMIT = 600_000
"""Requests per minute; a simulated vendor has no limit to respect."""
QUERY = """\
select source, actor as who, action, count(*) as times, max(occurred_at) as latest
from activity.timeline
where actor is not null
group by all
order by times desc, source, who, action
limit 5"""


@dataclass
class DemoResult:
    """The outcomes of both syncs, the rows of each table after each, and the answer to one query."""

    file: Path
    first: list[Outcome] = field(default_factory=list)
    second: list[Outcome] = field(default_factory=list)
    tables: dict[str, list[int]] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    answer: list[list[object]] = field(default_factory=list)


def run(
    file: Path, now: datetime, message: Callable[[str], None], start: Watch, end: Callable[[Outcome], None]
) -> DemoResult:
    """Runs the demo into `file`; calls `message` before and `start` and `end` around each sync of a source.

    `now` is the simulated time of the second sync: no record is newer.

    Raises WrongSettings if another program made `file`, Locked if it is in use.
    """
    target = Target.of_file(file)
    target.backend.check()
    # Before the lock, which makes a file of its own beside this one.
    _require_demo_file(file)
    with target.lock():  # another demo into the same file must not lose its data
        _create_file(file)
    result = DemoResult(file)
    with ExitStack() as stack:
        fakes = {name: _fake(source, now - timedelta(minutes=MINUTES)) for name, source in vendors().items()}
        urls = {name: stack.enter_context(serve(fake.handle)) for name, fake in fakes.items()}
        stack.enter_context(configuration(urls))
        message("First sync: everything that the simulated vendors have.")
        result.first = _sync(target, start, end)
        _count_rows(result)
        message(
            "One simulated hour later: new records, late records, new parents, records that changed. Second sync:"
        )
        for fake in fakes.values():
            fake.advance(MINUTES)
        result.second = _sync(target, start, end)
    _count_rows(result)
    _run_query(result)
    return result


def _fake(source: Source, start: datetime) -> FakeVendor:
    """Returns the simulated vendor with records from before `start`."""
    demo = source.fake.demo
    # A package of a user's own may be older than the parameter.
    return demo(now=start) if "now" in signature(demo).parameters else demo()


def _sync(target: Target, start: Watch, end: Callable[[Outcome], None]) -> list[Outcome]:
    """Syncs all sources once."""
    outcomes = []
    for outcome in sync(list(vendors()), target, SyncRequest(), start):
        end(outcome)
        outcomes.append(outcome)
    return outcomes


@contextmanager
def configuration(urls: dict[str, str]) -> Iterator[None]:
    """Replaces dlt's whole configuration while the block runs; proxies and certificates are set aside."""
    from gapless.pipelines.destinations._dlt import config

    values: dict[tuple[str, ...], object] = {
        tuple(setting.lower().split("__")): value for setting, value in DLT_SETTINGS.items()
    }
    for name, source in vendors().items():
        own = {**source.facts.demo, f"{name}_base_url": urls[name], f"{name}_requests_per_minute": NO_RATE_LIMIT}
        # Under the source's own section, where dlt looks first.
        values |= {("sources", name, key): value for key, value in own.items()}
    # A proxy of the company cannot reach this machine's loopback, and no certificate is needed there.
    aside = {name: os.environ.pop(name) for name in [*os.environ] if is_network_setting(name)}
    with config.configuration(values):
        os.environ["NO_PROXY"] = "*"  # macOS has proxies in its settings, too
        try:
            yield
        finally:
            del os.environ["NO_PROXY"]
            os.environ.update(aside)


def _require_demo_file(file: Path) -> None:
    """Raises WrongSettings unless `file` is free or an earlier demo's, InUse when somebody writes to it."""
    if not file.parent.is_dir():
        raise WrongSettings(f"there is no folder {file.parent} to put {file.name} into.")
    if not file.exists():
        return
    try:
        with connect(file, read_only=True) as connection:
            ours = connection.execute("select 1 from duckdb_tables() where table_name = ?", [MARK]).fetchone()
    except (duckdb.Error, OSError):
        ours = None
    if not ours:
        raise WrongSettings(f"{file} is not a file of the demo, so it is not replaced. Choose another: --file PATH")


def _create_file(file: Path) -> None:
    """Replaces `file` by an empty database with the mark in it."""
    # A write-ahead log that is left over would be replayed into the new file.
    for old in (file, file.with_name(file.name + ".wal")):
        old.unlink(missing_ok=True)
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"create table {MARK} as select 'The next gapless demo replaces this file.' as note")


def _count_rows(result: DemoResult) -> None:
    """Adds the current row count of each table to `result.tables`."""
    with duckdb.connect(str(result.file), read_only=True) as connection:
        for name, source in vendors().items():
            for table in source.tables:
                for shape in table.schema.tree():
                    found = connection.execute(f'select count(*) from "{name}"."{shape.name}"').fetchone()
                    result.tables.setdefault(f"{name}.{shape.name}", []).append(found[0] if found else 0)


def _run_query(result: DemoResult) -> None:
    """Puts the answer to QUERY into `result`; times are UTC on every machine."""
    with duckdb.connect(str(result.file), read_only=True) as connection:
        answer = connection.execute("set timezone = 'UTC'").execute(QUERY)
        result.columns = [column[0] for column in answer.description or []]
        result.answer = [list(row) for row in answer.fetchall()]


def summary(result: DemoResult) -> Iterator[RenderableType]:
    """Yields what is printed at the end: records and parents, the query and its answer, and the next steps."""
    roots = {f"{name}.{table.name}" for name, source in vendors().items() for table in source.tables}
    shown = {name: counts for name, counts in result.tables.items() if name in roots}
    rows = [[name, *counts, counts[-1] - counts[0]] for name, counts in shown.items()]
    yield tables.table("", ["table", "first sync", "second sync", "new"], rows)
    if below := len(result.tables) - len(shown):
        yield f"and {below} {'table' if below == 1 else 'tables'} of what is nested in these"
    yield from ("", "A question, in SQL: who did what most?", "", *QUERY.splitlines(), "")
    yield tables.table("", result.columns, [[*row[:-1], f"{row[-1]:%Y-%m-%d %H:%M}"] for row in result.answer])
    path = _short(result.file)
    yield from ("", f"Everything is in {path}. To look at it:", "")
    if can_be_typed(path):
        yield f"  duckdb -readonly {quoted(path)}"
    db = f"duckdb.connect({path!r}, read_only=True)"
    script = f"import duckdb; print({db}.sql('from activity.timeline limit 5'))"
    # Only where the path needs no quoting in any shell: a wrong command is worse than none.
    yield f'  python -c "{script}"' if escaped(path) == path and not set(script) & set('"$`\\!') else ""
    yield from (
        "",
        "With your own keys: gapless init asks for them and tests them, and gapless sync loads your data.",
    )


def _short(file: Path) -> str:
    """Returns the path from the working directory, if the file is in it or below it."""
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)


def to_json(result: DemoResult) -> dict[str, object]:
    """Returns the document of `demo --json`."""
    return {
        "file": str(result.file),
        "first": [outcome.to_json() for outcome in result.first],
        "second": [outcome.to_json() for outcome in result.second],
        "tables": {name: {"first": counts[0], "second": counts[-1]} for name, counts in result.tables.items()},
        "query": QUERY,
        "answer": [dict(zip(result.columns, row, strict=True)) for row in result.answer],
    }
