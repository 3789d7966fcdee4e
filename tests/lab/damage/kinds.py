"""Kinds of damage that somebody does to a database by hand, for any source: SQL that DuckDB and Postgres understand.

No vendor's name may enter: what a kind needs (a child table, parents, a derived table) it finds in the register.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gapless.sources._schema.columns import TableSchema
from tests.contract.subject import Subject

LEDGER = ("coverage", "dead_letters", "runs")
DLT = ("_dlt_loads", "_dlt_pipeline_state", "_dlt_version")
Statements = Callable[["Place"], list[str]]


@dataclass(frozen=True)
class Place:
    """Where a damage is done: the tables of one source. `cascade` ends a statement that drops what views read."""

    subject: Subject
    engine: str

    @property
    def schema(self) -> str:
        return self.subject.name

    @property
    def main(self) -> str:
        return f"{self.schema}.{self.subject.main}"

    @property
    def key(self) -> str:
        return self.subject.id_column

    @property
    def time(self) -> str:
        return self.subject.source.main.time_column or "_dlt_load_id"

    @property
    def parent(self) -> str | None:
        return self.subject.source.stream.column

    @property
    def parents(self) -> str | None:
        table = self.subject.parents_table
        return f"{self.schema}.{table}" if table else None

    @property
    def derived(self) -> str | None:
        name = next(iter(self.subject.derived), None)
        return f"{self.schema}.{name}" if name else None

    @property
    def derived_name(self) -> str:
        return next(iter(self.subject.derived))

    @property
    def below(self) -> list[TableSchema]:
        """The tables below the main one, the deepest first."""
        return [one for one in self.subject.source.main.schema.tree() if one.parent][::-1]

    @property
    def child(self) -> str | None:
        """The child table right below the records."""
        own = [one for one in self.below if one.parent == self.subject.main]
        return f"{self.schema}.{own[-1].name}" if own else None

    @property
    def cascade(self) -> str:
        return " cascade" if self.engine == "postgres" else ""

    def drop(self, *tables: str) -> list[str]:
        return [f"drop table {table}{self.cascade}" for table in tables]

    def drop_column(self, table: str, column: str) -> list[str]:
        return [f"alter table {table} drop column {column}{self.cascade}"]

    def lose(self, where: str, *, below: bool = True) -> list[str]:
        """Deletes records, and all below them."""
        roots = f"select _dlt_id from {self.main} where {where}"
        children = [f"delete from {self.schema}.{t.name} where _dlt_root_id in ({roots})" for t in self.below]
        return [*(children if below else []), f"delete from {self.main} where {where}"]

    def some(self, order: str, number: int = 1) -> str:
        return f"{self.key} in (select {self.key} from {self.main} order by {order}, {self.key} limit {number})"

    def double(self, table: str, where: str = "1 = 1") -> list[str]:
        return [f"insert into {table} select * from {table} where {where}"]

    def altered(self, table: str, column: str, value: str) -> list[str]:
        """Gives one row another cell."""
        return [f"update {table} set {column} = {value} where _dlt_id = (select min(_dlt_id) from {table})"]

    def lose_child(self) -> list[str]:
        return [f"delete from {self.child} where _dlt_id = (select max(_dlt_id) from {self.child})"]

    def move(self, column: str) -> str:
        """Gives the children of one record to another one."""
        first, last = (f"(select {one}(_dlt_id) from {self.main})" for one in ("min", "max"))
        of = f"_dlt_id in (select _dlt_id from {self.child} where _dlt_id like {first} || '%')"
        return f"update {self.child} set {column} = {last} where {of}"

    def invented(self, root: str) -> list[str]:
        """Adds a child row like one that is there, below another root row."""
        (shape,) = (one for one in self.below if f"{self.schema}.{one.name}" == self.child)
        names = ", ".join(f'"{column.name}"' for column in shape.columns)
        keys = "_dlt_id, _dlt_parent_id, _dlt_root_id, _dlt_list_idx, _dlt_load_id"
        cells = f"'y', {root.replace('_root', '_parent')}, {root}, 7, _dlt_load_id"
        where = f"_dlt_id = (select min(_dlt_id) from {self.child})"
        return [f"insert into {self.child} ({names}, {keys}) select {names}, {cells} from {self.child} where {where}"]

    def change(self, column: str, value: str, order: str) -> list[str]:
        """Gives the oldest or the newest record another cell."""
        where = self.some(f"{self.time}{order}")
        return [f"update {self.main} set {column} = {value} where {where}"]

    def again(self, row_id: str, order: str) -> list[str]:
        """Adds a record once more under another id of dlt's."""
        names = [*(f'"{column.name}"' for column in self.subject.source.main.schema.columns), "_dlt_load_id"]
        some = self.some(f"{self.time}{order}")
        listed = ", ".join(names)
        return [
            f"insert into {self.main} ({listed}, _dlt_id) select {listed}, {row_id} from {self.main} where {some}"
        ]

    @property
    def first_parent(self) -> str:
        return f"{self.parent} = (select min({self.parent}) from {self.main})"

    def proof(self, change: str, which: str = "") -> list[str]:
        return [f"update {self.schema}.coverage set {change}{f' where {which}' if which else ''}"]


@dataclass(frozen=True)
class Kind:
    """One kind of damage. `done` returns its statements; it does not apply where `needs` is None."""

    name: str
    done: Statements
    needs: Callable[[Place], object] = lambda place: True

    def applies(self, place: Place) -> bool:
        return self.needs(place) is not None


FORGOTTEN: dict[str, Statements] = {
    "runs emptied": lambda p: [f"delete from {p.schema}.runs"],
    "runs dropped": lambda p: [f"drop table {p.schema}.runs{p.cascade}"],
    "counts forgotten": lambda p: [f"update {p.schema}.runs set held = null"],
    # What a sync that is killed leaves: it takes away the counts of children before it reads.
    "a sync killed": lambda p: [
        f"update {p.schema}.runs set held = cast('{{\"{p.subject.main}\": ' || (select count(*) from {p.main})"
        " || '}' as json) where held is not null"
    ],
}
"""What takes away the counts of child rows that a sync noted, by name."""


def _child(place: Place) -> object:
    return place.child


def _parents(place: Place) -> object:
    return place.parents


def _derived(place: Place) -> object:
    return place.derived


def _given(place: Place) -> str:
    """The column of the text that every record has."""
    return place.subject.text_column


def _text(place: Place) -> str:
    """A column of the records that may be null and is no key."""
    columns = place.subject.source.main.schema.columns
    return next(
        c.name for c in columns if c.nullable and c.name not in (place.key, place.time, place.parent, "_extra")
    )


def _first_text(place: Place, table: str | None) -> str:
    shapes = [shape for one in place.subject.source.tables for shape in one.schema.tree()]
    (shape,) = (one for one in shapes if f"{place.schema}.{one.name}" == table)
    return next(c.name for c in shape.columns if c.nullable and c.name not in (shape.keys, "_extra"))


def rows() -> Iterator[Kind]:
    """Rows that are gone."""
    yield Kind("every record deleted", lambda p: p.lose("1 = 1"))
    yield Kind("the oldest record deleted", lambda p: p.lose(p.some(p.time)))
    yield Kind("the newest record deleted", lambda p: p.lose(p.some(f"{p.time} desc")))
    yield Kind("the newest five deleted", lambda p: p.lose(p.some(f"{p.time} desc", 5)))
    yield Kind("seven records deleted", lambda p: p.lose(p.some("_dlt_id", 7)))
    yield Kind("half of the records deleted", lambda p: p.lose(p.some("_dlt_id", 12)))
    yield Kind("a record deleted, its children kept", lambda p: p.lose(p.some(p.time), below=False), _child)
    yield Kind("every record deleted, all children kept", lambda p: p.lose("1 = 1", below=False), _child)
    yield Kind("every child row deleted", lambda p: [f"delete from {p.child}"], _child)
    yield Kind(
        "one child row deleted",
        lambda p: [f"delete from {p.child} where _dlt_id = (select min(_dlt_id) from {p.child})"],
        _child,
    )
    yield Kind("first child rows deleted", lambda p: [f"delete from {p.child} where _dlt_list_idx = 0"], _child)
    yield Kind("a parent's records deleted", lambda p: p.lose(p.first_parent), _parents)
    yield Kind("every parent deleted", lambda p: [f"delete from {p.parents}"], _parents)
    yield Kind(
        "one parent deleted",
        lambda p: [f"delete from {p.parents} where _dlt_id = (select min(_dlt_id) from {p.parents})"],
        _parents,
    )
    yield Kind(
        "a parent and its records deleted",
        lambda p: [
            *p.lose(p.first_parent),
            f"delete from {p.parents} where _dlt_id = (select min(_dlt_id) from {p.parents})",
        ],
        _parents,
    )
    yield Kind("every derived row deleted", lambda p: [f"delete from {p.derived}"], _derived)
    yield Kind(
        "one derived row deleted",
        lambda p: [f"delete from {p.derived} where _dlt_id = (select min(_dlt_id) from {p.derived})"],
        _derived,
    )


def _emptied(table: str, records: int = 0) -> Statements:
    """Deletes all rows of a table, and so many of the newest records before."""
    return lambda p: [*(p.lose(p.some(p.time, records)) if records else ()), f"delete from {p.schema}.{table}"]


def _dropped(table: str) -> Statements:
    return lambda p: p.drop(f"{p.schema}.{table}")


def _column_dropped(table: str, column: str) -> Statements:
    return lambda p: p.drop_column(f"{p.schema}.{table}", column)


def ledgers() -> Iterator[Kind]:
    """Ledger and state that are gone or changed."""
    for table in (*LEDGER, *DLT):
        yield Kind(f"{table} emptied", _emptied(table))
        yield Kind(
            f"{table} emptied, records deleted",
            _emptied(table, records=3),
        )
    yield Kind(
        "coverage emptied, every record deleted", lambda p: [*p.lose("1 = 1"), f"delete from {p.schema}.coverage"]
    )
    yield Kind(
        "a proof and its records deleted",
        lambda p: [
            f"delete from {p.schema}.coverage where parent = (select cast(min({p.parent}) as varchar) from {p.main})",
            *p.lose(p.first_parent),
        ],
        _parents,
    )
    yield Kind("no watermark, records deleted", lambda p: [*p.lose(p.some(p.time, 3)), *p.proof("covered_to = null")])
    yield Kind(
        "a watermark long ago, records deleted",
        lambda p: [*p.lose(p.some("_dlt_id", 9)), *p.proof("covered_to = covered_to - interval '30 days'")],
    )
    yield Kind(
        "a watermark in the future, records deleted",
        lambda p: [*p.lose(p.some("_dlt_id", 9)), *p.proof("covered_to = covered_to + interval '30 days'")],
    )
    yield Kind("never checked", lambda p: p.proof("last_checked_at = null, digest = null"))
    yield Kind("proofs of a load that never ended", lambda p: p.proof("_dlt_load_id = 'broken'"))
    yield Kind("records of a load that never ended", lambda p: [f"update {p.main} set _dlt_load_id = 'broken'"])
    yield Kind(
        "a number that was told raised",
        lambda p: p.proof(
            "records = records + 1",
            f"parent = (select min(parent) from {p.schema}.coverage where records > 0)",
        ),
    )
    yield Kind("a failure noted", lambda p: p.proof("failures = 3, error = 'GET: 500'"))
    yield Kind(
        "counts forgotten, records deleted",
        lambda p: [*p.lose(p.some(p.time, 3)), f"update {p.schema}.runs set held = null"],
    )


def dropped() -> Iterator[Kind]:
    """Tables and columns that are gone."""
    yield Kind("the records' table dropped", lambda p: p.drop(p.main))
    yield Kind(
        "the records' table and all below dropped",
        lambda p: p.drop(*(f"{p.schema}.{t.name}" for t in p.below), p.main),
        _child,
    )
    yield Kind("a child table dropped", lambda p: p.drop(str(p.child)), _child)
    yield Kind("the parents' table dropped", lambda p: p.drop(str(p.parents)), _parents)
    yield Kind("a derived table dropped", lambda p: p.drop(str(p.derived)), _derived)
    for table in (*LEDGER, *DLT):
        yield Kind(f"{table} dropped", _dropped(table))
    yield Kind("coverage and runs dropped", lambda p: p.drop(f"{p.schema}.coverage", f"{p.schema}.runs"))
    yield Kind("all of the ledger dropped", lambda p: p.drop(*(f"{p.schema}.{t}" for t in LEDGER)))
    yield Kind("all of dlt's tables dropped", lambda p: p.drop(*(f"{p.schema}.{t}" for t in DLT)))
    yield Kind("the schema dropped", lambda p: [f"drop schema {p.schema} cascade"])
    yield Kind("the records' table renamed", lambda p: [f"alter table {p.main} rename to {p.subject.main}_old"])
    yield Kind("a column dropped", lambda p: p.drop_column(p.main, _text(p)))
    yield Kind("a column renamed", lambda p: [f"alter table {p.main} rename column {_text(p)} to old"])
    yield Kind("the records' time dropped", lambda p: p.drop_column(p.main, p.time))
    yield Kind("the records' id dropped", lambda p: p.drop_column(p.main, p.key))
    yield Kind("the records' parent dropped", lambda p: p.drop_column(p.main, str(p.parent)), _parents)
    yield Kind("what no model knows dropped", lambda p: p.drop_column(p.main, "_extra"))
    yield Kind("the records' load dropped", lambda p: p.drop_column(p.main, "_dlt_load_id"))
    yield Kind("the records' row id dropped", lambda p: p.drop_column(p.main, "_dlt_id"))
    yield Kind("a child's column dropped", lambda p: p.drop_column(str(p.child), _first_text(p, p.child)), _child)
    yield Kind("a child's way to its record dropped", lambda p: p.drop_column(str(p.child), "_dlt_root_id"), _child)
    yield Kind(
        "a parent's column dropped", lambda p: p.drop_column(str(p.parents), _first_text(p, p.parents)), _parents
    )
    for column in ("covered_to", "missing", "digest", "failures", "parent"):
        yield Kind(
            f"coverage.{column} dropped",
            _column_dropped("coverage", column),
        )
    for table, column in (
        ("runs", "held"),
        ("runs", "outcome"),
        ("dead_letters", "reason"),
        ("_dlt_loads", "status"),
    ):
        yield Kind(
            f"{table}.{column} dropped",
            _column_dropped(table, column),
        )


def doubled() -> Iterator[Kind]:
    """Rows that stand there more than once."""
    yield Kind("one record doubled", lambda p: p.double(p.main, p.some(p.time)))
    yield Kind("every record doubled", lambda p: p.double(p.main))
    yield Kind("every child row doubled", lambda p: p.double(str(p.child)), _child)
    yield Kind("every parent doubled", lambda p: p.double(str(p.parents)), _parents)
    yield Kind("every derived row doubled", lambda p: p.double(str(p.derived)), _derived)
    yield Kind("every proof doubled", lambda p: p.double(f"{p.schema}.coverage"))
    yield Kind(
        "one deleted and another doubled",
        lambda p: [*p.lose(p.some(p.time)), *p.double(p.main, p.some(f"{p.time} desc"))],
    )


def cells() -> Iterator[Kind]:
    """Rows whose number is right and whose content is not: only a comparison of cells sees it."""
    yield Kind("a cell altered", lambda p: p.altered(p.main, _given(p), "'x'"))
    yield Kind("a cell emptied", lambda p: p.altered(p.main, _given(p), "null"), _given)
    yield Kind("what no model knows altered", lambda p: p.altered(p.main, "_extra", """'{"a": 1}'"""))
    yield Kind("a record's id altered", lambda p: p.altered(p.main, p.key, "-7" if p.subject.numbered else "'x'"))
    yield Kind(
        "a record moved to another parent",
        lambda p: [
            f"update {p.main} set {p.parent} = (select max({p.parent}) from {p.main})"
            f" where _dlt_id = (select min(_dlt_id) from {p.main} where {p.first_parent})"
        ],
        _parents,
    )
    yield Kind(
        "a parent's cell altered", lambda p: p.altered(str(p.parents), _first_text(p, p.parents), "'x'"), _parents
    )
    yield Kind("a child's cell altered", lambda p: p.altered(str(p.child), _first_text(p, p.child), "'x'"), _child)
    yield Kind("a child in another place", lambda p: p.altered(str(p.child), "_dlt_list_idx", "7"), _child)
    yield Kind("a child of another record", lambda p: p.altered(str(p.child), "_dlt_root_id", "'x'"), _child)
    yield Kind(
        "a derived cell altered",
        lambda p: p.altered(str(p.derived), [*p.subject.derived[p.derived_name]][1], "'x'"),
        _derived,
    )


def below() -> Iterator[Kind]:
    """Rows below records that are gone, moved or invented, also where no sync's counts can tell it."""
    for name, forgotten in FORGOTTEN.items():
        yield Kind(f"a child row deleted, {name}", lambda p, f=forgotten: [*f(p), *p.lose_child()], _child)
        yield Kind(
            f"every child row deleted, {name}", lambda p, f=forgotten: [*f(p), f"delete from {p.child}"], _child
        )
    yield Kind(
        "every row of the deepest table deleted", lambda p: [f"delete from {p.schema}.{p.below[0].name}"], _child
    )
    yield Kind(
        "a record's children moved to another record",
        lambda p: [p.move("_dlt_root_id"), p.move("_dlt_parent_id")],
        _child,
    )
    yield Kind("a child of another parent row", lambda p: p.altered(str(p.child), "_dlt_parent_id", "'x'"), _child)
    yield Kind("a child's own id altered", lambda p: p.altered(str(p.child), "_dlt_id", "'x'"), _child)
    yield Kind("children of a record that never was", lambda p: p.invented("'x'"), _child)
    yield Kind("a child more than a record has", lambda p: p.invented("_dlt_root_id"), _child)
    yield Kind("a child deleted and another invented", lambda p: [*p.lose_child(), *p.invented("'x'")], _child)
    yield Kind("a record says another number of rows", lambda p: p.altered(p.main, "rows_below", "77"), _child)
    yield Kind(
        "no record says a number, a child row deleted",
        lambda p: [f"update {p.main} set rows_below = null", *p.lose_child()],
        _child,
    )
    yield Kind("no record can say a number", lambda p: p.drop_column(p.main, "rows_below"), _child)


def ids() -> Iterator[Kind]:
    """Records with another id, or another key of dlt's, than they were loaded with."""
    for order in ("", " desc"):
        which = "newest" if order else "oldest"
        yield Kind(
            f"the {which} record's id altered",
            lambda p, o=order: p.change(p.key, "-7" if p.subject.numbered else "'x'", o),
        )
        yield Kind(f"the {which} record's row id altered", lambda p, o=order: p.change("_dlt_id", "'x'", o))
        yield Kind(f"the {which} record under another row id once more", lambda p, o=order: p.again("'x'", o))
    yield Kind(
        "a record with the id of another one", lambda p: p.change(p.key, f"(select max({p.key}) from {p.main})", "")
    )


def _proof(change: str) -> Statements:
    """Changes one proof, which is that of the listing where there is one alone."""
    return lambda p: p.altered(f"{p.schema}.coverage", *change.replace("{0}", f"{p.schema}.coverage").split(" = ", 1))


def _letter(stream: str, kind: str = "record") -> Statements:
    """Adds a dead letter that no sync wrote."""
    columns = "stream, kind, key, reason, attempts, first_seen_at, last_seen_at, _dlt_load_id, _dlt_id"
    cells = f"'{stream or '{0}'}', '{kind}', '4711', 'x', 1, now(), now(), max(load_id), 'stray'"
    return lambda p: [
        f"insert into {p.schema}.dead_letters ({columns}) select {cells.format(p.subject.main)}"
        f" from {p.schema}._dlt_loads"
    ]


def _all(table: str, change: str) -> Statements:
    return lambda p: [f"update {p.schema}.{table} set {change.format(p.subject.main)}"]


def _twice(table: str) -> Statements:
    return lambda p: p.double(f"{p.schema}.{table}")


def strays() -> Iterator[Kind]:
    """Rows of the ledger that no sync wrote as they are."""
    for change in ("stream = 'x'", "parent = 'x'", "_dlt_id = 'x'", "missing = '{\"a\": 1}'", "missing = '[[1]]'"):
        yield Kind(f"a proof with {change}", _proof(change))
    for change in ('missing = \'[["x", "y"]]\'', "missing = '[]'", "failures = -1", "_dlt_load_id = ''"):
        yield Kind(f"a proof with {change}", _proof(change))
    yield Kind("a proof with the parent of another", _proof("parent = (select max(parent) from {0})"))
    yield Kind("proofs three days old", _all("coverage", "covered_to = covered_to - interval '3 days', digest = 'x'"))
    yield Kind("proofs of another time zone", _all("coverage", "covered_to = covered_to + interval '5 hours'"))
    yield Kind("a letter of an unknown stream", _letter("nothing"))
    yield Kind("a letter of an unknown kind", _letter("", "whatever"))
    yield Kind("a letter of a table below", _letter("nothing__below"))
    yield Kind("a note of a loss that never was", _letter("nothing.nothing", "column"))
    yield Kind("every run failed", _all("runs", "outcome = 'failed', error = 'x'"))
    yield Kind("every run of an unknown outcome", _all("runs", "outcome = 'fine'"))
    yield Kind("every run of no shard", _all("runs", "shard = '9/x'"))
    yield Kind("every run before it began", _all("runs", "started_at = finished_at + interval '1 hour'"))
    yield Kind("every run twice", _twice("runs"))
    for held in (
        "[1]",
        '"x"',
        '{{"{0}": "many"}}',
        '{{"{0}": 1000}}',
        '{{"nothing": 24}}',
        '{{"{0}": 24, "#": {{}}}}',
    ):
        yield Kind(f"counts that say {held}", _all("runs", f"held = '{held}'"))
    yield Kind("the column scope dropped", _column_dropped("runs", "scope"))
    yield Kind("the column shard dropped", _column_dropped("runs", "shard"))


def of_dlt() -> Iterator[Kind]:
    """Rows of dlt's own tables that dlt did not write as they are."""
    yield Kind("loads under other ids", _all("_dlt_loads", "load_id = 'x' || load_id"))
    yield Kind("loads of another status", _all("_dlt_loads", "status = 1"))
    yield Kind("loads twice", _twice("_dlt_loads"))
    for which in ("min", "max"):
        newest = "newest" if which == "max" else "oldest"
        yield Kind(
            f"the {newest} load deleted",
            lambda p, w=which: [
                f"delete from {p.schema}._dlt_loads where load_id = (select {w}(load_id) from {p.schema}._dlt_loads)"
            ],
        )
    yield Kind("states that are none", _all("_dlt_pipeline_state", "state = 'garbage'"))
    yield Kind("states that are empty", _all("_dlt_pipeline_state", "state = ''"))
    yield Kind("states of another pipeline", _all("_dlt_pipeline_state", "pipeline_name = 'other'"))
    yield Kind("states of a later version", _all("_dlt_pipeline_state", "version = 99999"))
    yield Kind("states of another load", _all("_dlt_pipeline_state", "_dlt_load_id = '1'"))
    yield Kind("states twice", _twice("_dlt_pipeline_state"))
    yield Kind("schemas that are none", _all("_dlt_version", "schema = 'garbage'"))
    yield Kind("schemas that are empty", _all("_dlt_version", "schema = '{{}}'"))
    yield Kind("schemas of another name", _all("_dlt_version", "schema_name = 'other'"))
    yield Kind("schemas of another hash", _all("_dlt_version", "version_hash = 'x'"))
    yield Kind("schemas twice", _twice("_dlt_version"))


def whole() -> Iterator[Kind]:
    """Every record changed, or its table exchanged."""
    yield Kind("every row id altered", lambda p: [f"update {p.main} set _dlt_id = 'x' || _dlt_id"])
    yield Kind("every time moved", lambda p: [f"update {p.main} set {p.time} = {p.time} + interval '1 hour'"])
    yield Kind("no record has a load", lambda p: [f"update {p.main} set _dlt_load_id = ''"])
    yield Kind("every record marked as gone", lambda p: [f"update {p.main} set gone_at = now()"])
    yield Kind("the records' table truncated", lambda p: [f"truncate {p.main}"])
    yield Kind("a column of somebody else's", lambda p: [f"alter table {p.main} add column note varchar"])
    yield Kind("a record of the year 2999", lambda p: p.altered(p.main, p.time, "'2999-01-01'"))
    for name, where in (
        ("a copy", "1 = 1"),
        ("an older copy", "{0} < (select max({0}) - interval '1 day' from {1})"),
    ):
        yield Kind(
            f"the records' table replaced by {name}",
            lambda p, w=where: [
                f"create table {p.main}_c as select * from {p.main} where {w.format(p.time, p.main)}",
                *p.drop(p.main),
                f"alter table {p.main}_c rename to {p.subject.main}",
            ],
        )
    yield Kind(
        "every child in another place", lambda p: [f"update {p.child} set _dlt_list_idx = 9 - _dlt_list_idx"], _child
    )


KINDS: tuple[Kind, ...] = (
    *rows(), *ledgers(), *dropped(), *doubled(), *cells(), *below(), *ids(), *strays(), *of_dlt(), *whole(),
)  # fmt: skip
