"""Okta registered as a user would register it, for the length of a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gapless.sources import SOURCES, Source
from tests.fifth.okta.fake import OktaFake
from tests.support.world import World

PACKAGE = "tests.fifth.okta"


@pytest.fixture(autouse=True)
def _registered(_alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "okta", Source.at(PACKAGE))


@pytest.fixture
def okta(world: Callable[[Any], World]) -> Callable[[OktaFake], World]:
    """`okta(fake)` is `world(fake)`, with Okta's key."""
    return lambda fake: world(fake).set(OKTA_API_TOKEN="demo-token", OKTA_REQUESTS_PER_MINUTE="1000000")
