"""Airflow: one DAG per source, for a file in the DAG folder that contains `globals().update(dags())`.

A scheduled run and one by hand read what is new, by watermarks and look-back, so a late or skipped run loses nothing.
A backfill reads exactly its data interval again and does not move the watermarks; so does a run by hand with a
logical date in the past (`airflow dags test DAG DATE`): the interval that holds the date, as a scheduled run of that
date would have. `since` and `until` in a run's configuration take precedence.

By default dlt reads the data interval of any Airflow task. A scheduled run must not do that, because late records
lie outside of it, so the interval is hidden from dlt here.

No pipeline logic may enter: a task calls `sync.run.sync` as the command line does. See SCHEDULING.md.
Nothing that takes long is imported before a task runs, because Airflow parses DAG files again and again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Asset, BaseOperator, CronDataIntervalTimetable, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from gapless.pipelines.errors import GaplessError, Locked
from gapless.sources import SOURCES

if TYPE_CHECKING:
    from airflow.sdk import Context

    from gapless.pipelines.outcome import Outcome
    from gapless.pipelines.sync.request import SyncRequest

LOCK_RETRIES, LOCK_WAIT = 30, timedelta(minutes=1)
"""Retries, and the time between them, of a run that found the destination locked; then it fails."""
NOT_EVERY_SETTING = ("PROVIDERS__AIRFLOW_SECRETS__ONLY_TOML_FRAGMENTS", "true")
"""Else dlt requests an Airflow variable for each setting, which takes 10 s; it still reads `dlt_secrets_toml`."""

_log = logging.getLogger(__name__)


def dags(
    sources: Sequence[str] = tuple(SOURCES),
    destination: str = "duckdb",
    crons: Mapping[str, str] = MappingProxyType({}),
    pool: str = "default_pool",
    fail_on_partial: bool = False,
    start_date: datetime = datetime(2024, 1, 1, tzinfo=UTC),
) -> dict[str, DAG]:
    """Returns the DAGs by their id, `gapless_<source>`. Airflow offers no backfill before `start_date`."""
    made = {}
    for name in sources:
        with DAG(
            f"gapless_{name}",
            schedule=CronDataIntervalTimetable(crons.get(name, SOURCES[name].facts.cron), timezone="UTC"),
            start_date=start_date,
            # A sync reads everything since the last one, so runs that were missed need no run of their own.
            catchup=False,
            # Two runs of one source would only wait for each other's lock.
            max_active_runs=1,
            params={"since": _time("at or after"), "until": _time("before")},
            tags=["gapless"],
        ) as made[f"gapless_{name}"]:
            Sync(source=name, destination=destination, fail_on_partial=fail_on_partial, pool=pool)
    return made


def _time(relation: str) -> Param:
    """Returns a parameter of a run that takes a time; none by default."""
    description = f"Read again the records created {relation} this time (ISO 8601)."
    return Param(None, type=["null", "string"], description=description)


class Sync(BaseOperator):
    """The only task of a DAG. Its XCom is the outcome: rows by table, requests, failures."""

    def __init__(self, *, source: str, destination: str, fail_on_partial: bool, **options: Any) -> None:
        super().__init__(
            task_id="sync",
            outlets=[Asset(f"gapless_{source}")],
            # For the lock alone: a failed sync has retried its requests already and ends without a retry.
            retries=LOCK_RETRIES,
            retry_delay=LOCK_WAIT,
            **options,  # Airflow's own, passed through
        )
        self.source, self.destination, self.fail_on_partial = source, destination, fail_on_partial

    def execute(self, context: Context) -> dict[str, object]:
        """Syncs the source. Raises AirflowFailException if it failed; that is not retried."""
        from gapless.pipelines import redaction
        from gapless.pipelines.cli.render import syncs

        outcome, window = self._outcome(context)
        for line in syncs.reasons([outcome]):
            _log.warning("%s", redaction.printable(line))
        if outcome.outcome == "failed" or (outcome.outcome == "partial" and (self.fail_on_partial or window)):
            raise AirflowFailException(f"{self.source}: {outcome.outcome}, see above")
        # Airflow shows an XCom to everybody who may see the DAG.
        return {name: redaction.cleaned(value) for name, value in outcome.to_json().items()}

    def _outcome(self, context: Context) -> tuple[Outcome, bool]:
        """Returns the outcome and whether it read one interval, or ends the task without a secret in the message.

        Locked: it is retried, and then fails; a run that read nothing is no success.
        """
        from gapless.pipelines import redaction
        from gapless.pipelines.config import apply_dlt_defaults
        from gapless.pipelines.destinations._dlt.config import without_interval
        from gapless.pipelines.destinations.target import Target
        from gapless.pipelines.errors import explain
        from gapless.pipelines.sync.run import sync

        os.environ.setdefault(*NOT_EVERY_SETTING)
        try:
            apply_dlt_defaults()
            redaction.register_secrets()
            redaction.guard_logs()
            request = _request(self.source, context)
            with without_interval():
                (outcome,) = sync([self.source], Target.find(self.destination), request)
        except Locked as error:
            raise AirflowException(redaction.printable(str(error))) from None
        except Exception as error:
            text = str(error) if isinstance(error, GaplessError) else explain(error)
            raise AirflowFailException(redaction.printable(text, lines=True)) from None
        return outcome, bool(request.window)


def _request(source: str, context: Context) -> SyncRequest:
    """Returns what a run reads: the times of its configuration, else a data interval, else what is new."""
    from gapless.pipelines.cli import arguments
    from gapless.pipelines.sync.request import SyncRequest
    from gapless.sources._ledger.window import Window

    since, until = context["params"]["since"], context["params"]["until"]
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if since or until:
        return arguments.sync_request([source], since, until, [])
    run = context["dag_run"]
    if run.run_type == "manual" and run.logical_date and start and end:
        # Airflow gives a run by hand the last interval that ended before its date, not the one that holds it.
        start, end = end, end + (end - start)
        if end > datetime.now(UTC):
            return SyncRequest()
    elif run.run_type != "backfill":
        return SyncRequest()
    if start and end and start < end:
        return SyncRequest(window=Window(start.astimezone(UTC), end.astimezone(UTC)))
    return SyncRequest()
