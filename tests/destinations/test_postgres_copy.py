"""What `COPY` brings into Postgres: every value to the letter, whether a row is new or takes another one's place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gapless.pipelines.destinations._postgres import copying
from gapless.pipelines.destinations._postgres.checksums import CHECKSUM, MODULUS
from gapless.pipelines.destinations._postgres.merging import PackageMerge, PackageTable
from tests.support.postgres import Server

Row = tuple[Any, ...]
COLUMNS = {
    "key": ("varchar not null", pa.string()),
    "text": ("varchar", pa.string()),
    "number": ("bigint", pa.int64()),
    "real": ("double precision", pa.float64()),
    "flag": ("boolean", pa.bool_()),
    "at": ("timestamp with time zone", pa.timestamp("us", "UTC")),
    "json": ("jsonb", pa.string()),
    "_dlt_id": ("varchar not null unique", pa.string()),
}
ODD = [
    *("", " ", "\\N", "\\.", "\n\\.\n", '"', '""', ",", "\r", "\n", "\r\n", "\\"),
    *("\ufeff", "null", "NULL", "\t", "\x01", "é", "𝄞", "'"),
]
TEXTS = st.one_of(
    st.sampled_from(ODD),
    st.lists(st.sampled_from(ODD), max_size=5).map("".join),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
)
NUMBERS = st.sampled_from([0, -1, 2**63 - 1, -(2**63), 7])
REALS = st.one_of(
    st.sampled_from([0.0, -0.0, 1e300, 5e-324, 0.1, 1.7976931348623157e308]), st.floats(allow_nan=False)
)
TIMES = st.one_of(
    st.sampled_from(
        [
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
            datetime(1970, 1, 1, tzinfo=UTC),
        ]
    ),
    st.datetimes(timezones=st.just(UTC)),
)
JSON = st.one_of(
    st.sampled_from(
        ['{"a": [1, null, true, "\\\\N", "\\""], "": {}}', "[]", '""', "1e300", "12345678901234567890.5", "null"]
    ),
    TEXTS.map(json.dumps),
    TEXTS.map(lambda text: json.dumps({text: text}, ensure_ascii=False)),
)  # fmt: skip
CELLS = st.tuples(*map(st.none().__or__, (TEXTS, NUMBERS, REALS, st.booleans(), TIMES, JSON)))
ROWS = st.dictionaries(TEXTS, CELLS, min_size=1, max_size=6)


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[Any]:
    with closing(psycopg2.connect(server.database(), options="-ctimezone=UTC")) as connection:
        with connection.cursor() as cursor:
            columns = ", ".join(f'"{name}" {kind}' for name, (kind, _) in COLUMNS.items())
            cursor.execute(f"create table rows ({columns}); create index on rows using hash (key)")
        connection.commit()
        yield connection


def merged(connection: Any, folder: Path, rows: Sequence[Row], groups: int = 1) -> int:
    """Merges the rows, in a transaction; returns how many were there before."""
    schema = pa.schema([(name, type_) for name, (_, type_) in COLUMNS.items()])
    files = []
    for number in range(groups):
        own = rows[number::groups]
        files.append(folder / f"{number}.parquet")
        pq.write_table(pa.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in own], schema), files[-1])
    with connection, connection.cursor() as cursor:

        def merge() -> None:
            cursor.execute("delete from public.rows as d using pg_temp.rows as s where d.key = s.key")
            cursor.execute("insert into public.rows select * from pg_temp.rows")

        table = PackageTable("rows", "public.rows", "pg_temp.rows", files, is_root=True)
        before = summed(cursor)
        found = PackageMerge([table], ["key"], lambda name: f'"{name}"').run(cursor, merge)
        after, grown = summed(cursor), found.growth["rows"]
        assert (after[0] - before[0], (after[1] - before[1] - grown.checksum) % MODULUS) == (grown.rows, 0)
        return found.known


def summed(cursor: Any) -> tuple[int, int]:
    """Rows, and the sum of their ids."""
    cursor.execute(f"select count(*), {CHECKSUM} from public.rows")
    return cursor.fetchone()


def stored(connection: Any) -> dict[str, Row]:
    with connection, connection.cursor() as cursor:
        columns = ", ".join("json::text" if name == "json" else f'"{name}"' for name in COLUMNS)
        cursor.execute(f"select {columns} from rows")
        return {row[0]: told(row) for row in cursor.fetchall()}


def told(row: Row) -> Row:
    """A row by value: JSON as jsonb sees it, and a float to the last bit, with its sign."""
    return tuple(
        _value(cell) if name == "json" else str(cell) if isinstance(cell, float) else cell
        for name, cell in zip(COLUMNS, row, strict=True)
    )


def _value(text: str | None) -> Any:
    return None if text is None else (json.loads(text, parse_float=Decimal, parse_int=Decimal),)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=ROWS, then=ROWS, groups=st.integers(1, 3))
def test_every_value(
    first: dict[str, Row], then: dict[str, Row], groups: int, database: Any, tmp_path_factory: Any
) -> None:
    """New rows and changed ones are as they were sent; '' is no null, and nothing ends a row or the copy early."""
    folder = tmp_path_factory.mktemp("rows")
    with database, database.cursor() as cursor:
        cursor.execute("truncate rows")
    truth: dict[str, Row] = {}
    for package in (first, then):
        rows = [(key, *cells, f"id of {key}") for key, cells in package.items()]
        assert merged(database, folder, rows, groups) == len(truth.keys() & package.keys())
        truth |= {row[0]: told(row) for row in rows}
        assert stored(database) == truth


def test_what_cannot_be_stored_is_refused(database: Any, tmp_path: Path) -> None:
    """U+0000 ends the transaction: nothing is left out, and nothing stands there without it."""
    rows = [("1", "a\0b", None, None, None, None, None, "1"), ("2", "x", None, None, None, None, None, "2")]
    with pytest.raises(psycopg2.DataError):
        merged(database, tmp_path, rows)
    assert not {"1", "2"} & stored(database).keys()


def test_a_package_is_text_in_small_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database: Any) -> None:
    """However many rows there are, few of them are text at once; and nothing is lost between the parts."""
    monkeypatch.setattr(copying, "BATCH_ROWS", 7)
    monkeypatch.setattr(copying, "READ_BYTES", 10)
    sizes, real = [], copying._as_text
    monkeypatch.setattr(copying, "_as_text", lambda batch: (sizes.append(batch.num_rows), real(batch))[1])
    rows = [(f"row {n}", "é\n" * n, n, None, None, None, None, f"row {n}") for n in range(60)]
    assert merged(database, tmp_path, rows) == 0
    assert max(sizes) == 7
    assert {key: row[1] for key, row in stored(database).items() if key.startswith("row ")} == {
        row[0]: row[1] for row in rows
    }
