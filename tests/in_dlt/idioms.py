"""Idioms of dlt's documentation, each a few lines as a user writes them; test_sweep.py runs them on every source.

An idiom loads everything, or a part that the next plain run completes, or is refused before the first request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import cycle
from typing import Any

import dlt
import pyarrow as pa
from dlt.destinations.adapters import bigquery_adapter
from pydantic import BaseModel

from gapless.sources.source import Source
from tests.in_dlt.conftest import User

OLD = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Idiom:
    """What a user writes, and how it ends."""

    name: str
    run: Callable[[User, Any], Any]
    """Called with the user and the source."""
    refused: str = ""
    """A part of the reason, if it is refused."""
    partly: bool = False
    """Whether it loads a part only."""
    warns: bool = False
    """Whether dlt says something that holds for every source of Arrow tables."""
    forms: tuple[bool, ...] = (False, True)
    """Values of `rows` for which it means something."""
    fits: Callable[[Source], bool] = lambda source: True
    """Whether it means something for a source."""


IDIOMS: list[Idiom] = []


def idiom(**how: Any) -> Callable[[Callable[[User, Any], Any]], Callable[[User, Any], Any]]:
    def add(run: Callable[[User, Any], Any]) -> Callable[[User, Any], Any]:
        IDIOMS.append(Idiom(run.__name__, run, **how))
        return run

    return add


def main(user: User, source: Any) -> Any:
    return source.resources[user.subject.main]


def is_there(module: str) -> bool:
    """Whether it can be imported; tests/support/remembered.py lets the search for pandas raise."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def cursor(user: User) -> str:
    return str(user.subject.source.main.time_column)


# -- running -----------------------------------------------------------------------------------------


@idiom()
def three_steps(user: User, source: Any) -> None:
    mine = user.pipeline()
    mine.extract(source)
    mine.normalize()
    mine.load()


@idiom()
def the_same_object_twice(user: User, source: Any) -> None:
    user.pipeline().run(source)
    user.pipeline().run(source)


@idiom()
def a_list_of_resources(user: User, source: Any) -> None:
    user.pipeline().run(list(source.resources.values()))


@idiom()
def its_own_run(user: User, source: Any) -> None:
    user.pipeline().activate()
    source.run()


@idiom()
def alternating_resources(user: User, source: Any) -> None:
    build = user.subject.source.build
    for name in [*source.resources, *source.resources]:
        user.pipeline().run(build(rows=source.rows).with_resources(name))


@idiom()
def a_destination_by_name(user: User, source: Any) -> None:
    user.pipeline(destination=dlt.destination("duckdb", credentials=str(user.file()))).run(source)


@idiom()
def a_destination_as_text(user: User, source: Any) -> None:
    user.world.set(DESTINATION__DUCKDB__CREDENTIALS=str(user.file()))
    user.pipeline(destination="duckdb").run(source)


@idiom()
def a_destination_at_the_run(user: User, source: Any) -> None:
    name = user.subject.name
    mine = dlt.pipeline("mine", pipelines_dir=str(user.world.folder / "pipelines"))
    mine.run(source, destination=dlt.destinations.duckdb(str(user.file())), dataset_name=name)


def _progress(name: str) -> None:
    @idiom()
    def run(user: User, source: Any) -> None:
        user.pipeline(progress=name).run(source)

    IDIOMS[-1] = Idiom(f"progress_{name}", run)


for _one in ("log", *filter(find_spec, ("tqdm", "enlighten"))):  # .ci/run installs them with the extras
    _progress(_one)


@idiom()
def parallelize(user: User, source: Any) -> None:
    user.pipeline().run(source.parallelize())


@idiom()
def more_workers_and_small_files(user: User, source: Any) -> None:
    user.world.set(
        EXTRACT__WORKERS="3", NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS="3", EXTRACT__DATA_WRITER__FILE_MAX_ITEMS="3",
        LOAD__WORKERS="2", EXTRACT__NEXT_ITEM_MODE="round_robin", EXTRACT__DATA_WRITER__BUFFER_MAX_ITEMS="2",
    )  # fmt: skip
    user.pipeline().run(source)


@idiom()
def load_ids_by_setting(user: User, source: Any) -> None:
    user.world.set(NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID="true")
    user.pipeline().run(source)


@idiom(refused="add_dlt_id is refused")
def ids_by_setting(user: User, source: Any) -> None:
    name = "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_ID"
    user.world.set(**{name: "true"})
    try:
        user.pipeline().run(source)
    finally:
        user.world.monkeypatch.delenv(name)


@idiom()
def one_after_the_other(user: User, source: Any) -> None:
    user.world.set(EXTRACT__NEXT_ITEM_MODE="fifo")
    user.pipeline().run(source)


@idiom()
def in_a_source_of_ones_own(user: User, source: Any) -> None:
    @dlt.source(name="own")
    def own() -> Any:
        return list(source.resources.values())

    user.pipeline().run(own())


@idiom(partly=True)
def the_records_in_a_source_of_ones_own(user: User, source: Any) -> None:
    @dlt.source(name="own")
    def own() -> Any:
        return main(user, source)

    user.pipeline().run(own())


@idiom()
def beside_a_resource_of_ones_own(user: User, source: Any) -> None:
    user.pipeline().run([dlt.resource([{"a": 1}], name="own"), source])


@idiom(warns=True)
def the_trace_loaded_afterwards(user: User, source: Any) -> None:
    mine = user.pipeline()
    info = mine.run(source)
    info.raise_on_failed_jobs()
    mine.run([info], table_name="_load_info")


@idiom()
def dataset_afterwards(user: User, source: Any) -> None:
    mine = user.pipeline()
    mine.run(source)
    data = mine.dataset()
    assert data[user.subject.main].arrow().num_rows == 24
    if is_there("pandas"):
        assert len(data[user.subject.main].df()) == 24
    assert dict(data.row_counts().fetchall())[user.subject.main] == 24


@idiom(warns=True)
def file_formats(user: User, source: Any) -> None:
    for word in ("parquet", "insert_values"):
        user.pipeline().run(user.subject.source.build(rows=source.rows), loader_file_format=word)


# -- names, tables, schema ----------------------------------------------------------------------------


@idiom()
def export_and_import(user: User, source: Any) -> None:
    folder = user.world.folder
    how = {"export_schema_path": str(folder / "out"), "import_schema_path": str(folder / "in")}
    for _ in range(2):
        user.pipeline(**how).run(user.subject.source.build(rows=source.rows))


def _contract(word: str, name: str) -> None:
    @idiom()
    def run(user: User, source: Any) -> None:
        user.pipeline().run(user.subject.source.build(rows=source.rows))
        user.pipeline().run(source, schema_contract=word)

    IDIOMS[-1] = Idiom(f"schema_contract_{name}", run)

    @idiom()
    def at_source(user: User, source: Any) -> None:
        user.pipeline().run(user.subject.source.build(rows=source.rows))
        source.schema_contract = word
        user.pipeline().run(source)

    IDIOMS[-1] = Idiom(f"schema_contract_of_the_source_{name}", at_source)

    @idiom()
    def at_resource(user: User, source: Any) -> None:
        user.pipeline().run(user.subject.source.build(rows=source.rows))
        main(user, source).apply_hints(schema_contract=word)
        user.pipeline().run(source)

    IDIOMS[-1] = Idiom(f"schema_contract_of_the_resource_{name}", at_resource)


for _one in ("evolve", "freeze", "discard_row", "discard_value"):
    _contract(_one, _one)
_contract({"tables": "evolve", "columns": "freeze", "data_type": "freeze"}, "columns")


def has_children(source: Source) -> bool:
    return bool(source.main.schema.children)


def _nesting(where: str, level: int, forms: tuple[bool, ...], refused: str = "") -> None:
    @idiom()
    def run(user: User, source: Any) -> None:
        if where == "source":
            source.max_table_nesting = level
        else:
            main(user, source).max_table_nesting = level
        user.pipeline().run(source)

    name = f"max_table_nesting_{level}_{where}{'_refused' if refused else ''}"
    IDIOMS[-1] = Idiom(name, run, refused=refused, forms=forms, fits=has_children if refused else Idiom.fits)


for _where in ("source", "resource"):
    _nesting(_where, 0, (False,))
    _nesting(_where, 0, (True,), "max_table_nesting=0 is refused")
    _nesting(_where, 9, (False, True))


@idiom()
def root_key(user: User, source: Any) -> None:
    source.root_key = True
    user.pipeline().run(source)


@idiom()
def a_clone_of_the_source(user: User, source: Any) -> None:
    user.pipeline().run(source.clone(with_name=user.subject.name))


@idiom()
def a_clone_with_another_name(user: User, source: Any) -> None:
    user.pipeline("other").run(source.clone(with_name="other"))
    assert user.differences(name="other") == []
    user.pipeline().run(user.subject.source.build(rows=source.rows))


@idiom(partly=True)
def another_name(user: User, source: Any) -> None:
    user.pipeline().run(main(user, source).with_name("mine"))
    assert user.count("mine") == 24


def _naming(word: str, **ends: Any) -> None:
    @idiom()
    def run(user: User, source: Any) -> None:
        user.world.set(SCHEMA__NAMING=word)
        try:
            user.pipeline().run(source)
        finally:
            if ends.get("refused"):
                user.world.monkeypatch.delenv("SCHEMA__NAMING")

    IDIOMS[-1] = Idiom(f"naming_{word}", run, **ends)


_naming("direct", forms=(False,))
_naming("direct", forms=(True,), refused="the naming convention")
for _one in ("sql_cs_v1", "sql_ci_v1", "duck_case", "snake_case"):
    _naming(_one)


# -- hints ---------------------------------------------------------------------------------------------


TEXT = {"data_type": "text"}
REFERENCE = {"referenced_table": "other", "columns": ["created_at"], "referenced_columns": ["id"]}


class AnyModel(BaseModel):
    """A user's own model of a record."""

    id: Any = None


def dynamic(hint: str, value: Any) -> dict[str, Any]:
    """dlt wants the name to be a function, too, if another hint is one."""
    return {"table_name": lambda item: "dynamic", hint: lambda item: value}


def _hints(name: str, how: Callable[[User], Any], **ends: Any) -> None:
    @idiom()
    def run(user: User, source: Any) -> None:
        main(user, source).apply_hints(**how(user))
        user.pipeline().run(source)

    IDIOMS[-1] = Idiom(f"hint_{name}", run, **ends)


_hints("primary_key", lambda user: {"primary_key": cursor(user)}, refused="another key than")
_hints("same_primary_key", lambda user: {"primary_key": user.subject.id_column})
_hints("merge_key", lambda user: {"merge_key": cursor(user)}, refused="the hint merge_key")
_hints("key_of_a_column", lambda user: {"columns": {cursor(user): {"merge_key": True}}}, refused="another key than")
_hints("column_description", lambda user: {"columns": {cursor(user): {"description": "mine"}}})
_hints("column_type", lambda user: {"columns": {cursor(user): {"data_type": "text"}}}, refused="the source declares")
_hints("timezone", lambda user: {"columns": {cursor(user): {"timezone": False}}}, refused="timezone=False")
_hints("precision", lambda user: {"columns": {cursor(user): {"precision": 3}}}, refused="precision=3")
_hints("another_column", lambda user: {"columns": {"x": {"data_type": "text"}}})
_hints("column_list", lambda user: {"columns": [{"name": "x", "data_type": "bigint", "nullable": True}]})
_hints("column_partition", lambda user: {"columns": {cursor(user): {"partition": True, "sort": True}}})
_hints("a_model", lambda user: {"columns": AnyModel}, refused="a pydantic model")
_hints("jsonl", lambda user: {"file_format": "jsonl"}, refused="file_format='jsonl'")
_hints("parquet", lambda user: {"file_format": "parquet"})
_hints("insert_values", lambda user: {"file_format": "insert_values"}, warns=True)
_hints("references", lambda user: {"references": [REFERENCE]})
_hints("parent_table_name", lambda user: {"parent_table_name": "other"}, refused="the hint parent_table_name")
_hints("additional", lambda user: {"additional_table_hints": {"x-mine": "yes"}})
_hints("variant", lambda user: {"table_name": "other", "create_table_variant": True, "columns": {"x": TEXT}})
for _name, _below in {"columns": {"columns": {"x": TEXT}}, "keys": {"primary_key": "x"}}.items():
    _hints(f"nested_{_name}", lambda user, b=_below: {"nested_hints": {"items": b}}, refused="the hint nested_hints")
for _name, _value in {
    "primary_key": "id", "table_name": "x", "write_disposition": "append", "columns": {}, "references": [],
}.items():  # fmt: skip
    _hints(f"dynamic_{_name}", lambda user, n=_name, v=_value: dynamic(n, v), refused="a function of the row")
for _one in ("upsert", "delete-insert", "insert-only"):
    _hints(_one, lambda user, s=_one: {"write_disposition": {"disposition": "merge", "strategy": s}})
for _one in ("merge", "replace"):
    _hints(_one, lambda user, s=_one: {"write_disposition": s})


def _at_run(name: str, how: Callable[[User], Any], **ends: Any) -> None:
    @idiom()
    def run(user: User, source: Any) -> None:
        user.pipeline().run(source, **how(user))

    IDIOMS[-1] = Idiom(f"run_{name}", run, **ends)


_at_run("primary_key", lambda user: {"primary_key": cursor(user)}, refused="another key than")
_at_run("columns", lambda user: {"columns": {"x": {"data_type": "text"}}})
_at_run("jsonl", lambda user: {"loader_file_format": "jsonl"}, refused="file_format='jsonl'")
_at_run("merge", lambda user: {"write_disposition": "merge"})
_at_run("upsert", lambda user: {"write_disposition": {"disposition": "merge", "strategy": "upsert"}})


@idiom()
def an_adapter(user: User, source: Any) -> None:
    bigquery_adapter(main(user, source), partition=cursor(user), cluster=[user.subject.id_column])
    user.pipeline().run(source)


@idiom()
def hard_delete(user: User, source: Any) -> None:
    main(user, source).apply_hints(columns={"gone": {"data_type": "bool", "hard_delete": True}})
    user.pipeline().run(source)


# -- incremental ---------------------------------------------------------------------------------------


def _incremental(name: str, **how: Any) -> None:
    ends = {key: how.pop(key) for key in ("refused", "partly", "forms") if key in how}

    @idiom()
    def run(user: User, source: Any) -> None:
        for one in (source, user.subject.source.build(rows=source.rows)):
            main(user, one).apply_hints(incremental=dlt.sources.incremental(cursor(user), **how))
            user.pipeline().run(one)

    IDIOMS[-1] = Idiom(f"incremental_{name}", run, **ends)


_incremental("plain")
_incremental("initial", initial_value=OLD)
_incremental("lag", initial_value=OLD, lag=3600)
_incremental("end", initial_value=OLD, end_value=datetime(2100, 1, 1, tzinfo=UTC))
_incremental("desc", initial_value=OLD, row_order="desc")
_incremental("asc", initial_value=OLD, row_order="asc")
_incremental("open", initial_value=OLD, range_start="open")
_incremental("closed_end", initial_value=OLD, end_value=datetime(2100, 1, 1, tzinfo=UTC), range_end="closed")
_incremental("min", last_value_func=min)
_incremental("no_keys", initial_value=OLD, primary_key=())
_incremental("missing", initial_value=OLD, on_cursor_value_missing="include")
_incremental("text", initial_value="2000-01-01", refused="give a datetime")


@idiom()
def incremental_on_another_column(user: User, source: Any) -> None:
    for one in (source, user.subject.source.build(rows=source.rows)):
        main(user, one).apply_hints(incremental=dlt.sources.incremental(user.subject.id_column))
        user.pipeline().run(one)


# -- steps ---------------------------------------------------------------------------------------------


@idiom()
def map_first(user: User, source: Any) -> None:
    main(user, source).add_map(lambda item: item, insert_at=1)
    user.pipeline().run(source)


@idiom()
def map_last(user: User, source: Any) -> None:
    main(user, source).add_map(lambda item: item)
    main(user, source).add_map(lambda item: item, insert_at=3)
    user.pipeline().run(source)


@idiom()
def filter_nothing(user: User, source: Any) -> None:
    main(user, source).add_filter(lambda item: True)
    user.pipeline().run(source)


@idiom()
def yield_map(user: User, source: Any) -> None:
    main(user, source).add_yield_map(lambda item: iter([item]))
    user.pipeline().run(source)


@idiom(forms=(True,))
def yield_map_to_lists(user: User, source: Any) -> None:
    def pair(row: Any) -> Iterator[Any]:
        yield [row]

    main(user, source).add_yield_map(pair)
    user.pipeline().run(source)


@idiom(forms=(False,))
def batches_of_an_arrow_table(user: User, source: Any) -> None:
    main(user, source).add_yield_map(lambda page: iter(page.to_batches(max_chunksize=1)))
    user.pipeline().run(source)


@idiom(forms=(False,))
def a_column_more(user: User, source: Any) -> None:
    main(user, source).add_map(lambda page: page.append_column("mine", pa.array(["x"] * page.num_rows)))
    user.pipeline().run(source)
    assert user.sql(f"select distinct mine from {user.subject.main}") == [("x",)]


@idiom(forms=(True,))
def a_field_more(user: User, source: Any) -> None:
    main(user, source).add_map(lambda row: {**row, "mine": "x", "list": [{"a": 1}]})
    user.pipeline().run(source)
    assert user.sql(f"select distinct mine from {user.subject.main}") == [("x",)]
    assert user.count(f"{user.subject.main}__list") == 24


@idiom()
def metrics(user: User, source: Any) -> None:
    main(user, source).add_metrics(lambda items, meta, found: found.update(n=found.get("n", 0) + 1))
    user.pipeline().run(source)


@idiom(partly=True)
def max_time(user: User, source: Any) -> None:
    user.pipeline().run(source.add_limit(max_time=0.001))


@idiom()
def much_time(user: User, source: Any) -> None:
    user.pipeline().run(source.add_limit(max_time=1000))


@idiom(partly=True)
def count_rows(user: User, source: Any) -> None:
    user.pipeline().run(source.add_limit(7, count_rows=True))


@idiom(partly=True)
def limits_on_each_resource(user: User, source: Any) -> None:
    for resource in source.resources.values():
        resource.add_limit(2)
    user.pipeline().run(source)


@idiom(refused="add_limit(0)")
def limit_zero(user: User, source: Any) -> None:
    user.pipeline().run(source.add_limit(0))


@idiom(forms=(False,))
def through_pandas(user: User, source: Any) -> None:
    if is_there("pandas"):
        main(user, source).add_map(lambda page: page.to_pandas())
    user.pipeline().run(source)


@idiom(forms=(False,))
def arrow_in_another_order(user: User, source: Any) -> None:
    main(user, source).add_map(lambda page: page.sort_by(user.subject.id_column))
    main(user, source).add_map(lambda page: page.select([*reversed(page.column_names)]))
    user.pipeline().run(source)


@idiom(forms=(False,))
def a_column_of_two_types(user: User, source: Any) -> None:
    types = cycle([pa.int32(), pa.float64()])
    main(user, source).add_map(lambda page: page.append_column("mine", pa.array([1] * page.num_rows, next(types))))
    user.pipeline().run(source)
    assert user.sql(f"select distinct mine from {user.subject.main}") == [(1.0,)]


@idiom()
def state_of_ones_own(user: User, source: Any) -> None:
    def noted(item: Any) -> Any:
        dlt.current.source_state()["mine"] = dlt.current.resource_state()["mine"] = 1
        return item

    main(user, source).add_map(noted)
    mine = user.pipeline()
    mine.run(source)
    state = mine.state["sources"][user.subject.name]
    assert (state["mine"], state["resources"][user.subject.main]["mine"]) == (1, 1)


@idiom(partly=True)
def a_pipe_of_a_transformer(user: User, source: Any) -> None:
    @dlt.transformer(name="own", primary_key="id", write_disposition="merge")
    def own(page: Any) -> Iterator[Any]:
        for row in page if isinstance(page, list) else page.to_pylist():
            yield {"id": str(row[user.subject.id_column])}

    user.pipeline().run(main(user, source) | own)
    assert user.count("own") == 24


# -- state and what was loaded --------------------------------------------------------------------------


@idiom()
def dev_mode(user: User, source: Any) -> None:
    mine = user.pipeline("dev", dev_mode=True)
    mine.run(source)
    assert len(mine.dataset()[user.subject.main].fetchall()) == 24
    user.pipeline().run(user.subject.source.build(rows=source.rows))


def _refresh(mode: Any) -> None:
    @idiom()
    def run(user: User, source: Any) -> None:
        user.pipeline().run(user.subject.source.build(rows=source.rows))
        user.pipeline().run(source, refresh=mode)
        user.pipeline(refresh=mode).run(user.subject.source.build(rows=source.rows))
        user.pipeline(refresh=mode).run(main(user, user.subject.source.build(rows=source.rows)).add_limit(1))
        user.pipeline(refresh=mode).run(user.subject.source.build(rows=source.rows))

    IDIOMS[-1] = Idiom(f"refresh_{mode}", run)


for _mode in ("drop_sources", "drop_resources", "drop_data"):
    _refresh(_mode)


@idiom()
def drop_and_sync(user: User, source: Any) -> None:
    user.pipeline().run(user.subject.source.build(rows=source.rows))
    mine = user.pipeline().drop()
    mine.sync_destination()
    mine.run(source)
    attached = dlt.attach("mine", pipelines_dir=mine.pipelines_dir)
    attached.run(user.subject.source.build(rows=source.rows))


@idiom()
def attached_elsewhere(user: User, source: Any) -> None:
    user.pipeline().run(user.subject.source.build(rows=source.rows))
    mine = dlt.attach(
        "mine", pipelines_dir=str(user.world.folder / "elsewhere"),
        destination=dlt.destinations.duckdb(str(user.file())), dataset_name=user.subject.name,
    )  # fmt: skip
    mine.run(source)


@idiom()
def no_restore(user: User, source: Any) -> None:
    user.pipeline().run(user.subject.source.build(rows=source.rows))
    user.pipeline().drop()
    user.world.set(RESTORE_FROM_DESTINATION="false")
    user.pipeline().run(source)


@idiom()
def another_pipeline_same_dataset(user: User, source: Any) -> None:
    user.pipeline().run(user.subject.source.build(rows=source.rows).add_limit(1))
    other = dlt.pipeline(
        "second", pipelines_dir=str(user.world.folder / "elsewhere"),
        destination=dlt.destinations.duckdb(str(user.file())), dataset_name=user.subject.name,
    )  # fmt: skip
    other.run(source)


def _dropped(which: str) -> None:
    @idiom()
    def run(user: User, source: Any) -> None:

        user.pipeline().run(user.subject.source.build(rows=source.rows))
        names = list(source.resources)
        chosen = {"first": names[:1], "last": names[-1:], "all": ["--drop-all"]}[which]
        user.command("pipeline", "mine", "drop", *chosen)
        user.pipeline().run(source)

    IDIOMS[-1] = Idiom(f"drop_resource_{which}", run)


for _one in ("first", "last", "all"):
    _dropped(_one)


@idiom()
def another_pipeline_on_parts(user: User, source: Any) -> None:
    """Tasks of one pipeline that begin with the same state, as in Airflow: of their states the last one stays."""
    tasks = []
    for number, name in enumerate(source.resources):
        folder = str(user.world.folder / f"task {number}")
        to = dlt.destinations.duckdb(str(user.file()))
        mine = dlt.pipeline("mine", destination=to, dataset_name=user.subject.name, pipelines_dir=folder)
        mine.extract(user.subject.source.build(rows=source.rows).with_resources(name))
        mine.normalize()
        tasks.append(mine)
    for mine in reversed(tasks):
        mine.load()


@idiom()
def in_threads(user: User, source: Any) -> None:
    pipelines = [user.pipeline(), user.pipeline("second")]
    sources = [source, user.subject.source.build(rows=source.rows)]
    with ThreadPoolExecutor() as pool:
        assert len([*pool.map(lambda mine, one: mine.run(one), pipelines, sources)]) == 2
    assert user.differences(name="second") == []


def _replaced(strategy: str) -> None:
    @idiom()
    def run(user: User, source: Any) -> None:
        user.world.set(DESTINATION__REPLACE_STRATEGY=strategy)
        user.pipeline().run(user.subject.source.build(rows=source.rows))
        user.pipeline().run(source, write_disposition="replace")
        user.pipeline().run(user.subject.source.build(rows=source.rows))

    IDIOMS[-1] = Idiom(f"replace_{strategy}", run)


for _one in ("truncate-and-insert", "insert-from-staging"):
    _replaced(_one)


@idiom()
def a_failing_source_beside_it(user: User, source: Any) -> None:
    @dlt.resource(name="broken")
    def broken() -> Iterator[Any]:
        yield {"a": 1}
        raise ValueError("broken")

    try:
        user.pipeline().run([source, broken()])
    except Exception:
        user.pipeline().abort_packages()
    user.pipeline().run(user.subject.source.build(rows=source.rows))


@idiom()
def pending_packages(user: User, source: Any) -> None:
    mine = user.pipeline()
    mine.extract(source)
    mine.abort_packages()
    mine.extract(user.subject.source.build(rows=source.rows).add_limit(1))
    mine.normalize()
    mine.run(user.subject.source.build(rows=source.rows))
    mine.run(user.subject.source.build(rows=source.rows))


@idiom()
def a_window(user: User, source: Any) -> None:
    mine = user.pipeline()
    mine.run(user.subject.source.build(rows=source.rows, initial_value="2000-01-01", end_value="2100-01-01"))
    mine.run(source)


@idiom()
def a_first_time(user: User, source: Any) -> None:
    first = datetime.now(UTC) - timedelta(days=1)
    user.pipeline().run(user.subject.source.build(rows=source.rows, initial_value=first))
    user.pipeline().run(source)


@idiom(refused="scd2")
def scd2(user: User, source: Any) -> None:
    user.pipeline().run(source, write_disposition={"disposition": "merge", "strategy": "scd2"})


@idiom(refused="cannot tell them apart")
def a_file_named_like_the_dataset(user: User, source: Any) -> None:
    to = dlt.destinations.duckdb(str(user.file(user.subject.name)))
    user.pipeline("other", destination=to).run(source)


@idiom(refused="would both be loaded into", fits=lambda source: source.stream.parents is not None)
def two_resources_in_one_table(user: User, source: Any) -> None:
    user.pipeline().run(source, table_name="mine")


@idiom(refused="rows=True is refused for files", forms=(True,))
def rows_as_files(user: User, source: Any) -> None:
    user.pipeline("files", destination=dlt.destinations.filesystem(str(user.world.folder / "files"))).run(source)


@idiom(forms=(False,), refused="table_format='delta' is refused")
def files_of_delta(user: User, source: Any) -> None:
    main(user, source).apply_hints(table_format="delta")
    user.pipeline("files", destination=dlt.destinations.filesystem(str(user.world.folder / "files"))).run(source)


@idiom(forms=(False,))
def files_replaced(user: User, source: Any) -> None:
    mine = user.pipeline("files", destination=dlt.destinations.filesystem(str(user.world.folder / "files")))
    for disposition in ("merge", "replace", "replace", "merge"):
        mine.run(user.subject.source.build(), write_disposition=disposition)
        assert len(mine.dataset()[user.subject.main].fetchall()) == 24
    user.pipeline().run(source)


@idiom(forms=(False,))
def files(user: User, source: Any) -> None:
    mine = user.pipeline("files", destination=dlt.destinations.filesystem(str(user.world.folder / "files")))
    build = user.subject.source.build
    for one in (source, build(), build().with_resources(user.subject.main), build().add_limit(1)):
        mine.run(one)
    assert len(mine.dataset()[user.subject.main].fetchall()) == 24
    user.pipeline().run(build())
