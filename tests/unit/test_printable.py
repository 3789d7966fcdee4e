"""Text from outside is escaped where it is printed: nothing of it moves a cursor, forges a line or hides."""

from __future__ import annotations

import json
import subprocess
from unicodedata import category

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gapless.pipelines.printable import HIDDEN, can_be_typed, counted, escaped, json_text, quoted, words
from tests.support.hostile import ATTACKS, DANGEROUS, OF_PEOPLE, harmful

TEXTS = st.text(
    st.one_of(st.characters(), st.sampled_from("".join(sorted(DANGEROUS)) + "a1é日א👩\u200c\u200d\ufe0f"))
)


@given(TEXTS)
@example("\u200d")
@example("א\u3164\u200dב")
def test_nothing_is_left_that_a_terminal_obeys_or_hides(text: str) -> None:
    """Of all control, format, private and unknown characters only joiners stay, between what they join."""
    shown = escaped(text)
    assert harmful(shown) == []
    assert escaped(shown) == shown
    assert shown.isprintable() or any(category(one) in ("Zs", "Cf") for one in shown)


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_is_seen(attack: str) -> None:
    """Each dangerous character shows as an escape that names it, and what is around it stays."""
    shown = escaped(f"before {attack} after")
    assert harmful(shown) == []
    assert "\\" in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")


@pytest.mark.parametrize("text", OF_PEOPLE)
def test_texts_of_people_stay_readable(text: str) -> None:
    """Every script, accents, emoji of several parts; a joiner between Latin letters is no such thing."""
    assert escaped(text) == text
    assert escaped(f"id {text}, next") == f"id {text}, next"
    assert escaped("ac\u200dme\u200c") == "ac\\u200dme\\u200c"


def test_lines_of_our_own_stay() -> None:
    """A line end stays only where the caller says that it is ours; a carriage return never does."""
    assert escaped("one\ntwo\rthree", lines=True) == "one\ntwo\\rthree"
    assert escaped("one\ntwo") == "one\\ntwo"


@given(
    st.recursive(TEXTS | st.integers(), lambda below: st.lists(below) | st.dictionaries(TEXTS, below), max_leaves=5)
)
def test_json_is_the_same_value(content: object) -> None:
    """It parses back to what it was, on one line, with no such character in it."""
    written = json_text(content)
    # Two halves of a character that stand apart become one in any JSON.
    assert json.loads(written) == json.loads(json.dumps(content))
    assert [one for one in written if category(one)[0] == "C" or category(one) in ("Zl", "Zp")] == []
    assert not HIDDEN.search(written)


def test_commands_can_be_pasted() -> None:
    """A shell gives each id to the program as it is, and the printed command has no dangerous character."""
    ids = [
        *(one for one in (*ATTACKS, *OF_PEOPLE) if can_be_typed(one)),
        *(chr(number) for number in range(1, 0x250)),
    ]
    ids += ["--id", "-", "it's \\ $HOME `id` !! && rm -rf ~", "a'\nb\\'c", "$(touch x)", "\x1b0a", "%s\\n", " "]
    commands = [f"printf '%s\\0' {quoted(one)}" for one in ids]
    assert [one for one in commands if escaped(one) != one] == []
    done = subprocess.run(["bash", "-s"], input="\n".join(commands).encode(), capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == ids


@given(TEXTS.filter(can_be_typed))
def test_a_command_is_parsed_again(text: str) -> None:
    """Its words are found again, whatever an id holds: an option is taken off, a destination is read."""
    assert words(f"sync acme --id {quoted(text)} && b") == ["sync", "acme", "--id", quoted(text), "&&", "b"]


def test_what_no_command_line_holds() -> None:
    """A NUL ends an argument, and half of a character has no bytes."""
    assert [one for one in ("a\0b", "\ud800", "x\udfff") if can_be_typed(one)] == []
    with pytest.raises(ValueError, match="no command line"):
        quoted("a\0b")


def test_numbers_of_one() -> None:
    """One thing is not told in the plural."""
    assert [counted(1, noun) for noun in ("requests", "rows", "activities")] == ["1 request", "1 row", "1 activity"]
    assert [counted(count, "requests") for count in (0, 2, 1204)] == ["0 requests", "2 requests", "1,204 requests"]
