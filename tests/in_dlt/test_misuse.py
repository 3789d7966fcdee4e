"""What a dlt user may do that has no place for a ledger, or would part rows from those below them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dlt
import pyarrow as pa
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from gapless.sources._extract.steps import page
from tests.contract.conftest import NAMES, of
from tests.in_dlt.conftest import User

ONE = of(NAMES[0])
FORMS = pytest.mark.parametrize("rows", [pytest.param(False, marks=pytest.mark.sweep), True], ids=["arrow", "rows"])


def enriched(user: User) -> Any:
    """A transformer that keeps ids."""

    @dlt.transformer(name="enriched", primary_key="id", write_disposition="merge")
    def enriched(page: Any) -> Iterator[Any]:
        for row in page if isinstance(page, list) else page.to_pylist():
            yield {"id": str(row[user.subject.id_column])}

    return enriched


@pytest.mark.sweep
@ONE
@FORMS
def test_a_transformer_reads_all_rows(user: User, rows: bool) -> None:
    """It gets the pages and nothing else; what it reads is not taken for loaded."""
    main = user.subject.main
    user.pipeline().run(user.source(rows=rows).resources[main] | enriched(user))
    user.pipeline().run([user.source(rows=rows).resources[main].add_limit(1) | enriched(user)])
    assert (user.count("enriched"), main in user.tables()) == (24, False)
    user.pipeline().run(user.source(rows=rows))
    assert user.differences() == []


@pytest.mark.slow
@ONE
def test_a_transformer_beside_its_resource(user: User) -> None:
    """One resource cannot do both: it is refused before a request, and the way that is named works."""
    main = user.subject.main
    source = user.source()
    source.resources.add(source.resources[main] | enriched(user))
    user.fake.requests.clear()
    with pytest.raises(PipelineStepFailed, match="give the transformer a second source"):
        user.pipeline().run(source)
    assert user.fake.requests == []
    user.pipeline().run([user.source(), user.source().resources[main] | enriched(user)])
    assert (user.count("enriched"), user.differences()) == (24, [])


@pytest.mark.sweep
@ONE
@FORMS
def test_a_resource_within_a_resource(user: User, rows: bool) -> None:
    """Whoever reads our pages in a resource of their own gets rows, and no ledger."""

    @dlt.resource(name="own", write_disposition="replace")
    def own() -> Iterator[Any]:
        yield from user.source(rows=rows).resources[user.subject.main]

    user.pipeline().run(own())
    assert user.count("own") == 24
    assert "coverage" not in user.tables()
    user.pipeline().run(user.source())
    assert user.differences() == []


LOSSES = {
    "rows of Arrow": (False, lambda page: page.to_pylist(), "build the source with rows=True"),
    "no _dlt_id": (False, lambda page: page.drop_columns(["_dlt_id"]), "a step removed '_dlt_id'"),
    "no key": (True, lambda row: {}, "a step removed "),
}


@pytest.mark.sweep
@ONE
def test_a_step_that_loses_what_holds_rows_together(user: User) -> None:
    """It is refused with the reason, each of them; nothing is loaded, and later all is there."""
    for rows, step, why in LOSSES.values():
        source = user.source(rows=rows)
        source.resources[user.subject.main].add_map(step)
        with pytest.raises(PipelineStepFailed, match=why):
            user.pipeline().run(source)
    user.pipeline().run(user.source())
    assert user.differences() == []


@pytest.mark.sweep
@FORMS
def test_another_table_for_one_run(user: User, rows: bool) -> None:
    """The state belongs to the table: what was loaded under one name is not taken for loaded under another."""
    main = user.subject.main
    for table in ("hinted", None, "hinted"):
        source = user.source(rows=rows)
        if table:
            source.resources[main].apply_hints(table_name=table)
        user.pipeline().run(source)
    assert (user.count("hinted"), user.differences()) == (24, [])


@of(NAMES[3])
def test_any_json_as_rows(user: User) -> None:
    """A JSON column holds numbers, texts and truth values in the form of rows, too."""
    field = user.subject.json
    ids = [row[user.subject.id] for row in user.subject.records(user.fake)]
    values = (12, "a text", "12", True, 1.5, None, [1], {"a": None})
    for one, value in zip(ids, values, strict=False):
        user.fake.change(one, **{field: value})
    user.pipeline().run(user.source(rows=True))
    assert user.differences() == []


@pytest.mark.slow
@of(NAMES[2])
@FORMS
def test_pages_taken_apart(user: User, rows: bool) -> None:
    """`add_yield_map` without a limit: dlt takes turns between pages, and the end waits for their rows."""
    source = user.source(rows=rows)
    source.resources[user.subject.main].add_yield_map(lambda item: iter([item]))
    user.pipeline().run(source)
    assert user.differences() == []


@pytest.mark.slow
@of(NAMES[1])
@FORMS
def test_a_step_that_never_lets_a_page_go(user: User, rows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends with an error that names the cause, and does not wait for ever."""
    monkeypatch.setattr(page, "PATIENCE", 0.05)
    held, source = [], user.source(rows=rows)

    def hold(item: Any, meta: Any) -> bool:
        held.append(meta)
        return False

    source.resources[user.subject.main].add_filter(hold)
    with pytest.raises(PipelineStepFailed, match=r"a step still holds \d+ pages"):
        user.pipeline().run(source)
    user.pipeline().run(user.source())
    assert user.differences() == []


def gathered(size: int) -> Any:
    """A step that yields several items at once."""
    waiting: list[Any] = []

    def gather(item: Any) -> Iterator[Any]:
        waiting.append(item)
        if len(waiting) >= size:
            taken = [*waiting]
            waiting.clear()
            yield pa.concat_tables(taken) if isinstance(item, pa.Table) else taken

    return gather


@pytest.mark.slow
@of(NAMES[3])
def test_pages_put_together(user: User) -> None:
    """Of Arrow pages the rows below would be lost, so it is refused; rows bring theirs."""
    source = user.source()
    source.resources[user.subject.main].add_yield_map(gathered(2))
    with pytest.raises(PipelineStepFailed, match="a step put rows of several pages together"):
        user.pipeline().run(source)
    source = user.source(rows=True)
    source.resources[user.subject.main].add_yield_map(gathered(12))
    if user.subject.derived:
        with pytest.raises(PipelineStepFailed, match="a step put rows of several pages together"):
            user.pipeline().run(source)
        source = user.source(rows=True)
    user.pipeline().run(source)
    assert user.differences() == []


@pytest.mark.slow
@ONE
@FORMS
def test_rows_for_another_table(user: User, rows: bool) -> None:
    """A step cannot send rows elsewhere: what is below them, and the ledger, speak of this table."""
    source = user.source(rows=rows)
    source.resources[user.subject.main].add_map(lambda item: dlt.mark.with_table_name(item, "other"))
    with pytest.raises(PipelineStepFailed, match="a step sent rows to another table"):
        user.pipeline().run(source)
    user.pipeline().run(user.source())
    assert user.differences() == []
