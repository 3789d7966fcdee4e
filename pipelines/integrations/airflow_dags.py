"""Airflow's side of a sync: a DAG per source, for a file in the DAG folder with `globals().update(dags())` in it.

A run on the schedule reads what is new, by watermarks and look-back, so that a run that is late or left out loses
nothing. A backfill, and a run by hand with a logical date (as `airflow dags test DAG DATE` is one), reads exactly its
data interval again and leaves the watermarks alone; `since` and `until` in a run's configuration count more.

dlt by itself would take the data interval of any task for the span to read. That must not happen to a run on the
schedule: records that come late lie outside of it. So dlt is told here that there is none.

No pipeline logic may enter: a run here is `sync.run.sync` as the command line calls it. See SCHEDULING.md.
Nothing heavy is imported before a task runs, as Airflow reads DAG files again and again.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Asset, BaseOperator, CronDataIntervalTimetable, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from gapless.pipelines.errors import GaplessError, Locked
from gapless.sources import SOURCES

if TYPE_CHECKING:
    from gapless.pipelines.outcome import Outcome
    from gapless.pipelines.sync.request import SyncRequest

LOCK_RETRIES, LOCK_WAIT = 30, timedelta(minutes=1)
"""So often, and after so long, a window that found the destination locked is tried again."""
ONE_INTERVAL = ("backfill", "manual")
"""Types of runs that are asked for by their date."""
NOT_EVERY_SETTING = ("PROVIDERS__AIRFLOW_SECRETS__ONLY_TOML_FRAGMENTS", "true")
"""dlt would ask Airflow for a variable per setting, ten seconds of requests; `dlt_secrets_toml` is still read."""

_log = logging.getLogger(__name__)


def dags(
    sources: Sequence[str] = tuple(SOURCES),
    destination: str = "duckdb",
    crons: Mapping[str, str] = MappingProxyType({}),
    pool: str = "default_pool",
    fail_on_partial: bool = False,
    start_date: datetime = datetime(2024, 1, 1, tzinfo=UTC),
) -> dict[str, DAG]:
    """By id, `gapless_<source>`. Nothing older than `start_date` can be backfilled."""
    made = {}
    for name in sources:
        with DAG(
            f"gapless_{name}",
            schedule=CronDataIntervalTimetable(crons.get(name, SOURCES[name].facts.cron), timezone="UTC"),
            start_date=start_date,
            catchup=False,
            max_active_runs=1,
            params={"since": _time("from then on"), "until": _time("before then")},
            tags=["gapless"],
        ) as made[f"gapless_{name}"]:
            Sync(source=name, destination=destination, fail_on_partial=fail_on_partial, pool=pool)
    return made


def _time(which: str) -> Param:
    return Param(None, type=["null", "string"], description=f"ISO 8601: read again what was created {which}")


class Sync(BaseOperator):
    """The one task of a DAG. Its XCom is what came of it: rows by table, requests, outcome."""

    def __init__(self, *, source: str, destination: str, fail_on_partial: bool, **how: Any) -> None:
        super().__init__(
            task_id="sync",
            outlets=[Asset(f"gapless_{source}")],
            retries=LOCK_RETRIES,
            retry_delay=LOCK_WAIT,
            **how,
        )
        self.source, self.destination, self.fail_on_partial = source, destination, fail_on_partial

    def execute(self, context: Any) -> dict[str, Any]:
        from gapless.pipelines import redaction
        from gapless.pipelines.cli import render

        outcome = self._outcome(context)
        for line in render.reasons([outcome]):
            _log.warning(line)
        if outcome.outcome == "failed" or (outcome.outcome == "partial" and self.fail_on_partial):
            raise AirflowFailException(f"{self.source}: {outcome.outcome}, see above")
        told: dict[str, Any] = json.loads(redaction.redact(json.dumps(outcome.to_json())))
        return told

    def _outcome(self, context: Any) -> Outcome:
        """Who finds the destination locked has nothing to do that the next run on the schedule would not do; but
        nothing comes after a window, so that is tried again. Nothing else is."""
        from gapless.pipelines import redaction
        from gapless.pipelines.config import apply_dlt_defaults
        from gapless.pipelines.destinations._dlt.config import without_interval
        from gapless.pipelines.destinations.target import Target
        from gapless.pipelines.errors import explain
        from gapless.pipelines.sync.request import SyncRequest
        from gapless.pipelines.sync.run import sync

        os.environ.setdefault(*NOT_EVERY_SETTING)
        job = SyncRequest()
        try:
            apply_dlt_defaults()
            redaction.register_secrets()
            redaction.guard_logs()
            job = _job(self.source, context)
            with without_interval():
                (outcome,) = sync([self.source], Target.find(self.destination), job)
        except Locked as error:
            raise (AirflowException if job.window else AirflowSkipException)(str(error)) from None
        except Exception as error:
            text = str(error) if isinstance(error, GaplessError) else explain(error)
            raise AirflowFailException(redaction.redact(text)) from None
        return outcome


def _job(source: str, context: Any) -> SyncRequest:
    from gapless.pipelines.cli import arguments
    from gapless.pipelines.sync.request import SyncRequest
    from gapless.sources._ledger.window import Window

    since, until = context["params"]["since"], context["params"]["until"]
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if since or until:
        return arguments.job([source], since, until, [])
    if context["dag_run"].run_type in ONE_INTERVAL and start and start < end:
        return SyncRequest(window=Window(start.astimezone(UTC), end.astimezone(UTC)))
    return SyncRequest()
