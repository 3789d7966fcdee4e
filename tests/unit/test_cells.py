"""How `verify --cells` tells whether a cell is the vendor's, and how it names one that is not."""

from __future__ import annotations

from typing import Any

import pytest

from gapless.pipelines.verify.cells.cells import same
from gapless.pipelines.verify.found import Difference


@pytest.mark.parametrize(
    ("wanted", "stored", "equal"),
    [
        ('{"a": 1, "b": [2]}', '{"b": [2.0], "a": 1}', True),
        ("1e3", "1000", True),
        ('{"a": true}', '{"a": 1}', False),
        ("0.12345678901234567890", "0.12345678901234567891", False),
        ('{"a": null}', "{}", False),
        ("[1, 2]", "[2, 1]", False),
        ("null", None, False),
        ("1e99999999999999999999", "2e99999999999999999999", False),
        ("{}", "no JSON", False),
    ],
)
def test_json_is_compared_by_value(wanted: str, stored: Any, equal: bool) -> None:
    """Postgres stores values and not the vendor's text; every digit counts, and no type is another."""
    assert same("json", wanted, stored) is equal


@pytest.mark.parametrize(("wanted", "stored"), [("a", "A"), ("a", None), (None, ""), (1, 2)])
def test_other_cells_are_compared_as_they_are(wanted: Any, stored: Any) -> None:
    assert not same("text", wanted, stored)
    assert same("text", wanted, wanted)


def test_a_difference_is_one_line() -> None:
    assert str(Difference("logs__items", "7", ("name", "_extra"), 1, 2)) == (
        "logs__items 7: name, _extra; 1 row missing; 2 rows too many"
    )
