"""Why dlt's incremental is no watermark of ours: what it loses on the same vendor, and that ours loses nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.auth import HttpBasicAuth
from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator

from gapless.sources.sequence import sequence
from gapless.sources.sequence.fake import SequenceFake
from tests.support.world import World

PAGE = (Path(__file__).resolve().parents[2] / "pipelines" / "docs" / "DLT.md").read_text()
Source = Callable[[], Any]


def plain(url: str) -> Source:
    """Returns what a dlt user would write for Sequence: the listing, merged by id, incremental by creation time."""

    newest_first: Any = dlt.sources.incremental("createdAt", row_order="desc")

    @dlt.resource(name="activity_logs", primary_key="id", write_disposition="merge", max_table_nesting=0)
    def activity_logs(since: Any = newest_first) -> Iterator[Any]:
        client = RESTClient(
            url,
            headers={"Sequence-Version": "2024-07-30"},
            auth=HttpBasicAuth("demo-id", "demo-secret"),
            paginator=JSONResponseCursorPaginator("pagination.after", "after"),
            data_selector="items",
        )
        yield from client.paginate("/api/activity-logs", params={"limit": 100, "sortOrder": "DESC"})

    return activity_logs


@pytest.fixture
def here(world: Callable[[Any], World]) -> World:
    """A vendor with 450 logs: five pages."""
    return world(SequenceFake.demo())


def missing(here: World, name: str, source: Source, limited: bool = False, late: int = 0) -> int:
    """Returns how many logs are missing after two runs; the first may be limited, records come late between them."""
    to = dlt.destinations.duckdb(str(here.folder / f"{name}.duckdb"))
    mine = dlt.pipeline(name, destination=to, dataset_name="audit", pipelines_dir=str(here.folder / "dlt"))
    mine.run(source().add_limit(2) if limited else source())
    for _ in range(late):
        here.fake.add_log(at=here.fake.now - timedelta(minutes=30))
    mine.run(source())
    with duckdb.connect(str(here.folder / f"{name}.duckdb"), read_only=True) as db:
        held = {str(key) for (key,) in db.execute("select id from audit.activity_logs").fetchall()}
    return len({log["id"] for log in here.fake.truth()["activity_logs"]} - held)


@pytest.mark.sweep
def test_what_dlts_incremental_loses(here: World) -> None:
    """After a run of two pages all older ones, and each record that comes late; ours loses none."""
    url = os.environ["SEQUENCE_BASE_URL"]
    cut, late = missing(here, "cut", plain(url), limited=True), missing(here, "late", plain(url), late=5)
    assert missing(here, "ours", sequence, limited=True, late=5) == 0
    ((shown_cut, shown_late),) = re.findall(r"lost (\d+) of 450 .* and (\d+) of 5 ", PAGE.replace("\n", " "))
    assert (cut, late) == (int(shown_cut), int(shown_late))
