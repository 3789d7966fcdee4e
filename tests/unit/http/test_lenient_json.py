"""Single records that are no JSON must not cost their page, nor the letters of their neighbours."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapless.sources._http.body.decoding import Malformed, OneRecord, decoded
from gapless.sources._http.body.lenient_json import quote_invalid_records, repeats_key

GOOD = '{"id": "g",  "n": 1.10000000000000000000001, "t": "a, ] } \\" b"}'
BAD = {
    "nan": '{"id":"b","n":NaN}',
    "infinity": '{"id":"b","n":-Infinity}',
    "half a surrogate": '{"id":"b","t":"\\ud800"}',
    "half a surrogate in a key": '{"id":"b","\\udc00":1}',
    "raw control character": '{"id":"b","t":"\x01"}',
    "nested 3,000 deep": '{"id":"b","x":' + "[" * 3000 + "]" * 3000 + "}",
}


class Page(msgspec.Struct):
    items: list[msgspec.Raw]
    after: str | None = None


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_record_leaves_its_page_readable(bad: str) -> None:
    """The bad record comes as a string that holds its text; the good ones keep theirs to the letter."""
    page = decoded(f'{{"after": "c", "items": [{GOOD} , {bad},{GOOD}]}}'.encode(), "", Page)
    items = [bytes(item).decode() for item in page.items]
    assert (page.after, items[0], items[2]) == ("c", GOOD, GOOD)
    assert json.loads(items[1]) == bad


def test_a_bad_record_in_a_bare_list() -> None:
    """A list without an envelope is mended alike."""
    items = decoded(f"[{BAD['nan']}, {GOOD}]".encode(), "", list[msgspec.Raw])
    assert [bytes(item).decode() for item in items] == [json.dumps(BAD["nan"]), GOOD]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"items":[1,2',
        b'{"items":[NaN}',
        b'{"items":[NaN]]',
        b'{"items":[NaN]} x',
        b"[NaN",
        b"NaN",
        b'"x"',
    ],
)
def test_what_is_not_shaped_like_json_is_not_mended(body: bytes) -> None:
    """A cut body, HTML or trailing text stays wrong: it is asked for again, never believed in part."""
    with pytest.raises(Malformed):
        decoded(body, "", Page)


def test_a_cut_body_is_never_mended() -> None:
    """Wherever a page with a bad record is cut, it is refused as a whole."""
    whole = f'{{"items": [{GOOD}, {BAD["nan"]}], "after": null}}'.encode()
    assert quote_invalid_records(whole) is not None
    assert [cut for cut in range(len(whole)) if quote_invalid_records(whole[:cut]) is not None] == []


@pytest.mark.parametrize("body", ['{"id": "a", "n": 1.50}', '{"id": "a", "n": NaN}'])
def test_one_record_keeps_its_text(body: str) -> None:
    """An answer that is one record is passed on as it is, or as a string when it is no strict JSON."""
    raw = decoded(body.encode(), "", OneRecord)
    assert raw.decode() == body if "NaN" not in body else json.loads(raw) == body


@pytest.mark.parametrize("body", ["<html>", "", '{"error": {"type": "x"}}', "[]", '"a"', '{"error": NaN}'])
def test_an_answer_without_an_id_is_no_record(body: str) -> None:
    """An error body, HTML or an empty answer with 200 is a broken envelope and not a bad record."""
    with pytest.raises(Malformed):
        decoded(body.encode(), "", OneRecord)


class Event(OneRecord):
    id_name = "uuid"


def test_an_id_may_have_another_name() -> None:
    """A shape says which member identifies its record, also in one that is no strict JSON."""
    for body in ('{"uuid": "a"}', '{"uuid": NaN}'):
        found = decoded(body.encode(), "", Event)
        assert isinstance(found, Event)
        with pytest.raises(Malformed):
            decoded(body.replace("uuid", "id").encode(), "", Event)
    with pytest.raises(Malformed, match="missing required field `uuid`"):
        decoded(b'{"error": "x"}', "", Event)


KEYS = st.sampled_from(['"a"', '"b"', '"\\u0061"', '"a\\""', '"\\u0022:a"', '"\\/"'])
SCALARS = st.sampled_from(["1", "1.50", "-0.0", "1e9", "null", '"x"', '"\\"a\\":1,"', '"\\u00e9"', '"é"', str(2**70)])


def written(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """An array or an object, in which a key may stand twice, with and without blanks."""
    commas, colons = st.sampled_from([",", ", "]), st.sampled_from([":", ": ", " :"])
    members = st.lists(st.builds(lambda key, colon, value: key + colon + value, KEYS, colons, values), max_size=4)
    return st.builds(
        lambda ends, comma, items: ends[0] + comma.join(items) + ends[1],
        *(st.just("[]"), commas, st.lists(values, max_size=3)),
    ) | st.builds(lambda comma, items: "{" + comma.join(items) + "}", commas, members)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.recursive(SCALARS, written, max_leaves=8))
def test_a_key_that_stands_twice_is_seen_in_any_spelling(text: str) -> None:
    """However a key, a number or a blank is written, and at whatever depth."""
    twice = []

    def check(members: list[tuple[str, object]]) -> None:
        twice.append(len({key for key, _ in members}) < len(members))

    json.loads(text, object_pairs_hook=check)
    assert repeats_key(text.encode()) == any(twice), text
