"""The partitions of Dagster: days that are read again, and shards of a split sync."""

# No `from __future__ import annotations` here: Dagster reads the type of `context` from the annotation.

from functools import partial

import dagster as dg

from gapless.pipelines.integrations.dagster_steps import (
    POOL,
    Gapless,
    Materialized,
    outcome_metadata,
    shapes,
    sync_source,
    tick_schedule,
)
from gapless.pipelines.sync.request import SyncRequest
from gapless.sources import Source
from gapless.sources._ledger.shard import Shard
from gapless.sources._ledger.window import Window


def day_partitions(source: Source, first_day: str) -> dg.Definitions:
    """Returns the asset `<source>/by_day`: it reads a day, or a range of days in one run, as --since/--until does."""
    days = dg.DailyPartitionsDefinition(first_day)

    @dg.multi_asset(
        name=f"{source.name}_days",
        specs=[dg.AssetSpec([source.name, "by_day"], partitions_def=days)],
        backfill_policy=dg.BackfillPolicy.single_run(),  # each window is a walk from the newest record
        pool=POOL,
        group_name=source.name,
    )
    def by_day(context: dg.AssetExecutionContext, gapless: Gapless) -> Materialized:
        since, until = context.partition_time_window
        request = SyncRequest(window=Window(since, until))
        outcome = sync_source(context, source.name, gapless.target, request, whole=True)
        return Materialized(metadata=outcome_metadata(outcome))

    job = dg.define_asset_job(f"{source.name}_by_day", dg.AssetSelection.assets(by_day))
    return dg.Definitions([by_day], jobs=[job])


def shard_partitions(source: Source, into: int | None) -> dg.Definitions:
    """Returns the asset `<source>/by_shard`: its partition 3/8 reads what --shard 3/8 reads.

    The partitions are `into` many; None: as many as the job `<source>_split` makes.
    """
    name = f"{source.name}_shards"
    dynamic = dg.DynamicPartitionsDefinition(name=name)
    shards = dg.StaticPartitionsDefinition(_keys(into)) if into else dynamic

    @dg.asset(name="by_shard", key_prefix=source.name, partitions_def=shards, group_name=source.name)
    def by_shard(context: dg.AssetExecutionContext, gapless: Gapless) -> Materialized:
        target = partial(gapless.target, Shard.parse(context.partition_key))
        outcome = sync_source(context, source.name, target, SyncRequest(), whole=True)
        for shape in shapes(source):  # else Dagster shows the tables as stale
            metadata = outcome_metadata(outcome, shape.name)
            context.log_event(dg.AssetMaterialization([source.name, shape.name], metadata=metadata))
        return Materialized(metadata=outcome_metadata(outcome))

    def requests(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        keys = _keys(into) if into else context.instance.get_dynamic_partitions(name)
        now = context.scheduled_execution_time.isoformat()
        # The time is part of the run key: Dagster starts each key only once.
        return [dg.RunRequest(f"{key} of {now}", partition_key=key) for key in keys]

    job = dg.define_asset_job(f"{source.name}_by_shard", dg.AssetSelection.assets(by_shard))
    schedule = tick_schedule(source.name, job.name, "50 * * * *", requests)
    splits = [] if into else [_split(source.name, name)]
    return dg.Definitions([by_shard], jobs=[job, *splits], schedules=[schedule])


def _keys(into: int) -> list[str]:
    return [str(Shard(number, into)) for number in range(1, into + 1)]


def _split(source: str, shards: str) -> dg.JobDefinition:
    """Returns the job `<source>_split`, which sets the number of shards."""

    @dg.op(name=f"{source}_split_into", config_schema={"into": dg.Field(int, default_value=8)})
    def into(context: dg.OpExecutionContext) -> None:
        wanted = _keys(context.op_config["into"])
        for key in set(context.instance.get_dynamic_partitions(shards)) - set(wanted):
            # Shards of another split would read the same parents once more.
            context.instance.delete_dynamic_partition(shards, key)
        context.instance.add_dynamic_partitions(shards, wanted)

    @dg.job(name=f"{source}_split")
    def split() -> None:
        into()

    return split
