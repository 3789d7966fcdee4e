"""Addresses that nobody would type, and what a status looks like."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gapless.pipelines.ui.rendering import tone
from gapless.pipelines.ui.views.coverage import _page
from tests.support.page import Page


@pytest.mark.parametrize(
    "query",
    [
        "view=coverage&page=%C2%B2",
        "view=coverage&page=" + "9" * 30,
        "&".join(f"p{n}=1" for n in range(60)),
        "view=%00&&&=%ff",
    ],
)
def test_an_odd_address_is_a_page(query: str, tmp_path: Path) -> None:
    """It is shown all the same, or what of it does not count is said."""
    page = Page(tmp_path / "none.duckdb")
    assert page.get(f"?{query}").status == 200


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("COMPLETED", "good"), ("completed with errors", "bad"), ("not_sent", ""), ("incomplete", ""), ("broken", ""),
        ("revoked", ""), ("email_sent", "good"), ("IN_PROGRESS", "wait"), (None, ""),
    ],
)  # fmt: skip
def test_the_colour_of_a_status(status: str | None, kind: str) -> None:
    """It is that of its meaning; a word that is only a part of another one means nothing."""
    assert tone(status) == kind


@pytest.mark.parametrize(("page", "number"), [("3", 3), ("", 1), ("0", 1), ("²", 1), ("٣", 1), ("9" * 30, 1)])
def test_the_number_of_a_page(page: str, number: int) -> None:
    """What is no plain number, or none that a database takes, is the first page."""
    assert _page(cast("Any", SimpleNamespace(address={"page": page}))) == number
