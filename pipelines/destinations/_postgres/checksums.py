"""Sums up the ids of rows: by its sum it is known whether a table has the same rows, and not only as many.

An id is a digest, so its first characters are a number that nobody chose, and two sets of ids have different sums. A
sum follows what a sync writes: what it adds to a table and what it takes away are counted with each load package.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from gapless.sources._dlt.tables import ROW_ID

MODULUS = 2**64
"""Sums are taken modulo this, as the number of an id is eight bytes."""
CHECKSUM = (
    f"""coalesce(sum(('x' || encode(convert_to(substr("{ROW_ID}", 1, 8), 'UTF8'), 'hex'))::bit(64)::bigint), 0)"""
)
"""The sum of a table's ids in SQL, signed; take it modulo MODULUS."""


def checksum(ids: Iterable[str]) -> int:
    """Returns the sum of ids, as CHECKSUM has it."""
    texts = [text[:8].encode().ljust(8, b"\0")[:8] for text in ids]
    numbers: tuple[int, ...] = struct.unpack(f">{len(texts)}Q", b"".join(texts))
    return sum(numbers) % MODULUS
