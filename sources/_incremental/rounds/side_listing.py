"""The reading of a listing beside the records, such as what they name by id; it never stops the records."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from gapless.sources._http.errors import Forbidden, NotFound, Rejected, Retryable
from gapless.sources._incremental.context import SyncContext
from gapless.sources._incremental.listing import Parents
from gapless.sources._ledger.dead_letters import DeadLetters
from gapless.sources._ledger.session import LoadItem
from gapless.sources._schema.arrow import digest

LOG = logging.getLogger("gapless")


def side_items(listing: Parents, sync: SyncContext) -> Iterator[LoadItem]:
    """Yields the rows of a listing, proven to be read to its end; nothing if only single ids are read.

    A failure is a dead letter of the listing. One that settings leave out, or that this key never could read, is no
    failure. Raises Stop.
    """
    if sync.reads_ids:
        return
    letters = DeadLetters(listing.table.name, sync.ledger, sync.session)
    if listing.noun in sync.connection.left_out:
        yield _closed(letters)
        return
    try:
        for item, _ in sync.listing(listing).pages:
            yield item
        _mark(listing, sync)
    except (Forbidden, NotFound) as error:
        if any(completed for *_, completed in sync.ledger.select(listing.table.name, [listing.table.id_column])):
            # It was read before, so its rows grow old: whoever means that leaves it out by a setting.
            yield LoadItem([letters.failed("parent", "", error)])
            return
        LOG.info("%s are left out, and all else is read: %s", listing.noun, error)
        yield _closed(letters)
    except (Rejected, Retryable) as error:
        yield LoadItem([letters.failed("parent", "", error)])


def _closed(letters: DeadLetters) -> LoadItem:
    """Closes what is open: nobody reads the listing any more, so what failed before would stay open for ever."""
    return LoadItem([letters.resolve("parent", [""]), letters.resolve_rest(None)])


def _mark(listing: Parents, sync: SyncContext) -> None:
    """Marks the rows that a listing lacks as gone, if it was read to its end, and takes back what it has again."""
    read, table = sync.listing(listing), listing.table
    if not read.proven:
        return
    served = {digest(listing.id(one)) for one in read.found()}
    ids = (str(row[0]) for row in sync.ledger.select(table.name, [table.id_column]))
    lacking = {digest(key) for key in ids if sync.session.shard.contains(key)} - served
    sync.ledger.mark_gone(table.name, lacking, sync.session.now())
    sync.ledger.mark_gone(table.name, sync.ledger.marked(table.name) & served, None)
