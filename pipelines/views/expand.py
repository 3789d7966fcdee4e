"""Repeats the parts of a view's SQL that are the same for every source, which its file holds once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from gapless.sources import Source

PART = re.compile(r"^( *)-- for each (source|stream), union all\n(.*?)^ *-- end\n", re.MULTILINE | re.DOTALL)
# Cast, because the branches of a union must agree on the type.
NO_TIME = "cast(null as timestamp with time zone)"
LATER = ("object_name", "actor_type", "gone_at")
"""Columns of the timeline that a source's own file may lack, as it may be older than they are."""


def expand(text: str, sources: Sequence[Source], timelines: Mapping[str, str] | None = None) -> str:
    """Returns the SQL with each part between `-- for each source` (or `stream`) and `-- end` once for each of them.

    A stream is a table of records or of parents; `{time}` is its column of creation times. `timelines` are
    the sources' parts of the timeline, by name; a column that one of them lacks is null.
    """

    def union(found: re.Match[str]) -> str:
        indent, each, part = found.groups()
        chosen = _sources(sources, timelines or {}) if each == "source" else _streams(sources)
        return f"{indent}union all\n".join(part.format(**names) for names in chosen)

    return PART.sub(union, text)


def part_of(source: Source, template: str) -> str:
    """Returns a part of a view over all sources, for a source without a file for it, as its description has it."""
    table, parent = source.main, source.stream.column
    return template.format(
        source=source.name,
        vendor=source.vendor,
        stream=table.name,
        id=table.id_column,
        time=f"record.{table.time_column}" if table.time_column else NO_TIME,
        parent=f"cast(record.{parent} as varchar)" if parent else "cast(null as varchar)",
    )


def of_account(text: str, source: Source) -> str:
    """Returns SQL about a vendor's own account as SQL about another one: its dataset, and its name as `account`."""
    if not source.is_named:
        return text
    dataset = re.sub(rf"\b{source.vendor}\.", f"{source.name}.", text)
    dataset = re.sub(rf"\bactivity\.stg_{source.vendor}\b", f"activity.stg_{source.name}", dataset)
    return dataset.replace(f"'{source.vendor}' as account", f"'{source.name}' as account")


def of_accounts(text: str, accounts: Sequence[Source]) -> str:
    """Returns a view about a vendor's own account as one over these accounts; its header stays once, on top."""
    if len(accounts) == 1:
        return of_account(text, *accounts)
    (header,) = re.findall(r"\A(?:--.*\n)*", text)
    query = text.removeprefix(header).rstrip()
    return str(header) + "\nunion all\n".join(f"(\n{of_account(query, source)}\n)" for source in accounts)


def _sources(sources: Sequence[Source], timelines: Mapping[str, str]) -> Iterator[dict[str, str]]:
    for source in sources:
        own = timelines.get(source.name, "")
        later = {name: name if re.search(rf"\bas {name}\b", own) else "null" for name in LATER}
        yield {"source": source.name, "vendor": source.vendor, **later}


def _streams(sources: Sequence[Source]) -> Iterator[dict[str, str]]:
    for source in sources:
        parents = source.stream.parents
        for table in (source.main, *([parents.table] if parents else [])):
            names = {"source": source.name, "vendor": source.vendor, "stream": table.name}
            yield {**names, "time": table.time_column or NO_TIME}
