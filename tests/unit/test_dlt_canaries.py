"""One canary for each private part of dlt in use: it fails with a sentence that says what changed and what breaks.

The parts stand behind two doors: sources/_dlt/internals.py and pipelines/destinations/_dlt. `.ci/newest` runs
this file on the newest dlt, so each canary imports what it watches by itself and uses nothing of conftest.py.
"""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Callable, Iterator
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated, Any, TypedDict

import dlt
import duckdb
import pytest

ROOT = Path(__file__).resolve().parents[2]
WATCHED: set[str] = set()
"""Every import of a door that some canary watches, by its dotted name."""


def canary(*parts: str, breaks: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a test the canary of `parts` of dlt (dotted names): whatever goes wrong in it becomes one sentence."""
    WATCHED.update(parts)

    def decorated(test: Callable[..., None]) -> Callable[..., None]:
        @wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            try:
                for part in parts:
                    resolved(part)
                test(*args, **kwargs)
            except Exception as error:
                what = str(error).strip().split("\n", 1)[0] or type(error).__name__
                pytest.fail(f"dlt {dlt.__version__} changed {' or '.join(parts)} ({what}): {breaks}", pytrace=False)

        return run

    return decorated


def resolved(name: str) -> Any:
    """Returns what a dotted name means today. Raises ImportError or AttributeError when it is gone."""
    return resolve_name(name)


def arguments(function: Any) -> list[str]:
    """Returns the names of a function's parameters."""
    return [name for name in inspect.signature(function).parameters if name != "self"]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder and dlt's defaults for gapless, also without conftest.py."""
    from gapless.pipelines.config import DLT_SETTINGS

    for name, value in {**DLT_SETTINGS, "DLT_PROJECT_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(tmp_path / "canary.duckdb")) as connection:
        yield connection


def pipeline(db: duckdb.DuckDBPyConnection, tmp_path: Path, destination: Any = None) -> dlt.Pipeline:
    """A pipeline into the dataset `birds`, by dlt's own destination unless another is given."""
    return dlt.pipeline(
        "birds", str(tmp_path), destination=destination or dlt.destinations.duckdb(db), dataset_name="birds"
    )


def load(one: dlt.Pipeline, **nests: list[str]) -> None:
    """Loads one record per nest, with its eggs as child rows, as a sync does."""
    from gapless.sources._extract.resource import tree_resource
    from gapless.sources._ledger.ledger import MERGE
    from gapless.sources._ledger.session import LoadItem
    from gapless.sources._schema.arrow import Batch, Table
    from gapless.sources._schema.record import Many, Record, Text

    class Egg(Record):
        colour: Text

    class Nest(Record):
        id: Text
        eggs: Many[Egg] = []

    table = Table("nests", Nest, ("id",), MERGE)
    records = [Nest(id=name, eggs=[Egg(colour=colour) for colour in eggs]) for name, eggs in nests.items()]

    def read(ledger: Any, state: dict[str, Any]) -> Iterator[LoadItem]:
        yield LoadItem([Batch(table, records)], {"seen": len(records)})

    def resource() -> Any:
        return tree_resource([table], read, "birds")

    one.run(dlt.source(resource, name="birds")(), loader_file_format="parquet")


EGGS = "select n.id, e.colour from birds.nests as n join birds.nests__eggs as e on e._dlt_parent_id = n._dlt_id"
ALL_EGGS = f"{EGGS} order by n.id, e._dlt_list_idx"


# -- sources/_dlt, sources/_extract ---------------------------------------------------------------------------------


@canary(
    "dlt.common.schema.typing.TTableSchema", "dlt.extract.extract.Extract._compute_metrics",
    breaks="child rows are Arrow tables with our hints (_extract/resource.py); they would be doubled or orphaned.",
)  # fmt: skip
def test_nested_arrow_tables(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """dlt's own merge replaces the children of what came again, and no others, also when none are left."""
    one = pipeline(db, tmp_path)
    load(one, robin=["blue", "green"], wren=["white"], owl=["grey"])
    load(one, robin=["red"], owl=[])
    assert db.execute(ALL_EGGS).fetchall() == [("robin", "red"), ("wren", "white")]
    assert db.execute("select count(*) from birds.nests__eggs").fetchone() == (2,)


@canary(
    "dlt.common.storages.load_storage.LoadItemStorage", "dlt.extract.storage.ExtractorItemStorage",
    breaks="with a % in TMPDIR, as Jenkins has it, every sync would end in a TypeError.",
)  # fmt: skip
def test_a_folder_with_a_percent_sign(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """dlt writes its load files there, below the same path."""
    from gapless.pipelines.destinations._dlt.working_files import accept_percent

    accept_percent()
    folder = tmp_path / "ws%2Fjob%s"
    folder.mkdir()
    load(pipeline(db, folder), robin=["blue"])
    assert db.execute("select count(*) from birds.nests__eggs").fetchone() == (1,)


@canary(
    "dlt.common.configuration.providers.toml.SettingsTomlProvider._read_toml_file",
    "dlt.common.configuration.providers.toml.SettingsTomlProvider",
    breaks="a TOML file with a byte order mark would not be read, and messages would name no line.",
)
def test_toml_files_are_read_by_us(tmp_path: Path) -> None:
    from dlt.common.configuration.providers.toml import SecretsTomlProvider

    from gapless.pipelines.destinations._dlt.toml_files import read_by_us

    read_by_us()
    (tmp_path / "secrets.toml").write_bytes(b"\xef\xbb\xbfkey = 'value'")
    assert SecretsTomlProvider(str(tmp_path)).get_value("key", str, "") == ("value", "key")


@canary(
    "dlt.common.runtime.run_context", "dlt.common.runtime.run_context.global_dir",
    breaks="settings of a service without a home would be read from a folder that anybody can make (security).",
)  # fmt: skip
def test_no_settings_in_a_shared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """dlt asks for its folder under this name, and would take one in the temporary folder."""
    from gapless.pipelines.destinations._dlt.toml_files import read_by_us

    read_by_us()
    context = resolved("dlt.common.runtime.run_context.RunContext")(None)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "own"))
    assert context.global_dir == str(tmp_path / "own")
    assert f"{tmp_path}/own/config.toml" in [file for one in context.initial_providers() for file in one.locations]


@canary(
    "dlt.common.configuration.specs.pluggable_run_context.PluggableRunContext.reload_providers",
    breaks="`sync --every` would use a key that was changed in a file only after a restart.",
)
def test_files_are_read_again(tmp_path: Path) -> None:
    from gapless.pipelines.destinations._dlt.config import read_again

    (tmp_path / ".dlt").mkdir()
    for value in ("one", "two"):
        (tmp_path / ".dlt" / "config.toml").write_text(f"canary = '{value}'")
        read_again()
        assert dlt.config.get("canary") == value
    (tmp_path / ".dlt" / "config.toml").unlink()
    read_again()


@canary(
    "dlt.extract.items.DataItemWithMeta", "dlt.extract.items_transform.ItemTransform",
    "dlt.extract.items_transform.LimitItem", "dlt.extract.items_transform.YieldMapItem",
    breaks="state would run ahead of rows under add_limit, filters and maps (_extract/steps): lost for ever.",
)  # fmt: skip
def test_the_last_step_of_a_pipe() -> None:
    """It stands behind limits, maps and filters, gets the mark beside each item, and sees that a limit is met."""
    from gapless.sources._dlt.internals import DataItemWithMeta, ItemTransform, LimitItem, YieldMapItem

    seen: list[Any] = []

    class Last(ItemTransform[Any, Any]):
        placement_affinity = 1.5

        def __init__(self) -> None:
            super().__init__(lambda item: item)

        def bind(self, pipe: Any) -> Any:
            self.steps = list(pipe.steps)
            return self

        def __call__(self, item: Any, meta: Any = None) -> Any:
            (limit,) = [step for step in self.steps if isinstance(step, LimitItem)]
            seen.append((item, meta, limit.exhausted, limit.max_items, limit.count_rows))
            return item

    def read() -> Iterator[Any]:
        for number in range(9):
            yield DataItemWithMeta(f"mark {number}", [number, number])
        yield DataItemWithMeta("end", [])

    last = Last()
    resource = dlt.resource(read, name="numbers").add_step(last)
    resource.add_filter(lambda n: n != 1).add_map(lambda n: n * 10).add_limit(2)
    assert list(resource) == [0, 0, 20, 20]
    assert seen == [([0, 0], "mark 0", False, 2, False), ([20, 20], "mark 2", True, 2, False)]
    seen.clear()
    whole = dlt.resource(read, name="numbers").add_step(Last()).add_filter(lambda n: n < 0).add_limit(99)
    assert (list(whole), [meta for _, meta, *_ in seen]) == ([], ["end"])
    torn = dlt.resource(read, name="numbers").add_step(last).add_yield_map(lambda n: iter([n])).add_limit(1)
    assert (list(torn), any(isinstance(step, YieldMapItem) for step in last.steps)) == ([0], True)


@canary(
    "dlt.extract.resource.DltResource",
    breaks="a hint that cannot be obeyed would fail late, or reach the ledger's tables (checks.py, hints.py).",
)
def test_the_hints_of_a_resource() -> None:
    """Those that were set, by name, and those of a variant."""
    from gapless.sources._dlt.internals import forget_references, hints_of

    to_other = [{"referenced_table": "other", "columns": ["id"], "referenced_columns": ["id"]}]
    resource = dlt.resource([1], name="numbers", merge_key="day", nested_hints={"a": {"columns": {}}})
    resource.apply_hints(references=to_other)
    found = hints_of(resource)
    assert (found["merge_key"], list(found["nested_hints"]), found["references"]) == ("day", ["a"], to_other)
    resource.apply_hints(table_name="variant", create_table_variant=True)
    forget_references(resource, "variant")
    variant = resource.compute_table_schema(meta=dlt.mark.with_table_name({}, "variant").meta)
    assert (variant["name"], "references" in variant) == ("variant", False)


@canary(
    "dlt.extract.pipe.ForkPipe", "dlt.common.exceptions.ResourceNameNotAvailable",
    breaks="a transformer, or a resource that reads ours, would get the ledger as rows (_extract/resource.py).",
)  # fmt: skip
def test_who_reads_a_resource(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """A step sees when it is bound whether its rows are written, go to a transformer, or to another resource."""
    from gapless.sources._dlt.internals import ForkPipe, ItemTransform, is_loaded

    seen: list[Any] = []

    class Last(ItemTransform[Any, Any]):
        def __init__(self) -> None:
            super().__init__(lambda item: item)

        def bind(self, pipe: Any) -> Any:
            both = any(isinstance(step, ForkPipe) and step.has_pipe(pipe) for step in pipe.steps)
            seen.append((is_loaded(pipe, Last), both))
            return self

        def __call__(self, item: Any, meta: Any = None) -> Any:
            return item

    def numbers() -> Any:
        return dlt.resource([1], name="numbers").add_step(Last())

    def within() -> Iterator[Any]:
        yield from numbers()

    double = dlt.transformer(lambda n: n * 2, name="double")
    mine, whole = pipeline(db, tmp_path), numbers()
    list(numbers())
    mine.run(numbers())
    mine.run(numbers() | double)
    mine.run([whole, whole | double])
    mine.run(dlt.resource(within, name="within"))
    assert seen == [(False, False), (True, False), (False, False), *2 * [(True, True)], (False, False)]


@canary(
    "dlt.common.configuration.specs.base_configuration.NotResolved",
    breaks="`rows`, `lag` and `initial_value` of a source would be read from the environment of whoever runs it.",
)
def test_an_argument_that_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:

    from gapless.sources._dlt.internals import NotResolved

    monkeypatch.setenv("ROWS", "true")

    def build(rows: Annotated[bool, NotResolved()] = False, lag: float = 0.0) -> Any:
        return dlt.resource([rows], name="told")

    assert list(dlt.source(build, name="birds")()) == [False]
    assert list(dlt.source(build, name="birds")(rows=True)) == [True]


@canary(
    "dlt.common.storages.exceptions.CurrentLoadPackageStateNotAvailable",
    breaks="a preview without a pipeline would fail, or write state (_dlt/internals.load_package).",
)
def test_a_preview_has_no_load_package(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    from gapless.sources._dlt.internals import load_package

    found: list[Any] = []

    def read() -> Iterator[Any]:
        found.append(load_package())
        yield 1

    list(dlt.resource(read, name="nests"))
    pipeline(db, tmp_path).run(dlt.resource(read, name="nests"))
    assert (found[0], set(found[1])) == (None, {"load_id", "state"})


@canary(
    "dlt.common.destination.exceptions.DestinationUndefinedEntity",
    "dlt.destinations.exceptions.DatabaseUndefinedRelation", "dlt.destinations.exceptions.DatabaseException",
    breaks="before the first load there are no tables: a first sync would fail, or every error would look like that.",
)  # fmt: skip
def test_errors_of_a_database(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """A missing table and a refused statement are told apart."""
    from gapless.pipelines.destinations._dlt import runtime
    from gapless.sources._dlt.internals import DestinationUndefinedEntity

    with pipeline(db, tmp_path).sql_client() as client:
        with pytest.raises(runtime.DatabaseUndefinedRelation) as missing:
            client.execute_sql("select * from nowhere")
        assert isinstance(missing.value, DestinationUndefinedEntity)
        with pytest.raises(runtime.DatabaseException) as refused:
            client.execute_sql("select 1 +")
        assert not isinstance(refused.value, DestinationUndefinedEntity)


@canary(
    "dlt.destinations.sql_client.DBApiCursorImpl._get_columns",
    breaks="each sync reads its ledger by column (_dlt/internals.column_names) and would fail at the start.",
)
def test_column_names_of_a_cursor(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    from gapless.sources._dlt.internals import column_names

    with pipeline(db, tmp_path).sql_client() as client, client.execute_query('select 1 as one, 2 as "Two"') as cursor:
        assert column_names(cursor) == ["one", "two"]


@canary(
    "dlt.common.versioned_state.decompress_state",
    breaks="state show, rewind, gaps, backfill and copy read the state that the next sync will restore.",
)
def test_system_tables_and_stored_state(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """dlt's tables have the names and columns of _dlt/tables.py; every row has its load's id; states can be read."""
    from gapless.pipelines.destinations._dlt.runtime import stored_source_state
    from gapless.sources._dlt import tables as dlt_tables

    load(pipeline(db, tmp_path), robin=["blue"])
    loads, states = f"birds.{dlt_tables.LOADS}", f"birds.{dlt_tables.STATES}"
    ours = f"select count(*) from birds.nests where {dlt_tables.is_completed(loads)}"
    assert (db.execute(ours).fetchone(), len(db.execute(dlt_tables.completed_loads(loads)).fetchall())) == ((1,), 1)
    assert {*dlt_tables.LOADS_COLUMNS} <= {name for name, *_ in db.execute(f"describe {loads}").fetchall()}
    ((state,),) = db.execute(dlt_tables.newest_state(states, loads, "birds")).fetchall()
    assert stored_source_state(state, "birds") == {"resources": {"nests": {"seen": 1}}}
    assert stored_source_state(state, "fish") == {}


@canary(
    "dlt.common.versioned_state.compress_state", "dlt.common.versioned_state.generate_state_version_hash",
    breaks="`privacy apply` could not write in its own transaction under which policy the rows are.",
)  # fmt: skip
def test_a_state_that_sql_changes(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """What is written in the place of the newest state is restored by the next run, and loaded on from there."""
    from gapless.pipelines.destinations._dlt.runtime import changed_source_state, stored_source_state
    from gapless.sources._dlt import tables as dlt_tables

    load(pipeline(db, tmp_path / "one"), robin=["blue"])
    loads, states = f"birds.{dlt_tables.LOADS}", f"birds.{dlt_tables.STATES}"
    newest = dlt_tables.newest_state_load(states, loads, "birds")
    ((of, text),) = db.execute(newest).fetchall()
    changed, digest = changed_source_state(text, "birds", lambda state: state.update(more="told"))
    db.execute(f"update {states} set state = ?, version_hash = ? where _dlt_load_id = ?", [changed, digest, of])
    load(pipeline(db, tmp_path / "two"), wren=["white"])
    ((_, text),) = db.execute(newest).fetchall()
    assert stored_source_state(text, "birds")["more"] == "told"


@canary(
    "dlt.common.versioned_state.compress_state",
    breaks="forget takes ids out of stored states (_dlt/internals.state_text), and dlt could not read them any more.",
)
def test_a_state_that_is_stored_again() -> None:
    """What is read of it is what was written."""
    from gapless.sources._dlt.internals import pipeline_state, state_text

    state = {"sources": {"birds": {"seen": 1}}, "_state_version": 3}
    assert pipeline_state(state_text(state)) == state


@pytest.mark.slow
@canary(
    "dlt.pipeline.Pipeline",
    breaks="a table that somebody dropped stays missing (sync/history.py forgets the stored schema to get it back).",
)
def test_a_forgotten_schema_brings_tables_back(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """With the stored schema gone, dlt makes the missing table and leaves the others alone."""
    from gapless.sources._dlt import tables as dlt_tables

    load(pipeline(db, tmp_path / "one"), robin=["blue"], wren=["white"])
    db.execute("drop table birds.nests__eggs")
    db.execute(dlt_tables.forget_schemas(f"birds.{dlt_tables.SCHEMAS}"))
    load(pipeline(db, tmp_path / "two"), robin=["red"])
    assert db.execute(ALL_EGGS).fetchall() == [("robin", "red")]
    assert db.execute("select count(*) from birds.nests").fetchone() == (2,)


@canary(
    "dlt.common.destination.DestinationCapabilitiesContext.supported_merge_strategies",
    breaks="gapless refuses a destination, appends to it or merges by this list (write_strategy.py, resolve.py).",
)
def test_what_a_destination_can_merge() -> None:
    able = {
        name: set(getattr(dlt.destinations, name)().capabilities().supported_merge_strategies or ())
        for name in ("duckdb", "postgres", "filesystem")
    }
    assert {name for name, strategies in able.items() if "delete-insert" in strategies} == {"duckdb", "postgres"}
    assert "insert-only" in able["duckdb"] & able["postgres"]


# -- pipelines/destinations/_dlt/config.py and runtime.py ----------------------------------------------------------


@canary(
    "dlt.common.configuration.exceptions.ConfigurationException",
    "dlt.common.configuration.exceptions.ConfigFieldMissingException",
    breaks="a missing setting would end in a traceback, exit 1, instead of its name and exit 2 (sync/build.py).",
)
def test_errors_of_the_configuration() -> None:
    from gapless.pipelines.destinations._dlt.config import ConfigFieldMissingException, ConfigurationException

    @dlt.source
    def birds(birds_api_key: str = dlt.secrets.value) -> Any:
        return dlt.resource([1], name="nests")

    with pytest.raises(ConfigFieldMissingException) as missing:
        birds()
    assert isinstance(missing.value, ConfigurationException)
    assert [*missing.value.fields] == ["birds_api_key"]


@canary(
    "dlt.common.configuration.exceptions.ConfigValueCannotBeCoercedException",
    breaks="a setting of the wrong type would be named by dlt's sentence alone, or not at all (sync/build.py).",
)
def test_error_of_a_value_of_the_wrong_type(monkeypatch: pytest.MonkeyPatch) -> None:
    from gapless.pipelines.destinations._dlt.config import ConfigValueCannotBeCoercedException

    @dlt.source
    def birds(birds_workers: int = 8) -> Any:
        return dlt.resource([1], name="nests")

    monkeypatch.setenv("BIRDS_WORKERS", "many")
    with pytest.raises(ConfigValueCannotBeCoercedException) as wrong:
        birds()
    assert (wrong.value.field_name, wrong.value.hint) == ("birds_workers", int)


@canary(
    "dlt.common.configuration.exceptions.ValueNotSecretException",
    breaks="a credential in config.toml would be refused in dlt's words, without where it belongs (resolve.py).",
)
def test_error_of_a_secret_in_the_wrong_file() -> None:
    from gapless.pipelines.destinations._dlt.config import ConfigurationException, ValueNotSecretException

    error = ValueNotSecretException("config.toml", "birds.key")
    assert (isinstance(error, ConfigurationException), error.key) == (True, "birds.key")


@canary(
    "dlt.common.destination.exceptions.UnknownDestinationModule", "dlt.common.exceptions.MissingDependencyException",
    breaks="a typing error in --destination, or a driver that is not installed, would end in a traceback.",
)  # fmt: skip
def test_errors_of_a_destination() -> None:
    from gapless.pipelines.destinations._dlt.config import MissingDependencyException, UnknownDestinationModule

    with pytest.raises(UnknownDestinationModule):
        dlt.pipeline("birds", destination="nowhere").destination_client()
    assert MissingDependencyException("birds", ["dlt[postgres]"]).dependencies == ["dlt[postgres]"]


@canary(
    "dlt.common.configuration.providers.toml.TomlProviderReadException",
    breaks="a .dlt/secrets.toml that is no valid TOML would end in a traceback instead of its path (redaction.py).",
)
def test_a_broken_toml_file(tmp_path: Path) -> None:
    from gapless.pipelines.destinations._dlt.config import TomlProviderReadException

    (tmp_path / "secrets.toml").write_text("key =")
    with pytest.raises(TomlProviderReadException) as broken:
        resolved("dlt.common.configuration.providers.toml.SecretsTomlProvider")(str(tmp_path))
    assert str(tmp_path / "secrets.toml") in broken.value.full_paths


@canary(
    "dlt.common.configuration.utils.get_resolved_traces",
    breaks="doctor cannot say where a key comes from; plan and verify ignore settings such as OMNI_LEAD_IDS.",
)
def test_settings_as_dlt_resolves_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key, value and origin of each setting; nothing is kept, as secrets are among them."""
    from gapless.pipelines.destinations._dlt.config import ResolvedSetting, resolved_settings

    @dlt.source
    def birds(birds_lag: int = 3, birds_api_key: str = dlt.secrets.value) -> Any:
        return dlt.resource([1], name="nests")

    monkeypatch.setenv("BIRDS_LAG", "7")
    monkeypatch.setenv("BIRDS_API_KEY", "tweet")
    found = {setting.key: setting for setting in resolved_settings(birds)}
    assert found["birds_lag"] == ResolvedSetting("birds_lag", "7", "Environment Variables")
    assert found["birds_api_key"].value == "tweet"
    assert not resolved("dlt.common.configuration.utils.get_resolved_traces")().resolved_traces


@canary(
    "dlt.common.configuration.container.Container", "dlt.common.configuration.specs.PluggableRunContext",
    "dlt.common.configuration.providers.dictionary.DictionaryProvider",
    "dlt.common.configuration.providers.doc.BaseDocProvider",
    "dlt.common.configuration.specs.config_providers_context.ConfigProvidersContainer",
    breaks="the demo would meet a person's own keys, and secrets in TOML files would not be redacted (security).",
)  # fmt: skip
def test_providers_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """They can be replaced for a while, and the documents of those that hold secrets can be read."""
    from gapless.pipelines.destinations._dlt.config import configuration, documents

    monkeypatch.setenv("BIRDS_API_KEY", "mine")
    with configuration({("sources", "birds", "other_key"): "fake"}):
        assert dlt.config.get("birds_api_key") is None
        assert dlt.config.get("sources.birds.other_key") == "fake"
        assert documents() == [{"sources": {"birds": {"other_key": "fake"}}}]
    assert dlt.config.get("birds_api_key") == "mine"
    toml = resolved("dlt.common.configuration.providers.toml.SecretsTomlProvider")
    assert issubclass(toml, resolved("dlt.common.configuration.providers.doc.BaseDocProvider"))
    names = [one.name for one in dlt.config.config_providers if one.supports_secrets]
    assert "secrets.toml" in names


@canary(
    "dlt.extract.incremental.context.TimeIntervalContext",
    breaks="Airflow's data interval would be taken for the time span to read, and late records would be lost.",
)
def test_the_interval_of_a_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    from gapless.pipelines.destinations._dlt.config import without_interval

    context = resolved("dlt.extract.incremental.context.TimeIntervalContext")
    assert "_detect" in vars(context)
    monkeypatch.setenv("DLT_INTERVAL_START", "2026-01-01T00:00:00Z")
    monkeypatch.setenv("DLT_INTERVAL_END", "2026-01-02T00:00:00Z")
    assert dlt.current.interval() is not None
    with without_interval():
        assert dlt.current.interval() is None
    assert dlt.current.interval() is not None


@canary(
    "dlt.extract.incremental.context.get_interval_context",
    breaks="in a scheduler's task a source would read only the task's interval, though nobody asked for it.",
)
def test_whether_a_scheduler_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As dlt's own incremental decides it."""
    from gapless.sources._dlt.internals import joins_scheduler

    container = resolved("dlt.common.configuration.container.Container")()
    kind = resolved("dlt.extract.incremental.context.TimeIntervalContext")
    for configured in (None, True):
        with container.injectable_context(kind(allow_external_schedulers=configured)):
            assert joins_scheduler() is bool(configured)
            for own in (True, False):
                assert joins_scheduler(dlt.sources.incremental("at", allow_external_schedulers=own)) is own


@pytest.mark.slow
@canary(
    "dlt.pipeline.trace", "dlt.pipeline.trace.TRACKING_MODULES",
    breaks="traces and metrics (OpenTelemetry) would lack every load package, silently.",
)  # fmt: skip
def test_a_watcher_of_traces(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Called at the start and the end of each run and of its steps, while the block lasts."""
    from gapless.pipelines.destinations._dlt.runtime import tracked

    calls: list[str] = []

    class Watcher:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *args: calls.append(f"{name} {len(args)}")

    with tracked(Watcher()):
        load(pipeline(db, tmp_path), robin=[])
    seen = len(calls)
    load(pipeline(db, tmp_path), robin=[])
    assert set(calls) >= {"on_start_trace 3", "on_start_trace_step 3", "on_end_trace_step 5", "on_end_trace 3"}
    assert len(calls) == seen


# -- pipelines/destinations/_dlt/*_client.py -----------------------------------------------------------------------


@canary(
    "dlt.common.destination.Destination", "dlt.common.destination.client.DestinationClientConfiguration",
    "dlt.common.destination.DestinationCapabilitiesContext", "dlt.common.normalizers.naming.NamingConvention",
    breaks="a sync would work with a stale or wrong configuration (_dlt/cached.py), or take twice as long.",
)  # fmt: skip
def test_what_a_destination_is_asked(db: duckdb.DuckDBPyConnection) -> None:
    """Both methods still take what they took, and their answers can be copied."""
    destination = resolved("dlt.common.destination.Destination")
    assert arguments(destination.capabilities) == ["config", "naming"]
    assert arguments(destination.configuration) == ["initial_config", "accept_partial"]
    own = dlt.destinations.duckdb(db)
    config = own.configuration(own.spec()._bind_dataset_name("birds"))
    assert config.copy().dataset_name == "birds"
    assert own.capabilities().copy().supports_ddl_transactions is own.capabilities().supports_ddl_transactions


@canary(
    "dlt.common.validation", "dlt.common.validation.get_type_hints",
    breaks="an idle sync would compute a tenth more, or a schema be held to the types of another (_dlt/cached.py).",
)  # fmt: skip
def test_types_of_keys_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """dlt still asks for them by this name, each kind of dictionary has its own, and both are held to them."""
    from dlt.common import validation
    from dlt.common.exceptions import DictValidationException

    from gapless.pipelines.destinations._dlt.cached import remember_types

    looked_up = list[str]()

    def look_up(spec: type, **context: Any) -> dict[str, Any]:
        looked_up.append(spec.__name__)
        return dict(spec.__annotations__)

    monkeypatch.setattr(validation, "get_type_hints", look_up)
    remember_types()
    kinds = TypedDict("Bird", {"wings": int}), TypedDict("Fish", {"fins": int})  # type: ignore[operator]
    for _ in range(2):
        for kind, key in zip(kinds, ("wings", "fins"), strict=True):
            validation.validate_dict(kind, {key: 2}, ".")
            with pytest.raises(DictValidationException):
                validation.validate_dict(kind, {key: "two"}, ".")
    assert looked_up == ["Bird", "Fish"]


@canary(
    "dlt.common.configuration.resolve", "dlt.common.configuration.resolve.is_secret_hint",
    "dlt.common.configuration.providers.environ", "dlt.common.configuration.providers.environ.is_secret_hint",
    breaks="a load package would resolve its configuration a third slower, or a key be taken for no secret"
    " (_dlt/cached.py).",
)  # fmt: skip
def test_secret_types_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """dlt still asks for them by this name in both places, and each type has its own answer, which is kept."""
    from dlt.common.configuration import resolve
    from dlt.common.configuration.providers import environ
    from dlt.common.typing import TSecretStrValue

    from gapless.pipelines.destinations._dlt.cached import remember_secrets

    asked = list[Any]()

    def is_secret(hint: Any) -> bool:
        asked.append(hint)
        return hint is not str

    for module in (environ, resolve):
        monkeypatch.setattr(module, "is_secret_hint", is_secret)
    remember_secrets()
    unhashable: Any = Annotated[TSecretStrValue, []]
    hints: list[Any] = [TSecretStrValue, str, unhashable]
    for module in (environ, resolve):
        assert [vars(module)["is_secret_hint"](hint) for hint in hints] == [True, False, True]
    assert asked == [*hints, unhashable]


@canary(
    "dlt.destinations.impl.duckdb.duck.DuckDbClient", "dlt.common.destination.PreparedTableSchema",
    "dlt.common.destination.client.FollowupJobRequest", "dlt.common.destination.client.HasFollowupJobs",
    "dlt.common.destination.client.LoadJob", "dlt.common.destination.client.RunnableLoadJob",
    "dlt.common.destination.configuration.ParquetFormatConfiguration",
    "dlt.common.storages.load_package.LoadJobInfo", "dlt.destinations.sql_jobs.SqlMergeFollowupJob",
    breaks="every merge into DuckDB and DuckLake goes by dlt's SQL with the staging tables replaced"
    " (_dlt/duckdb_client.py): syncs would fail, or write everything twice.",
)  # fmt: skip
def test_merging_from_files(db: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each staging table in dlt's SQL is found and replaced; rows and children are as dlt's own merge leaves them."""
    from gapless.pipelines.destinations._dlt.duckdb_client import DuckdbDestination, MergeFromFiles

    replaced: list[str] = []

    def noted(client: Any, sql: str, *rest: Any) -> str:
        replaced.append(own(client, sql, *rest))
        return replaced[-1]

    own = MergeFromFiles._from_files
    monkeypatch.setattr(MergeFromFiles, "_from_files", noted)
    one = pipeline(db, tmp_path, DuckdbDestination(db))
    load(one, robin=["blue", "green"], wren=["white"], owl=["grey"])
    load(one, robin=["red"], owl=[])
    assert db.execute(ALL_EGGS).fetchall() == [("robin", "red"), ("wren", "white")]
    assert any("read_parquet(['" in sql for sql in replaced)
    assert not [sql for sql in replaced if "staging" in sql.lower()]
    schemas = {name for (name,) in db.execute("select schema_name from duckdb_schemas()").fetchall()}
    assert "birds_staging" not in schemas


@canary(
    "dlt.destinations.job_client_impl.SqlLoadJob", "dlt.destinations.impl.duckdb.duck.DuckDbCopyJob",
    breaks="a sync into DuckDB would fail when a merge needs more memory than was thought (_dlt/duckdb_client.py).",
)  # fmt: skip
def test_jobs_that_are_run_again(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Both kinds of job go through ours, and their connection is at hand."""
    from gapless.pipelines.destinations._dlt import duckdb_client

    ran: list[str] = []

    def noted(connection: Any, action: Callable[[], None]) -> None:
        ran.append(type(connection).__name__)
        action()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duckdb_client, "with_room", noted)
        load(pipeline(db, tmp_path, duckdb_client.DuckdbDestination(db)), robin=["blue"])
    assert ran
    assert set(ran) == {"DuckDBPyConnection"}
    assert "run" in vars(resolved("dlt.destinations.job_client_impl.SqlLoadJob"))
    assert "run" in vars(resolved("dlt.destinations.impl.duckdb.duck.DuckDbCopyJob"))


@canary(
    "dlt.destinations.impl.postgres.postgres.PostgresClient",
    "dlt.destinations.impl.postgres.configuration.PostgresCredentials",
    "dlt.destinations.impl.postgres.configuration.PostgresClientConfiguration",
    "dlt.common.configuration.configspec", "dlt.common.typing.TSecretStrValue",
    "dlt.common.schema.typing.TColumnSchema", "dlt.common.schema.typing.TSchemaTables",
    "dlt.common.schema.typing.TColumnType", "dlt.common.exceptions.TerminalValueError",
    breaks="merges into Postgres would be table scans, shards would make tables at once, and the lock would be that"
    " of another database (_dlt/postgres_client.py).",
)  # fmt: skip
def test_tables_of_postgres() -> None:
    """A new table gets its index in dlt's own statements; the credentials keep what libpq is to be told."""
    from gapless.pipelines.destinations._dlt.postgres_client import PostgresDestination
    from gapless.pipelines.destinations._dlt.postgres_credentials import LibpqCredentials
    from gapless.pipelines.destinations._postgres.session import DEFAULTS, EXACT, with_session
    from gapless.sources._ledger.shard import Shard

    credentials = with_session(LibpqCredentials("host=localhost port=1,2 dbname=birds").resolve())
    assert credentials.get_query()["options"] == f"{DEFAULTS} {EXACT}"
    assert credentials.given()["port"] == "1,2"
    assert "tcp_user_timeout=60000" in credentials.to_native_representation()
    schema = dlt.Schema("birds")
    key: Any = {"name": "id", "data_type": "text", "primary_key": True, "nullable": False}
    schema.update_table({"name": "nests", "columns": {"id": key}, "write_disposition": "merge"})
    destination = PostgresDestination("postgres", credentials, Shard())
    client: Any = destination.client(schema, destination.spec()._bind_dataset_name("birds"))
    create, *_, index = client._get_table_update_sql("nests", [key], False)
    assert create.startswith("CREATE TABLE")
    assert index == 'CREATE INDEX ON "birds"."nests" USING hash ("id")'
    assert arguments(type(client).initialize_storage) == ["truncate_tables"]
    theirs = resolved("dlt.destinations.impl.postgres.postgres.PostgresClient")
    assert arguments(theirs.update_stored_schema) == ["only_tables", "expected_update", "force"]


@canary(
    "dlt.destinations.impl.postgres.sql_client.Psycopg2SqlClient",
    breaks="limits of a server for the time of a session would end loads (_dlt/postgres_client.py).",
)
def test_sessions_of_postgres() -> None:
    """The client takes these arguments, and resets a connection, under this name, whenever it begins anew with it."""
    client = resolved("dlt.destinations.impl.postgres.sql_client.Psycopg2SqlClient")
    assert arguments(client.__init__) == ["dataset_name", "staging_dataset_name", "credentials", "capabilities"]
    assert {"_reset_connection", "_conn"} <= {*client.open_connection.__code__.co_names}


@canary(
    "dlt.destinations.impl.postgres.factory.PostgresTypeMapper", "dlt.common.destination.client.RunnableLoadJob",
    breaks="JSON in Postgres would be no jsonb any more, or a load would not find what it has staged"
    " (_dlt/postgres_client.py).",
)  # fmt: skip
def test_how_postgres_is_loaded() -> None:
    """By parquet files, into jsonb; dlt's merge reads from where temporary tables are; jobs get a client and run."""
    from gapless.pipelines.destinations._dlt.postgres_client import PostgresDestination, _Jsonb

    schema = dlt.Schema("birds")
    json_: Any = {"name": "eggs", "data_type": "json"}
    destination: Any = PostgresDestination("postgres", "postgresql://localhost/birds")  # type: ignore[arg-type]
    capabilities = destination.capabilities()
    assert capabilities.supported_loader_file_formats == ["parquet"]
    assert capabilities.loader_file_format_selector("parquet", ["parquet"], table_schema={}) == (
        "parquet",
        ["parquet"],
    )
    theirs = resolved("dlt.destinations.impl.postgres.factory.PostgresTypeMapper")(capabilities)
    table: Any = {"name": "nests", "file_format": "parquet"}
    assert (theirs.to_destination_type(json_, table), _Jsonb(capabilities).to_destination_type(json_, table)) == (
        "json",
        "jsonb",
    )
    client = destination.client(schema, destination.spec()._bind_dataset_name("birds"))
    assert client.sql_client.get_qualified_table_names("nests") == ('"birds"."nests"', '"pg_temp"."nests"')
    assert not client.should_load_data_to_staging_dataset("nests")
    job = resolved("dlt.common.destination.client.RunnableLoadJob")
    assert arguments(job.run_managed) == ["job_client", "done_event"]


@canary(
    "dlt.destinations.impl.ducklake.configuration.DuckLakeClientConfiguration",
    "dlt.destinations.impl.ducklake.ducklake.DuckLakeClient",
    "dlt.destinations.impl.ducklake.sql_client.DuckLakeSqlClient",
    "dlt.destinations.sql_client.raise_open_connection_error",
    breaks="a DuckLake could not be attached once a sync (_dlt/ducklake_client.py): no sync into it.",
)  # fmt: skip
def test_how_a_lake_is_attached() -> None:
    """The client takes these arguments, attaches by this statement and keeps its connection under this name."""
    client = resolved("dlt.destinations.impl.ducklake.sql_client.DuckLakeSqlClient")
    assert arguments(client.__init__)[:6] == [
        "dataset_name", "staging_dataset_name", "credentials", "capabilities", "override_data_path",
        "automatic_migration",
    ]  # fmt: skip
    capabilities = dlt.destinations.ducklake().capabilities()
    credentials = resolved("dlt.destinations.impl.ducklake.configuration.DuckLakeCredentials")()
    one = client("birds", "birds_staging", credentials, capabilities)
    assert one._conn is None
    one._attach_statement = "attach it"
    assert one.attach_statement == "attach it"
    assert {"open_connection", "close_connection", "create_secret"} <= {*dir(client)}
    # Whatever writes goes through one of these two, in which it waits for its turn.
    assert arguments(client.begin_transaction) == []
    assert arguments(client.execute_query)[:1] == ["query"]
    assert "self.execute_query(" in inspect.getsource(client.execute_sql)


@canary(
    "dlt.destinations.impl.ducklake.ducklake.DuckLakeClient", "dlt.destinations.impl.duckdb.duck.DuckDbClient",
    "dlt.destinations.impl.postgres.postgres.PostgresClient",
    breaks="dlt would not take our subclasses for its own: other capabilities, nothing for `dlt.attach`.",
)  # fmt: skip
def test_names_of_destination_types() -> None:
    """The literal that stands for `destination_type` in each of our subclasses is dlt's own."""
    for name in ("duckdb", "postgres", "ducklake", "sqlalchemy"):
        theirs = getattr(dlt.destinations, name)().destination_type
        file = {"sqlalchemy": "sqlite"}.get(name, name)
        assert theirs == f"dlt.destinations.{name}"
        assert f'"{theirs}"' in (ROOT / f"pipelines/destinations/_dlt/{file}_client.py").read_text()


@canary(
    "dlt.destinations.impl.sqlalchemy",
    breaks="JSON in SQLite would be quoted twice, or its numbers rounded (_dlt/sqlite_client.py).",
)
def test_json_in_sqlite() -> None:
    """The method that maps JSON is still called so. Read as text: SQLAlchemy belongs to an extra."""
    (folder,) = find_spec("dlt.destinations.impl.sqlalchemy").submodule_search_locations  # type: ignore[union-attr, misc]  # fails if absent
    tree = ast.parse((Path(folder) / "type_mapper.py").read_text())
    (mapper,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "SqlalchemyTypeMapper")
    methods = {n.name: [a.arg for a in n.args.args] for n in mapper.body if isinstance(n, ast.FunctionDef)}
    assert methods["db_type_from_json_type"] == ["self", "column", "table"]
    WATCHED.add("dlt.destinations.impl.sqlalchemy.type_mapper.SqlalchemyTypeMapper")


@canary(
    "dlt.pipeline.Pipeline.destination_client",
    breaks="destinations are resolved (resolve.py) and views are made (views/dlt_catalog.py) by this client.",
)
def test_the_client_of_a_destination(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """What gapless asks of it, without a name of dlt's being imported."""
    one = pipeline(db, tmp_path)
    load(one, robin=["blue"])
    client: Any = one.destination_client()
    assert client.config.destination_type == "duckdb"
    assert client.config.data_location() or client.config.fingerprint() is not None
    assert client.config.normalize_dataset_name(client.schema) == "birds"
    with client.sql_client as sql:
        with sql.with_alternative_dataset_name("birds"):
            tables = dict(client.get_storage_tables(["nests", "fish"]))
        assert (bool(tables["nests"]), bool(tables["fish"]), sql.has_dataset()) == (True, False, True)
        assert sql.make_qualified_table_name_path("a", quote=False, dataset_name="b")[-2:] == ["b", "a"]
        assert sql.capabilities.sqlglot_dialect == "duckdb"
        with sql.begin_transaction():
            sql.execute_sql("select 1")


# -- the canaries themselves ---------------------------------------------------------------------------------------


def doors() -> list[Path]:
    return [*ROOT.glob("pipelines/destinations/_dlt/*.py"), ROOT / "sources/_dlt/internals.py"]


def test_every_import_of_a_door_has_a_canary() -> None:
    """Whoever brings in another private part writes its canary, too."""
    test_json_in_sqlite()
    nodes = [node for file in doors() for node in ast.walk(ast.parse(file.read_text()))]
    froms = [n for n in nodes if isinstance(n, ast.ImportFrom) and str(n.module).split(".", 1)[0] == "dlt"]
    names = {
        f"{n.module}.{a.name}" for n in froms for a in n.names if n.module not in ("dlt.sources", "dlt.destinations")
    }
    assert len(names) > 20
    assert names - WATCHED == set()


RED = [
    (test_system_tables_and_stored_state, "dlt.common.versioned_state.decompress_state", "state show, rewind, gaps"),
    (test_a_watcher_of_traces, "dlt.pipeline.trace.TRACKING_MODULES", "would lack every load package, silently"),
    (test_column_names_of_a_cursor, "dlt.destinations.sql_client.DBApiCursorImpl._get_columns", "would fail at the"),
]


@pytest.mark.parametrize(("test", "part", "sentence"), RED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_canary_falls_silent(
    test: Any, part: str, sentence: str, db: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its part taken out of dlt a canary fails, and says what is gone and what depends on it."""
    owner, _, name = part.rpartition(".")
    monkeypatch.delattr(resolved(owner), name)
    with pytest.raises(pytest.fail.Exception, match=rf"changed .*{part} .*{sentence}"):
        test(db, tmp_path)


def test_a_canary_sees_another_sql(db: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when every name is there and dlt's merge merely has other blanks."""
    job: Any = resolved("dlt.destinations.sql_jobs.SqlMergeFollowupJob")
    before = job.generate_sql.__func__

    def generate_sql(cls: Any, *args: Any) -> list[str]:
        return [statement.replace(" ", "\t") for statement in before(cls, *args)]

    monkeypatch.setattr(job, "generate_sql", classmethod(generate_sql))
    with pytest.raises(pytest.fail.Exception, match="syncs would fail, or write everything twice"):
        test_merging_from_files(db, tmp_path, monkeypatch)
