"""A parent of which only the id is known, as after it left the listing: it must be read all the same."""

from __future__ import annotations

from typing import ClassVar

import pytest

from gapless.sources._incremental.listing import Parents
from gapless.sources._incremental.parent_listing import named_parent
from gapless.sources._ledger.ledger import MERGE
from gapless.sources._schema.arrow import Table
from gapless.sources._schema.record import CamelRecord, Instant, Integer, Record, Text


class Ticket(Record):
    """A parent whose time is required, as the recipe says."""

    id: Integer
    created_at: Instant
    subject: Text | None = None


class Board(CamelRecord):
    """The same with a text for its id, which has another name."""

    id_field: ClassVar[str] = "board_id"

    board_id: Text
    created_at: Instant


def parents(model: type[Record], key: str) -> Parents:
    return Parents(Table("parents", model, (key,), MERGE), noun="parents", pages=lambda client: iter(()))


def test_a_model_that_requires_more_than_the_id() -> None:
    """Each has its id in its own type, and nothing else."""
    ticket = parents(Ticket, "id").named("7")
    board = parents(Board, "board_id").named("b-7")
    assert ticket.model_dump() == {"id": 7, "created_at": None, "subject": None, "extra": None}
    assert board.model_dump() == {"board_id": "b-7", "created_at": None, "extra": None}


@pytest.mark.parametrize("key", ["seven", "", "99999999999999999999"])
def test_an_id_that_is_none(key: str) -> None:
    """A text where ids are numbers, and a number that no column holds."""
    assert named_parent(parents(Ticket, "id"), key) is None
    with pytest.raises(ValueError, match=r"invalid literal|less than"):
        parents(Ticket, "id").named(key)
