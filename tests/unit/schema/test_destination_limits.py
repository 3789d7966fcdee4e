"""The words for a record that is too wide: how wide is too wide, and the setting that lets it in."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gapless.sources._schema.destination_limits import SUSPICIOUS, TooWide, bounded, no_limits, storage_check


@pytest.mark.parametrize(("megabytes", "said"), [(100, "100 MB"), (1, "1 MB"), (0.5, "0.5 MB"), (256, "256 MB")])
def test_the_message_of_a_too_wide_record(megabytes: float, said: str) -> None:
    """It names the bound as it is set, the setting, and how far that can go; a record of just that size passes."""
    check = bounded(no_limits, megabytes)
    assert check(b"x" * int(megabytes * 1e6)) is None
    found = check(b"x" * (int(megabytes * 1e6) + 1))
    assert isinstance(found, TooWide)
    assert found == (
        f"has more than {said} of JSON, so it is neither loaded nor kept here: raise"
        " GAPLESS_MAX_RECORD_MB (256 at most) to load it"
    )


LETTERS = ("x", "e", "E", "1", "0", "9" * 5, "\\", "\\\\", "\\u0000", '\\"', "-", "+", ".", " ", "}", ",")
NUMBERS = st.sampled_from(
    ["1", "-0.5e3", "1e9999", "1e10000", "1E+200000", "-2e-99999", "9" * 9_998, "9" * 9_999, "1.5e0012345"]
)
TEXTS = st.lists(st.sampled_from(LETTERS), max_size=6).map("".join).filter(lambda text: _is_json(f'"{text}"'))
BLANKS = st.sampled_from(["", " ", "\n", "\t \r\n"])


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """JSON as a vendor may send it, with odd blanks, and now and then something that Postgres cannot store."""
    values = draw(st.lists(st.one_of(NUMBERS, TEXTS.map(lambda text: f'"{text}"')), min_size=1, max_size=4))
    blank = draw(BLANKS)
    cells = f"{blank},{blank}".join(f'"k{n}"{blank}:{blank}{value}' for n, value in enumerate(values))
    form = draw(st.sampled_from(["{%s}", "{%s\n}", '{"list":[{%s}]}']))
    return (form % cells).encode()


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.one_of(records(), NUMBERS.map(str.encode)), min_size=2, max_size=5))
def test_a_page_is_checked_as_its_records_are(raws: list[bytes]) -> None:
    """What Arrow finds in a page leaves nothing out: not at the top level, nor with odd blanks, nor at an end."""
    check = bounded(storage_check("dlt.destinations.postgres"), 0.02)
    assert check.page(raws) == [check(raw) for raw in raws]


def test_an_id_is_no_long_number() -> None:
    """A hexadecimal id with an e before five digits is not looked at again: it is in most records."""
    assert not re.search(SUSPICIOUS, '{"id":"a3e12345-1e99999-00e123456","n":1e999}')
    assert re.search(SUSPICIOUS, '{"n":1e12345}')


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
