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

    name, setting = source.name, f"{source.name}_privacy"
    # Where dlt looks for a setting of the source, from the narrowest place on.
    sections = (f"sources.{name}.", "sources.", "")
    text = next(filter(None, (dlt.config.get(f"{section}{setting}") for section in sections)), None)
    key = next(filter(None, (dlt.secrets.get(f"{section}gapless_hash_key") for section in sections)), None)
    try:
        return Privacy.parse(text, key, [*shapes(source.tables)], setting.upper())
    except ValueError as error:
        raise WrongSettings(f"{name}: {error}") from None


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
    # Written by a version that did not note it, or set back and not read since; or no setting is there any more.
    if not marks or source.name in left_accounts():
        return False
    try:
        return not is_same(configured_policy(source), state)
    except WrongSettings:
        # A sync says that the settings are wrong; rows written under two policies are a gap in any case.
        return len(marks) > 1
