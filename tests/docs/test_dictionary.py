"""The data dictionary is what the models and the views say."""

from __future__ import annotations

import re
from pathlib import Path

from gapless.pipelines.dictionary.page import page
from gapless.sources import SOURCES

FILE = Path(__file__).resolve().parents[2] / "pipelines" / "docs" / "DICTIONARY.md"


def test_the_page_is_not_old() -> None:
    """`python -m gapless.pipelines.dictionary > pipelines/docs/DICTIONARY.md` makes it again."""
    assert FILE.read_text(encoding="utf-8") == page()


def test_no_cell_is_empty_and_every_drawing_names_its_tables() -> None:
    """Each table of a source stands in its drawing, also one that joins nothing."""
    text = page()
    assert re.findall(r"\| +\|", text) == []
    for name, source in SOURCES.items():
        (drawn,) = re.findall(rf"^## {name}\n\n```mermaid\nerDiagram\n(.*?)```", text, re.MULTILINE | re.DOTALL)
        tables = {shape.name for table in source.tables for shape in table.schema.tree()}
        assert {line.strip() for line in drawn.splitlines() if "||" not in line} == tables
