"""The idioms of dlt's documentation, on every source, compared row by row with what the vendor has."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from dlt.common.configuration.container import Container
from dlt.extract.incremental.context import TimeIntervalContext
from dlt.pipeline.exceptions import PipelineStepFailed

from gapless.sources import SOURCES
from gapless.sources._incremental.detail_feed import DetailFeed
from tests.contract.conftest import NAMES, of
from tests.contract.subject import JSON
from tests.in_dlt.conftest import User
from tests.support.oracle import instant
from tests.support.world import some

ONE_BY_ONE = [name for name, source in SOURCES.items() if isinstance(source.stream, DetailFeed)]
KEPT = ("parent", "description")
ARROW, ROWS = False, True
BOTH = pytest.mark.parametrize("rows", [ARROW, ROWS], ids=["arrow", "rows"])


def forms(usual: bool) -> pytest.MarkDecorator:
    """Both forms of a source; the one that is not usual runs with the sweeps."""
    values = [
        pytest.param(form, id=name, marks=[] if form == usual else pytest.mark.sweep)
        for form, name in ((ARROW, "arrow"), (ROWS, "rows"))
    ]
    return pytest.mark.parametrize("rows", values)


@pytest.mark.slow
@of(NAMES[4])
@forms(ROWS)
def test_a_limit_then_all(user: User, rows: bool) -> None:
    """The first thing that dlt teaches: look at a little, then load all."""
    first = user.pipeline()
    first.run(user.source(rows=rows).add_limit(1))
    assert 0 < user.count() < 24
    first.run(user.source(rows=rows))
    assert user.differences() == []


@pytest.mark.slow
@of(NAMES[3])
@forms(ARROW)
def test_a_run_and_one_more(user: User, rows: bool) -> None:
    """What changed meanwhile is there, and nothing is there twice."""
    user.pipeline().run(user.source(rows=rows))
    assert user.differences() == []
    user.fake.advance(60)
    newest = max(user.subject.records(user.fake), key=lambda row: row[user.subject.time])
    user.subject.edit(user.fake, newest[user.subject.id], "edited")
    user.subject.add_one(user.fake, at=user.fake.now - timedelta(minutes=50))
    user.pipeline().run(user.source(rows=rows))
    assert user.differences() == []


@pytest.mark.slow
@of(NAMES[4])
@forms(ARROW)
def test_a_preview(user: User, rows: bool) -> None:
    """Iterating needs no pipeline and keeps no state, also while a pipeline is active."""
    before = list(user.source(rows=rows))
    assert all(isinstance(item, dict if rows else pa.Table) for item in before)
    mine = user.pipeline()
    mine.activate()
    for _ in user.source(rows=rows).resources[user.subject.main]:
        break
    assert len(list(user.source(rows=rows).add_limit(1))) <= len(before)
    assert mine.state.get("sources") is None
    mine.run(user.source(rows=rows))
    assert user.differences() == []


@of(NAMES[0])
def test_resources_are_the_streams(user: User) -> None:
    """Parents and records are a resource each, named like their table."""
    wanted = [user.subject.parents_table] if user.subject.parents_table else []
    assert list(user.source().resources) == [*wanted, user.subject.main]


@pytest.mark.sweep
@of(NAMES[0])
@forms(ARROW)
def test_one_resource_alone(user: User, rows: bool) -> None:
    """The records without their parents' rows, and the parents without records; later all."""
    truth = user.fake.truth()
    user.pipeline("records").run(user.source(rows=rows).with_resources(user.subject.main))
    records = {user.subject.main: truth[user.subject.main]}
    assert user.differences(records, "records") == []
    if user.subject.parents_table:
        parents = {user.subject.parents_table: truth[user.subject.parents_table]}
        assert user.subject.parents_table not in user.tables("records")
        user.pipeline("parents").run(user.source(rows=rows).with_resources(user.subject.parents_table))
        assert user.subject.main not in user.tables("parents")
        with_children = user.pipeline("parents")
        with_children.run(user.source(rows=rows))
        assert (user.differences(parents, "parents"), user.differences(truth, "parents")) == ([], [])
    user.pipeline("records").run(user.source(rows=rows))
    assert user.differences(truth, "records") == []


@pytest.mark.sweep
@BOTH
def test_a_resource_of_its_own(user: User, rows: bool) -> None:
    """`pipeline.run(source.resource)`, limited and then whole, then the whole source."""
    mine = user.pipeline()
    limited = user.source(rows=rows).resources[user.subject.main]
    mine.run(limited.add_limit(1))
    mine.run(user.source(rows=rows).resources[user.subject.main])
    assert user.differences({user.subject.main: user.fake.truth()[user.subject.main]}) == []
    mine.run(user.source(rows=rows))
    assert user.differences() == []


@pytest.mark.sweep
@of(NAMES[3])
@forms(ARROW)
def test_renamed(user: User, rows: bool) -> None:
    """Children follow the name, and so does the proof: the first name is read whole later."""
    mine, main = user.pipeline(), user.subject.main
    mine.run(user.source(rows=rows).resources[main].with_name("mine"))
    assert (user.count("mine"), main in user.tables()) == (24, False)
    assert all(f"mine{name.removeprefix(main)}" in user.tables() for name in user.subject.tables if "__" in name)
    other = user.source(rows=rows)
    other.resources[main].apply_hints(table_name="hinted")
    mine.run(other)
    mine.run(user.source(rows=rows))
    assert (user.count("hinted"), user.differences()) == (24, [])


@pytest.mark.slow
@of(NAMES[2])
def test_the_schema_before_a_request(user: User) -> None:
    """Every table, column, type, key, parent and description is known, and is what a load makes."""
    user.fake.requests.clear()
    source = user.source()
    known = source.discover_schema()
    assert user.fake.requests == []
    assert source.resources[user.subject.main].columns[user.subject.id_column]["nullable"] is False
    user.pipeline().run(user.source())
    loaded = user.pipeline().default_schema
    for table in loaded.data_tables(seen_data_only=True):
        name = str(table["name"])
        ours = {column: _kind(hints) for column, hints in known.tables[name]["columns"].items()}
        assert ours == {column: _kind(hints) for column, hints in table["columns"].items()}, name
        assert [known.tables[name].get(key) for key in KEPT] == [table.get(key) for key in KEPT]


def _kind(hints: Any) -> tuple[Any, ...]:
    keyed = bool(hints.get("primary_key"))
    return hints.get("data_type"), hints.get("nullable", True), keyed, hints.get("description")


@pytest.mark.sweep
@of(NAMES[1])
@forms(ROWS)
def test_no_warning(user: User, rows: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A first, an idle and a limited run say nothing that a user must read."""
    logging.getLogger("dlt").addHandler(caplog.handler)
    with caplog.at_level(logging.WARNING):
        for limit in (1, None, None):
            source = user.source(rows=rows)
            user.pipeline().run(source.add_limit(limit) if limit else source)
    logging.getLogger("dlt").removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.slow
@of(NAMES[4])
def test_both_forms_make_the_same(user: User) -> None:
    """Rows that dlt normalizes and Arrow tables: the same tables, columns, types, cells and links."""
    for rows, name in ((False, "arrow"), (True, "rows")):
        user.pipeline(name).run(user.source(rows=rows))
    of_tables = f"""select table_name, column_name, data_type, is_nullable from duckdb_columns()
        where schema_name = '{user.subject.name}' and not starts_with(table_name, '_dlt') order by all"""
    assert user.sql(of_tables, "rows") == user.sql(of_tables, "arrow")
    for table in [*user.subject.tables, "coverage"]:
        # JSON is written anew by dlt, so only the oracle below compares it.
        plain = [c for c, kind in user.subject.tables.get(table, {}).items() if kind != JSON]
        query = f"select {', '.join(['_dlt_id', *plain])} from {table} order by _dlt_id"
        assert user.sql(query, "arrow") == user.sql(query, "rows")
    assert user.differences(name="rows") == user.differences(name="arrow") == []


@pytest.mark.slow
@of(NAMES[1])
def test_maps_and_filters_on_rows(user: User) -> None:
    """A map changes a field; what a filter removes is counted as filtered and does not come back."""
    main, text, key = user.subject.main, user.subject.text_column, user.subject.id_column
    kept = sorted(str(row[user.subject.id]) for row in user.subject.records(user.fake))[::2]
    for number in range(2):
        source = user.source(rows=True)
        source.resources[main].add_map(lambda row: {**row, text: "mapped"}).add_filter(
            lambda row: str(row[key]) in kept
        )
        user.pipeline().run(source)
        assert user.sql(f"select {key}::varchar, {text} from {main} order by 1") == [(one, "mapped") for one in kept]
        # Later runs read a part again, and count what they remove of it.
        assert number or user.sql("select sum(filtered) from coverage") == [(24 - len(kept),)]
    assert user.differences({}) == []


@pytest.mark.slow
@of(NAMES[3])
def test_a_filter_on_arrow(user: User) -> None:
    """Arrow pages can be filtered; rows below a removed one go with it."""
    main, key = user.subject.main, user.subject.id_column
    kept = sorted(str(row[user.subject.id]) for row in user.subject.records(user.fake))[:7]
    source = user.source()
    source.resources[main].add_map(
        lambda page: page.filter(pc.is_in(pc.cast(page[key], pa.string()), pa.array(kept)))
    )
    user.pipeline().run(source)
    assert (user.count(), user.differences({})) == (7, [])
    assert user.sql("select sum(filtered) from coverage") == [(17,)]
    for derived in user.subject.derived:
        assert user.count(derived) <= 7


@pytest.mark.sweep
@BOTH
def test_a_filter_that_removes_whole_pages_and_a_limit(user: User, rows: bool) -> None:
    """Pages that a filter removed are behind us; limited runs come to the end."""
    main = user.subject.main
    seen, records = iter(range(1000)), user.subject.records(user.fake)
    parents = user.subject.parents_table
    for _ in range(8):
        source = user.source(rows=rows)
        source.resources[main].add_filter(lambda item: next(seen) % 3 != 1)
        source.resources[main].add_limit(2)
        user.pipeline().run(source)
        ((proven,),) = user.sql("select count(*) from coverage where missing is null")
        # Parents without a record are proven, too.
        if proven >= (len({user.subject.of_parent(row) for row in records}) if parents else 1):
            break
    else:
        raise AssertionError("limited runs never came to the end")
    assert user.differences({}) == []
    user.pipeline("all").run(user.source())
    assert user.differences(name="all") == []


@pytest.mark.slow
@of(NAMES[2])
def test_append_skip_and_scd2_are_refused(user: User) -> None:
    """A record that is read again would be there twice; nothing is requested."""
    user.fake.requests.clear()
    for disposition in ("append", "skip", {"disposition": "merge", "strategy": "scd2"}):
        with pytest.raises(PipelineStepFailed, match="is refused, because"):
            user.pipeline().run(user.source(), write_disposition=disposition)
    assert user.fake.requests == []
    user.pipeline("other").run(user.source())
    assert user.differences(name="other") == []


@pytest.mark.sweep
@of(NAMES[0])
@forms(ARROW)
def test_replace(user: User, rows: bool) -> None:
    """Everything is read again, and what the vendor deleted is gone."""
    mine = user.pipeline()
    mine.run(user.source(rows=rows))
    if not user.subject.one_by_one:
        user.fake.delete(user.subject.records(user.fake)[0][user.subject.id])
    mine.run(user.source(rows=rows), write_disposition="replace")
    standing = user.fake.truth() | {user.subject.main: user.subject.records(user.fake)}
    assert user.differences(standing) == []
    mine.run(user.source(rows=rows))
    assert user.differences(standing) == []


@pytest.mark.sweep
@of(NAMES[1])
@pytest.mark.parametrize("mode", some(["drop_sources", "drop_resources", "drop_data"], "drop_sources"))
def test_refresh(user: User, mode: Any) -> None:
    """Each mode of `refresh` reads all again, also for one resource alone."""
    mine = user.pipeline()
    mine.run(user.source())
    mine.run(user.source(), refresh=mode)
    assert user.differences() == []
    mine.run(user.source().with_resources(user.subject.main), refresh=mode)
    mine.run(user.source())
    assert user.differences() == []
    if user.subject.parents_table:
        mine.run(user.source().with_resources(user.subject.parents_table), refresh=mode)
        mine.run(user.source())
        assert user.differences() == []


@pytest.mark.slow
@of(NAMES[3])
def test_state_comes_from_the_destination(user: User) -> None:
    """Another machine goes on where this one stopped."""
    user.pipeline().run(user.source())
    user.fake.requests.clear()
    mine = user.pipeline()
    mine.drop()
    mine = user.pipeline()
    mine.sync_destination()
    mine.run(user.source())
    assert user.differences() == []
    assert dlt.attach("mine", pipelines_dir=mine.pipelines_dir).default_schema_name == mine.default_schema_name


@pytest.mark.sweep
def test_dev_mode(user: User) -> None:
    mine = user.pipeline(dev_mode=True)
    mine.run(user.source())
    assert len(mine.dataset()[user.subject.main].fetchall()) == 24


@pytest.mark.sweep
@of(NAMES[1])
def test_an_incremental_hint(user: User) -> None:
    """dlt's incremental filters and bounds, and is not the watermark: a limited run loses nothing."""
    main, column = user.subject.main, user.subject.source.main.time_column
    records = user.subject.records(user.fake)
    from_ = sorted(at(row[user.subject.time]) for row in records)[8]
    wanted = [row for row in records if at(row[user.subject.time]) >= from_]
    for limit in (1, None, None):
        source = user.source()
        source.resources[main].apply_hints(incremental=dlt.sources.incremental(column, initial_value=from_))
        user.pipeline().run(source.add_limit(limit) if limit else source)
    assert user.differences({main: wanted}) == []
    user.pipeline().run(user.source())
    assert user.differences() == []


def at(text: Any) -> datetime:
    return datetime.fromtimestamp(instant(text) / 1e6, tz=UTC)


@of(NAMES[0])
def test_a_limit_of_zero_and_a_wrong_name(user: User) -> None:
    user.fake.requests.clear()
    with pytest.raises(PipelineStepFailed, match=r"add_limit\(0\) reads nothing"):
        user.pipeline().run(user.source().add_limit(0))
    with pytest.raises(Exception, match="nothing_like_it"):
        user.source().with_resources("nothing_like_it")
    assert user.fake.requests == []


@pytest.mark.sweep
@of(NAMES[0])
def test_another_account(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of two accounts would mix: the second is refused before a request, until it is said to be the same."""
    user.pipeline().run(user.source())
    setting = f"{user.subject.prefix}_BASE_URL"
    here = os.environ[setting]
    monkeypatch.setenv(setting, here.replace("127.0.0.1", "localhost"))
    user.fake.requests.clear()
    with pytest.raises(PipelineStepFailed, match=r"holds the rows of 127\.0\.0\.1, and the settings name localhost"):
        user.pipeline().run(user.source())
    monkeypatch.setenv(setting, here)
    assert user.fake.requests == []
    user.pipeline().run(user.source())
    assert user.differences() == []


@of(NAMES[1])
def test_a_destination_that_cannot_merge(user: User) -> None:
    """It is refused by name before any request."""
    user.fake.requests.clear()

    @dlt.destination
    def sink(items: Any, table: Any) -> None: ...

    with pytest.raises(PipelineStepFailed, match="can neither merge rows"):
        user.pipeline(destination=sink).run(user.source())
    assert user.fake.requests == []


@pytest.mark.slow
@of(NAMES[0])
def test_parallelize(user: User) -> None:
    user.pipeline().run(user.source().parallelize())
    assert user.differences() == []


@pytest.mark.slow
@of(NAMES[2])
def test_a_clone_with_a_name(user: User) -> None:
    """dlt's way of several accounts: the same source under another name and section."""
    name = user.subject.name
    other = user.subject.source.build.clone(name=f"{name}_eu", section=name)
    user.pipeline("eu").run(other())
    assert user.differences(name="eu") == []


@pytest.mark.slow
@of(NAMES[1])
@pytest.mark.parametrize("allowed", some(["", "hint", "environment"], ""))
def test_inside_a_scheduler(user: User, allowed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its interval counts only where dlt is told so: then it bounds the run, and no watermark moves."""
    times = sorted(at(row[user.subject.time]) for row in user.subject.records(user.fake))
    monkeypatch.setenv("DLT_INTERVAL_START", times[4].isoformat())
    monkeypatch.setenv("DLT_INTERVAL_END", times[9].isoformat())
    source, column = user.source(), user.subject.source.main.time_column
    with Container().injectable_context(TimeIntervalContext(allow_external_schedulers=allowed == "environment")):
        if allowed == "hint":
            hint = dlt.sources.incremental[datetime](column, allow_external_schedulers=True)
            source.resources[user.subject.main].apply_hints(incremental=hint)
        user.pipeline().run(source)
    assert user.count() == (sum(times[4] <= one < times[9] for one in times) if allowed else 24)
    monkeypatch.delenv("DLT_INTERVAL_START")
    user.pipeline().run(user.source())
    assert user.differences() == []


@pytest.mark.sweep
@pytest.mark.parametrize("name", ONE_BY_ONE)
@BOTH
def test_what_a_filter_removed_is_not_requested_again(user: User, rows: bool) -> None:
    """Of a source that reads record by record: it stays counted as filtered, and `replace` brings it back."""
    main, key = user.subject.main, user.subject.id_column
    ids = sorted(str(row[user.subject.id]) for row in user.subject.records(user.fake))
    kept = set(ids[::2])

    def keep(page: Any) -> Any:
        return page.filter(pc.is_in(pc.cast(page[key], pa.string()), pa.array(sorted(kept))))

    def run(*, filtered: bool = True, **how: Any) -> int:
        user.fake.requests.clear()
        source = user.source(rows=rows, lag=0)
        if filtered:
            resource = source.resources[main]
            resource.add_filter(lambda row: str(row[key]) in kept) if rows else resource.add_map(keep)
        user.pipeline().run(source, **how)
        return sum(any(one in path for one in ids) for _, path, _ in user.fake.requests)

    assert run() == 24
    for parent in user.subject.parents(user.fake):  # so that each is listed again
        kept.add(str(user.subject.add(user.fake, parent)[user.subject.id]))
    assert run() <= 4  # the newest of each parent
    assert user.sql("select sum(filtered) from coverage") == [(12,)]
    assert run(filtered=False, write_disposition="replace") == 24
    assert user.differences() == []
    run(filtered=False)
    assert user.sql("select sum(filtered) from coverage") == [(None,)]
