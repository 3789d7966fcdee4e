"""The webhook: notifies a chat or a pager with one POST of JSON after a sync that was partial or failed.

The URL holds a token, so it is a secret. A message has names, counts, classes of errors and our own advice; no id and
no text of a record or of a vendor may enter. A sync never fails because of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypedDict

from gapless.pipelines.errors import FAILED, GaplessError, Locked, WrongSettings, root_cause
from gapless.pipelines.observability.post import deliver, site
from gapless.pipelines.outcome import exit_code
from gapless.pipelines.redaction import cleaned
from gapless.sources._http.errors import ADVICE, VendorError

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.outcome import Outcome

URL, ON = "GAPLESS_WEBHOOK_URL", "GAPLESS_WEBHOOK_ON"
KINDS = ("failed", "partial", "recovered")
DEFAULT = "failed,partial"
ADVICE_OF = {kind.__name__: advice for kind, advice in ADVICE.items()}


class SourceReport(TypedDict):
    """One source in a message; seconds and UTC times."""

    source: str
    outcome: str
    run_id: str
    started_at: datetime
    finished_at: datetime | None
    rows: dict[str, int]
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
        raise WrongSettings(f"{URL}: {error}") from None
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
def notifying(webhook: Webhook | None, target: Target, report: Callable[..., None]) -> Iterator[list[Outcome]]:
    """Yields a list for the outcomes of a sync, and sends the message when the block ends.

    Wrong settings and a held lock send none. `report` prints it if the message could not be delivered.
    """
    outcomes: list[Outcome] = []
    try:
        yield outcomes
    except (Locked, WrongSettings):  # nothing was synced, and the person who started it sees the message
        raise
    except Exception as error:
        _notify(webhook, target, outcomes, report, error)
        raise
    _notify(webhook, target, outcomes, report)


def _notify(
    webhook: Webhook | None,
    target: Target,
    outcomes: list[Outcome],
    report: Callable[..., None],
    error: Exception | None = None,
) -> None:
    if webhook is None:
        return
    code = FAILED if error else exit_code(outcomes)
    kind = type(root_cause(error)).__name__ if error else None
    try:
        event = "failed" if code == FAILED else "partial" if code else "complete"
        # Asked of the database only if somebody wants to know, as it takes a query.
        if event == "complete" and "recovered" in webhook.on and _recovered(target, outcomes):
            event = "recovered"
        if event in webhook.on:
            deliver(webhook.url, cleaned(document(event, code, target.destination, outcomes, kind)))
    except Exception as failure:  # whatever it is, the sync has ended well or badly without it
        reason = str(failure) if isinstance(failure, VendorError) else type(failure).__name__
        report(f"the webhook did not get the message: {reason}", event="webhook", level="warning")


def document(event: str, code: int, destination: str, outcomes: list[Outcome], error: str | None) -> Document:
    """Returns the message. `text` is one line, as Slack, Mattermost and Teams show it; the rest is for programs."""
    lines = "; ".join([*([f"ended early by {error}"] if error else []), *map(_line, outcomes)])
    return {
        "text": f"gapless: {event} on {destination}: {lines}",
        "event": event,
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
        "rows": outcome.vendor_rows(),
        "requests": outcome.requests,
        "retries": outcome.retries,
        "seconds_waited": round(outcome.seconds_waited, 3),
        "failures": _counts(outcome),
        "error": outcome.error_kind,
        "advice": ADVICE_OF.get(outcome.error_kind or ""),
    }


def _counts(outcome: Outcome) -> dict[str, int]:
    """Returns the number of failures by kind; all else in a failure may quote an id."""
    return dict(Counter(failure.kind for failure in outcome.failures))


def _line(outcome: Outcome) -> str:
    """Returns one source's part of `text`."""
    failures = ", ".join(f"{count:,} {kind}" for kind, count in _counts(outcome).items())
    reason = ADVICE_OF.get(outcome.error_kind or "") or outcome.error_kind or (failures and f"failed: {failures}")
    rows = f"{sum(outcome.vendor_rows().values()):,} rows"
    return ", ".join(filter(None, (f"{outcome.source} {outcome.outcome}", rows, reason)))


def _recovered(target: Target, outcomes: list[Outcome]) -> bool:
    """Returns whether the run before this one was not complete, for any of the sources."""
    from gapless.pipelines.destinations.reader import reading

    select = "select outcome from {0} order by started_at desc limit 2"
    try:
        with reading(target) as reader:
            # The newest run is this one.
            before = [(reader.rows(outcome.source, select, "runs") or [])[1:] for outcome in outcomes]
    except GaplessError:  # another sync has begun since, and sends its own message
        return False
    return any(found != "complete" for rows in before for (found,) in rows)
