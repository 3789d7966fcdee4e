"""What the DuckDB file holds, into another destination: all of it once, then what is new. No vendor is asked.

A load of the file is the unit. Its rows go over as columns, with the ledger's and, at the end, the source's state, so
that a sync into the copy goes on where the file stands. The last load that went over is noted in the copy's state, in
the same package as its rows. Rows of a load that never completed are left to the sync that reads them again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc

from gapless.pipelines.destinations.reader import DuckdbReader
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, WrongSettings, explain, interrupted, root_cause
from gapless.pipelines.ledger.state import restored
from gapless.pipelines.outcome import Outcome
from gapless.pipelines.sync.run import count
from gapless.sources import SOURCES, Source
from gapless.sources._dlt.tables import LOAD_ID, LOADS, completed_loads
from gapless.sources._extract.resource import shapes, table_resource
from gapless.sources._extract.write_strategy import Arrows
from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RUNS, DeadLetter, Ledger
from gapless.sources._ledger.package import Package
from gapless.sources._ledger.session import Failure
from gapless.sources._schema.arrow import Batch, Table, digest
from gapless.sources._schema.columns import TableSchema
from gapless.sources._schema.destination_limits import StorageCheck, no_limits, storage_check
from gapless.sources._schema.privacy import Privacy

Tree = list[tuple[TableSchema, pa.Table]]
TOGETHER = 50_000
"""Rows that make a package full; a load of the file is never split."""
NOT_COPIED = "not copied: "
SUSPICIOUS = r"\\u0000|[eE][+-]?\d{5}|\d{1000}"
"""In JSON: worth a closer look. A NUL in a text is one by itself."""


def copy(names: list[str], here: Target, there: Target, begin: Callable[[str], None]) -> Iterator[Outcome]:
    """Copies `names`, or all that the file holds, and yields each outcome; `begin` is told of each before.

    Raises WrongSettings for a place that is no DuckDB file or the same, Locked while a sync writes to one of them.
    """
    if here.file is None:
        raise WrongSettings(f"gapless copy reads a DuckDB file, and {here.destination!r} is none.")
    if here.identity == there.identity:
        raise WrongSettings(f"{here.file} cannot be copied to itself; name another destination with --to.")
    if not here.file.exists():
        raise WrongSettings(f"there is no {here.file} to copy: gapless sync makes it.")
    with here.lock(), here.queried() as db, there.locked() as folder:
        for name in names or [name for name in SOURCES if _holds(db, name)]:
            begin(name)
            yield _copied(SOURCES[name], db, there, str(folder))
        from gapless.pipelines.views import refresh

        refresh.refresh(there, folder)


def _holds(db: Any, dataset: str) -> bool:
    found = "select 1 from duckdb_tables() where schema_name = ? and table_name = ?"
    return bool(db.execute(found, [dataset, LOADS]).fetchone())


def _copied(source: Source, db: Any, there: Target, folder: str) -> Outcome:
    outcome = Outcome(source.name, started_at=datetime.now(UTC))
    file = _File(source, db, _policy(source))
    pipeline = dlt.pipeline(
        source.name, pipelines_dir=folder, destination=there.dlt_destination, dataset_name=source.name
    )
    try:
        if not _holds(db, source.name):
            raise GaplessError(
                f"{source.name} was never synced into the file, so there is nothing to copy:"
                f" gapless sync {source.name}"
            )
        while not file.done:
            there.check()
            pipeline.run(file.dlt_source(), loader_file_format=there.file_format)
            count(outcome, pipeline)
        file.settle(pipeline)
        outcome.failures = file.failures
        outcome.outcome = "partial" if file.failures else "complete"
    except Exception as error:
        if interrupted(error):
            raise KeyboardInterrupt from None
        outcome.error, outcome.error_kind = explain(error), type(root_cause(error)).__name__
    finally:
        outcome.finished_at = datetime.now(UTC)
        pipeline.deactivate()
    return outcome


def _policy(source: Source) -> Privacy:
    name, setting = source.name, f"{source.name}_privacy"
    places = (f"sources.{name}.", "sources.", "")
    text = next(filter(None, (dlt.config.get(f"{target}{setting}") for target in places)), None)
    key = next(filter(None, (dlt.secrets.get(f"{target}gapless_hash_key") for target in places)), None)
    try:
        return Privacy.parse(text, key, [*shapes(source.tables)], setting.upper())
    except ValueError as error:
        raise WrongSettings(f"{name}: {error}") from None


@dataclass
class _File:
    """One dataset of the file, package by package."""

    source: Source
    db: Any
    privacy: Privacy
    done: bool = False
    failures: list[Failure] = field(default_factory=list)
    _todo: list[list[str]] | None = None
    """Loads, by package."""
    _refused_before: dict[str, DeadLetter] = field(default_factory=dict)
    """Letters of the copy alone, by their `_dlt_id`."""
    _mended: set[str] = field(default_factory=set)
    """Those of them whose record could be copied now."""

    def dlt_source(self) -> Any:
        def resource() -> Any:
            return table_resource(self.source.main, self._bring)

        return dlt.source(resource, name=self.source.name)()

    def _bring(self, state: dict[str, Any]) -> Iterator[tuple[Table, Arrows]]:
        copied = dlt.current.source_state().setdefault("copied", {})
        if self._todo is None:
            self._begin(copied.get("load"))
        assert self._todo
        loads = self._todo.pop(0)
        self.done = not self._todo
        refuse = storage_check(dlt.current.pipeline().destination.destination_type)
        refused = Package()
        for table in self.source.tables:
            yield table, self._storable(table, self._private(self._tree(table, loads)), refuse, refused)
        yield COVERAGE, self._tree(COVERAGE, loads)
        yield DEAD_LETTERS, self._private(self._letters(loads, refused))
        yield RUNS, self._runs()
        if loads:
            copied["load"] = loads[-1]
        if self.done:
            state.clear()
            state.update(restored(DuckdbReader(self.db), self.source) or {})

    def _private(self, tree: Arrows) -> Tree:
        """As the policy of today has it: the file may have been written under another one."""
        return [(shape, self.privacy.apply(shape, arrow, keep_hashes=True)) for shape, arrow in tree]

    def _begin(self, last: str | None) -> None:
        """What to copy: completed loads after `last`, as they came; all of them when it is none of this file."""
        completed = completed_loads(f"{self.source.name}.{LOADS}") + " order by rowid"
        loads = [load for (load,) in self.db.execute(completed).fetchall()]
        todo = loads[loads.index(last) + 1 :] if last in loads else loads
        if any(not load for _, load, _ in Ledger().select(RUNS.name, ["run_id", LOAD_ID])):
            raise GaplessError(
                "the copy has been synced by itself since, and knows more than the file: go on with gapless sync"
                f" {self.source.name} --destination NAME, or copy into an empty database"
            )
        self._todo = list(_packages(todo, self._sizes()))
        for table in self.source.tables:
            letters = [one for one in Ledger().dead_letters(table.name) if one.reason.startswith(NOT_COPIED)]
            self._refused_before |= {_id(letter): letter for letter in letters}

    def _sizes(self) -> dict[str, int]:
        tables = [f"from {self.source.name}.{shape.name}" for shape in shapes((*self.source.tables, COVERAGE))]
        every = " union all ".join(f"select {LOAD_ID} as load {table}" for table in tables)
        return dict(self.db.execute(f"select load, count(*) from ({every}) group by load").fetchall())

    def _tree(self, table: Table, loads: list[str]) -> Iterator[tuple[TableSchema, pa.Table]]:
        for shape in table.schema.tree():
            yield shape, self._rows(shape, "_dlt_load_id in (select unnest(?::varchar[]))", loads)

    def _rows(self, shape: TableSchema, condition: str, value: Any) -> pa.Table:
        """As the model has it: a column that the file lacks, being of an older version, is null."""
        described = f"select column_name from (describe {self.source.name}.{shape.name})"
        there = {name for (name,) in self.db.execute(described).fetchall()}
        cells = {name: f'"{name}"' if name in there else "null" for name in shape.arrow_schema.names}
        cells |= {c.name: f"{cells[c.name]}::varchar" for c in shape.columns if c.data_type == "json"}
        select = ", ".join(f'{cell} as "{name}"' for name, cell in cells.items())
        query = f"select {select} from {self.source.name}.{shape.name} where {condition}"
        return self.db.execute(query, [value]).to_arrow_table().cast(shape.arrow_schema)

    def _storable(self, table: Table, tree: Tree, refuse: StorageCheck, refused: Package) -> Tree:
        """Without the records that the destination cannot store; they become letters."""
        bad = _unstorable(tree, refuse)
        ((_, root), *_) = tree
        if bad or self._refused_before:
            for row in root.select([table.key[0], "_dlt_id"]).to_pylist():
                self._note(table, str(row[table.key[0]]), bad.get(row["_dlt_id"]), refused)
        kept = [(shape, arrow.column("_dlt_root_id" if shape.parent else "_dlt_id"), arrow) for shape, arrow in tree]
        ids = pa.array(list(bad), pa.string())
        return [(shape, arrow.filter(pc.invert(pc.is_in(owner, value_set=ids)))) for shape, owner, arrow in kept]

    def _note(self, table: Table, key: str, reason: str | None, refused: Package) -> None:
        now = datetime.now(UTC)
        letter = DeadLetter(
            stream=table.name,
            kind="record",
            key=key,
            reason=f"{NOT_COPIED}{reason}",
            first_seen_at=now,
            last_seen_at=now,
        )
        before = self._refused_before.get(_id(letter))
        if reason is None:
            self._mended |= {_id(letter)} if before else set()
            return
        if before:
            letter.first_seen_at, letter.attempts = before.first_seen_at, before.attempts + 1
        refused.add(Batch(DEAD_LETTERS, [letter]))
        self.failures.append(Failure(letter.reason, table.name, "record", key))

    def _letters(self, loads: list[str], refused: Package) -> Tree:
        """The file's, and the copy's own of records that have none there."""
        ((shape, theirs),), ((_, own),) = self._tree(DEAD_LETTERS, loads), refused.tables(DEAD_LETTERS)
        double = pc.is_in(own.column("_dlt_id"), value_set=theirs.column("_dlt_id"))
        return [(shape, pa.concat_tables([theirs, own.filter(pc.invert(double))]))]

    def _runs(self) -> Tree:
        """With the last package, those that the copy lacks. What the tables held then is told of the file alone."""
        known = [run for run, _ in Ledger().select(RUNS.name, ["run_id"])]
        runs = self._rows(RUNS.schema, "not list_contains(?::varchar[], run_id)", known)
        runs = runs if self.done else runs.slice(0, 0)
        at = runs.schema.get_field_index("held")
        return [(RUNS.schema, runs.set_column(at, runs.schema.field(at), pa.nulls(runs.num_rows, pa.string())))]

    def settle(self, pipeline: Any) -> None:
        """Letters that are not in the file any more go, but for those of the copy alone that are not mended."""
        here = {one for (one,) in self.db.execute(f"select _dlt_id from {self.source.name}.dead_letters").fetchall()}
        with pipeline.sql_client() as client:
            letters = client.make_qualified_table_name("dead_letters")
            for letter, reason in client.execute_sql(f"select _dlt_id, reason from {letters}"):
                if letter not in here and (letter in self._mended or not reason.startswith(NOT_COPIED)):
                    client.execute_sql(f"delete from {letters} where _dlt_id = %s", letter)


def _packages(loads: list[str], sizes: dict[str, int]) -> Iterator[list[str]]:
    """Loads that go together; at least one package, as runs are told without any."""
    package: list[str] = []
    rows = 0
    for load in loads:
        if package and rows + sizes.get(load, 0) > TOGETHER:
            yield package
            package, rows = [], 0
        package.append(load)
        rows += sizes.get(load, 0)
    yield package


def _unstorable(tree: Tree, refuse: StorageCheck) -> dict[str, str]:
    """Root rows by `_dlt_id` that the destination cannot store with all below them, each with the reason."""
    found: dict[str, str] = {}
    for shape, arrow in tree if refuse is not no_limits else []:
        owners = arrow.column("_dlt_root_id" if shape.parent else "_dlt_id")
        for column in shape.columns:
            if column.data_type not in ("text", "json"):
                continue
            cells, is_json = arrow.column(column.name), column.data_type == "json"
            looks = pc.match_substring_regex(cells, SUSPICIOUS) if is_json else pc.match_substring(cells, "\0")
            suspects = pa.table([owners, cells], names=["owner", "cell"]).filter(looks)
            for suspect in suspects.to_pylist():
                raw = suspect["cell"] if is_json else json.dumps(suspect["cell"])
                if reason := refuse(raw.encode()):
                    found[suspect["owner"]] = reason
    return found


def _id(letter: DeadLetter) -> str:
    """The `_dlt_id` of its row."""
    return digest(letter.stream, letter.kind, letter.key)
