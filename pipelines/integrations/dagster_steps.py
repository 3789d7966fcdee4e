"""What the steps of Dagster share: the destination, a sync with Dagster's errors, metadata, schedules.

No pipeline logic may enter: a step calls `sync.run.sync` as the command line does.
"""

# No `from __future__ import annotations` here: Dagster reads the type of `context` from the annotation.

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import dagster as dg

from gapless.pipelines import redaction
from gapless.pipelines.cli.render import syncs
from gapless.pipelines.config import apply_dlt_defaults
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, Locked, explain
from gapless.pipelines.outcome import Outcome
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.sync.run import sync
from gapless.sources import Source
from gapless.sources._ledger.shard import Shard
from gapless.sources._schema.columns import TableSchema

# Generic for a type checker alone: at run time Dagster would read the argument as the type of a stored value.
if TYPE_CHECKING:
    Materialized = dg.MaterializeResult[None]
else:
    Materialized = dg.MaterializeResult

Requests = Callable[[dg.ScheduleEvaluationContext], list[dg.RunRequest]]
"""Returns the runs that a tick starts."""

POOL = "gapless"
"""The pool of every step that writes; set its limit to 1, as a destination takes one writer."""
LOCK_RETRIES, LOCK_WAIT = 30, 60.0
"""Retries, and the seconds between them, of a step that found the destination locked."""


class LogContext(Protocol):
    """What is used of Dagster's contexts, which share no class."""

    @property
    def log(self) -> dg.DagsterLogManager:
        """Returns the log of the run."""


class Gapless(dg.ConfigurableResource["Gapless"]):
    """The destination of every step."""

    destination: str = "duckdb"

    def target(self, shard: Shard | None = None) -> Target:
        """Returns the destination. Raises WrongSettings if it is not configured."""
        apply_dlt_defaults()
        redaction.register_secrets()
        redaction.guard_logs()
        return Target.find(self.destination, shard)


def shapes(source: Source) -> list[TableSchema]:
    """Returns the schemas of all tables of a source, parents first."""
    return [shape for table in source.tables for shape in table.schema.tree()]


def tick_schedule(source: str, job: str, cron: str, requests: Requests) -> dg.ScheduleDefinition:
    """Returns a schedule that skips a tick while the last run is unfinished, as that run reads everything new."""

    @dg.schedule(name=f"{job}_schedule", job_name=job, cron_schedule=cron)
    def tick(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        unfinished = dg.RunsFilter(job_name=job, statuses=UNFINISHED)
        if context.instance.get_runs_count(unfinished):
            return dg.SkipReason(f"the last run of {job} has not ended yet")
        return requests(context) or dg.SkipReason(f"{source} is not split: run {source}_split first")

    return tick


UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def sync_source(
    context: LogContext, name: str, target: Callable[[], Target], request: SyncRequest, *, whole: bool = False
) -> Outcome:
    """Returns the outcome. Partial is a warning, as the checks show what is missing. Raises Failure if it failed.

    A partition must be read `whole`: partial fails it, because nothing else says that it is not.
    """
    with as_dagster_errors(context):
        (outcome,) = sync([name], target(), request)
    for line in syncs.reasons([outcome]):
        context.log.warning(redaction.printable(line))
    if outcome.outcome == "failed" or (whole and outcome.outcome == "partial"):
        raise dg.Failure(
            # Not retried: the sync has retried its requests within its own budget.
            redaction.printable(f"{name}: {outcome.error or 'partial, see the log'}"),
            metadata=outcome_metadata(outcome),
            allow_retries=False,
        )
    return outcome


@contextmanager
def as_dagster_errors(context: LogContext) -> Iterator[None]:
    """Turns Locked into a retry, and every other error into a Failure without secrets."""
    try:
        yield
    except Locked as error:
        context.log.warning(redaction.printable(str(error)))
        raise dg.RetryRequested(max_retries=LOCK_RETRIES, seconds_to_wait=LOCK_WAIT) from None
    except Exception as error:
        text = str(error) if isinstance(error, GaplessError) else explain(error)
        raise dg.Failure(redaction.printable(text, lines=True), allow_retries=False) from None


def outcome_metadata(outcome: Outcome, table: str | None = None) -> dict[str, Any]:
    """Returns an outcome as metadata; for a table with the rows written into it, else with those of all tables.

    `rows_new`, `rows_changed` and `rows_unchanged` are null where they are not known, as of child tables.
    """
    known = {"rows_new": outcome.new, "rows_changed": outcome.changed, "rows_unchanged": outcome.unchanged}
    written = {**outcome.rows, **outcome.ledger_rows}.get(table, 0) if table else outcome.rows
    rows: dict[str, object] = {"rows_loaded": written}
    rows |= {name: counts.get(table) if table and counts else counts for name, counts in known.items()}
    if problems := outcome.described_problems():
        rows["problems"] = [redaction.printable(str(problem["message"])) for problem in problems]
    names = ("run_id", "outcome", "packages", "requests", "retries", "seconds_waited")
    return {**rows, **{name: getattr(outcome, name) for name in names}, "failures": len(outcome.failures)}
