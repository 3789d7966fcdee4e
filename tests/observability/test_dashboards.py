"""The dashboard and the alert rules of Grafana: whole, and their queries answer on a real Postgres."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.sync.run import sync
from gapless.sources.tines.fake import TinesFake
from tests.support.postgres import Server
from tests.support.world import World

FOLDER = Path(__file__).resolve().parents[2] / "pipelines" / "docs" / "dashboards"
DASHBOARD = json.loads((FOLDER / "grafana.json").read_text())
ALERTS = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
NUMBERS = ("int", "float", "Decimal")


def panel_queries() -> Iterator[tuple[str, str]]:
    """Yields the name and the SQL of each query of the dashboard, with macros replaced as Grafana does it."""
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            sql = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 between '2000-01-01Z' and '2100-01-01Z'", target["rawSql"])
            yield panel["title"], sql.replace("${account:sqlstring}", "'tines','omni'")


def test_the_dashboard_is_whole() -> None:
    """Each panel has an id and a place of its own and asks the data source that is chosen; no macro is left over."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) == len({panel["title"] for panel in panels})
    taken = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
    sources = {one["datasource"]["uid"] for panel in panels for one in (panel, *panel["targets"])}
    assert sources == {"${datasource}"}
    assert [name for name, sql in panel_queries() if "$" in sql] == []


def test_the_alert_rules_are_whole() -> None:
    """Each has an id of its own, a query, a threshold over it that is its condition, and says what to do."""
    assert len({rule["uid"] for rule in RULES}) == len(RULES) == 3
    for rule in RULES:
        query, threshold = rule["data"]
        assert (rule["condition"], threshold["model"]["expression"]) == (threshold["refId"], query["refId"])
        assert threshold["model"]["conditions"][0]["evaluator"]["type"] == "gt"
        assert "gapless " in rule["annotations"]["summary"]
        labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert all(f" {label}" in query["model"]["rawSql"] for label in labels)


@pytest.fixture
def postgres(world: Callable[[Any], World], server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cursor on a Postgres with one source, of which one parent fails in the second sync."""
    url = server.database()
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
    here = world(TinesFake.demo())
    for failing in ({}, {"/701/logs": 500}):
        here.fake.failing |= failing
        list(sync(["tines"], Target.find("postgres"), SyncRequest()))
        here.fake.advance(60)
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        yield cursor


@pytest.mark.slow
def test_every_query_answers_on_postgres(postgres: Any) -> None:
    """Each query of both files gives rows; an alert's has labels and one number, and the one about failures is on."""
    for name, sql in panel_queries():
        postgres.execute(sql)
        assert postgres.fetchall(), name
    on = {}
    for rule in RULES:
        postgres.execute(rule["data"][0]["model"]["rawSql"])
        rows = postgres.fetchall()
        kinds = {tuple(type(value).__name__ for value in row) for row in rows}
        assert all(kind[-1] in NUMBERS and set(kind[:-1]) == {"str"} for kind in kinds), kinds
        limit = rule["data"][1]["model"]["conditions"][0]["evaluator"]["params"][0]
        on[rule["uid"]] = any(row[-1] > limit for row in rows)
    assert on == {"gapless-not-read": False, "gapless-failed": False, "gapless-open": True}
