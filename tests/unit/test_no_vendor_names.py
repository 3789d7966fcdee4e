"""No vendor's name stands in shared code or in a shared test: whatever is true of one source stands in its folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gapless.sources import OURS

ROOT = Path(__file__).resolve().parents[2]
CODE = ("pipelines/**/*.py", "pipelines/**/*.sql", "sources/*.py", "sources/_*/**/*.py", "sources/_*/**/*.sql")
TESTS = ("tests/**/*.py",)
OF_ONE_VENDOR = ("tests/sources/", "tests/samples/", "tests/fifth/", "tests/third_party/", "tests/bench/")
"""Folders of a vendor each, or, as the comparison with other tools, about named vendors."""
MAY_NAME = {
    "tests/docs/test_pages.py": "commands of the pages, which show real names",
    "tests/docs/test_readme.py": "as the pages",
    "tests/docs/test_scheduler_recipes.py": "as the pages",
    "tests/lab/mutants/table.py": "the place of each mutant",
    "tests/lab/faultlab/world.py": "declared data: how much each vendor has",
    "tests/lab/faultlab/answer_faults.py": "declared data: whom a fault can meet",
    "tests/lab/faultlab/http_faults.py": "declared data: paths, and verdicts that differ",
    "tests/lab/faultlab/paging_faults.py": "declared data: how each vendor pages",
    "tests/lab/faultlab/kills.py": "declared data: statements of a sync",
    "tests/lab/faultlab/plain_dlt.py": "the same vendor by dlt's own means",
    "tests/unit/test_support.py": "one vendor, for the tests' own means",
    "tests/unit/test_dlt_canaries.py": "a setting in a sentence",
    "tests/docs/test_import_name.py": "as the pages",
    "tests/integrations/million.py": "makes a million rows by hand, to be looked at",
}
"""Files that name vendors for good, and why."""
EXAMPLES = re.compile(r"tests/(commands|observability|integrations|destinations|lab|stateful)/test_\w+\.py")
"""Tests of something else than a source, which take one for an example: a name there says which, and no more. Tables
by vendor are looked for there, too."""


def named(text: str, names: tuple[str, ...] = OURS) -> list[str]:
    """The names in a text. One that is an English word counts where nothing else can be meant: as a whole text, or
    with a dot or an underscore."""
    words = [name for name in names if name != "sequence"]
    found = re.findall(rf"(?i)(?<![a-z])(?:{'|'.join(words)})(?:fake)?(?![a-z])", text)
    if "sequence" in names:
        found += re.findall(r"""["'`]sequence["'`]|(?<![\w.])sequence[._](?=\w)|SEQUENCE_\w+|SequenceFake""", text)
    return found


def files(*patterns: str) -> list[Path]:
    return sorted({file for pattern in patterns for file in ROOT.glob(pattern)})


def offenders(paths: list[Path]) -> dict[str, list[str]]:
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}
    return {name: found for name, text in texts.items() if (found := named(text))}


def test_shared_code_names_no_vendor() -> None:
    """Python and SQL of `pipelines`, and of the shared floors of `sources`; the register has its one line."""
    paths = files(*CODE)
    assert len(paths) > 100
    found = offenders(paths)
    register = found.pop("sources/__init__.py")
    assert (register, found) == (["omni", "kizen", "tines", '"sequence"'], {})


def test_shared_tests_name_no_vendor() -> None:
    """But for those in the list, each of which still does."""
    found = {name for name in offenders(files(*TESTS)) if not name.startswith(OF_ONE_VENDOR)}
    found.discard(str(Path(__file__).resolve().relative_to(ROOT)))
    assert {name for name in found if not EXAMPLES.fullmatch(name)} == MAY_NAME.keys()


def test_no_test_has_a_table_by_vendor() -> None:
    """What differs from source to source stands in its Subject, so that a fifth source needs no line elsewhere."""
    key = rf"""["'](?:{"|".join(OURS)})["']:"""
    tables = re.compile(rf"{key}[^\n]*?\n?[^\n]*?{key}")
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files(*TESTS)}
    shared = {name: text for name, text in texts.items() if not name.startswith(OF_ONE_VENDOR)}
    assert {name for name, text in shared.items() if tables.search(text)} - MAY_NAME.keys() == set()


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("if name == 'tines':", True),
        ("OMNI_API_KEY", True),
        ("from gapless.sources.kizen.fake import KizenFake", True),
        ('name == "sequence"', True),
        ("sequence.activity_logs", True),
        ("SEQUENCE_CLIENT_ID", True),
        ("from collections.abc import Sequence", False),
        ("a sequence of pages", False),
        ("omnibus, routines, kizenly", False),
    ],
)
def test_what_counts_as_a_name(text: str, there: bool) -> None:
    """Also inside of identifiers; an English word is none."""
    assert bool(named(text)) == there
