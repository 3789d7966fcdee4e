"""The scenarios: what a vendor does (`bends.py`) to each kind of job, and the longer stories of `histories`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from tests.contract.subject import Subject
from tests.lab.scenarios.bends import BENDS, Bend
from tests.lab.scenarios.histories import ALL
from tests.lab.scenarios.stage import Stage

Play = Callable[[Stage], None]


@dataclass(frozen=True)
class Scenario:
    """One story. `synced`: it begins after an exact first sync, else with an empty database."""

    name: str
    play: Play
    synced: bool = True
    fits: Callable[[Subject], object] = lambda subject: True

    def told(self, here: Stage) -> Stage:
        """Plays it to its end."""
        here.begin(self.name, synced=self.synced)
        try:
            self.play(here)
            here.close()
        except Exception as error:
            here.told.stays.append(f"{type(error).__name__}: {str(error)[:300]}")
        return here


def _first(here: Stage) -> None:
    here.sync()
    here.sync()


def _later(here: Stage) -> None:
    here.fake.advance(60)
    here.sync()
    here.sync()


def _reset(here: Stage) -> None:
    here.lose(here.some(9))
    here.gapless("state", "reset", here.name, "--yes")
    here.sync()


def _repair(here: Stage) -> None:
    here.lose(here.some(7))
    here.run("verify", here.name, "--repair")


def _backfill(here: Stage) -> None:
    since, until = here.fake.now - timedelta(days=4), here.fake.now - timedelta(days=1)
    window = ("--since", since.isoformat(), "--until", until.isoformat())
    here.run("backfill", here.name, *window, scope=lambda row: since <= here.age(row) < until)
    here.whole()
    here.sync()


def _since(here: Stage) -> None:
    since = here.fake.now - timedelta(days=3)
    here.sync("--since", since.isoformat(), scope=lambda row: here.age(row) >= since)
    here.whole()
    here.sync()


def _shards(here: Stage) -> None:
    for number in (1, 2):
        here.sync("--shard", f"{number}/2", scope=None)
    here.sync()


@dataclass(frozen=True)
class Job:
    name: str
    play: Play
    synced: bool


JOBS = (
    Job("first sync", _first, synced=False),
    Job("later sync", _later, synced=True),
    Job("sync after a reset", _reset, synced=True),
    Job("repair", _repair, synced=True),
    Job("backfill first", _backfill, synced=False),
    Job("--since first", _since, synced=False),
    Job("two shards", _shards, synced=False),
)


def _bent(bend: Bend, job: Job) -> Scenario:
    def play(here: Stage) -> None:
        here.bend(bend)
        job.play(here)

    def fits(subject: Subject) -> bool:
        # A window is read until pages are older: then no total was met, but for sources that list ids to the end.
        unseen = bend.hole and job.play in (_backfill, _since) and not subject.one_by_one
        return bool(bend.fits(subject)) and not unseen

    return Scenario(f"{bend.called} · {job.name}", play, job.synced, fits)


def scenarios(destination: str = "duckdb") -> Iterator[Scenario]:
    """Yields every scenario; of the jobs but the first two each bend meets two, in turn."""
    for name, play, synced, fits in ALL:
        yield Scenario(name, play, synced, fits or (lambda subject: True))
    # A file of one writer at a time refuses shards.
    others = [job for job in JOBS[2:] if job.play is not _shards or destination not in ("duckdb", "sqlalchemy")]
    for number, bend in enumerate(BENDS):
        extra = (others[number % len(others)], others[(number + 2) % len(others)])
        for job in (*JOBS[:2], *extra):
            yield _bent(bend, job)
