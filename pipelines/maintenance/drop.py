"""Deletes the whole dataset of an account that is not synced any more."""

from __future__ import annotations

from dataclasses import dataclass

from gapless.pipelines.destinations._layouts.changing import changing
from gapless.pipelines.destinations.reader import reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.evidence.completeness import exists
from gapless.sources import SOURCES
from gapless.sources._ledger.erasure.tombstones import ERASED


@dataclass(frozen=True)
class Held:
    """What a dataset holds, and so what is lost with it."""

    here: bool
    """Whether there is anything of it."""
    records: int = 0
    erased: int = 0
    """Tombstones: without them a later sync reads again what was forgotten."""


def held(target: Target, name: str) -> Held:
    """Returns what the dataset of a source holds. Raises Locked, NewerLayout, GaplessError."""
    with reading(target) as reader:
        if not exists(reader, SOURCES[name]):
            return Held(here=False)
        counts = [reader.rows(name, "select count(*) from {0}", one) for one in (SOURCES[name].main.name, ERASED)]
    records, erased = (int(found[0][0]) if found else 0 for found in counts)
    return Held(True, records, erased)


def drop(target: Target, name: str) -> None:
    """Deletes a dataset with all its tables, in one transaction where the engine has one, and makes the views anew.

    After a kill the same command ends it. Raises WrongSettings where tables are files, Locked, NewerLayout,
    GaplessError.
    """
    from gapless.pipelines.views import refresh

    if not target.backend.updates_rows:
        raise WrongSettings(
            f"{target.destination!r} is not deleted from by gapless: drop {name} there by its own means"
        )
    with changing(target, name, f"the dataset {name} could not be deleted") as pipeline:
        with pipeline.sql_client() as client:
            # What an earlier version staged there first, as by its absence nobody would look for it.
            for dataset in (client.staging_dataset_name, client.dataset_name):
                with client.with_alternative_dataset_name(dataset):
                    if client.has_dataset():
                        client.drop_dataset()
        for note in target.note_files(name):
            note.unlink(missing_ok=True)
        refresh.without(target, target.working_folder(name), name)
