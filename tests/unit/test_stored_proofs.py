"""Coverage that is read back: columns while nobody asks for it, and the same rows when somebody does."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gapless.sources._ledger.ledger import Coverage
from gapless.sources._ledger.stored import proofs as stored
from gapless.sources._ledger.stored.proofs import StoredProofs

NAMES = ["covered_to", "missing", "records", "failures"]
AT = datetime(2026, 3, 1, 8, 0, 0, 123456, UTC)


def test_rows_are_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whichever batch a row is, also if its JSON came decoded; of two rows of a parent the last one counts."""
    monkeypatch.setattr(stored, "FETCH_SIZE", 3)
    proofs = StoredProofs("logs", NAMES)
    truth: dict[str, Coverage] = {}
    for number in [*range(10), 2, 9]:
        missing = [[None, "2026-01-01T00:00:00+00:00"]] if number % 4 == 1 else None
        cells = (AT if number % 2 else None, missing, number + len(truth), 0)
        proofs.add(f"é{number}", cells)
        truth[f"é{number}"] = Coverage(
            stream="logs",
            parent=f"é{number}",
            covered_to=cells[0],
            missing='[[null, "2026-01-01T00:00:00+00:00"]]' if missing else None,
            records=cells[2],
        )
    assert dict(proofs) == truth
    assert len(proofs) == 10
    assert "é3" in proofs
    assert proofs.get("another") is None
