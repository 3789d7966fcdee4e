"""What a privacy rule hashes or drops reaches no file in clear: not the database, no working file, no log."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from gapless.pipelines.destinations import target
from gapless.sources._extract.resource import shapes
from gapless.sources._schema.privacy import Privacy
from tests.contract.commands import gapless
from tests.contract.conftest import NAMES, Begin, of
from tests.contract.subject import Subject
from tests.sources.test_security import written

PERSON = "Jane-Zyxomma-4711"
TIMES = re.compile(r"\d{4}-\d\d-\d\dT.*")
IDS = re.compile(r"id|.*(Id|_id)")


def personal(subject: Subject, value: Any, name: str = "") -> Any:
    """The same answer with the person in every text that is no id, time or page mark, and in unknown fields."""
    if isinstance(value, dict):
        more = {"nickname": PERSON} if {"id", subject.id, subject.parent_id} & value.keys() else {}
        return {key: personal(subject, inner, key) for key, inner in value.items()} | more
    if isinstance(value, list):
        return [personal(subject, inner, name) for inner in value]
    kept = IDS.fullmatch(name) or name in (subject.id, subject.parent_id, *subject.marks)
    return value if kept or not isinstance(value, str) or TIMES.fullmatch(value) else f"{value} {PERSON}"


def policy(subject: Subject) -> dict[str, str]:
    """What is not a key or a time: hashed and dropped in turn; what cannot be null is hashed."""
    rules = {}
    ids = {subject.id_column, *subject.keys.values()}
    for shape in shapes(subject.source.tables):
        for index, column in enumerate(shape.columns):
            texts = column.data_type in ("text", "json") and shape.name.rpartition("__")[2] not in subject.marks
            if texts and column.name not in ids and not re.search(r"(^|_)id$", column.name):
                rules[f"{shape.name}.{column.name}"] = "drop" if column.nullable and index % 2 else "hash"
    return rules


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where working files are copied to before they go."""
    real, numbers = shutil.rmtree, iter(range(99))

    def rmtree(folder: Path, **how: Any) -> None:
        if Path(folder).exists():
            shutil.copytree(folder, tmp_path / "kept" / str(next(numbers)))
        real(folder, **how)

    monkeypatch.setattr(target.shutil, "rmtree", rmtree)
    return tmp_path / "kept"


@pytest.mark.slow
@of(NAMES[2])
def test_personal_data_reaches_no_file(subject: Subject, world: Begin, kept: Path, tmp_path: Path) -> None:
    """In every text, in unknown fields, in a record that cannot be read: no file has it in clear, no line says it."""
    fake = subject.filled(2, 5)
    bad = subject.add_one(fake, **subject.with_text([PERSON]))
    rules = policy(subject)
    privacy = ", ".join(f"{where}={action}" for where, action in rules.items())
    here = world(fake).set(**{"GAPLESS_HASH_KEY": "pepper, and some salt", f"{subject.prefix}_PRIVACY": privacy})

    def answer(request: httpx.Request) -> httpx.Response:
        served = fake.handle(request)
        links = {"link": served.headers["link"]} if "link" in served.headers else {}
        return httpx.Response(served.status_code, json=personal(subject, served.json()), headers=links)

    here.intercept = answer
    result = gapless(here, "--debug", "sync", subject.name)
    assert result.exit_code == 3, result.output
    texts = {"output": result.output + result.stderr, **dict(written(tmp_path))}
    assert any("parquet (rows)" in where for where in texts), "no working file was seen"
    assert [where for where, text in texts.items() if PERSON in text] == []
    assert here.sql("select key, raw_json from dead_letters") == [(str(bad), None)]
    for where, action in rules.items():
        table, _, column = where.rpartition(".")
        cells = [str(cell).strip('"') for (cell,) in here.sql(f'select "{column}" from {table}') if cell is not None]
        assert [cell for cell in cells if action == "drop" or not re.fullmatch("[0-9a-f]{64}", cell)] == []


def test_ids_cannot_be_hashed(subject: Subject) -> None:
    """Every id by which rows are joined is refused, as joins would break."""
    source = subject.source
    schemas = [shape for table in source.tables for shape in table.schema.tree()]
    joined = {f"{table.name}.{subject.keys[table.name]}" for table in source.tables if table.name in subject.tables}
    for column in joined | ({f"{subject.main}.{source.stream.column}"} if source.stream.column else set()):
        with pytest.raises(ValueError, match="cannot be hashed"):
            Privacy.parse(f"{column}=hash", "key", schemas, "X_PRIVACY")
