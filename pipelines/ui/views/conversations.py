"""Conversations: the messages with one lead, in their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gapless.pipelines.ui.address import View
from gapless.pipelines.ui.site import Question
from gapless.sources import SOURCES

MOST = 300
"""Messages of one conversation, the newest ones."""
CHOICES = 300
LEADS = (
    "select lead_id, count(*), max(sent_at) from activity.conversations group by 1 order by 3 desc, 1"
    f" limit {CHOICES}"
)


def fetch(question: Question) -> Mapping[str, Any]:
    """Returns the leads that have messages, the last ones first, and the messages of the chosen one."""
    rows = question.remembered("leads", lambda: question.db.rows_if_exists(LEADS))
    names = _names(question, [row[0] for row in rows])
    leads = [(key, names.get(key, ""), count, at) for key, count, at in rows]
    if text := question.address["q"].strip().lower():
        leads = [lead for lead in leads if text in lead[0].lower() or text in lead[1].lower()]
    chosen = question.address["lead"] or (leads[0][0] if leads else "")
    messages = question.db.rows_if_exists(
        "select sent_at, channel, direction, subject, body, documents, status from activity.conversations"
        # The newest ones, which are then shown from the oldest on.
        f" where lead_id = ? order by position desc limit {MOST}",
        chosen,
    )
    name = names.get(chosen) or _names(question, [chosen]).get(chosen, "")
    return {"leads": leads, "chosen": chosen, "name": name, "messages": messages[::-1], "most": MOST}


def _names(question: Question, ids: list[str]) -> dict[str, str]:
    """Returns the names of leads, whichever source has them."""
    found: dict[str, str] = {}
    for source in SOURCES:
        found |= question.labels(source, ids)
    return found


VIEW = View("conversations", "Conversations", ("lead", "q"), fetch)
