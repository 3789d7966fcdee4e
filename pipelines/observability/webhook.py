"""The webhook: notifies a chat or a pager with one POST of JSON after a sync that was partial or failed.

The URL holds a token, so it is a secret. A message has names, counts, classes of errors and our own advice; no id and
no text of a record or of a vendor may enter. A sync never fails because of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypedDict

from gapless.pipelines.errors import COMPLETE, FAILED, GaplessError, InUse, Locked, WrongSettings, root_cause
from gapless.pipelines.evidence import sentences
from gapless.pipelines.observability import reminders
from gapless.pipelines.observability.post import deliver, site
from gapless.pipelines.outcome import exit_code
from gapless.pipelines.printable import command, counted, escaped
from gapless.pipelines.redaction import cleaned
from gapless.sources._http.errors import ADVICE, VendorError

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.outcome import Outcome
    from gapless.sources._ledger.session import Failure

URL, ON = "GAPLESS_WEBHOOK_URL", "GAPLESS_WEBHOOK_ON"
KINDS = ("failed", "partial", "recovered")
DEFAULT = "failed,partial,recovered"
ADVICE_OF = {kind.__name__: advice for kind, advice in ADVICE.items()}


class SourceReport(TypedDict):
    """One source in a message; seconds and UTC times."""

    source: str
    outcome: str
    run_id: str
    started_at: datetime
    finished_at: datetime | None
    rounds: int
    """Rounds in a row that failed, or were not complete; 0: it is complete, or that is unknown."""
    since: datetime | None
    """When the first of these rounds began."""
    newest_covered_to: datetime | None
    """Of a source that failed: nothing newer is proven to be here."""
    problems: list[dict[str, object]]
    """Counts and times for each reason; no id, and none of the vendor's words."""
    rows: dict[str, int]
    rows_new: int | None
    rows_changed: int | None
    rows_unchanged: int | None
    requests: int
    retries: int
    seconds_waited: float
    failures: dict[str, int]
    error: str | None
    advice: str | None


class Document(TypedDict):
    """The message of one sync."""

    text: str
    event: str
    reminder: bool
    """Nothing has changed since the last message, which was a day ago."""
    exit_code: int
    destination: str
    error: str | None
    sources: list[SourceReport]


@dataclass(frozen=True)
class Webhook:
    """Where to send messages, and for which events; `repr()` hides the token."""

    url: str
    on: frozenset[str]

    def __repr__(self) -> str:
        return f"Webhook({site(self.url)})"


def configured() -> Webhook | None:
    """Returns the webhook of the settings, None without a URL.

    Raises WrongSettings for an invalid URL, which the message does not repeat, and for an unknown event.
    """
    # Checked also without a URL, so that a misspelt event shows before it is needed.
    url, on = _setting(URL), _setting(ON) or DEFAULT
    wanted = {word.strip().lower() for word in re.split(r"[,\s]+", on) if word.strip()}
    if unknown := wanted - set(KINDS):
        raise WrongSettings(f"{ON}: {', '.join(sorted(unknown))} is not known; expected {', '.join(KINDS)}.")
    if not url:
        return None
    try:
        site(url)
    except ValueError as error:
        raise WrongSettings(f"{URL}: {error}.") from None
    return Webhook(url, frozenset(wanted))


def _setting(name: str) -> str:
    """Returns a setting from [gapless] or the top of dlt's configuration; a list becomes a text with commas."""
    import dlt

    key = name.lower()
    # The address holds a token, so it is looked up among the secrets.
    holder = dlt.secrets if name == URL else dlt.config
    found: object = holder.get(f"gapless.{key}") or holder.get(key)
    return ",".join(map(str, found)) if isinstance(found, list | tuple) else str(found or "")


@contextmanager
def notifying(
    webhook: Webhook | None, target: Target, report: Callable[..., None], *, strict: bool = False
) -> Iterator[list[Outcome]]:
    """Yields a list for the outcomes of a sync, and sends the message when the block ends.

    Wrong settings and a held lock send none, nor does what was said within a day. `report` prints it if the message
    could not be delivered; `strict` is the sync's.
    """
    outcomes: list[Outcome] = []
    try:
        yield outcomes
    except (Locked, WrongSettings) as error:  # nothing was synced, and the person who started it sees the message
        if isinstance(error, InUse):  # which may last, and nobody sees it under a scheduler
            _notify(webhook, target, outcomes, report, error=error)
        raise
    except Exception as error:
        _notify(webhook, target, outcomes, report, error=error)
        raise
    _notify(webhook, target, outcomes, report, strict=strict)


def _notify(
    webhook: Webhook | None,
    target: Target,
    outcomes: list[Outcome],
    report: Callable[..., None],
    *,
    error: Exception | None = None,
    strict: bool = False,
) -> None:
    if webhook is None:
        return
    kind, now = type(root_cause(error)).__name__ if error else None, datetime.now(UTC)
    natural = FAILED if error else exit_code(outcomes)
    event = {COMPLETE: "recovered", FAILED: "failed"}.get(natural, "partial")
    own = error.code if isinstance(error, GaplessError) else natural
    code = own if error else exit_code(outcomes, strict=strict)
    try:
        found = _news(target, outcomes, kind, now)
        if event in webhook.on and found:
            made = document(event, code, target.destination, outcomes, kind, reminder=not found.changed)
            deliver(webhook.url, cleaned(made))
            reminders.note(target, outcomes, found, now)
        # An error that was said within a day stays noted.
        if kind is None or found.changed or found.due:
            reminders.note_error(target, kind, now)
    except Exception as failure:  # whatever it is, the sync has ended well or badly without it
        reason = str(failure) if isinstance(failure, VendorError) else type(failure).__name__
        report(f"the webhook did not get the message: {reason}", event="webhook", level="warning")


def _news(target: Target, outcomes: list[Outcome], kind: str | None, now: datetime) -> reminders.News:
    """Returns whether there is something to say; if the destination cannot be read, the round's own error decides."""
    try:
        found = reminders.news(target, outcomes, now)
    except Exception:  # another program has the file, or a server is away: rather twice than never
        found = reminders.News(changed=any(one.outcome != "complete" for one in outcomes), due=False)
    broken = kind is not None and reminders.error_is_news(target, kind, now)
    return replace(found, changed=found.changed or broken)


def document(
    event: str,
    code: int,
    destination: str,
    outcomes: list[Outcome],
    error: str | None,
    *,
    reminder: bool = False,
) -> Document:
    """Returns the message. `text` is one line, as Slack, Mattermost and Teams show it; the rest is for programs."""
    lines = "; ".join([*([f"ended early by {error}"] if error else []), *map(_line, outcomes)])
    return {
        "text": escaped(f"gapless: {'still ' if reminder else ''}{event} on {destination}: {lines}"),
        "event": event,
        "reminder": reminder,
        "exit_code": code,
        "destination": destination,
        "error": error,
        "sources": [_source(outcome) for outcome in outcomes],
    }


def _source(outcome: Outcome) -> SourceReport:
    """Returns one source's part of the message: error classes only, as an error's text may quote an id."""
    return {
        "source": outcome.source,
        "outcome": outcome.outcome,
        "run_id": outcome.run_id,
        "started_at": outcome.started_at,
        "finished_at": outcome.finished_at,
        "rounds": outcome.rounds,
        "since": outcome.since,
        "newest_covered_to": outcome.newest_covered_to,
        "problems": [_without_texts(problem.to_json()) for problem in outcome.problems],
        "rows": outcome.rows,
        "rows_new": outcome.rows_new,
        "rows_changed": outcome.rows_changed,
        "rows_unchanged": outcome.rows_unchanged,
        "requests": outcome.requests,
        "retries": outcome.retries,
        "seconds_waited": round(outcome.seconds_waited, 3),
        "failures": _counts(outcome.failures),
        "error": outcome.error_kind,
        "advice": ADVICE_OF.get(outcome.error_kind or ""),
    }


def _without_texts(problem: dict[str, object]) -> dict[str, object]:
    """Returns a problem without what may hold an id or the vendor's words; a command may hold an id as well."""
    return {name: value for name, value in problem.items() if name not in ("source", "reason", "ids", "fill")}


def _counts(failures: Iterable[Failure]) -> dict[str, int]:
    """Returns the number of failures by kind; all else in a failure may quote an id."""
    return dict(Counter(failure.kind for failure in failures))


def _line(outcome: Outcome) -> str:
    """Returns one source's part of `text`."""
    now = outcome.finished_at or outcome.started_at
    if outcome.error_kind:
        reason = ADVICE_OF.get(outcome.error_kind) or outcome.error_kind
        facts = (outcome.rounds, outcome.since, outcome.newest_covered_to, now)
        failed = sentences.failed_source(f"{outcome.source} (the whole source)", reason, *facts)
        return f"{failed}; `{command(outcome.destination, 'doctor')}` checks for the cause"
    others = ", ".join(f"{count:,} {kind}" for kind, count in _counts(outcome.unexplained).items())
    said = [sentences.sentence(problem, now, private=True) for problem in outcome.problems]
    said += [f"{outcome.source}: failed: {others}"] if others else []
    return "; ".join((f"{outcome.source} {outcome.outcome}, {counted(outcome.rows_written, 'rows')}", *said))
