"""A second opinion on Sequence: Prism holds both sides to the vendor's own OpenAPI. `pytest -m peer` runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import pytest

from gapless.sources._http.testing import serve
from gapless.sources.sequence.fake import SequenceFake
from tests.support.world import World
from tests.third_party.prism import prism

Begin = Callable[[Any], World]
pytestmark = pytest.mark.peer
HEADERS = {"Authorization": "Basic ZGVtby1pZDpkZW1vLXNlY3JldA==", "Sequence-Version": "2024-07-30"}


def filled() -> SequenceFake:
    """Forty logs, eight to a page; the end is an absent cursor, as the vendor's document has no null."""
    fake = SequenceFake(page_cap=8)
    fake.seed(40, days=5)
    return fake


def test_no_violation_in_either_direction(world: Begin) -> None:
    """First, incremental and by id: what gapless sends and what the simulator answers is as documented."""
    fake = filled()
    here = world(fake)
    with serve(here.handle) as vendor, prism("proxy", vendor, "--errors") as url:
        here.set(SEQUENCE_BASE_URL=url)
        for minutes in (0, 45):
            fake.advance(minutes)
            done = here.complete()
            here.assert_exact()
            assert (done.retries, done.requests) == (0, here.asked())  # with --errors a violation is an error answer
        done = here.complete(ids=(fake.truth()["activity_logs"][0]["id"],))
        assert (done.retries, done.requests) == (0, 1)


def test_the_judge_is_awake(world: Begin) -> None:
    """The twin: a request without what is required and an answer against the schema are refused."""
    fake = filled()
    here = world(fake)
    with serve(here.handle) as vendor, prism("proxy", vendor, "--errors") as url:
        logs = f"{url}/api/activity-logs"
        assert httpx.get(logs, headers=HEADERS).status_code == 200
        assert httpx.get(logs, headers={"Sequence-Version": "2024-07-30"}).status_code >= 400
        assert httpx.get(logs, headers=HEADERS | {"Sequence-Version": "1999-01-01"}).status_code >= 400
        assert httpx.get(logs, headers=HEADERS, params={"limit": "many"}).status_code >= 400
        fake.add_log(origin=7)
        assert httpx.get(logs, headers=HEADERS).status_code == 500


def test_a_cursor_that_never_changes(world: Begin) -> None:
    """The mock serves its example for ever: the loop is seen on the second page, and what came before is kept."""
    here = world(filled())
    with prism("mock", "http://127.0.0.1:9") as url:
        outcome = here.set(SEQUENCE_BASE_URL=url).sync(package_records=1)
    assert outcome.outcome == "failed"
    assert "never end" in (outcome.error or "")
    assert outcome.requests == 2
    assert here.sql("select id, origin from activity_logs") == [("aa0e8400-e29b-41d4-a716-446655440005", "API")]
    assert here.sql("select id, verb from activity_logs__activity_log_items") == [
        ("880e8400-e29b-41d4-a716-446655440003", "CREATED")
    ]
