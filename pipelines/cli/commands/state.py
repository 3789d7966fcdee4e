"""The commands of `gapless state`: they show what a source remembers, and make it read again."""

from __future__ import annotations

from typing import Annotated

import typer

from gapless.pipelines.cli import output
from gapless.pipelines.cli.options import Destination, Json, OneSource, Yes, confirm, known_here, open_target
from gapless.pipelines.cli.render import stored
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.printable import command, counted

To = Annotated[str, typer.Option(metavar="TIME", help="Read again the records created after TIME (ISO 8601).")]


def register(app: typer.Typer) -> None:
    """Adds the group `state` with its commands to `app`."""
    group = typer.Typer(help="Show what each source remembers, or make it read again.", no_args_is_help=True)
    for step in (show, rewind, reset, adopt, drop):
        group.command()(step)
    app.add_typer(group, name="state")


def show(destination: Destination = "duckdb", as_json: Json = False) -> None:
    """Show what each source remembers: watermark, unfinished walks, and up to when it is proven complete."""
    from gapless.pipelines.ledger import state

    target = open_target(destination, accept_append=True)
    found = list(state.source_states(target))
    if as_json:
        sources = {one.source: one.to_json() for one in found}
        output.print_json("state show", {"sources": sources, **sources})  # the sources alone: as it was at first
    elif found:
        output.print_results(stored.state(found))
    else:
        where = target.file or target.destination
        again = command(destination, "sync")
        output.print_message(f"nothing synced yet into {where}, so there is no state: run {again}")


def rewind(
    source: OneSource, to: To, destination: Destination = "duckdb", yes: Yes = False, as_json: Json = False
) -> None:
    """Set a source back to a time: the next sync reads again what was created after it. Deletes no row.

    Example: [bold]gapless state rewind SOURCE --to 2026-03-01[/bold]
    """
    from gapless.pipelines.cli import arguments
    from gapless.pipelines.ledger import state
    from gapless.pipelines.sync import build

    # Checked before the question, so that nobody answers it in vain.
    (name,), time = build.known([source]), arguments.time(to, "--to")
    target = open_target(destination, accept_append=True)
    confirm(yes, f"Set {name} back to {time.isoformat()}?")
    _print_change("rewind", name, destination, state.rewind(target, name, time), as_json)


def reset(source: OneSource, destination: Destination = "duckdb", yes: Yes = False, as_json: Json = False) -> None:
    """Forget what a source has proven: the next sync reads everything again. Deletes no row.

    Example: [bold]gapless state reset SOURCE --yes[/bold]
    """
    from gapless.pipelines.ledger import state
    from gapless.pipelines.sync import build

    (name,) = build.known([source])
    target = open_target(destination, accept_append=True)
    confirm(yes, f"Forget what {name} has proven? The next sync reads everything again.")
    _print_change("reset", name, destination, state.reset(target, name), as_json)


def adopt(source: OneSource, destination: Destination = "duckdb", yes: Yes = False, as_json: Json = False) -> None:
    """Take over a moved host, a changed account id or a new key, if ids prove that it is the same account.

    Example: [bold]gapless state adopt SOURCE[/bold]

    It asks the vendor for a few of the records that are here, and compares ids and creation times. Where all rows
    were erased nothing may be left to compare: then your answer to the question counts, or --yes. Changes no row.
    """
    from gapless.pipelines.sync import build
    from gapless.pipelines.verify import account

    (name,) = build.known([source])
    target = open_target(destination, accept_append=True)
    found = account.proposed(target, name)
    if found:
        message = f"{found.evidence}: {found.host} is the account whose rows are here"
        if found.evidence.open:
            message = f"{found.evidence}: only you can know that {found.host} is the account that was read before"
        output.print_message(f"{name}: {message}")
        confirm(yes, f"Let {name} be read from {found.host}{f', not {found.before}' if found.before else ''}?")
        account.adopt(target, found)
    again = command(destination, "sync", name)
    if as_json:
        output.print_json("state adopt", found.to_json() if found else {"source": name, "from": None, "to": None})
    elif found:
        output.print_message(f"done: the next {again} goes on with {found.host}; no row was changed")
    else:
        output.print_message(f"nothing synced yet from {name}, nothing to adopt: run {again}")


def drop(source: OneSource, destination: Destination = "duckdb", yes: Yes = False, as_json: Json = False) -> None:
    """Delete the whole dataset of an account that is not synced any more, as after its name changed.

    Example: [bold]gapless state drop SOURCE[/bold]

    Refused while the settings have its keys. What its vendor does not serve any more is gone for good, and so are its
    tombstones and, on Postgres, views of your own that read it. Sends no request to a vendor.
    """
    from gapless.pipelines.maintenance import drop as maintenance
    from gapless.pipelines.maintenance.compact import compact
    from gapless.pipelines.sync.build import is_served

    target = open_target(destination)
    (name,) = known_here(target, [source])
    if is_served(name):
        raise WrongSettings(f"{name} is synced: take it or its keys out of the settings first. Nothing was deleted.")
    held = maintenance.held(target, name)
    if held.here:
        known = f" and {counted(held.erased, 'tombstones')}, without which forgotten ones come back" * bool(
            held.erased
        )
        output.print_message(f"{name}: {counted(held.records, 'records')}{known}")
        confirm(yes, f"Delete the dataset {name} for good?")
    maintenance.drop(target, name)
    # A file keeps the bytes of what was dropped, by a command that was killed, too; a server deletes a table's files.
    if target.backend.compacts_whole:
        compact(target)
    if as_json:
        output.print_json("state drop", {"source": name, "records": held.records, "tombstones": held.erased})
    else:
        output.print_message(f"done: {name} is deleted" if held.here else f"nothing of {name} is here")


def _print_change(change: str, name: str, destination: str, proofs: int | None, as_json: bool) -> None:
    """Prints how many proofs were changed; None: the source was never synced."""
    again = command(destination, "sync", name)
    if as_json:
        output.print_json(f"state {change}", {"source": name, "changed": proofs})
    elif proofs is None:
        output.print_message(f"nothing synced yet from {name}, nothing to change: run {again}")
    else:
        output.print_message(f"done: the next {again} reads again from there; no row was deleted")
