"""Any order of what happens at a vendor, on the wire and to the file: after a clean sync the database is exact.

hypothesis invents the order of what stateful_rules.py knows, one vendor at a time, against the oracle of
stateful_model.py, which knows what the README promises: late rows and edits up to the look-back (every edit where an
answer is whole, every late row where ids are compared, too), rows that vanish kept as they were held. Clocks are
injected, nothing sleeps. The default run is a sample that is the same every time; other orders with
`STATE_MACHINE_SEED=n`, and many of them with `python -m tests.stateful --steps 10000`.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from gapless.sources import SOURCES
from gapless.sources._incremental.newest_first import until_older
from gapless.sources._ledger import package
from gapless.sources._ledger.ledger import StatusChange
from gapless.sources._ledger.walk_state import Page
from gapless.sources._schema.arrow import Batch, Table
from tests.contract.subject import filled, subject
from tests.stateful.stateful_model import COUNTED
from tests.stateful.stateful_rules import Machine
from tests.support.merges import killed_after
from tests.support.world import CREDENTIALS, IN_A_HURRY, World, some

STEPS = int(os.environ.get("STATE_MACHINE_STEPS", "0"))
SEED = int(os.environ.get("STATE_MACHINE_SEED", "1"))
LENGTH = 100 if STEPS else 18
"""Steps of one story."""
STORIES = max(1, STEPS // (4 * LENGTH)) if STEPS else 1
"""Of each source."""


@pytest.mark.slow
@pytest.mark.parametrize("name", some(SOURCES, "tines"))
def test_the_proof_of_a_load_that_broke_off(name: str, world: Callable[[Any], World]) -> None:
    """Coverage was merged, the rows it speaks of were not: nobody believes it."""
    here = world(filled(name))
    with killed_after("coverage"):
        assert here.sync().outcome == "failed"
    here.complete()
    here.assert_exact()


@pytest.mark.slow
@pytest.mark.parametrize("name", some(SOURCES, "sequence"))
def test_an_error_that_says_200_ends_no_listing(name: str, world: Callable[[Any], World]) -> None:
    """From the third request on: the sync is not complete, and the next one resumes."""
    here = world(filled(name))
    left = iter(range(2))
    error = httpx.Response(200, json={"error": {"type": "internal", "message": "try again"}})
    here.intercept = lambda request: None if next(left, None) is not None else error
    assert here.sync().outcome in ("failed", "partial")
    here.mend()
    here.complete()
    here.assert_exact()


@pytest.mark.sweep
@pytest.mark.parametrize("name", some(SOURCES, "sequence"))
@pytest.mark.parametrize("document", [{}, {"message": "try again"}, {"data": None}])
def test_a_document_without_records_is_no_empty_account(
    name: str, document: dict[str, Any], world: Callable[[Any], World]
) -> None:
    """From the first request on, with 200: nothing is complete, and the next sync reads all."""
    here = world(filled(name))
    here.intercept = lambda request: httpx.Response(200, json=document)
    assert here.sync().outcome in ("failed", "partial")
    here.mend()
    here.complete()
    here.assert_exact()


STATUS = Table("status_changes", StatusChange, ("record_id",), "merge")


@dataclass(frozen=True)
class Entry:
    created_at: datetime


def test_instants_are_compared() -> None:
    """Whatever offset a vendor writes: 08:30-05:00 is later than 13:00Z, so the listing goes on."""
    at = ["2026-03-02T15:00:00+00:00", "2026-03-02T08:30:00-05:00", "2026-03-02T13:10:00+00:00"]
    pages = [Page([Entry(datetime.fromisoformat(text))]) for text in at]
    assert list(until_older(pages, datetime(2026, 3, 2, 13, tzinfo=UTC))) == pages


def test_a_key_that_comes_twice_in_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes there once, as it was seen last, also when its two forms became columns apart."""
    monkeypatch.setattr(package, "BATCH_ROWS", 1)
    chunk = package.Package()
    for status in ("first", "last"):
        chunk.add(
            Batch(STATUS, [StatusChange(record_id="1", status=status, seen_at=datetime(2026, 3, 2, tzinfo=UTC))])
        )
    ((_, rows),) = chunk.tables(STATUS)
    assert rows.column("status").to_pylist() == ["last"]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], type[Machine]]:
    """The machine of one source."""
    for name, value in {
        **CREDENTIALS,
        **IN_A_HURRY,
        **{f"{name.upper()}_BASE_URL": "https://vendor.example" for name in SOURCES},
    }.items():
        monkeypatch.setenv(name, value)
    given = {"folder": tmp_path, "monkeypatch": monkeypatch}
    return lambda name: type(f"Machine of {name}", (Machine,), {"subject": subject(name), **given})


@pytest.mark.parametrize("name", some(SOURCES, "tines"))
def test_any_order_of_events(name: str, machine: Callable[[str], type[Machine]]) -> None:
    """Whatever happens, in whatever order: the next clean sync is exact, with no letter but those of bad records."""
    how = settings(
        max_examples=STORIES,
        stateful_step_count=LENGTH,
        deadline=None,
        derandomize=not STEPS,
        database=None,
        phases=[Phase.generate] if not os.environ.get("STATE_MACHINE_SHRINK") else [Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    found = machine(name)
    if STEPS:  # many syncs in one process: what is there already need not be looked at again and again
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
    try:
        run_state_machine_as_test(seed(SEED)(found) if STEPS else found, settings=how)
    finally:
        print(f"{name}: " + ", ".join(f"{COUNTED[what]} {what}" for what in ("steps", "syncs", "commands")))
