"""`gapless status --prometheus`: what a scraper of Prometheus reads is what the database holds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.ledger.status import Coverage, Status
from gapless.pipelines.observability.prometheus import METRICS, lines
from gapless.sources import SOURCES

AT = datetime(2026, 3, 2, 9, 0, 0, 250000, UTC)
NAME = next(iter(SOURCES))


def parsed(found: list[Status]) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Returns the samples by metric, as Prometheus' own parser reads them; each is a gauge with a help."""
    families = list(text_string_to_metric_families("".join(f"{line}\n" for line in lines(found))))
    assert all(family.type == "gauge" and family.documentation for family in families)
    return {family.name: [(one.labels, one.value) for one in family.samples] for family in families}


def test_every_metric_is_read_as_it_is() -> None:
    """Names, labels and values; times in seconds with their fraction; what is not known is absent."""
    stream = Coverage(parents=3, failed=1, covered_to=None, last_checked_at=AT)
    run = {"started_at": AT, "outcome": "partial"}
    one = Status(NAME, AT, {"logs": 12_345_678_901}, {"logs": stream}, {"record": 2}, run, gaps={"failing": 1})
    of = {"source": NAME, "account": NAME}
    assert parsed([one]) == {
        "gapless_complete": [(of, 0)],
        "gapless_gaps": [({**of, "kind": "failing"}, 1)],
        "gapless_dead_letters": [({**of, "kind": "record"}, 2)],
        "gapless_newest_record_timestamp_seconds": [(of, AT.timestamp())],
        "gapless_checked_timestamp_seconds": [({**of, "stream": "logs"}, AT.timestamp())],
        "gapless_parents": [({**of, "stream": "logs"}, 3)],
        "gapless_failing_parents": [({**of, "stream": "logs"}, 1)],
        "gapless_table_rows": [({**of, "table": "logs"}, 12_345_678_901)],
        "gapless_last_sync_timestamp_seconds": [(of, AT.timestamp())],
        "gapless_last_sync_outcome": [({**of, "outcome": "partial"}, 1)],
    }
    stream.covered_to = AT
    assert parsed([one]).keys() == {f"gapless_{name}" for name in METRICS}


@pytest.mark.parametrize("text", ['a "quoted" name', "back\\slash", "two\nlines", 'all\\"\n', "é"])
def test_labels_are_escaped(text: str) -> None:
    """A name that holds what the format means something by comes out as it was."""
    assert parsed([Status(NAME, rows={text: 1})])["gapless_table_rows"][0][0]["table"] == text


def test_one_answer_has_one_format() -> None:
    """--prometheus and --json together are wrong usage; nothing synced yet is no metric and no error."""
    assert CliRunner().invoke(app, ["status", "--prometheus", "--json"]).exit_code == 2
    done = CliRunner().invoke(app, ["status", "--prometheus"])
    assert (done.exit_code, done.stdout) == (0, "")
    assert CliRunner().invoke(app, ["status", "--max-age", "2h"]).exit_code == 3
