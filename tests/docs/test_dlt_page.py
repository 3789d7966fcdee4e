"""The page about dlt: its snippets run against the imitated vendors and print what stands below them."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tests.docs.test_readme import README, vendors

__all__ = ["vendors"]
PAGE = (Path(__file__).resolve().parents[2] / "pipelines" / "docs" / "DLT.md").read_text()
BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
IN_INTEGRATIONS = "# "
"""Begins the files for Dagster, which tests/integrations runs."""
(START, _), *SNIPPETS = [pair for pair in BLOCK.findall(PAGE) if not pair[0].startswith(IN_INTEGRATIONS)]


def printed(script: str) -> str:
    """Returns what a script prints that runs in the working folder."""
    with redirect_stdout(io.StringIO()) as out:
        exec(compile(script, "DLT.md", "exec", dont_inherit=True), {"__name__": "__main__"})
    return out.getvalue()


@pytest.fixture(autouse=True)
def _keys(vendors: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody with keys for all, and folders of dlt that nobody used."""
    for name, value in {**vendors, "DLT_DATA_DIR": str(tmp_path / "dlt")}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
@pytest.mark.timeout(600)  # seconds: one is a loop of ten runs
@pytest.mark.parametrize(("script", "shown"), SNIPPETS, ids=lambda text: text.splitlines()[0] if text else "")
def test_a_snippet_prints_what_the_page_shows(script: str, shown: str) -> None:
    """Each after the first one alone."""
    assert shown, "every snippet shows what it prints"
    assert printed(START + script) == shown


def test_there_are_ten() -> None:
    """As many as the page promises."""
    assert re.findall(r"^## (\d+)\. ", PAGE, re.MULTILINE) == [str(number) for number in range(1, 11)]


@pytest.mark.slow
def test_the_readmes_snippet_runs() -> None:
    """It loads and shows that all is proven; four to six lines."""
    ((script, shown),) = BLOCK.findall(README)
    assert len(script.splitlines()) <= 6
    assert printed(script) == shown
