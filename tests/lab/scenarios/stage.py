"""One source on stage: its vendor, its database, the commands that are typed, and what they claim.

A claim is false when a command says that all is well while rows are lost, stale or doubled: against the fake's truth,
worked out by the oracle.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2 as httpx
import pytest
from typer.testing import CliRunner

import gapless.pipelines.cli.arguments
from gapless.pipelines.cli.app import app
from gapless.sources import SOURCES
from gapless.sources._http.testing import serve
from tests.contract.subject import Subject, copied, subject
from tests.lab.scenarios.answers import Answer
from tests.lab.scenarios.bends import Bend
from tests.support import warm
from tests.support.databases import DATABASES
from tests.support.oracle import instant, mismatches
from tests.support.world import IN_A_HURRY, OURS, settings

ROUNDS = 3
"""How often the commands that are named are typed before an alarm counts as one that stays."""
PARENTS, RECORDS = 4, 24
Scope = Callable[[dict[str, Any]], bool]
"""Whether a record (the vendor's JSON) is one of those that a command was to read."""


def everything(row: dict[str, Any]) -> bool:
    return True


@dataclass
class Told:
    """What came of one scenario."""

    source: str
    scenario: str
    destination: str
    false: list[str] = field(default_factory=list)
    """Claims that were false."""
    stays: list[str] = field(default_factory=list)
    """Alarms, or losses, that stay once the vendor is whole and the named commands were typed."""
    typed: list[str] = field(default_factory=list)
    lost_at: int = 0
    """How often rows were lost, stale or doubled when the claims were read."""

    @property
    def good(self) -> bool:
        return not (self.false or self.stays)


class Stage:
    """One source whose vendor answers, and its database."""

    def __init__(self, name: str, destination: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.subject: Subject = subject(name)
        self.name, self.patch, self.folder = name, patch, folder
        self.database = DATABASES[destination](folder)
        self._environment = dict(os.environ)
        self._bend: Bend | None = None
        self._intercept: Callable[[httpx.Request], httpx.Response | None] | None = None
        self.fake = self.subject.filled(PARENTS, RECORDS)
        self.told = Told(name, "", destination)

    # -- begin -------------------------------------------------------------------------------------

    @contextmanager
    def opened(self) -> Iterator[Stage]:
        """The vendor answers, and the state after a first sync is kept for all scenarios that begin with it."""
        self.set(**{**IN_A_HURRY, **settings([self.name]), **self.database.settings})
        self.set(DLT_PROJECT_DIR=str(self.folder))
        self.patch.chdir(self.folder)
        self._saved: tuple[str, Any] | None = None
        self._begun = self.fake
        with serve(self._handle) as url:
            self.set(**{f"{self.subject.prefix}_BASE_URL": url})
            self._environment = dict(os.environ)
            yield self

    def begin(self, scenario: str, *, synced: bool) -> None:
        """An empty database, or one after the first sync."""
        for name in {*os.environ} - {*self._environment}:
            self.patch.delenv(name)
        self.set(**{n: v for n, v in self._environment.items() if os.environ.get(n) != v})
        self.whole()
        self.database.remove()
        self.told = Told(self.name, scenario, self.database.name)
        self.fake = copied(self._begun)
        if not synced:
            return
        if self._saved is None:
            code, text = self.gapless("sync", self.name)
            assert code == 0, text
            place = self.folder / "saved"
            place.mkdir()
            self._saved = self.database.save(place), copied(self.fake)
            return
        self.database.load(self._saved[0])
        self.fake = copied(self._saved[1])

    def set(self, **values: str) -> None:
        for name, value in values.items():
            self.patch.setenv(name, value)

    # -- the vendor --------------------------------------------------------------------------------

    def _handle(self, request: httpx.Request) -> httpx.Response:
        found = self._intercept(request) if self._intercept else None
        if found is not None:
            return found
        bend = self._bend
        if bend is None or request.method not in ("GET", "POST"):
            answer: httpx.Response = self.fake.handle(request)
            return answer
        page = Answer(self.subject, self.fake, request)
        if page.body is None or not bend.which(page):
            return page.response
        self._met += 1
        bent = bend.how(page) if bend.skip < self._met <= bend.skip + bend.times else None
        return page.response if bent is None else bent

    def bend(self, bend: Bend) -> None:
        self._bend, self._met = bend, 0

    def intercept(self, answer: Callable[[httpx.Request], httpx.Response | None]) -> None:
        self._intercept = answer

    def fail_after(self, requests: int, status: int = 401) -> None:
        """So many requests are answered, then none."""
        left = iter(range(requests))
        self.intercept(lambda request: None if next(left, None) is not None else httpx.Response(status))

    def whole(self) -> None:
        """The vendor answers as it should, to everything."""
        self._bend = self._intercept = None
        self.fake.failing.clear()

    def age(self, row: dict[str, Any]) -> datetime:
        """When a record was created."""
        micros = instant(row[self.subject.time])
        return datetime.fromtimestamp(micros / 1e6, self.fake.now.tzinfo)

    # -- the commands ------------------------------------------------------------------------------

    def gapless(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a command, as typed, with this stage's destination."""
        named = "--destination" in arguments or arguments[0] in ("copy",)
        done = CliRunner().invoke(app, [*arguments, *([] if named else self.database.option)])
        return done.exit_code, done.output

    def typed(self, line: str) -> list[int]:
        """Types a line as it was printed; returns each exit code."""
        self.told.typed.append(line)
        return [CliRunner().invoke(app, shlex.split(one)[1:]).exit_code for one in line.split(" && ")]

    def run(self, *arguments: str, scope: Scope | None = everything) -> int:
        """Types a command, and judges what is claimed after it. `scope` None: its exit code claims nothing."""
        code, _ = self.gapless(*arguments)
        self.judge(" ".join(arguments[:1]), code, scope)
        return code

    def sync(self, *more: str, scope: Scope | None = everything) -> int:
        return self.run("sync", self.name, *more, scope=scope)

    def packages(self, records: int) -> None:
        """Syncs commit after so many records."""
        real = gapless.pipelines.cli.arguments.sync_request
        self.patch.setattr(
            gapless.pipelines.cli.arguments,
            "sync_request",
            lambda *given: replace(real(*given), package_records=records),
        )

    def killed(self, at: int, *arguments: str) -> None:
        """Runs a command in a process of its own, which is killed when it sends its `at`th request."""
        packages = [source.package for source in SOURCES.values() if not source.package.startswith("gapless.")]
        self.set(GAPLESS_SOURCES=",".join(packages))
        left = iter(range(at))

        def kill(request: httpx.Request) -> httpx.Response | None:
            if next(left, None) is None:
                process.kill()
            return None

        command = [sys.executable, "-m", "gapless.pipelines", *arguments, *self.database.option]
        with warm.Popen(command, stdout=-1, stderr=-1, stdin=-1) as process:
            self.intercept(kill)
            process.communicate("", 60)
        self._intercept = None
        self.patch.delenv("GAPLESS_SOURCES")

    def gaps(self) -> list[dict[str, Any]]:
        code, text = self.gapless("gaps", "--json")
        document = json.loads(text[text.index("{") :].splitlines()[0])
        found: list[dict[str, Any]] = document.get("gaps", [])
        return found or ([{"kind": "error", "why": text[-200:], "fill": ""}] if code else [])

    # -- the database ------------------------------------------------------------------------------

    def change(self, *statements: str) -> None:
        self.database.change(self.name, *statements)

    def lose(self, where: str = "1 = 1", *, silently: bool = False) -> None:
        """Deletes records and all below them; `silently` also what counted them."""
        main = self.subject.source.main
        roots = f"select _dlt_id from {main.name} where {where}"
        trees = [*main.schema.tree()][::-1]
        self.change(
            *(f"delete from {t.name} where {'_dlt_root_id' if t.parent else '_dlt_id'} in ({roots})" for t in trees)
        )
        if silently:
            self.change("update runs set held = null")

    def some(self, number: int, order: str = "_dlt_id") -> str:
        table = self.subject.main
        return f"_dlt_id in (select _dlt_id from {table} order by {order} limit {number})"

    def wrong(self) -> list[str]:
        """What is lost, stale or doubled here, of what the vendor has."""
        try:
            with self.database.opened(self.name) as db:
                return mismatches(db, self.name, self._truth())
        except Exception as error:
            return [f"{self.name}.{self.subject.main} *: nothing can be read: {str(error).splitlines()[0][:80]}"]

    def _truth(self) -> dict[str, list[dict[str, Any]]]:
        """What must be here: not a record that could not be read while the vendor had it."""
        truth: dict[str, list[dict[str, Any]]] = self.fake.truth()
        main, text_of = self.subject.main, self.subject.text_of
        served = {str(row[self.subject.id]) for row in self.subject.records(self.fake)}
        readable = [row for row in truth[main] if text_of(row) != [] or str(row[self.subject.id]) in served]
        return {**truth, main: readable}

    # -- claims ------------------------------------------------------------------------------------

    def judge(self, what: str, code: int, scope: Scope | None) -> None:
        """Notes each claim that is false: of the command itself, then of gaps, status and verify."""
        wrong = self.wrong()
        if not wrong:
            return
        self.told.lost_at += 1
        concerned = [one for one in wrong if self._concerns(one, scope)] if scope else []
        if code == 0 and concerned:
            self.told.false.append(f"{what} 0, but {_few(concerned)}")
        self.claims(wrong)

    def claims(self, wrong: list[str]) -> None:
        """The claims of the commands that look at everything."""
        if not self.gaps():
            self.told.false.append(f"gaps 0, but {_few(wrong)}")
            _, text = self.gapless("status", "--json")
            with suppress(ValueError, KeyError):
                if json.loads(text[text.index("{") :].splitlines()[0])["sources"][self.name]["complete"]:
                    self.told.false.append("status complete")
        lost = [one for one in wrong if one.endswith((": missing", "times")) or " *: " in one]
        rows = [one for one in lost if f".{self.subject.main} " in one]
        if rows and self.gapless("verify", self.name, "--whole")[0] == 0:
            self.told.false.append(f"verify 0, but {_few(rows)}")

    def _concerns(self, wrong: str, scope: Scope | None) -> bool:
        if scope is everything:
            return True
        found = re.match(r"\S+?\.(\S+) (\S+?)[: ]", wrong)
        if scope is None or not found or found[1] != self.subject.main:
            return False
        rows = {str(row[self.subject.id]): row for row in self.subject.records(self.fake)}
        if found[2] == "*":
            return any(map(scope, rows.values()))
        return found[2] in rows and scope(rows[found[2]])

    def close(self) -> None:
        """The vendor is whole again: what is named is typed, a sync comes, and then all is exact and silent."""
        self.whole()
        for _ in range(ROUNDS):
            for line in dict.fromkeys(gap["fill"] for gap in self.gaps() if gap["fill"]):
                self.typed(line)
            if not self.gaps():
                break
        self.fake.advance(60)
        code, text = self.gapless("sync", self.name)
        stays = [f"the sync after it ends {code}: {_last(text)}"] if code else []
        wrong = self.wrong()
        stays += [f"not exact: {_few(wrong)}"] if wrong else []
        stays += [f"an alarm stays: {gap['kind']}: {gap['why']}"[:300] for gap in self.gaps()[:2]]
        code, text = self.gapless("verify", self.name, "--whole")
        stays += [f"verify ends {code}: {_last(text)}"] if code else []
        self.told.stays += stays


def _few(wrong: list[str]) -> str:
    return f"{len(wrong)} differ: {wrong[0][:160]}"


def _last(text: str) -> str:
    lines = [one for one in text.splitlines() if re.search("[a-z]", one)]
    return " | ".join(lines[-2:])[:300]


@contextmanager
def stage(name: str, destination: str = "duckdb") -> Iterator[Stage]:
    """A stage in a folder of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gapless-scenario-")))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for setting in [one for one in os.environ if one.startswith((*OURS, "GAPLESS_"))]:
            patch.delenv(setting)
        yield stack.enter_context(Stage(name, destination, folder, patch).opened())
