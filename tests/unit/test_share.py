"""Which sweeps and slow tests a run plays: each part as many, all parts together all of them, and the same again."""

from __future__ import annotations

from itertools import chain
from types import SimpleNamespace

import pytest

from tests.support.share import Share

TESTS = [
    SimpleNamespace(nodeid=f"tests/test_{file}.py::test_{name}[{case}]")
    for file in range(7)
    for name in "abcde"
    for case in range(9)
]


def names(tests: list[SimpleNamespace]) -> list[str]:
    return [test.nodeid for test in tests]


def test_the_parts_have_each_sweep_once() -> None:
    """And are as large as each other, so that no commit's run takes longer than another's."""
    parts = [names(Share(32, 1, part).of_sweeps(TESTS)) for part in range(32)]
    assert sorted(chain(*parts)) == sorted(names(TESTS))
    assert {len(part) for part in parts} == {9, 10}
    assert names(Share(32, 1, 32 + 5).of_sweeps(TESTS)) == parts[5]


def test_what_is_played_does_not_depend_on_the_order_of_collection() -> None:
    share, turned = Share(16, 8, 5), TESTS[::-1]
    assert names(share.of_sweeps(turned)) == names(share.of_sweeps(TESTS))
    assert names(share.of_slow(turned)) == names(share.of_slow(TESTS))


def test_four_parts_meet_each_slow_test_and_all_parts_each_case() -> None:
    parts = [names(Share(1, 8, part).of_slow(TESTS)) for part in range(36)]
    assert {name.partition("[")[0] for name in chain(*parts[:4])} == {name.partition("[")[0] for name in names(TESTS)}
    assert {*chain(*parts)} == {*names(TESTS)}
    assert {len(part) == len({*part}) for part in parts} == {True}


def test_the_header_names_what_plays_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of all tests has none."""
    assert Share().header == ""
    for setting in Share(128, 8, 57).header.rpartition(": ")[2].split():
        monkeypatch.setenv(*setting.split("="))
    assert Share.of_settings() == Share(128, 8, 57)
