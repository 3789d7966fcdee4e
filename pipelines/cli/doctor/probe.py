"""Tries on a destination, for the doctor, what a sync will do there: within a transaction that is rolled back."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from gapless.pipelines.destinations._layouts.layout import read_layout
from gapless.pipelines.destinations.reader import reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, WrongSettings
from gapless.pipelines.evidence.completeness import exists, open_in_ledger
from gapless.pipelines.evidence.gap import Commands
from gapless.pipelines.evidence.grouping import Problem, problems
from gapless.pipelines.evidence.policy import is_applicable, policy_changed
from gapless.pipelines.evidence.seen import left_sentence, take_in_left
from gapless.pipelines.evidence.structure import Damage, damages, obstacles, table_names
from gapless.pipelines.ledger.notes import twin_notes
from gapless.pipelines.sync.account import other_account
from gapless.pipelines.sync.build import build
from gapless.sources import SOURCES
from gapless.sources._ledger.session import Session

if TYPE_CHECKING:
    from gapless.pipelines.destinations._catalogs.obstacle import Obstacle
    from gapless.sources._dlt.types import SqlClient

PROBE = "gapless_doctor"
"""The dataset, and the table, that are made and rolled back."""
ROWS, LETTERS = 100, 1_500
"""Enough bytes that a full disk refuses them; too few letters for Postgres to compress."""
ROOM = 8 * 2**20
"""Bytes that must be free on each disk: a small load package takes as much, with its working files."""
TEXT = "é中😀"
"""What an encoding that is not UTF-8 cannot hold."""


class NoRoom(GaplessError):
    """A disk or a quota is full, or a limit of this process keeps its files small."""


class NotWritable(GaplessError):
    """A folder lets this user make no file in it."""


def synced_datasets(target: Target, names: list[str]) -> list[str]:
    """Returns those of `names` that have tables in the destination."""
    with reading(target) as reader:
        return [name for name in names if exists(reader, SOURCES[name])]


def accounts(target: Target) -> list[tuple[str, str]]:
    """Returns what to say of datasets that no setting names, and of two with the records of one account.

    Registers those of a known vendor, so that they are checked. Each is the name of a check and its text.
    """
    with reading(target) as reader:
        left = [name for names in take_in_left(reader, target) for name in names]
        doubled = list(twin_notes(reader, target))
    said = [(f"{name} settings", left_sentence(name, target.destination)) for name in left]
    said += [(f"{one.source} account", one.message) for one in doubled]
    return [(name, text.partition(": ")[2]) for name, text in said]


def blocked(target: Target, configured: list[str]) -> Iterator[tuple[str, Obstacle]]:
    """Yields what was changed so that a sync cannot write: of sources that are configured, or have tables there."""
    with reading(target) as reader:
        for source in [*SOURCES.values()]:
            if source.name in configured or reader.columns(source.name, table_names(source)):
                yield from ((source.name, found) for found in obstacles(reader, source, target.backend))


def layouts(target: Target, datasets: list[str]) -> dict[str, int]:
    """Returns the layout of each dataset by its name; 1 where it carries none. Files carry none at all.

    Without datasets that carry none and hold no record: their first sync broke off.
    """
    if target.appends:
        return {}
    with reading(target) as reader:
        found = {name: read_layout(reader, name) for name in datasets}
        rows = {name: reader.rows(name, "select 1 from {0} limit 1", SOURCES[name].main.name) for name in datasets}
    return {name: layout.version if layout else 1 for name, layout in found.items() if layout or rows[name]}


def damaged(target: Target, datasets: list[str]) -> Iterator[tuple[str, Damage]]:
    """Yields the tables and columns that are missing, with the source that they belong to."""
    with reading(target) as reader:
        for name in datasets:
            yield from ((name, damage) for damage in damages(reader, SOURCES[name]))


def known_problems(target: Target, datasets: list[str]) -> Iterator[Problem]:
    """Yields what the ledgers of these datasets leave open, one for each reason; reads no table of records whole."""
    with reading(target) as reader:
        for name in datasets:
            source = SOURCES[name]
            commands = Commands.at(source, target)
            yield from problems(open_in_ledger(reader, source, commands))


def changed_policies(target: Target, datasets: list[str]) -> Iterator[tuple[str, str]]:
    """Yields the datasets whose older rows were written under another privacy policy, each with what ends that."""
    with reading(target) as reader:
        for source in (SOURCES[name] for name in datasets if policy_changed(reader, SOURCES[name])):
            commands = Commands.at(source, target)
            yield source.name, commands.typed(commands.apply_policy(here=is_applicable(reader, source)))


def other_accounts(target: Target, names: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yields the datasets with the rows of another account than the settings name: whose they are, and what to do."""
    with reading(target) as reader:
        for name in names:
            session = Session()
            try:
                build(SOURCES[name], session)
            except WrongSettings:  # another check says so
                continue
            if found := other_account(reader, SOURCES[name], session, target.destination):
                yield name, *found
            if session.client:
                session.client.close()


@contextmanager
def left_as_found(target: Target) -> Iterator[None]:
    """Takes the DuckDB file away again that opening makes, or makes one empty again that was."""
    fresh, there = target.file is not None and not target.backend.exists(), bool(target.file and target.file.exists())
    yield
    if fresh and target.file and there:
        os.truncate(target.file, 0)
    elif fresh and target.file:
        target.file.unlink(missing_ok=True)


def write_and_roll_back(target: Target, folder: str, datasets: list[str]) -> None:
    """Makes a table, and writes to it and to the ledger of each dataset; keeps nothing.

    Raises what dlt or the driver raises for a right, a place or an encoding that is missing.
    """
    pipeline = target.pipeline(PROBE, folder)
    try:
        with pipeline.sql_client() as client:
            client.execute_sql("select 1")
            if not client.capabilities.supports_ddl_transactions:
                return
            for dataset in datasets or [""]:  # the first sync makes a dataset
                # Before the transaction, as SQLite opens a dataset's file outside of one alone.
                other = client.with_alternative_dataset_name(dataset) if dataset else nullcontext()
                with other, client.begin_transaction() as transaction:
                    try:
                        _write(client, ledger=bool(dataset))
                    finally:
                        transaction.rollback_transaction()
    finally:
        pipeline.deactivate()


def require_room(target: Target, working_folder: str) -> None:
    """Writes some megabytes where the data and the working files are, and removes them.

    Raises NoRoom where there is none, as a database may still have some within its own file, and NotWritable where no
    file can be made.
    """
    for folder in dict.fromkeys([working_folder, *(str(path.parent) for path in target.backend.paths)]):
        try:
            # A file without a name, so that nothing is left even if this process is killed.
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(ROOM))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise NotWritable(f"{folder} cannot be written to: {error.strerror}.") from None
            raise NoRoom(f"{folder} has no room for {ROOM >> 20} MB: {error.strerror}.") from None


def _write(client: Any, *, ledger: bool) -> None:
    """Writes to the client's dataset, which is made if it has no `ledger`."""
    if not ledger:
        client.create_dataset()
    _fill(client)
    if ledger:
        coverage = client.make_qualified_table_name("coverage")
        client.execute_sql(f"insert into {coverage} select * from {coverage} where 1 = 0")
        client.execute_sql(f"update {coverage} set stream = stream where 1 = 0")
        client.execute_sql(f"delete from {coverage} where 1 = 0")


def _fill(client: SqlClient) -> None:
    """Makes a table in the client's dataset, fills it, and reads what no other encoding can hold."""
    table = client.make_qualified_table_name(PROBE)
    client.execute_sql(f"create table {table} (line varchar)")
    lines = ", ".join(f"('{TEXT}{'x' * LETTERS}')" for _ in range(ROWS))
    client.execute_sql(f"insert into {table} values {lines}")
    found = client.execute_sql(f"select min(length(line)) from {table}")
    if found and int(found[0][0]) != len(TEXT) + LETTERS:
        raise ValueError("its encoding is not UTF-8, so texts would be changed: make the database with encoding UTF8")
