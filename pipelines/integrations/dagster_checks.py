"""The checks of Dagster: what the ledger says of each source. They read the destination alone."""

# No `from __future__ import annotations` here: Dagster reads the type of `context` from the annotation.

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import dagster as dg

from gapless.pipelines import redaction
from gapless.pipelines.integrations.dagster_steps import POOL, Gapless, LogContext, as_dagster_errors
from gapless.pipelines.ledger.status import Status, statuses
from gapless.sources import Source


def ledger_checks(source: Source) -> dg.AssetChecksDefinition:
    """Returns the checks of the source's main table. They read the destination alone, so they may run at any time."""
    main = [source.name, source.main.name]
    specs = [dg.AssetCheckSpec(name, asset=main, description=text) for name, text in CHECKS.items()]

    @dg.multi_asset_check(name=f"{source.name}_ledger", specs=specs, pool=POOL)
    def ledger(context: dg.AssetCheckExecutionContext, gapless: Gapless) -> Iterator[dg.AssetCheckResult]:
        found = _status(context, source.name, gapless)
        for name, (passed, metadata) in _verdicts(found).items():
            # Only a missing proof says that data may be missing; the other checks say what to look at.
            severity = dg.AssetCheckSeverity.ERROR if name == "proven" else dg.AssetCheckSeverity.WARN
            yield dg.AssetCheckResult(
                passed=passed,
                asset_key=main,
                check_name=name,
                severity=severity,
                metadata=cast("dict[str, Any]", redaction.cleaned(json.loads(json.dumps(metadata, default=str)))),
            )

    return ledger


CHECKS = {
    "proven": "gapless gaps: all that was asked for is proven complete, but for dead letters",
    "no_dead_letters": "dead_letters: no record and no parent is waiting to be read again",
    "last_sync_complete": "runs: the last sync has not failed, and nothing that it left open is open still",
}


def _status(context: LogContext, name: str, gapless: Gapless) -> Status:
    """Returns what the ledger says of a source; an empty status if it was never synced."""
    with as_dagster_errors(context):
        return next((found for found in statuses(gapless.target()) if found.source == name), Status(name))


def _verdicts(found: Status) -> dict[str, tuple[bool, Mapping[str, object]]]:
    """Returns result and metadata by name of the check. A source that was never synced passes none."""
    proofs = {stream: proof.to_json() for stream, proof in found.coverage.items()}
    run = found.last_run or {"outcome": None}
    problems = [redaction.printable(problem["message"]) for problem in found.described_problems()]
    gaps = {kind: count for kind, count in found.gaps.items() if kind != "dead letter"}
    return {
        "proven": (found.last_run is not None and not gaps, {**proofs, "gaps": gaps, "problems": problems}),
        "no_dead_letters": (found.last_run is not None and not found.dead_letters, dict(found.dead_letters)),
        # What a partial one left open may be mended since, without a sync, as by a repair.
        "last_sync_complete": (run["outcome"] == "complete" or (run["outcome"] == "partial" and not found.gaps), run),
    }
