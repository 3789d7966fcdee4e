"""The timeline takes in a source's part that is older than some of its columns."""

from __future__ import annotations

from pathlib import Path

from gapless.pipelines.views import refresh
from gapless.pipelines.views.expand import expand
from gapless.pipelines.views.models import model_columns
from gapless.sources import SOURCES


def test_a_part_without_the_later_columns() -> None:
    """A package of a user's own, written for an earlier version, has null there, and no view fails for it."""
    text = (Path(refresh.FILES) / "timeline.sql").read_text()
    (first, second, *_) = SOURCES.values()
    parts = {first.name: "select 1 as object_name, 2 as actor_type", second.name: "select 1 as actor_type"}
    of_first, of_second = expand(text, [first, second], parts).split("union all")
    assert ("cast(object_name as varchar)" in of_first, "cast(actor_type as varchar)" in of_first) == (True, True)
    assert "cast(null as varchar) as object_name" in of_second
    assert "cast(actor_type as varchar) as actor_type" in of_second
    assert "cast(null as timestamp with time zone) as gone_at" in of_second


def test_a_table_that_is_not_ours() -> None:
    """A view of a user's own may read any; only of ours is it known which columns they should have."""
    name, source = next(iter(SOURCES.items()))
    own = f"{name}.{source.main.name}"
    assert model_columns({f"{name}.mine", "nobody.t"}) == set()
    assert f"{own}.gone_at" in model_columns({own, "nobody.t"})
