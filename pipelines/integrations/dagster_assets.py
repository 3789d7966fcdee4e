"""Dagster: the sources as assets, checks, jobs and schedules.

`dagster dev -m gapless.pipelines.integrations.dagster_assets` shows all of them; `definitions` makes them for other
sources or another destination.
No pipeline logic may enter: a run calls `sync.run.sync` as the command line does. See SCHEDULING.md.
"""

# No `from __future__ import annotations` here: Dagster reads the type of `context` from the annotation.

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import dagster as dg

from gapless.pipelines import redaction
from gapless.pipelines.cli import render
from gapless.pipelines.config import apply_dlt_defaults
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, Locked, explain
from gapless.pipelines.ledger.status import Status, statuses
from gapless.pipelines.outcome import Outcome
from gapless.pipelines.sync.build import known
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.sync.run import sync
from gapless.sources import SOURCES, Source
from gapless.sources._ledger.shard import Shard
from gapless.sources._ledger.window import Window
from gapless.sources._schema.columns import TableSchema
from gapless.sources.facts import Cadence


class LogContext(Protocol):
    """What is used of Dagster's contexts, which share no class."""

    @property
    def log(self) -> dg.DagsterLogManager: ...


Requests = Callable[[dg.ScheduleEvaluationContext], list[dg.RunRequest]]
"""Returns the runs that a tick starts."""

POOL = "gapless"
"""The pool of every step that writes; set its limit to 1, as a destination takes one writer."""
LOCK_RETRIES, LOCK_WAIT = 30, 60.0
"""Retries, and the seconds between them, of a step that found the destination locked."""
FIRST_DAY = "2024-01-01"


class Gapless(dg.ConfigurableResource):
    """The destination of every step."""

    destination: str = "duckdb"

    def target(self, shard: Shard | None = None) -> Target:
        """Returns the destination. Raises WrongSettings if it is not configured."""
        apply_dlt_defaults()
        redaction.register_secrets()
        redaction.guard_logs()
        return Target.find(self.destination, shard)


def definitions(
    sources: Sequence[str] = tuple(SOURCES),
    destination: str = "duckdb",
    first_day: str = FIRST_DAY,
    cadence: Mapping[str, Cadence] = MappingProxyType({}),
    executor: dg.ExecutorDefinition = dg.in_process_executor,
) -> dg.Definitions:
    """Returns assets, checks, jobs and schedules of `sources`. Dagster offers no backfill before `first_day`.

    By default a run stays in one process: it has one step and then its checks, so more would only cost time.
    """
    parts = [
        dg.Definitions.merge(
            _tables(SOURCES[name], cadence.get(name, SOURCES[name].facts.cadence)),
            _days(SOURCES[name], first_day),
            *([_shards(SOURCES[name])] if SOURCES[name].split_by else []),
        )
        for name in known(list(sources))
    ]
    common = dg.Definitions(resources={"gapless": Gapless(destination=destination)}, executor=executor)
    return dg.Definitions.merge(*parts, common)


def _shapes(source: Source) -> list[TableSchema]:
    return [shape for table in source.tables for shape in table.schema.tree()]


# -- what is new -----------------------------------------------------------------------------------


def _tables(source: Source, cadence: Cadence) -> dg.Definitions:
    """Returns an asset per table, all written by one step; the checks of the ledger; the job and its schedule."""
    specs = [_spec(source, shape, cadence) for shape in _shapes(source)]

    @dg.multi_asset(name=f"{source.name}_tables", specs=specs, pool=POOL, group_name=source.name)
    def new(context: dg.AssetExecutionContext, gapless: Gapless) -> Iterator[dg.MaterializeResult]:
        outcome = _sync(context, source.name, gapless.target, SyncRequest())
        for spec in specs:
            yield dg.MaterializeResult(spec.key, metadata=_metadata(outcome, spec.key.path[-1]))

    job = dg.define_asset_job(f"{source.name}_sync", dg.AssetSelection.assets(*(spec.key for spec in specs)))
    checks = _checks(source)
    look = dg.define_asset_job(f"{source.name}_checks", dg.AssetSelection.checks(checks))
    schedule = _schedule(source.name, job.name, cadence.cron, lambda context: [dg.RunRequest()])
    return dg.Definitions([new], asset_checks=[checks], jobs=[job, look], schedules=[schedule])


def _spec(source: Source, shape: TableSchema, cadence: Cadence) -> dg.AssetSpec:
    columns = [dg.TableColumn(column.name, column.data_type) for column in shape.columns]
    return dg.AssetSpec(
        [source.name, shape.name],
        deps=[[source.name, shape.parent]] if shape.parent else [],
        metadata={"dagster/column_schema": dg.TableSchema(columns)},
        freshness_policy=dg.FreshnessPolicy.time_window(cadence.fail_after, cadence.warn_after),
    )


def _schedule(source: str, job: str, cron: str, requests: Requests) -> dg.ScheduleDefinition:
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


def _sync(context: LogContext, name: str, target: Callable[[], Target], request: SyncRequest) -> Outcome:
    """Returns the outcome. Partial is a warning, as the checks show what is missing. Raises Failure if it failed."""
    with _as_dagster_errors(context):
        (outcome,) = sync([name], target(), request)
    for line in render.reasons([outcome]):
        context.log.warning(line)
    if outcome.outcome == "failed":
        raise dg.Failure(
            redaction.redact(f"{name}: {outcome.error}"), metadata=_metadata(outcome), allow_retries=False
        )
    return outcome


@contextmanager
def _as_dagster_errors(context: LogContext) -> Iterator[None]:
    """Turns Locked into a retry, and every other error into a Failure without secrets."""
    try:
        yield
    except Locked as error:
        context.log.warning(str(error))
        raise dg.RetryRequested(max_retries=LOCK_RETRIES, seconds_to_wait=LOCK_WAIT) from None
    except Exception as error:
        text = str(error) if isinstance(error, GaplessError) else explain(error)
        raise dg.Failure(redaction.redact(text), allow_retries=False) from None


def _metadata(outcome: Outcome, table: str | None = None) -> dict[str, Any]:
    """Returns an outcome as metadata; for a table with the rows loaded into it, else with those of all tables."""
    rows = {"rows_loaded": outcome.rows.get(table, 0) if table else outcome.vendor_rows()}
    names = ("run_id", "outcome", "packages", "requests", "retries", "seconds_waited")
    return {**rows, **{name: getattr(outcome, name) for name in names}, "failures": len(outcome.failures)}


# -- what the ledger says --------------------------------------------------------------------------


def _checks(source: Source) -> dg.AssetChecksDefinition:
    """Returns the checks of the source's main table. They read the destination alone, so they may run at any time."""
    main = [source.name, source.main.name]
    specs = [dg.AssetCheckSpec(name, asset=main, description=text) for name, text in CHECKS.items()]

    @dg.multi_asset_check(name=f"{source.name}_ledger", specs=specs, pool=POOL)
    def ledger(context: dg.AssetCheckExecutionContext, gapless: Gapless) -> Iterator[dg.AssetCheckResult]:
        found = _status(context, source.name, gapless)
        for name, (passed, metadata) in _verdicts(found).items():
            severity = dg.AssetCheckSeverity.ERROR if name == "proven" else dg.AssetCheckSeverity.WARN
            yield dg.AssetCheckResult(
                passed=passed,
                asset_key=main,
                check_name=name,
                severity=severity,
                metadata=json.loads(redaction.redact(json.dumps(metadata, default=str))),
            )

    return ledger


CHECKS = {
    "proven": "coverage: nothing failed, nothing is missing, nothing has to be read again",
    "no_dead_letters": "dead_letters: no record and no parent is waiting to be read again",
    "last_sync_complete": "runs: the last sync was neither partial nor failed",
}


def _status(context: LogContext, name: str, gapless: Gapless) -> Status:
    with _as_dagster_errors(context):
        return next((found for found in statuses(gapless.target()) if found.source == name), Status(name))


def _verdicts(found: Status) -> dict[str, tuple[bool, Mapping[str, object]]]:
    """Returns result and metadata by name of the check. A source that was never synced passes none."""
    proofs = {stream: proof.to_json() for stream, proof in found.coverage.items()}
    run = found.last_run or {"outcome": None}
    return {
        "proven": (bool(proofs) and all(proof["complete"] for proof in proofs.values()), proofs),
        "no_dead_letters": (found.last_run is not None and not found.dead_letters, dict(found.dead_letters)),
        "last_sync_complete": (run["outcome"] == "complete", run),
    }


# -- days that are read again, and shards ----------------------------------------------------------


def _days(source: Source, first_day: str) -> dg.Definitions:
    """Returns the asset `<source>/by_day`: it reads a day, or a range of days in one run, as --since/--until does."""
    days = dg.DailyPartitionsDefinition(first_day)

    @dg.multi_asset(
        name=f"{source.name}_days",
        specs=[dg.AssetSpec([source.name, "by_day"], partitions_def=days)],
        backfill_policy=dg.BackfillPolicy.single_run(),  # each window is a walk from the newest record
        pool=POOL,
        group_name=source.name,
    )
    def by_day(context: dg.AssetExecutionContext, gapless: Gapless) -> dg.MaterializeResult:
        since, until = context.partition_time_window
        outcome = _sync(context, source.name, gapless.target, SyncRequest(window=Window(since, until)))
        return dg.MaterializeResult(metadata=_metadata(outcome))

    job = dg.define_asset_job(f"{source.name}_by_day", dg.AssetSelection.assets(by_day))
    return dg.Definitions([by_day], jobs=[job])


def _shards(source: Source) -> dg.Definitions:
    """Returns the asset `<source>/by_shard`: its partition 3/8 reads what --shard 3/8 reads."""
    shards = dg.DynamicPartitionsDefinition(name=f"{source.name}_shards")

    @dg.asset(name="by_shard", key_prefix=source.name, partitions_def=shards, group_name=source.name)
    def by_shard(context: dg.AssetExecutionContext, gapless: Gapless) -> dg.MaterializeResult:
        target = partial(gapless.target, Shard.parse(context.partition_key))
        outcome = _sync(context, source.name, target, SyncRequest())
        for shape in _shapes(source):  # else Dagster shows the tables as stale
            metadata = _metadata(outcome, shape.name)
            context.log_event(dg.AssetMaterialization([source.name, shape.name], metadata=metadata))
        return dg.MaterializeResult(metadata=_metadata(outcome))

    def requests(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        keys, now = context.instance.get_dynamic_partitions(shards.name), context.scheduled_execution_time.isoformat()
        return [dg.RunRequest(f"{key} of {now}", partition_key=key) for key in keys]

    job = dg.define_asset_job(f"{source.name}_by_shard", dg.AssetSelection.assets(by_shard))
    schedule = _schedule(source.name, job.name, "50 * * * *", requests)
    return dg.Definitions([by_shard], jobs=[job, _split(source.name, shards.name)], schedules=[schedule])


def _split(source: str, shards: str) -> dg.JobDefinition:
    """Returns the job `<source>_split`, which sets the number of shards."""

    @dg.op(name=f"{source}_split_into", config_schema={"into": dg.Field(int, default_value=8)})
    def into(context: dg.OpExecutionContext) -> None:
        wanted = [str(Shard(number, context.op_config["into"])) for number in range(1, context.op_config["into"] + 1)]
        for key in set(context.instance.get_dynamic_partitions(shards)) - set(wanted):
            context.instance.delete_dynamic_partition(shards, key)
        context.instance.add_dynamic_partitions(shards, wanted)

    @dg.job(name=f"{source}_split")
    def split() -> None:
        into()

    return split


defs = definitions()
