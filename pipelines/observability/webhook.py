"""Telling a chat or a pager that a sync was partial or failed: one POST of JSON, bounded in time, after each round.

Such a URL holds its token, so it is a secret. What is sent are names, counts, classes of errors and our own advice:
no text of a record or of a vendor, and no id of either may enter. The sync's own end never depends on it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gapless.pipelines.errors import FAILED, GaplessError, Locked, WrongSettings
from gapless.pipelines.observability.post import deliver, site
from gapless.pipelines.redaction import cleaned
from gapless.sources._http.errors import ADVICE, VendorError

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.outcome import Outcome

URL, ON = "GAPLESS_WEBHOOK_URL", "GAPLESS_WEBHOOK_ON"
KINDS = ("failed", "partial", "recovered")
DEFAULT = "failed,partial"
ADVICE_OF = {kind.__name__: advice for kind, advice in ADVICE.items()}


@dataclass(frozen=True)
class Webhook:
    url: str
    on: frozenset[str]

    def __repr__(self) -> str:
        return f"Webhook({site(self.url)})"


def configured() -> Webhook | None:
    """Raises WrongSettings, without the URL, for one that is none, and for a word that `on` does not know."""
    url, on = _setting(URL), _setting(ON) or DEFAULT
    wanted = {word.strip().lower() for word in re.split(r"[,\s]+", on) if word.strip()}
    if unknown := wanted - set(KINDS):
        raise WrongSettings(f"{ON}: {', '.join(sorted(unknown))} is not known; there are {', '.join(KINDS)}.")
    if not url:
        return None
    try:
        site(url)
    except ValueError as error:
        raise WrongSettings(f"{URL}: {error}") from None
    return Webhook(url, frozenset(wanted))


def _setting(name: str) -> str:
    import dlt

    key = name.lower()
    holder: Any = dlt.secrets if name == URL else dlt.config
    found = holder.get(f"gapless.{key}") or holder.get(key)
    return ",".join(map(str, found)) if isinstance(found, list | tuple) else str(found or "")


@contextmanager
def told(webhook: Webhook | None, target: Target, say: Callable[..., None]) -> Iterator[list[Outcome]]:
    """Put the outcomes of the block's round into the list; what they say is told when it ends."""
    outcomes: list[Outcome] = []
    try:
        yield outcomes
    except (Locked, WrongSettings):
        raise
    except Exception as error:
        _tell(webhook, target, outcomes, say, error)
        raise
    _tell(webhook, target, outcomes, say)


def _tell(
    webhook: Webhook | None,
    target: Target,
    outcomes: list[Outcome],
    say: Callable[..., None],
    error: Exception | None = None,
) -> None:
    from gapless.pipelines.errors import root_cause
    from gapless.pipelines.outcome import exit_code

    if webhook is None:
        return
    code = FAILED if error else exit_code(outcomes)
    kind = type(root_cause(error)).__name__ if error else None
    try:
        event = "failed" if code == FAILED else "partial" if code else "complete"
        if event == "complete" and "recovered" in webhook.on and _recovered(target, outcomes):
            event = "recovered"
        if event in webhook.on:
            deliver(webhook.url, cleaned(document(event, code, target.destination, outcomes, kind)))
    except Exception as failure:
        why = str(failure) if isinstance(failure, VendorError) else type(failure).__name__
        say(f"the webhook was not told: {why}", event="webhook", level="warning")


def document(event: str, code: int, destination: str, outcomes: list[Outcome], error: str | None) -> dict[str, Any]:
    """`text` is one line, as Slack, Mattermost and Teams show it; the rest is for programs."""
    sources = [_source(outcome) for outcome in outcomes]
    told = "; ".join([*([f"ended early by {error}"] if error else []), *map(_line, sources)])
    return {
        "text": f"gapless: {event} on {destination}: {told}",
        "event": event,
        "exit_code": code,
        "destination": destination,
        "error": error,
        "sources": sources,
    }


def _source(outcome: Outcome) -> dict[str, Any]:
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
        "failures": dict(Counter(failure.kind for failure in outcome.failures)),
        "error": outcome.error_kind,
        "advice": ADVICE_OF.get(outcome.error_kind or ""),
    }


def _line(source: dict[str, Any]) -> str:
    failures = ", ".join(f"{count:,} {kind}" for kind, count in source["failures"].items())
    why = source["advice"] or source["error"] or (f"failed: {failures}" if failures else "")
    rows = f"{sum(source['rows'].values()):,} rows"
    return ", ".join(filter(None, (f"{source['source']} {source['outcome']}", rows, why)))


def _recovered(target: Target, outcomes: list[Outcome]) -> bool:
    """Whether the run before this one was not complete, of any of the sources."""
    from gapless.pipelines.destinations.reader import reading

    select = "select outcome from {0} order by started_at desc limit 2"
    try:
        with reading(target) as reader:
            before = [(reader.rows(outcome.source, select, "runs") or [])[1:] for outcome in outcomes]
    except GaplessError:  # a sync of somebody else has begun; its end is told by that one
        return False
    return any(found != "complete" for rows in before for (found,) in rows)
