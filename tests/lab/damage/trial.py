"""One trial: a database that is exact, a damage, what each command says of it, the commands that are named, and then
silence."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import httpx2 as httpx
import psycopg2
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.sources._http.testing import serve
from tests.contract.subject import Subject, copied, subject
from tests.lab.damage.kinds import Kind, Place
from tests.support.oracle import mismatches
from tests.support.postgres import Reader, Server
from tests.support.world import IN_A_HURRY, settings

ROUNDS = 3
"""How often the commands that are named are run before an alarm counts as one that stays."""


@dataclass
class Verdict:
    """What became of one damage."""

    source: str
    kind: str
    seen: list[str] = field(default_factory=list)
    """The commands that said so, before anything was mended."""
    harmless: bool = False
    """The next sync made it exact, unasked."""
    ran: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What is not as it must be: empty, and the promise is kept."""


class Lab:
    """One source whose vendor answers, and its exact database, which each trial begins with."""

    def __init__(self, name: str, folder: Path, patch: pytest.MonkeyPatch, server: Server | None = None) -> None:
        self.subject: Subject = subject(name)
        self._folder, self._patch, self._server = folder, patch, server
        self.fake = self.subject.filled()
        self.place = Place(self.subject, "postgres" if server else "duckdb")
        self._number = 0
        for key, value in {**IN_A_HURRY, **settings([name])}.items():
            patch.setenv(key, value)
        patch.chdir(folder)
        patch.setenv("DLT_PROJECT_DIR", str(folder))

    @contextmanager
    def begun(self) -> Iterator[None]:
        """The vendor answers, and the first sync is made."""
        with serve(self._handle) as url:
            self._patch.setenv(f"{self.subject.prefix}_BASE_URL", url)
            self._fresh()
            code, text = self.gapless("sync", self.subject.name)
            assert code == 0, text
            self._saved = copied(self.fake)
            if not self._server:
                shutil.copy(self._folder / "gapless.duckdb", self._folder / "saved.duckdb")
            yield

    def _handle(self, request: httpx.Request) -> httpx.Response:
        answer: httpx.Response = self.fake.handle(request)  # of the vendor of this trial
        return answer

    def _fresh(self) -> None:
        """A database as the first sync left it, or an empty one before."""
        saved = hasattr(self, "_saved")
        if self._server:
            self._number += 1
            name = f"damage_{self.subject.name}_{self._number}"
            template = f" template damage_{self.subject.name}_1" if saved else ""
            self._server.execute("postgres", f"create database {name}{template}")
            if self._number > 2:
                self._server.execute("postgres", f"drop database damage_{self.subject.name}_{self._number - 1}")
            self._url = self._server.url(name)
            self._patch.setenv("DESTINATION__POSTGRES__CREDENTIALS", self._url)
        elif saved:
            shutil.copy(self._folder / "saved.duckdb", self._folder / "gapless.duckdb")
        if saved:
            self.fake = copied(self._saved)

    def gapless(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output, with this laboratory's destination."""
        where = ("--destination", "postgres") if self._server and "--destination" not in arguments else ()
        done = CliRunner().invoke(app, [*arguments, *where])
        return done.exit_code, done.output

    def tried(self, kind: Kind, syncs: int = 0, between: str = "") -> Verdict:
        """Does the damage, after it so many scheduled syncs and jobs `between`, and then what the commands say."""
        self._fresh()
        found = Verdict(self.subject.name, kind.name)
        try:
            self._execute(kind.done(self.place))
        except psycopg2.IntegrityError:  # dlt's unique indexes on Postgres admit no doubled row
            found.seen.append("the database")
            found.harmless = True
            return found
        try:
            self._judge(found, syncs, between)
        except Exception as error:
            found.wrong.append(f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}")
        return found

    def _judge(self, found: Verdict, syncs: int, between: str) -> None:
        name = self.subject.name
        for job in self._jobs(between):
            self.gapless(*job)
        for _ in range(syncs):
            self.fake.advance(60)
            if self.gapless("sync", name)[0] != 0:
                found.seen.append("sync")
        self._look(found)
        gaps = self._gaps()
        self._mend(found, gaps)
        # Before the vendor has anything new, which would hide that the commands named end nothing.
        found.wrong += [f"what is named does not end it: {gap['kind']}: {gap['why']}" for gap in self._gaps()[:2]]
        if not found.ran:  # nothing was named: whatever it is, the next sync must have made it exact
            found.seen += ["sync"] * (self.gapless("sync", name)[0] != 0)
            found.harmless = True
        self.fake.advance(60)
        code, text = self.gapless("sync", name)
        if code:
            found.wrong.append(f"the sync after it ends {code}: {_line(text)}")
        if found.ran and not self._complete():
            found.wrong.append("status says that it is not complete")
        found.wrong += [f"not exact: {one}" for one in self._mismatches()[:2]]
        found.wrong += [f"an alarm stays: {gap['kind']}: {gap['why']}" for gap in self._gaps()[:2]]
        for command in (("verify", name, "--cells", "--whole"), ("doctor",)):
            code, text = self.gapless(*command)
            if code:
                found.wrong.append(f"{command[0]} ends {code}: {_line(text)}")
        if not found.harmless and not found.seen:
            found.wrong.append("seen by nothing")

    def _jobs(self, between: str) -> Iterator[list[str]]:
        """Yields the commands of jobs that are no plain syncs, by their names."""
        name, now = self.subject.name, self.fake.now
        since, until = (now - timedelta(days=2)).isoformat(), (now - timedelta(hours=2)).isoformat()
        records = self.fake.truth()[self.subject.main]
        by_id = self.subject.source.stream.by_id
        one = str(records[-1][self.subject.id]) if by_id == "record" else self._parent(records[-1])
        jobs = {
            "backfill": [["backfill", name, "--since", since, "--until", until]],
            "since": [["sync", name, "--since", since]],
            "id": [["sync", name, "--id", one]] if by_id else [],
            "shards": [["sync", name, "--shard", f"{number}/2"] for number in (1, 2)] if self._server else [],
        }
        yield from (job for each in between.split() for job in jobs[each])

    def _parent(self, record: dict[str, Any]) -> str:
        """The id of the parent of a record, as its column has it."""
        column = self.subject.source.stream.column
        found = [value for field, value in record.items() if self.subject.column(field) == column]
        return str(found[0]) if found else ""

    def _look(self, found: Verdict) -> None:
        """Notes which commands see it; cells are compared where no other one does."""
        name = self.subject.name
        for command in (("gaps",), ("verify", name, "--whole"), ("doctor",)):
            if self.gapless(*command)[0] != 0:
                found.seen.append(command[0])
        if not found.seen and self.gapless("verify", name, "--cells", "--whole")[0] != 0:
            found.seen.append("verify --cells")

    def _mend(self, found: Verdict, gaps: list[dict[str, Any]]) -> None:
        """Runs what is named, and again what is named then."""
        for _ in range(ROUNDS):
            for fill in dict.fromkeys(gap["fill"] for gap in gaps):
                for command in fill.split(" && "):
                    found.ran.append(command)
                    self.gapless(*shlex.split(command)[1:])
            gaps = self._gaps()
            if not gaps:
                return

    def _gaps(self) -> list[dict[str, Any]]:
        _, text = self.gapless("gaps", "--json")
        document: dict[str, Any] = json.loads(text[text.index("{") :].splitlines()[0])
        gaps: list[dict[str, Any]] = document.get("gaps") or (
            [{"kind": "error", "why": document["error"], "fill": ""}] if document["error"] else []
        )
        return [gap for gap in gaps if gap["fill"] or gap["kind"] == "error"]

    def _complete(self) -> bool:
        """Whether `status` says so."""
        _, text = self.gapless("status", "--json")
        document = json.loads(text[text.index("{") :].splitlines()[0])
        return all(one.get("complete", True) for one in document["sources"].values())

    def _execute(self, statements: list[str]) -> None:
        if self._server:
            with closing(psycopg2.connect(self._url)) as connection, connection, connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
            return
        with duckdb.connect(str(self._folder / "gapless.duckdb")) as db:
            for statement in statements:
                db.execute(statement)

    def _mismatches(self) -> list[str]:
        """Against what the vendor has now; derived rows count as there, when any is."""
        name = self.subject.name
        if self._server:
            with closing(psycopg2.connect(self._url)) as connection:
                return mismatches(Reader(connection), name, self.fake.truth())  # type: ignore[arg-type]  # a Reader asks as DuckDB does
        with duckdb.connect(str(self._folder / "gapless.duckdb"), read_only=True) as db:
            return mismatches(db, name, self.fake.truth())


def _line(text: str) -> str:
    """The last line that says something, without what differs each time."""
    lines = [one for one in text.splitlines() if re.search("[a-z]", one)]
    return " | ".join(lines[-3:])[:300]


@contextmanager
def lab(name: str, server: Server | None = None) -> Iterator[Lab]:
    """A laboratory in a folder of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gapless-damage-")))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for setting in [one for one in os.environ if one.startswith(("GAPLESS_", "DESTINATION__"))]:
            patch.delenv(setting)
        made = Lab(name, folder, patch, server)
        stack.enter_context(made.begun())
        yield made
