"""Says what is wrong with a Subject: else a wrong name in it would fail dozens of tests, none of which names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gapless.sources import Source

if TYPE_CHECKING:
    from tests.contract.subject import Subject


def problems_of(subject: Subject, source: Source) -> list[str]:
    """Returns each field of a Subject that does not fit its source, with what was expected."""
    declared = {table.name for table in source.stream.tables} - subject.derived.keys()
    if missing := declared - subject.tables.keys():
        return [f"`tables` lacks {', '.join(sorted(missing))}"]
    main, (parent_id, list_name) = source.main.name, (subject.column(subject.parent_id), subject.child or "")
    below = f"{main}__{subject.column(list_name)}"
    problems = [
        *_column(subject, "text", main, subject.text_column, "VARCHAR"),
        *_column(subject, "time", main, subject.column(subject.time), "TIMESTAMP WITH TIME ZONE"),
        *_column(subject, "id", main, subject.id_column),
        *(_column(subject, "child_text", below, subject.column(subject.child_text), "VARCHAR") if list_name else ()),
    ]
    if source.stream.parents:
        problems += _column(subject, "parent_id", source.stream.parents.table.name, parent_id)
        needed = ("add_parent", "delete_parent")
        problems += [
            f"`{one}` is missing, and the records have parents" for one in needed if not getattr(subject, one)
        ]
    if bool(subject.next_marks) != bool(subject.lists):
        problems.append("`lists` and `next_marks` go together: both are empty where the `Link` header leads on")
    return problems


def _column(subject: Subject, field: str, table: str, column: str, kind: str | None = None) -> list[str]:
    there = subject.tables.get(table)
    if there is None:
        return [f"`tables` lacks {table}, which `{field}` is in"]
    fitting = [name for name, each in there.items() if kind in (None, each)]
    if column in fitting:
        return []
    return [
        f"`{field}` is {column!r} in {table}; expected one of {', '.join(fitting) or f'type {kind}: it has none'}"
    ]
