"""Dagster: the sources as assets, checks, jobs and schedules.

`dagster dev -m gapless.pipelines.integrations.dagster_assets` shows all of them; `definitions` makes them for other
sources or another destination.
No pipeline logic may enter: a run calls `sync.run.sync` as the command line does. See SCHEDULING.md.
"""

# No `from __future__ import annotations` here: Dagster reads the type of `context` from the annotation.

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import dagster as dg

from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.integrations.dagster_checks import ledger_checks
from gapless.pipelines.integrations.dagster_partitions import day_partitions, shard_partitions
from gapless.pipelines.integrations.dagster_steps import (
    POOL,
    Gapless,
    Materialized,
    outcome_metadata,
    shapes,
    sync_source,
    tick_schedule,
)
from gapless.pipelines.sync.build import known
from gapless.pipelines.sync.request import SyncRequest
from gapless.sources import SOURCES, Source
from gapless.sources._ledger.shard import MOST
from gapless.sources._schema.columns import TableSchema
from gapless.sources.facts import Cadence

FIRST_DAY = "2024-01-01"


def definitions(
    sources: Sequence[str] = tuple(SOURCES),
    destination: str = "duckdb",
    first_day: str = FIRST_DAY,
    cadence: Mapping[str, Cadence] = MappingProxyType({}),
    executor: dg.ExecutorDefinition = dg.in_process_executor,
    shards: int | None = None,
) -> dg.Definitions:
    """Returns assets, checks, jobs and schedules of `sources`. Dagster offers no backfill before `first_day`.

    By default a run stays in one process: it has one step and then its checks, so more would only cost time. With
    `shards` each source that can be split is split into so many partitions, else into those that its job makes.
    Raises WrongSettings for a number of shards that is out of bounds.
    """
    if shards is not None and not 1 <= shards <= MOST:
        raise WrongSettings(f"definitions(shards={shards}): expected a number from 1 to {MOST:,}, or None")
    parts = [
        dg.Definitions.merge(
            _tables(SOURCES[name], cadence.get(name, SOURCES[name].facts.cadence)),
            day_partitions(SOURCES[name], first_day),
            *([shard_partitions(SOURCES[name], shards)] if SOURCES[name].split_by else []),
        )
        for name in known(list(sources))
    ]
    common = dg.Definitions(resources={"gapless": Gapless(destination=destination)}, executor=executor)
    return dg.Definitions.merge(*parts, common)


def _tables(source: Source, cadence: Cadence) -> dg.Definitions:
    """Returns an asset per table, all written by one step; the checks of the ledger; the job and its schedule."""
    specs = [_spec(source, shape, cadence) for shape in shapes(source)]

    @dg.multi_asset(name=f"{source.name}_tables", specs=specs, pool=POOL, group_name=source.name)
    def new(context: dg.AssetExecutionContext, gapless: Gapless) -> Iterator[Materialized]:
        outcome = sync_source(context, source.name, gapless.target, SyncRequest())
        for spec in specs:
            yield Materialized(spec.key, metadata=outcome_metadata(outcome, spec.key.path[-1]))

    job = dg.define_asset_job(f"{source.name}_sync", dg.AssetSelection.assets(*(spec.key for spec in specs)))
    checks = ledger_checks(source)
    # A job of their own, to look again after something was mended without a sync.
    look = dg.define_asset_job(f"{source.name}_checks", dg.AssetSelection.checks(checks))
    schedule = tick_schedule(source.name, job.name, cadence.cron, lambda context: [dg.RunRequest()])
    return dg.Definitions([new], asset_checks=[checks], jobs=[job, look], schedules=[schedule])


def _spec(source: Source, shape: TableSchema, cadence: Cadence) -> dg.AssetSpec:
    """Returns the asset of one table, with its columns; a nested table depends on its parent."""
    columns = [dg.TableColumn(one.name, one.data_type, one.description or None) for one in shape.columns]
    return dg.AssetSpec(
        [source.name, shape.name],
        deps=[[source.name, shape.parent]] if shape.parent else [],
        description=shape.description or None,
        metadata={"dagster/column_schema": dg.TableSchema(columns)},
        freshness_policy=dg.FreshnessPolicy.time_window(cadence.fail_after, cadence.warn_after),
    )


defs = definitions()
