"""One sync: sources one after the other, each a loop of small load packages that commit rows and state together."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.errors import COMPLETE, FAILED, PARTIAL, GaplessError, MissingSettings, WrongSettings
from pipelines.place import Place
from pipelines.runs import gone, record, said
from sources import SOURCES, Source
from sources._sync.session import Session
from sources._sync.shard import Shard
from sources._sync.window import Window

CHUNK_RECORDS = 20_000
CHUNK_SECONDS = 60.0


@dataclass
class Outcome:
    """What came of one source's sync; times are UTC."""

    source: str
    started_at: datetime
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    finished_at: datetime | None = None
    outcome: str = "failed"
    """complete, partial or failed"""
    rows: dict[str, int] = field(default_factory=dict)
    """Loaded, by table."""
    packages: int = 0
    requests: int = 0
    retries: int = 0
    seconds_waited: float = 0.0
    failures: list[str] = field(default_factory=list)
    error: str | None = None
    error_kind: str | None = None
    """The name of the error's class: what may be told where its text may not."""

    @property
    def seconds(self) -> float:
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else 0.0

    def to_json(self) -> dict[str, Any]:
        times = {"started_at": self.started_at.isoformat()}
        if self.finished_at:
            times["finished_at"] = self.finished_at.isoformat()
        return {**asdict(self), **times}


@dataclass(frozen=True)
class Job:
    """What to read: all that is new, a window of creation times, or single records."""

    window: Window = field(default_factory=Window)
    ids: tuple[str, ...] = ()
    backfill: bool = False
    """The window goes on where it stopped, in whatever run."""
    chunk_records: int = CHUNK_RECORDS
    chunk_seconds: float = CHUNK_SECONDS


Watch = Callable[[str, Session], None]
"""Told of every source when its sync begins; the session's meter and client show how it goes."""


def sync(names: list[str], place: Place, job: Job, watch: Watch = lambda name, session: None) -> Iterator[Outcome]:
    """Syncs `names` in turn and yields each outcome. Raises Locked or WrongSettings before any request.

    Of a source that cannot be split the first shard reads all; the others have nothing to do.
    """
    names = [name for name in names if SOURCES[name].split_by or place.shard.number == 1]
    for name in names:
        probe(SOURCES[name], _shard_of(SOURCES[name], place))
    with place.locked() as folder:
        for name in names:
            yield _sync_source(SOURCES[name], place, folder, job, watch)
        if place.shard.number == 1:
            from pipelines import publish, views

            views.refresh(place, folder)
            publish.refresh(place)


def _sync_source(source: Source, place: Place, folder: Path, job: Job, watch: Watch) -> Outcome:
    import dlt

    session = Session(
        max_records=job.chunk_records,
        max_seconds=job.chunk_seconds,
        window=job.window,
        ids=job.ids,
        backfill=job.backfill,
        shard=_shard_of(source, place),
    )
    outcome = Outcome(source.name, started_at=_now())
    pipeline = dlt.pipeline(
        source.name,
        pipelines_dir=str(folder),
        destination=place.dlt_destination,
        dataset_name=source.name,
    )
    built, lost = build(source, session), dict[str, int]()
    watch(source.name, session)
    try:
        if session.shard.number == 1:
            lost |= gone(pipeline, source)
            session.failures += said(source, lost)
        while not session.done:
            place.check()
            pipeline.run(built, loader_file_format=place.file_format)
            count(outcome, pipeline)
    except BaseException as error:
        outcome.error = "interrupted" if interrupted(error) else explain(error)
        outcome.error_kind = type(culprit(error)).__name__
        if interrupted(error):  # dlt wraps one that comes while it loads
            raise KeyboardInterrupt from None
        if not isinstance(error, Exception):  # as a scheduler ends its tasks
            raise
    finally:
        _close(outcome, session)
        record(pipeline, source, outcome, lost, session.shard)
        pipeline.deactivate()
    return outcome


def _shard_of(source: Source, place: Place) -> Shard:
    return place.shard if source.split_by else Shard()


def probe(source: Source, shard: Shard | None = None) -> None:
    """Asks nobody. Raises WrongSettings as a sync of `source` would."""
    session = Session(shard=shard or Shard())
    build(source, session)
    if session.client:
        session.client.close()


def interrupted(error: BaseException | None) -> bool:
    return error is not None and (isinstance(error, KeyboardInterrupt) or interrupted(error.__cause__))


def build(source: Source, session: Session, **settings: Any) -> Any:
    """The dlt source with its settings from dlt's configuration. Raises WrongSettings, naming what is missing."""
    from dlt.common.configuration.exceptions import ConfigFieldMissingException, ConfigurationException

    try:
        return source.build(session=session, **settings)
    except ConfigFieldMissingException as error:
        raise MissingSettings(source.name, sorted(field.upper() for field in error.fields)) from None
    except (ConfigurationException, ValueError) as error:
        raise WrongSettings(f"{source.name}: {_named(source, str(error))}") from None


def _named(source: Source, told: str) -> str:
    """What is said of a setting, with its name in capitals and where all of them are explained."""
    own = "|".join(("base_url", "requests_per_minute", "workers", "lag", "relist_after"))
    named = re.sub(rf"\b(?:{source.name}_)?({own})\b", lambda found: f"{source.name}_{found[1]}".upper(), told)
    return f"{named.rstrip('.')}. sources/{source.name}/README.md explains its settings."


def exit_code(outcomes: list[Outcome]) -> int:
    kinds = {outcome.outcome for outcome in outcomes}
    if kinds <= {"complete"}:
        return COMPLETE
    return FAILED if kinds == {"failed"} else PARTIAL


def explain(error: BaseException) -> str:
    """The innermost cause that is meant for people; never a value of a record."""
    from sources._rest.errors import VendorError

    cause = culprit(error)
    if isinstance(cause, VendorError | GaplessError):
        return str(cause)
    return f"{type(cause).__name__}: {str(cause).strip().splitlines()[0][:300] if str(cause).strip() else ''}"


def culprit(error: BaseException) -> BaseException:
    """The vendor's error or ours among the causes of an error, else the first of them."""
    from sources._rest.errors import VendorError

    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for cause in chain:
        if isinstance(cause, VendorError | GaplessError):
            return cause
    return chain[-1]


def count(outcome: Outcome, pipeline: Any) -> None:
    outcome.packages += 1
    for table, rows in pipeline.last_trace.last_normalize_info.row_counts.items():
        if rows and not table.startswith("_dlt"):
            outcome.rows[table] = outcome.rows.get(table, 0) + rows


def _close(outcome: Outcome, session: Session) -> None:
    outcome.finished_at, outcome.failures = _now(), session.failures
    if session.client:
        stats = session.client.stats
        outcome.requests, outcome.retries, outcome.seconds_waited = stats.requests, stats.retries, stats.waited
        session.client.close()
    if outcome.error is None:
        outcome.outcome = "partial" if session.failures else "complete"


def _now() -> datetime:
    return datetime.now(UTC)
