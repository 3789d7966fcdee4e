"""Containers, cron and Jenkins: what the environment has wrong is named before anything is done, or does no harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from tests.contract.conftest import NAMES
from tests.contract.subject import subject
from tests.support.world import World

Begin = Callable[[Any], World]


def gapless(*arguments: str) -> tuple[int, str]:
    """Returns the exit code, and all that was said in one line."""
    told = CliRunner().invoke(app, list(arguments))
    assert "Traceback" not in told.output
    return told.exit_code, " ".join(told.output.split())


@pytest.fixture
def synced(world: Begin) -> World:
    """A file with one source in it, whose vendor was not asked yet."""
    here = world(subject(NAMES[0]).filled())
    here.synced()
    here.fake.requests.clear()
    return here


@pytest.mark.parametrize(
    ("variable", "value"), [("HTTPS_PROXY", "http://user:canary@proxy:port"), ("SSL_CERT_FILE", "nowhere.pem")]
)
def test_variables_of_the_network(variable: str, value: str, synced: World) -> None:
    """One that cannot be used ends what needs the network with 2 and its name; other commands work on."""
    synced.set(**{variable: value})
    name = synced.name
    window = ("--since", "2020-01-01", "--until", "2020-02-01")
    for needs in (("sync",), ("sync", "--every", "1h"), ("plan",), ("verify",), ("backfill", name, *window)):
        code, told = gapless(*needs)
        assert (code, told.startswith(f"{variable}: "), "canary" in told) == (2, True, False), told
    code, told = gapless("doctor", "--json")
    found = {check["name"]: check for check in json.loads(told)["checks"]}
    assert (code, found["network"]["result"], found["destination"]["result"]) == (1, "fail", "ok")
    assert variable in found["network"]["found"]
    for needs_none in (("status",), ("gaps",), ("views",), ("state", "show"), ("publish", "readers.duckdb")):
        assert gapless(*needs_none)[0] == 0
    assert synced.fake.requests == []
