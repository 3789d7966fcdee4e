"""Refuses an account whose settings name another vendor than the one whose tables its dataset holds."""

from __future__ import annotations

from gapless.pipelines.destinations._catalogs.left import Stored, vendor_of
from gapless.pipelines.errors import OtherVendor
from gapless.sources import SOURCES


def require_vendor(reader: Stored, name: str) -> None:
    """Raises OtherVendor if most tables of a dataset are another vendor's than its account's."""
    source = SOURCES.get(name)
    if source is None or not source.is_named:  # a vendor's own account has the vendor's name
        return
    roots = {table.name for table in source.tables}
    # Its own are there, or nothing is: no other vendor is looked for, which takes a moment.
    if roots <= reader.columns(name, [*roots]).keys():
        return
    found = vendor_of(reader, name)
    if found and found.package != source.package:
        raise OtherVendor(
            f"{name}: its dataset holds the tables of {found.name}, and the settings say that it is an account of"
            f' {source.vendor}. Nothing was asked. Put it back: [accounts] {name} = "{found.name}"; an account of'
            f" {source.vendor} needs another name."
        )
