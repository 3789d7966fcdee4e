"""Small faults of messages, each of its kind: a prefix twice, a full stop within a sentence, a time that is none."""

from __future__ import annotations

from datetime import UTC, datetime

from gapless.pipelines.cli.render import stored
from gapless.pipelines.cli.render.proofs import planned
from gapless.pipelines.evidence.gap import Failed, Gap
from gapless.pipelines.evidence.grouping import failure_lines, problems
from gapless.pipelines.evidence.sentences import failed_source, sentence
from gapless.pipelines.ledger.status import Coverage, Drift
from gapless.pipelines.verify.plan import Plan
from gapless.sources import SOURCES
from gapless.sources._ledger.session import Failure

NAME, SOURCE = next((name, source) for name, source in SOURCES.items() if source.stream.parents)
NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)


def test_a_source_is_named_once() -> None:
    """What a sync says of its own tables begins with the source already."""
    own = [Failure(f"{NAME}: the table x lacks y: it is made again"), Failure(f"{NAME}.x: 3 rows stood there twice")]
    said = [*failure_lines(NAME, [*own, Failure("no answer")])]
    assert said == [own[0].reason, own[1].reason, f"{NAME}: no answer"]


def test_no_full_stop_within_a_sentence() -> None:
    """An error or a vendor's words that end with one are followed by more."""
    said = failed_source(NAME, "Not allowed.", 3, NOW, NOW, NOW)
    assert said.startswith(f"{NAME} failed: Not allowed (third round in a row, first at 08:00 UTC); nothing newer")
    why = "GET /x answered 403: this key may not read it; the vendor says: Not allowed."
    gap = Gap(NAME, "failing", SOURCE.main.name, "7", None, None, why, f"gapless sync {NAME}", Failed(why), 9)
    assert "says: Not allowed;" in sentence(problems([gap])[0], NOW)
    lines = [line for line in planned([Plan(NAME, error="It is closed.")]) if isinstance(line, str)]
    assert f"{NAME} failed: It is closed; gapless doctor checks for the cause" in lines


def test_a_time_that_is_none_is_left_out() -> None:
    """Nothing is covered up to "never"."""
    assert stored._covered("logs", Coverage(parents=1, failed=1)) == "logs: not complete, 1 failed"


def test_unknown_fields_are_bounded() -> None:
    """The most frequent ones are shown, cut where they are long; --json has all."""
    fields = [f"f{number}" for number in range(14)]
    assert stored._drift(Drift(1, fields)) == f"{', '.join(fields[:10])} and 4 more, which --json lists (in 1 row)"
    assert stored._drift(Drift(2, ["x" * 99])) == f"{'x' * 60}… (in 2 rows)"
