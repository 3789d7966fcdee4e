"""The world of a trial: a vendor with hidden truth, a phase of gapless' life, a destination, and runs of the command.

What a phase begins with (the destination's files and the vendor's memory) is made once and copied for every trial.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx

from gapless.sources import SOURCES
from tests.contract.subject import copied, subject
from tests.lab.faultlab.destinations import Destination, Duckdb
from tests.lab.faultlab.runs import Run, Zygote
from tests.lab.faultlab.wire import Acts, Answer, free_port, plain, served

PHASES = ("first", "incremental", "backfill")
CHUNK = 16
"""Records of one load package."""
WORKERS = 2
KEYS = {name: subject(name).keys_of(lambda setting: f"canary/{setting}+K1x9=") for name in SOURCES}
"""With characters that look different in URLs."""
LEVELS = ("CRITICAL", "INFO", "DEBUG")
"""Of dlt's logs."""
FLAGS: tuple[list[str], ...] = ([], ["--debug"], ["--json"], ["--json", "--debug"])
SIZES: dict[str, tuple[dict[str, int], tuple[int, int]]] = {
    "omni": ({"page_cap": 3}, (6, 30)),
    "sequence": ({"page_cap": 5}, (0, 32)),
    "kizen": ({"page_cap": 4}, (3, 18)),
    "tines": ({"page_cap": 4}, (5, 24)),
}
PATCH = {"package_records": CHUNK, "deadline": 1.0, "read": 0.6, "first_wait": 0.04}
"""What has no setting; see zygote.py."""


@dataclass
class Trial:
    """One vendor, one folder, one destination; `answer` may be replaced by a fault's."""

    source: str
    phase: str
    destination: Destination
    folder: Path
    fake: Any
    zygote: Zygote
    arguments: list[str]
    number: int = 0
    """Decides how much is printed and logged."""
    name: str = "output"
    """Of the files with what was printed."""
    port: int = 0
    """Where the vendor answers: the same each time, or a sync would have to prove that it is the same account."""
    answer: Answer | None = None
    runs: list[Run] = field(default_factory=list)
    arrived: int = 0
    """Requests that came in, answered or not."""
    arrivals: list[float] = field(default_factory=list)
    """When (time.monotonic)."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def run(self, url: str, *, args: list[str] | None = None, limit: float = 60.0, **order: Any) -> Run:
        """The command once, against the vendor at `url`."""
        number, before = len(self.runs), self.arrived
        output = self.folder / f"{self.name}-{number}"
        settings = {**self.destination.settings(self.folder), **_settings(self.source, url, self.folder)}
        settings |= {"RUNTIME__LOG_LEVEL": LEVELS[self.number % 3]} | order.pop("env", {})
        told = self.zygote.run(
            {
                "folder": str(self.folder),
                "args": [*(args or self.arguments), *FLAGS[self.number // 3 % 4]],
                "env": settings,
                "output": str(output),
                "limit": limit,
                "patch": PATCH,
                **order,
            }
        )
        text = "".join(output.with_name(f"{output.name}.{stream}").read_text() for stream in ("stdout", "stderr"))
        run = Run(told["code"], told["seconds"], told["cpu"], self.arrived - before, text, told["stopped"])
        self.runs.append(run)
        return run

    @contextmanager
    def vendor(self) -> Iterator[str]:
        with served(self._handle, self.port) as url:
            yield url

    def good(self, request: httpx.Request) -> httpx.Response:
        response: httpx.Response = self.fake.handle(request)
        return response

    def _handle(self, request: httpx.Request) -> Acts:
        with self._lock:
            self.arrived += 1
            self.arrivals.append(time.monotonic())
        return self.answer(request) if self.answer else plain(self.good(request))


def _settings(source: str, url: str, folder: Path) -> dict[str, str]:
    keys = {f"{source}_{name}".upper(): value for name, value in KEYS[source].items()}
    workers = {f"{source.upper()}_WORKERS": str(WORKERS)} if subject(source).has("workers") else {}
    return {
        **keys,
        **workers,
        f"{source.upper()}_BASE_URL": url,
        f"{source.upper()}_REQUESTS_PER_MINUTE": "1000000",
        "GAPLESS_RETRY_BUDGET": "1.6",
        "GAPLESS_RETRY_MAX_WAIT": "0.3",
        "DLT_PROJECT_DIR": str(folder),
        "DLT_DATA_DIR": str(folder / "dlt"),
        "TMPDIR": str(folder / "tmp"),
        "HOME": str(folder),
        "NO_PROXY": "127.0.0.1",
    }


class Lab:
    """Makes trials. What each phase begins with is prepared when it is first asked for."""

    def __init__(self, folder: Path, zygote: Zygote, destination: Destination | None = None, seed: int = 0) -> None:
        self.folder, self.zygote, self._seed = folder, zygote, seed
        self.destination: Destination = destination or Duckdb()
        self._kept: dict[tuple[str, str], tuple[Path | None, Any]] = {}
        self._number = 0
        self._ports: dict[str, int] = {}

    def warm(self, source: str, zygote: Zygote) -> None:
        """Lets `zygote` make a first run and an idle one itself: into a file, as what a server's driver leaves must
        not be forked."""
        if source in zygote.warm:
            return
        zygote.warm.add(source)
        trial = replace(self._trial(source, "first", filled(source), Duckdb()), zygote=zygote)
        with trial.vendor() as url:
            runs = [trial.run(url, here=True) for _ in range(2)]
        assert [run.code for run in runs] == [0, 0], runs[0].output
        shutil.rmtree(trial.folder)

    @contextmanager
    def trial(self, source: str, phase: str) -> Iterator[Trial]:
        """A trial at the beginning of `phase`; its folder is gone at the end."""
        self.warm(source, self.zygote)
        kept, fake = self._begun(source, phase)
        trial = self._trial(source, phase, copied(fake))
        self.destination.restore(kept, trial.folder)
        try:
            yield trial
        finally:
            self._end(trial)

    def _begun(self, source: str, phase: str) -> tuple[Path | None, Any]:
        if (source, phase) not in self._kept:
            fake = filled(source)
            kept = None if phase == "first" else self._synced(source, phase, fake)
            if phase == "incremental":
                fake.advance(60)
            elif phase == "backfill":
                _late(source, fake)
            self._kept[source, phase] = kept, fake
        return self._kept[source, phase]

    def _synced(self, source: str, phase: str, fake: Any) -> Path:
        trial, kept = self._trial(source, "first", fake), self.folder / f"kept-{source}-{phase}"
        self.destination.restore(None, trial.folder)
        with trial.vendor() as url:
            run = trial.run(url)
        assert run.code == 0, run.output
        self.destination.save(trial.folder, kept)
        self._end(trial)
        return kept

    def _end(self, trial: Trial) -> None:
        self.destination.drop(trial.folder)
        shutil.rmtree(trial.folder)

    def _trial(self, source: str, phase: str, fake: Any, destination: Destination | None = None) -> Trial:
        self._number += 1
        destination = destination or self.destination
        folder = self.folder / f"trial-{self._number}"
        (folder / "tmp").mkdir(parents=True)
        arguments = ["sync", source, "--destination", destination.name, *_span(phase, fake)]
        shown = self._number + self._seed
        port = self._ports.setdefault(source, free_port())
        return Trial(source, phase, destination, folder, fake, self.zygote, arguments, shown, port=port)


def filled(source: str, account: int = 0) -> Any:
    """The vendor with some weeks of records; no id is the same in another account."""
    how, (number, records) = SIZES[source]
    fake = subject(source).empty(**how, **KEYS[source], seed=account)
    if subject(source).numbered:
        fake._last_id += 10_000 * account
    fake.fill(number, records)
    return fake


def _span(phase: str, fake: Any) -> list[str]:
    if phase != "backfill":
        return []
    since, until = (fake.now - timedelta(days=days) for days in (20, 2))
    return ["--since", since.isoformat(), "--until", until.isoformat()]


def _late(source: str, fake: Any) -> None:
    """Three records that came days late, within the span of the backfill and long before any look-back."""
    parents = subject(source).parents(fake)
    for day in (3, 4, 5):
        subject(source).add(fake, parents[day % min(4, len(parents))], at=fake.now - timedelta(days=day))
