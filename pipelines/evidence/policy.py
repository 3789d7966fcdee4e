"""Compares the privacy policy of today's settings with those under which the rows here were written."""

from __future__ import annotations

from gapless.pipelines.destinations.reader import Reader
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.evidence.stored_state import source_state
from gapless.sources import Source, left_accounts
from gapless.sources._extract.resource import private_to_arrow, shapes
from gapless.sources._ledger.package import ToArrow
from gapless.sources._schema.policy_history import HISTORY, POLICIES, is_same, weakened
from gapless.sources._schema.privacy import Privacy


def configured_policy(source: Source) -> Privacy:
    """Returns the policy of today's settings, which dlt looks up in three sections. Raises WrongSettings."""
    import dlt

    name = source.name
    key = next(filter(None, (dlt.secrets.get(f"{section}gapless_hash_key") for section in _sections(source))), None)
    try:
        return Privacy.parse(_rules(source), key, [*shapes(source.tables)], f"{name}_privacy".upper())
    except ValueError as error:
        raise WrongSettings(f"{name}: {error}") from None


def _rules(source: Source) -> str | None:
    import dlt

    settings = (f"{section}{source.name}_privacy" for section in _sections(source))
    return next(filter(None, map(dlt.config.get, settings)), None)


def _sections(source: Source) -> tuple[str, ...]:
    """Returns where dlt looks for a setting of the source, from the narrowest place on."""
    return f"sources.{source.name}.", "sources.", ""


def columns_of_today(source: Source) -> ToArrow:
    """Returns what turns records into columns, as a sync of today does. Raises WrongSettings."""
    return private_to_arrow(source.tables, configured_policy(source))


def is_applicable(reader: Reader, source: Source) -> bool:
    """Returns whether all that today's policy wants is here: no earlier one dropped or hashed what it keeps."""
    history = (source_state(reader, source) or {}).get(HISTORY, [])
    try:
        return not any(weakened(configured_policy(source), history))
    except WrongSettings:
        return False


def policy_changed(reader: Reader, source: Source) -> bool:
    """Returns whether older rows were written under another policy than today's."""
    state = source_state(reader, source) or {}
    marks = state.get(POLICIES)
    if not marks:  # written by a version that did not note it, or set back and not read since
        return False
    # Of an account that left, no rules are no wish to have all in clear.
    if source.name in left_accounts() and not _rules(source):
        return len(marks) > 1
    try:
        return not is_same(configured_policy(source), state)
    except WrongSettings:
        # A sync says that the settings are wrong; rows written under two policies are a gap in any case.
        return len(marks) > 1
