"""What several tests of destinations begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gapless.sources import SOURCES
from tests.contract.subject import filled
from tests.support.world import World


@pytest.fixture
def one_source(world: Callable[[Any], World]) -> World:
    """One source alone, after its first sync into the test's destination."""
    here = world(filled(next(iter(SOURCES)))).alone()
    here.synced()
    return here
