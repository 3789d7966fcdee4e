"""Reads one dataset of the DuckDB file as load packages for the copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dlt
import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from dlt.sources import DltResource, DltSource

from gapless.pipelines.destination_copy.account import accounts_of
from gapless.pipelines.destination_copy.erased import without_erased
from gapless.pipelines.destination_copy.storable import Tree, unstorable
from gapless.pipelines.destinations.backend import PACKAGE_BYTES
from gapless.pipelines.destinations.reader import DuckdbReader
from gapless.pipelines.errors import GaplessError
from gapless.pipelines.evidence.stored_state import resource_state, source_state
from gapless.sources import Source
from gapless.sources._dlt.tables import LOAD_ID, LOADS, ROOT_ID, ROW_ID, completed_loads
from gapless.sources._dlt.types import State
from gapless.sources._extract.resource import shapes, table_resource
from gapless.sources._extract.write_strategy import Arrows
from gapless.sources._ledger.backfill_state import STATE as BACKFILLS
from gapless.sources._ledger.dead_letters import NOT_COPIED, was_not_copied
from gapless.sources._ledger.erasure.tombstones import NOTHING_ERASED, Tombstones
from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RUNS, DeadLetter
from gapless.sources._ledger.package import Package
from gapless.sources._ledger.session import Failure
from gapless.sources._ledger.stored.reader import Ledger
from gapless.sources._schema.arrow import Batch, Table, digest
from gapless.sources._schema.columns import TableSchema
from gapless.sources._schema.destination_limits import StorageCheck, storage_check
from gapless.sources._schema.policy_history import note_copied
from gapless.sources._schema.privacy import Privacy

PACKAGE_ROWS = 50_000
"""Rows that make a package full; a load of the file is never split."""


@dataclass(frozen=True)
class Size:
    """How much one load of the file holds."""

    rows: int = 0
    bytes: int = 0
    """Of its texts and JSON."""
    largest: int = 0
    """Of those, in its widest row."""


@dataclass
class FileDataset:
    """One dataset of the file. Each extraction of its dlt source copies the next package."""

    source: Source
    db: duckdb.DuckDBPyConnection
    privacy: Privacy
    sync: str
    """The command that syncs the source into the copy."""
    packed: Callable[[int, int], None] = lambda size, largest: None
    """Called with the bytes of texts in a load package, and of its largest row, before it is loaded."""
    done: bool = False
    """Whether the last package was extracted."""
    failures: list[Failure] = field(default_factory=list)
    """Records that the destination cannot store."""
    erased: Tombstones = NOTHING_ERASED
    """What was erased in the file or in the copy."""
    _todo: list[list[str]] | None = None
    """Ids of the loads to copy, by package."""
    _sizes: dict[str, Size] = field(default_factory=dict)
    """By load."""
    _refused_before: dict[str, DeadLetter] = field(default_factory=dict)
    """Dead letters that only the copy has, by `_dlt_id`."""
    _stored: set[str] = field(default_factory=set)
    """Those whose record the destination could store now."""

    def dlt_source(self) -> DltSource:
        """Returns a dlt source with one resource."""

        def resource() -> DltResource:
            return table_resource(self.source.main, self._next_package, self.source.name)

        return dlt.source(resource, name=self.source.name)()

    def _next_package(self, state: State) -> Iterator[tuple[Table, Arrows]]:
        """Yields the next package as Arrow rows by table, the ledger's at the end."""
        kept = dlt.current.source_state()
        file = source_state(DuckdbReader(self.db), self.source) or {}
        kept |= accounts_of(file)
        copied = kept.setdefault("copied", {})
        if self._todo is None:
            self._begin(copied.get("load"))
        assert self._todo
        loads = self._todo.pop(0)
        self.done = not self._todo
        sizes = [self._sizes[load] for load in loads if load in self._sizes]
        self.packed(sum(size.bytes for size in sizes), max((size.largest for size in sizes), default=0))
        refuse = storage_check(dlt.current.pipeline().destination.destination_type)
        refused = Package()
        for table in self.source.tables:
            tree = without_erased(table, [*self._tree(table, loads)], self.erased)
            yield table, self._storable(table, self._private(tree), refuse, refused)
        yield COVERAGE, without_erased(COVERAGE, self._proofs(loads), self.erased)
        yield DEAD_LETTERS, self._private(without_erased(DEAD_LETTERS, self._letters(loads, refused), self.erased))
        yield RUNS, self._runs()
        if loads:  # dlt commits this state together with the rows
            copied["load"] = loads[-1]
        # Last, because until then the copy lacks rows that the state says are there.
        if self.done:
            state.clear()
            state.update(resource_state(DuckdbReader(self.db), self.source) or {})
            kept[BACKFILLS] = file.get(BACKFILLS, {})  # the copy goes on with one that did not end
            note_copied(kept, self.privacy, file, datetime.now(UTC).timestamp())

    def _private(self, tree: Arrows) -> Tree:
        """Applies today's privacy policy, because the file may have been written under another one."""
        return [(shape, self.privacy.apply(shape, arrow, keep_hashes=True)) for shape, arrow in tree]

    def _begin(self, last: str | None) -> None:
        """Finds the completed loads after `last`, in order; all of them if `last` is not of this file."""
        completed = completed_loads(f"{self.source.name}.{LOADS}") + " order by rowid"
        loads = [load for (load,) in self.db.execute(completed).fetchall()]
        # In the order in which they were written; a load id is a time, and clocks go back.
        todo = loads[loads.index(last) + 1 :] if last in loads else loads
        # Only a sync writes a run without a load id; rows of both would overwrite each other.
        if any(not load for _, load, _ in Ledger().select(RUNS.name, ["run_id", LOAD_ID])):
            raise GaplessError(
                f"the copy has been synced by itself since, and knows more than the file: go on with `{self.sync}`,"
                " or copy into an empty database"
            )
        self._sizes = self._measure()
        self._todo = list(_packages(todo, self._sizes))
        for table in self.source.tables:
            letters = [one for one in Ledger().dead_letters(table.name) if was_not_copied(one.reason)]
            self._refused_before |= {_id(letter): letter for letter in letters}

    def _measure(self) -> dict[str, Size]:
        """Returns the size of each load."""
        there = filter(self._columns, shapes((*self.source.tables, COVERAGE)))
        every = " union all ".join(map(self._weighed, there))
        query = f"select load, count(*), sum(weight)::bigint, max(weight)::bigint from ({every}) group by load"
        return {load: Size(*numbers) for load, *numbers in self.db.execute(query).fetchall()}

    def _weighed(self, shape: TableSchema) -> str:
        """Returns a query for the load and the bytes of the texts of each row."""
        named = self._columns(shape).items()
        texts = [f'coalesce(strlen("{name}"::varchar), 0)' for name, kind in named if kind in ("VARCHAR", "JSON")]
        return f"select {LOAD_ID} as load, {' + '.join(texts) or '0'} as weight from {self.source.name}.{shape.name}"

    def _columns(self, shape: TableSchema) -> dict[str, str]:
        """Returns the columns of a table with their types; none of one that an older version did not make."""
        names = "select column_name, data_type from duckdb_columns() where schema_name = ? and table_name = ?"
        where = " and database_name = current_database()"
        return dict(self.db.execute(names + where, [self.source.name, shape.name]).fetchall())

    def _tree(self, table: Table, loads: list[str]) -> Iterator[tuple[TableSchema, pa.Table]]:
        """Yields a table and those below it, with the rows of some loads."""
        for shape in table.schema.tree():
            yield shape, self._rows(shape, f"{LOAD_ID} in (select unnest(?::varchar[]))", loads)

    def _proofs(self, loads: list[str]) -> Tree:
        """Returns the proofs of some loads; with the last ones also those that an idle sync has checked since."""
        checked = Ledger().newest(COVERAGE.name, "stream", "last_checked_at") if self.done else {}
        since = [f"(stream = '{one}' and last_checked_at > '{at.isoformat()}')" for one, at in checked.items() if at]
        # Their rows were copied with the load that proved them.
        completed = f"{LOAD_ID} in ({completed_loads(f'{self.source.name}.{LOADS}')})"
        condition = f"{LOAD_ID} in (select unnest(?::varchar[])) or ({' or '.join(since) or 'false'}) and {completed}"
        return [(COVERAGE.schema, self._rows(COVERAGE.schema, condition, loads))]

    def _rows(self, shape: TableSchema, condition: str, value: list[str]) -> pa.Table:
        """Returns rows with the model's columns; a column that an older version did not write is null."""
        wanted, existing = shape.arrow_schema, self._columns(shape)
        if not existing:
            return wanted.empty_table()
        # Destinations take JSON as text; DuckDB would hand out its own type.
        texts = {column.name for column in shape.columns if column.data_type == "json"}
        names = [name for name in wanted.names if name in existing]
        select = ", ".join(f'"{name}"{"::varchar" if name in texts else ""} as "{name}"' for name in names)
        query = f"select {select} from {self.source.name}.{shape.name} where {condition}"
        found = self.db.execute(query, [value]).to_arrow_table()
        # DuckDB has a type of its own for null, which not every column can be made of.
        cells = [found.column(f.name) if f.name in names else pa.nulls(len(found), f.type) for f in wanted]
        return pa.table(cells, names=wanted.names).cast(wanted)

    def _storable(self, table: Table, tree: Tree, refuse: StorageCheck, refused: Package) -> Tree:
        """Returns the tree without the records that the destination cannot store, which become dead letters."""
        bad = unstorable(tree, refuse)
        ((_, root), *_) = tree
        if bad or self._refused_before:
            for row in root.select([table.key[0], ROW_ID]).to_pylist():
                self._update_letter(table, str(row[table.key[0]]), bad.get(row[ROW_ID]), refused)
        owned = [(shape, arrow.column(ROOT_ID if shape.parent else ROW_ID), arrow) for shape, arrow in tree]
        ids = pa.array(list(bad), pa.string())
        return [(shape, arrow.filter(pc.invert(pc.is_in(owner, value_set=ids)))) for shape, owner, arrow in owned]

    def _update_letter(self, table: Table, key: str, reason: str | None, refused: Package) -> None:
        """Adds a dead letter for a record with a reason; closes the one of a record without."""
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
            self._stored |= {_id(letter)} if before else set()
            return
        if before:
            letter.first_seen_at, letter.attempts = before.first_seen_at, before.attempts + 1
        refused.add(Batch(DEAD_LETTERS, [letter]))
        self.failures.append(Failure(letter.reason, table.name, "record", key))

    def _letters(self, loads: list[str], refused: Package) -> Tree:
        """Returns the file's dead letters, and the copy's own for records without one in the file."""
        ((shape, theirs),), ((_, own),) = self._tree(DEAD_LETTERS, loads), refused.tables(DEAD_LETTERS)
        double = pc.is_in(own.column(ROW_ID), value_set=theirs.column(ROW_ID))
        return [(shape, pa.concat_tables([theirs, own.filter(pc.invert(double))]))]

    def _runs(self) -> Tree:
        """Returns the runs that the copy lacks, with the last package; without row counts, which are the file's."""
        known = [run for run, _ in Ledger().select(RUNS.name, ["run_id"])]
        runs = self._rows(RUNS.schema, "not list_contains(?::varchar[], run_id)", known)
        runs = runs if self.done else runs.slice(0, 0)
        # With the counts of the file a sync into the copy would report lost rows.
        at = runs.schema.get_field_index("held")
        return [(RUNS.schema, runs.set_column(at, runs.schema.field(at), pa.nulls(runs.num_rows, pa.string())))]

    def delete_resolved(self, pipeline: dlt.Pipeline) -> None:
        """Deletes dead letters that the file does not have any more, and the copy's own if their record is stored."""
        here = {one for (one,) in self.db.execute(f"select {ROW_ID} from {self.source.name}.dead_letters").fetchall()}
        with pipeline.sql_client() as client:
            letters = client.make_qualified_table_name("dead_letters")
            for letter, reason in client.execute_sql(f"select {ROW_ID}, reason from {letters}") or ():
                if letter not in here and (letter in self._stored or not was_not_copied(reason)):
                    client.execute_sql(f"delete from {letters} where {ROW_ID} = %s", letter)


def _packages(loads: list[str], sizes: dict[str, Size]) -> Iterator[list[str]]:
    """Yields the loads of each package; at least one package, because runs are copied even without a load."""
    package: list[str] = []
    rows = bytes_ = 0
    for load in loads:
        size = sizes.get(load, Size())
        # A load is copied whole, as its id is where a copy continues.
        if package and (rows + size.rows > PACKAGE_ROWS or bytes_ + size.bytes > PACKAGE_BYTES):
            yield package
            package, rows, bytes_ = [], 0, 0
        package.append(load)
        rows, bytes_ = rows + size.rows, bytes_ + size.bytes
    yield package


def _id(letter: DeadLetter) -> str:
    """Returns the `_dlt_id` of a dead letter's row."""
    return digest(letter.stream, letter.kind, letter.key)
