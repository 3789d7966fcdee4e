"""What is not complete is said once for each reason, in one sentence, and one command fills what one command can."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from gapless.pipelines.evidence.gap import Failed, Gap
from gapless.pipelines.evidence.grouping import problems, remedies
from gapless.pipelines.evidence.sentences import failed_source, sentence
from gapless.sources._http.errors import ADVICE, Unauthorized, Unavailable, VendorError, answer_of

NOW = datetime(2026, 11, 26, 8, 44, tzinfo=UTC)
AT = "2026-11-26T08:14:00+00:00"
SINCE = "2026-03-01T07:20:00+00:00"


def failing(key: str, answer: str = "answered 500: the vendor could not answer", **facts: Any) -> Gap:
    """A lead that failed, with a reason of its own as every retry has one."""
    reason = f"GET /api/v1/leads/{key}/action-logs {answer}; gave up after {len(key)} attempts in 1.{key[-1]} s"
    gap = Gap("omni", "failing", "action_logs", key, SINCE, None, reason, f"gapless sync omni --id {key}")
    return replace(gap, failed=Failed(**{"reason": reason, "times": 3, "first_at": AT, **facts}), of=403)


def letter(key: str, reason: str, fill: str = "gapless sync sequence", **facts: Any) -> Gap:
    """A record that could not be read."""
    gap = Gap("sequence", "dead letter", "activity_logs", "", None, None, f"record {key}: {reason}", fill)
    return replace(gap, failed=Failed(reason, key, 1, AT), **facts)


def said(gaps: Iterable[Gap], **how: bool) -> list[str]:
    return [sentence(problem, NOW, **how) for problem in problems(gaps)]


def test_parents_that_failed() -> None:
    """How many of how many, the answer, which round in a row, since when, what is missing, what comes next."""
    leads = [failing(f"lead-{number}") for number in range(49)]
    assert said(leads) == [
        "omni: 49 of 403 leads answered 500: the vendor could not answer (third round in a row, first at 08:14 UTC);"
        " their action logs since 1 March 07:20 UTC are not here yet and are tried first next time;"
        " `gapless gaps omni` lists them"
    ]


def test_one_parent() -> None:
    """It is named; the first time says so; an earlier day has its date, an earlier year its year."""
    (one,) = said([replace(failing("lead-7", times=1, first_at="2025-11-25T23:59:00+00:00"), since=None)])
    assert one == (
        "omni: 1 of 403 leads (lead-7) answered 500: the vendor could not answer"
        " (for the first time, at 25 November 2025 23:59 UTC); none of their action logs are proven to be here yet"
        " and are tried first next time; `gapless gaps omni` lists it"
    )


def test_some_were_never_read() -> None:
    """What was never read is told apart from what has no new records, and from what was empty."""
    gaps = [
        failing("lead-1"),
        replace(failing("lead-2"), since=None),
        replace(failing("lead-3", was_empty=True), since=None),
    ]
    (one,) = said(gaps)
    assert "their action logs since 1 March 07:20 UTC, and of 1 of them since the beginning, are not here yet" in one
    (empty,) = said([replace(failing("lead-3", was_empty=True), since=None)])
    assert "their new action logs are not here yet" in empty


def test_reasons_are_told_apart() -> None:
    """Another answer is another problem; other waits, counts, ids and words of the vendor are not."""
    words = "answered 403: this key may not read it; the vendor says: request"
    gaps = [
        failing("lead-1"),
        failing("lead-2", words + " 12"),
        failing("lead-3", words + " ab-7"),
        failing("lead-4"),
    ]
    assert [len(problem.gaps) for problem in problems(gaps)] == [2, 2]
    assert [problem.status for problem in problems(gaps)] == [500, 403]


def test_records_of_one_reason_are_one_problem() -> None:
    """Fifty records that cannot be read are one line, not fifty."""
    (one,) = said(letter(f"id-{number}", "origin: expected a text") for number in range(50))
    assert one == (
        "sequence: 50 activity logs could not be read: origin: expected a text (for the first time, at 08:14 UTC);"
        " kept in sequence.dead_letters and tried first next time; `gapless gaps sequence` lists them"
    )


def test_what_a_sync_does_not_mend() -> None:
    """The command is named in place of the next sync."""
    (one,) = said([letter("id-1", "missing: the vendor serves it", "gapless verify sequence --repair")])
    assert "1 activity log (id-1) is open: missing: the vendor serves it" in one
    assert one.endswith("; `gapless verify sequence --repair` mends it")


@pytest.mark.parametrize(
    ("gap", "told"),
    [
        (
            Gap("tines", "never synced", "", "", None, None, "not synced yet", "gapless sync tines --destination pg"),
            "tines: not synced yet; the next sync reads it; `gapless gaps tines --destination pg` lists it",
        ),
        (
            Gap("tines", "damaged", "runs", "", None, None, "the table runs is missing", "gapless sync tines"),
            "tines: runs: the table runs is missing; the next sync reads it; `gapless gaps tines` lists it",
        ),
        (
            Gap("sequence", "interval", "activity_logs", "", None, SINCE, "not read yet", "gapless sync sequence"),
            "sequence: activity logs from the beginning to 1 March 07:20 UTC: not read yet; the next sync reads it;"
            " `gapless gaps sequence` lists it",
        ),
        (
            Gap("omni", "lost", "leads", "", None, None, "5 rows are lost", "gapless verify omni --repair"),
            "omni: leads: 5 rows are lost; `gapless verify omni --repair` mends it",
        ),
        (
            Gap("omni", "set back", "action_logs", "7", SINCE, None, "it was set back", "gapless sync omni", of=9),
            "omni: 1 of 9 leads (7): it was set back; the next sync reads it; `gapless gaps omni` lists it",
        ),
        (
            Gap("omni", "failing", "leads", "", None, None, "x", "gapless sync omni", Failed("GET /leads: no")),
            "omni: the list of leads failed: no; new leads are not read and are tried first next time;"
            " `gapless gaps omni` lists it",
        ),
        (
            Gap("omni", "not asked", "action_logs", "", SINCE, None, "x", "gapless sync omni",
                Failed("GET /leads answered 401: no", "", 2, AT)),
            "omni: the whole source answered 401: no (second round in a row, first at 08:14 UTC);"
            " not read since 1 March 07:20 UTC; `gapless doctor` checks for the cause",
        ),
    ],
)  # fmt: skip
def test_every_kind_reads_well(gap: Gap, told: str) -> None:
    assert said([gap]) == [told]


def test_nothing_private_leaves() -> None:
    """In a message that others read there is no id, and no word of the vendor's."""
    secret = "answered 403: this key may not read it; the vendor says: canary"
    gaps = [failing("lead-canary", secret), letter("id-canary", "canary", parent="canary")]
    lines = said(gaps, private=True)
    assert "1 of 403 leads answered 403 (third round" in lines[0]
    assert "1 activity log could not be read (" in lines[1]
    assert "canary" not in "".join(lines)


@pytest.mark.parametrize(
    ("times", "told"),
    [(2, "second"), (10, "tenth"), (11, "11th"), (12, "12th"), (21, "21st"), (102, "102nd"), (1013, "1,013th")],
)
def test_rounds(times: int, told: str) -> None:
    assert f"({told} round in a row, first at 08:14 UTC)" in said([failing("lead-1", times=times)])[0]


def test_a_source_that_failed() -> None:
    """What happened, which round in a row, and after which time nothing is here."""
    line = failed_source("tines", "GET /a answered 401: no", 3, datetime.fromisoformat(AT), NOW, NOW)
    assert line == (
        "tines failed: GET /a answered 401: no (third round in a row, first at 08:14 UTC);"
        " nothing newer than 26 November 08:44 UTC is proven to be here"
    )
    assert failed_source("tines", "no", 0, None, None, NOW) == "tines failed: no"
    assert failed_source("tines", "tines: no", 0, None, None, NOW) == "tines failed: no"


def fills(*commands: str) -> list[str]:
    """The remedies of problems that these commands fill, each a problem of its own."""
    gaps = [failing(f"lead-{number}", f"answered {400 + number}: no") for number in range(len(commands))]
    return remedies(problems(replace(gap, fill=fill) for gap, fill in zip(gaps, commands, strict=True)))


@pytest.mark.parametrize(
    ("commands", "told"),
    [
        (["gapless sync omni --id 1"], ["gapless sync omni --id 1"]),
        (["gapless sync omni --id 1", "gapless sync omni --id 2"], ["gapless sync omni"]),
        (["gapless sync omni --id 1", "gapless sync omni"], ["gapless sync omni"]),
        (["gapless sync omni --id 'a b'", "gapless sync omni --id 2"], ["gapless sync omni"]),
        (["gapless sync omni", "gapless sync tines"], ["gapless sync omni tines"]),
        (
            ["gapless sync omni --destination pg", "gapless sync tines --destination pg --accept-append"],
            ["gapless sync omni --destination pg", "gapless sync tines --destination pg --accept-append"],
        ),
        (
            ["gapless state reset omni --yes && gapless sync omni", "gapless sync omni --id 1"],
            ["gapless state reset omni --yes && gapless sync omni"],
        ),
        (
            ["gapless sync omni --id 1", "gapless verify omni --repair", "gapless sync omni --shard 2/3"],
            ["gapless sync omni --id 1", "gapless verify omni --repair", "gapless sync omni --shard 2/3"],
        ),
    ],
)
def test_one_command_for_what_one_command_fills(commands: list[str], told: list[str]) -> None:
    assert fills(*commands) == told


def kinds_of_error(kind: type[VendorError] = VendorError) -> list[type[VendorError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in kinds_of_error(child))]


@pytest.mark.parametrize("kind", kinds_of_error())
def test_an_answer_is_read_from_its_text(kind: type[VendorError]) -> None:
    """Of every class: the ledger holds the text alone."""
    error = kind(method="GET", path="/api/v1/leads/7/x", status=409, detail="ours: 1; the vendor says: theirs: 2")
    assert answer_of(str(error)) == (409, "ours: 1", "theirs: 2")
    assert answer_of(str(kind(method="POST", path="/x", detail="ours; gave up after 1 attempt"))) == (
        None,
        "ours",
        "",
    )
    assert answer_of(f"missing: {kind.__name__}") == (None, f"missing: {kind.__name__}", "")


def test_our_own_advice_has_no_mark_of_the_vendors_words() -> None:
    """What stands behind the mark is taken for the vendor's and left out of messages."""
    assert [advice for advice in ADVICE.values() if "the vendor says" in advice] == []
    assert ADVICE[Unauthorized]
    assert ADVICE[Unavailable]
