"""Opens a source's client, reads its settings, and finds what is listed and not here. Loads nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from gapless.pipelines.destinations.reader import reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.sync.account import require_account_at
from gapless.pipelines.sync.build import build, check_settings
from gapless.sources import Source
from gapless.sources._dlt.tables import ROW_ID
from gapless.sources._http.client import Client
from gapless.sources._http.errors import Forbidden, NotFound, Rejected, Retryable
from gapless.sources._incremental.listing import ListedParent, Parents
from gapless.sources._incremental.parent_listing import listed_parents
from gapless.sources._incremental.stream import side_listings
from gapless.sources._ledger.session import Session
from gapless.sources._ledger.window import parse_ids
from gapless.sources._schema.arrow import Table, digest
from gapless.sources._schema.record import GONE_AT, record_time

AT_ONCE = 2_000
"""Ids in one query, because some databases limit its length."""


@contextmanager
def open_client(source: Source, target: Target | None = None, session: Session | None = None) -> Iterator[Client]:
    """Opens the source's client. Raises WrongSettings as a sync would, AnotherAccount if `target` is of another.

    The source says in `session` what its settings are.
    """
    session = session or Session()
    build(source, session)
    assert session.client is not None
    try:
        if target:
            require_account_at(target, source, session)
        yield session.client
    finally:
        session.client.close()


def not_here(target: Target, source: Source, table: Table, ids: Sequence[str]) -> list[str]:
    """Returns those of these ids of the vendor's of which a root table has no row."""
    lacking: list[str] = []
    for start in range(0, len(ids), AT_ONCE):
        rows = {digest(one): one for one in ids[start : start + AT_ONCE]}
        listed = ", ".join(f"'{row}'" for row in rows)
        with reading(target) as reader:
            found = reader.rows(source.name, f"select _dlt_id from {{0}} where _dlt_id in ({listed})", table.name)
        lacking += [rows[row] for row in rows.keys() - {row for (row,) in found or ()}]
    return lacking


def listed_beside(
    target: Target, source: Source, client: Client, session: Session
) -> Iterator[tuple[Parents, list[ListedParent] | Exception]]:
    """Yields each listing beside the records with what it lists, or its error.

    One that settings leave out, or that was never read because the vendor refuses it, is not among them.
    """
    for listing in side_listings(source.stream):
        if listing.noun in session.left_out:
            continue
        try:
            yield listing, [one for page in listed_parents(listing, client) for one in page]
        except (Rejected, Retryable) as error:
            with reading(target) as reader:
                was_read = bool(reader.rows(source.name, "select 1 from {0} limit 1", listing.table.name))
            if was_read or not isinstance(error, Forbidden | NotFound):
                yield listing, error


def is_newer(listed: ListedParent, checked: datetime | None) -> bool:
    """Returns whether something listed was created after `checked`; None: nothing was checked."""
    at = record_time(listed.record) if listed.record is not None else None
    return checked is None or (at is not None and at > checked)


def count_unlisted(
    target: Target, source: Source, table: Table, listed: Collection[str], gone: Collection[str]
) -> tuple[int, int]:
    """Returns how many rows of a listing are here that no sync found to be gone, and how many of these it lacks now.

    `gone` are further ids that are known to be gone.
    """
    known = {digest(one) for one in gone}
    with reading(target) as reader:
        marks = GONE_AT in reader.columns(source.name, [table.name]).get(table.name, ())
        where = f' where "{GONE_AT}" is null' if marks else ""
        rows = reader.rows(source.name, f"select {ROW_ID} from {{0}}{where}", table.name) or []
    here = {str(row) for (row,) in rows} - known
    return len(here), len(here - {digest(one) for one in listed})


def settings(source: Source, *wanted: str) -> dict[str, str]:
    """Returns those of these settings that are set, as dlt finds them."""
    from gapless.pipelines.destinations._dlt.config import resolved_settings

    found = resolved_settings(lambda: check_settings(source))
    return {setting.key: setting.value for setting in found if setting.key in wanted and setting.value}


def configured_ids(source: Source) -> list[str]:
    """Returns the ids that a setting names to be read instead of all that is listed."""
    setting = source.stream.only
    return parse_ids(settings(source, setting).get(setting), setting) if setting else []
