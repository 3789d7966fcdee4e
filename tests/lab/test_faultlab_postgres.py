"""The fault laboratory's sample on a real Postgres, and on a bad wire to it.

The whole sweep is `python -m tests.lab.faultlab --destination postgres`; it wrote
tests/lab/faultlab/REPORT.postgres.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.lab.faultlab import http_faults, kills, wire_faults
from tests.lab.faultlab.postgres import Postgres
from tests.lab.faultlab.runs import Zygote
from tests.lab.faultlab.wire_faults import Fault
from tests.lab.faultlab.world import Lab
from tests.support.postgres import Server
from tests.support.postgres_wire import Wire

SEED = 3
PLACE = ("sequence", "backfill")
"""The shortest."""


@pytest.fixture(scope="module")
def lab(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    zygote = Zygote()
    yield Lab(tmp_path_factory.mktemp("faultlab"), zygote, Postgres(server))
    zygote.end()


@pytest.mark.sweep
def test_killed_at_counted_side_effects(lab: Lab) -> None:
    """kill -9 before and after statements, and within: one more sync ends exact, what was counted was Postgres'."""
    effects = kills.count(lab, *PLACE)
    statements = [n for n, what in enumerate(effects, 1) if "sql." in what]
    assert {what.split(".")[1].split()[0] for what in effects if "sql." in what} >= {
        "connect", "execute", "commit", "reset", "close",
    }  # fmt: skip
    todo = [kills.Kill(*PLACE, statements[len(statements) * part // 8]) for part in (1, 5)]
    commit = effects.index("before sql.commit ") + 1
    killed = list(kills.run(lab, [*todo, kills.Kill(*PLACE, commit, inside=0.001)]))
    assert [one for one in killed if not one.verdict.good] == []
    assert all(one.last for one in killed)


@pytest.mark.sweep
def test_http_faults(lab: Lab) -> None:
    """A sample of wrong answers: exact, or said and exact after the next sync."""
    cases = http_faults.chosen(http_faults.cases(PLACE[:1], PLACE[1:]), 2, SEED)
    assert [one for one in http_faults.run(lab, cases) if not one.verdict.good] == []


@pytest.mark.sweep
@pytest.mark.parametrize("fault", ["reset", "vanish"])
def test_faults_on_the_wire(fault: str, lab: Lab) -> None:
    """Said or repeated, never waited for without end; the next sync ends exact. The others of FAULTS are for the
    sweep, and in tests/destinations/test_postgres.py."""
    (broken,) = wire_faults.run(lab, [Fault(*PLACE, fault, 30)])
    assert broken.verdict.good, broken.verdict


@pytest.mark.sweep
def test_what_it_must_notice(lab: Lab) -> None:
    """The twin: a wire that is dead without an end to waiting is a sync that hangs; a lost row is seen."""
    with lab.trial(*PLACE) as trial, trial.vendor() as url:
        server = lab.destination.server
        with closing(Wire(server.port, 2, "vanish")) as wire:
            ((name, own),) = trial.destination.settings(trial.folder).items()
            through = own.replace(f":{server.port}/", f":{wire.port}/")
            forever = {name: f"{through}?keepalives=0&tcp_user_timeout=0"}
            assert trial.run(url, env=forever, limit=4.0).code == "hang"
            assert wire.statements >= 2
        assert trial.run(url).code == 0
        assert trial.destination.mismatches(trial.folder, "sequence", trial.fake.truth()) == []
        database = own.rsplit("/", 1)[1]
        server.execute(
            database, "delete from sequence.activity_logs where id = (select max(id) from sequence.activity_logs)"
        )
        assert trial.destination.mismatches(trial.folder, "sequence", trial.fake.truth())
