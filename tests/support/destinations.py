"""What tests of destinations share: a vendor of each kind with some records, and the way to a named destination."""

from __future__ import annotations

import re
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.outcome import Outcome
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.sync.run import sync
from tests.contract.subject import subject
from tests.support import warm
from tests.support.world import World

ROOT = Path(__file__).resolve().parents[2]
KILLED = """
import importlib, os, signal, sys
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.sync.run import sync
from gapless.pipelines.sync.request import SyncRequest
module, client = sys.argv[3].split(":")
client = getattr(importlib.import_module(module), client)
real, left = client.execute_query, iter(range(int(sys.argv[4])))
def counted(self, *args, **kwargs):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *args, **kwargs)
client.execute_query = counted
list(sync([sys.argv[1]], Target.find(sys.argv[2]), SyncRequest(package_records=12)))
"""


PAGE = (ROOT / "pipelines" / "docs" / "DESTINATIONS.md").read_text()


@dataclass
class Snippet:
    """A block of DESTINATIONS.md: settings, then a command."""

    settings: dict[str, str]
    command: list[str]

    @property
    def destination(self) -> str:
        return self.command[self.command.index("--destination") + 1]

    def run(self, here: World, database: str) -> Path:
        """As shown, but for one source, into a folder of its own, which is returned, or into `database`."""
        folder = Path(tempfile.mkdtemp(dir=here.folder))
        for name, value in self.settings.items():
            local = value.replace("/srv/logs", str(folder))
            here.monkeypatch.setenv(name, re.sub(r"postgresql://\S+", database, local))
        done = CliRunner().invoke(app, [self.command[0], here.name, *self.command[1:]])
        assert done.exit_code == 0, f"{self}: {done.stderr}"
        return folder


def snippets() -> list[Snippet]:
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        *exports, (program, *command) = [shlex.split(line, comments=True) for line in block.splitlines()]
        if any(words[0] == "gapless" for words in exports):
            continue  # the move to another place, which tests/docs/test_pages.py makes
        if program == "export":
            continue  # forms of an address, which tests/destinations/test_postgres_as_found.py tries
        assert program == "gapless"
        found.append(Snippet(dict(pair.split("=", 1) for _, pair in exports), command))
    return found


def seeded(name: str) -> Any:
    """The vendor with 4 parents and 20 records, eight to a page."""
    return subject(name).filled(4, 20, page_cap=8)


@dataclass
class Land:
    """A vendor, and a destination that is to hold what it has."""

    world: World
    destination: str
    accept_append: bool = False

    @property
    def fake(self) -> Any:
        return self.world.fake

    @property
    def place(self) -> Target:
        return Target.find(self.destination, accept_append=self.accept_append)

    def sync(self, **job: Any) -> Outcome:
        self.fake.requests.clear()
        (outcome,) = sync([self.world.name], self.place, SyncRequest(**job))
        return outcome

    def complete(self, **job: Any) -> Outcome:
        outcome = self.sync(**job)
        assert (outcome.outcome, outcome.error, outcome.failures) == ("complete", None, [])
        return outcome


def killed(here: World, client: str, statement: int) -> bool:
    """A sync in a process of its own, killed before a counted statement of dlt's `client`; whether it was."""
    done = warm.run([sys.executable, "-c", KILLED, here.name, here.database.name, client, str(statement)])
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


Begin = Callable[[Any], World]
