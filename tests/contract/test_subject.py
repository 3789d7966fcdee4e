"""A Subject says what of it does not fit its source, and has a text wherever in a record it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gapless.sources import SOURCES
from tests.contract.subject import Subject, columns
from tests.contract.subject import subject as described
from tests.contract.subject_checks import problems_of

FIRST = next(name for name, source in SOURCES.items() if source.stream.parents)


def test_each_is_whole() -> None:
    """Of every source of ours; a test with one that is not would end before its first line."""
    assert [problem for name, source in SOURCES.items() for problem in problems_of(described(name), source)] == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"text": "nothing"}, "`text` is 'nothing' in "),
        ({"text": ""}, "expected one of "),
        ({"time": "nothing"}, "`time` is 'nothing' in "),
        ({"id": "nothing"}, "`id` is 'nothing' in "),
        ({"parent_id": "nothing"}, "`parent_id` is 'nothing' in "),
        ({"child": "nothing"}, "`tables` lacks "),
        ({"tables": {}}, "`tables` lacks "),
        ({"delete_parent": None}, "`delete_parent` is missing"),
        ({"lists": ()}, "`lists` and `next_marks` go together"),
    ],
)
def test_a_field_that_does_not_fit(wrong: dict[str, Any], words: str) -> None:
    """It is named, with what was expected."""
    problems = problems_of(replace(described(FIRST), **wrong), SOURCES[FIRST])
    assert any(words in problem for problem in problems), problems


def test_a_text_in_an_object() -> None:
    """It is set without a change of what is beside it, and read where the object is null or missing, too."""
    table = columns(text="actor__name actor__team__name")
    one = Subject("x", {"t": table}, "actor.name", "at", fill=lambda *_: None, add=lambda *_, **__: {})
    row = {"id": 1, "actor": {"name": "a", "id": 7}}
    assert (one.text_column, one.text_of(row), one.text_of({"actor": None})) == ("actor__name", "a", None)
    assert one.with_text("b", row) == {"actor": {"name": "b", "id": 7}}
    assert one.with_text([]) == {"actor": {"name": []}}
    deep = replace(one, text="actor.team.name")
    assert deep.with_text("b", row) == {"actor": {"name": "a", "id": 7, "team": {"name": "b"}}}
    assert deep.text_of(row) is None
