"""Reads one record by its id, and believes the answer only when it is that record. No vendor may enter."""

from __future__ import annotations

from collections.abc import Callable

from gapless.sources._http.client import Client
from gapless.sources._http.errors import BadEnvelope
from gapless.sources._schema.arrow import Table
from gapless.sources._schema.parse import valid_id


def read_record(read: Callable[[Client, str], bytes], client: Client, table: Table, key: str) -> bytes:
    """Returns the record with the id `key`, as JSON.

    Raises what `read` does, and BadEnvelope for a record with another id: it would be loaded in the place of the one
    that was asked for, which then nobody would miss.
    """
    raw = read(client, key)
    found = valid_id(table.model, raw)
    # A person may type a UUID in capitals. A record without an id that could be one is that one, and a bad one.
    if found is not None and found.lower() != key.lower():
        why = "a record with another id came than was asked for; a cache on the way may have mixed up its answers"
        raise BadEnvelope(method="GET", path=f"{table.name}/{key}", status=200, detail=why)
    return raw
