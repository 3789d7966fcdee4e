"""The commands that hand the data on: `views`, `dbt`, `publish`, `copy`, `ui`, `mcp`; and `demo`, with its own."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gapless.pipelines.cli import completion, output, report
from gapless.pipelines.cli.options import (
    NAMES,
    Destination,
    Json,
    initialise,
    open_target,
    print_nothing_synced,
)
from gapless.pipelines.cli.render import stored
from gapless.pipelines.config.folders import real_path
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.outcome import exit_code

CopyPath = Annotated[
    Path, typer.Argument(metavar="PATH", help="File to write; an earlier published copy there is replaced.")
]
DbtPath = Annotated[
    Path, typer.Argument(metavar="PATH", help="Folder of dbt's models, or the .yml file to write there.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")]
Host = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS", help="Address to listen on; any other than this machine's needs a proxy with TLS."
    ),
]
BasePath = Annotated[
    str, typer.Option(metavar="PATH", help="The path under which a proxy serves the page, such as /gapless.")
]
Origin = Annotated[
    str,
    typer.Option(
        metavar="URL", help="What a browser shows when a proxy stands before the page: https://data.example.com."
    ),
]
Headless = Annotated[bool, typer.Option("--headless", "--no-browser", help="Do not open a browser.")]
To = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="The name of a destination in dlt's configuration.", autocompletion=completion.copies
    ),
]
Copied = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SOURCE]...",
        help=f"{NAMES}. Default: every source in the file.",
        autocompletion=completion.sources,
    ),
]
Now = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Simulated time of the second sync (ISO 8601). Default: the present minute."),
]
Rows = Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="Most rows of an answer.")]
Timeout = Annotated[float, typer.Option(min=0.1, max=3600, metavar="SECONDS", help="Most seconds of an answer.")]
DemoFile = Annotated[Path, typer.Option(metavar="PATH", help="File to write; an earlier demo file is replaced.")]


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    for command in (views, dbt, publish, copy, ui, mcp, demo):
        app.command()(command)


def views(destination: Destination = "duckdb", as_json: Json = False) -> None:
    """Create or update the views of the schema activity, as each sync does, and list them with their row counts."""
    from gapless.pipelines.views.refresh import listed

    target = open_target(destination)
    found = listed(target)
    if as_json:
        rows = {one.name: {"one_row_per": one.grain, "rows": one.rows} for one in found or []}
        output.print_json("views", {"destination": target.destination, "file": target.file, "views": rows})
    elif found is not None:
        output.print_results(stored.views(found))
    else:
        print_nothing_synced(target)


def dbt(path: DbtPath, force: Force = False, destination: Destination = "duckdb", as_json: Json = False) -> None:
    """Write dbt's file of sources: every table and view here with its descriptions, and when its data is late.

    Example: [bold]gapless dbt models/gapless[/bold] writes models/gapless/sources.yml
    """
    from gapless.pipelines.dictionary.dbt import write
    from gapless.pipelines.evidence.seen import take_in_stored
    from gapless.pipelines.verify.verify import synced
    from gapless.sources import SOURCES

    target = open_target(destination)
    take_in_stored(target)
    if names := synced(target, list(SOURCES)):
        file = write(path, names, force)
        if as_json:
            output.print_json("dbt", {"written": file, "sources": names})
        else:
            output.print_results(f"written: {file}, with {', '.join(names)} and the views")
    elif as_json:
        output.print_json("dbt", {"written": None, "sources": []})
    else:
        print_nothing_synced(target)


def publish(path: CopyPath, destination: Destination = "duckdb", as_json: Json = False) -> None:
    """Write a copy of the DuckDB file that can be read at any time, also during a sync. The copy is replaced at once.

    Example: [bold]gapless publish readers.duckdb[/bold] · to do so after every sync, set
    GAPLESS_PUBLISH=readers.duckdb
    """
    from gapless.pipelines.destinations.publish import publish as publish_file

    made = publish_file(open_target(destination), path)
    if as_json:
        content = {"published": made.file, "bytes": made.bytes, "seconds": round(made.seconds, 3)}
        output.print_json("publish", content)
    else:
        output.print_results(f"published: {made.file}, {made.bytes / 1e6:,.1f} MB in {made.seconds:.1f} s")


def copy(to: To, sources: Copied = None, as_json: Json = False) -> None:
    """Copy the DuckDB file to another destination: first everything, later only what is new.

    Example: [bold]gapless copy --to postgres[/bold]

    The copy has the file's tables, ledger and state, so gapless sync --destination NAME can continue from it.
    Sends no request to a vendor.
    """
    from gapless.pipelines.destination_copy.copy_sources import copy as copy_file
    from gapless.pipelines.sync import build

    source_file, copy_target = open_target("duckdb"), open_target(to)
    outcomes = copy_file(
        build.known(sources or []), source_file, copy_target, lambda name: output.print_message(f"{name}: copying")
    )
    raise typer.Exit(report.print_outcomes("copy", list(outcomes), as_json=as_json))


def ui(
    port: Port = 0,
    headless: Headless = False,
    destination: Destination = "duckdb",
    host: Host = "127.0.0.1",
    base_path: BasePath = "",
    origin: Origin = "",
) -> None:
    """Serve a web page about the data, on this machine only and until Ctrl-C: health, timeline, coverage, SQL.

    Examples: [bold]gapless ui[/bold] · [bold]gapless ui --destination postgres[/bold]

    It reads the copy that GAPLESS_PUBLISH names if there is one, else the DuckDB file; or Postgres. Sends no request
    to a vendor. GAPLESS_UI_TOKEN sets its key, which is else a new one for each start.
    """
    from gapless.pipelines.evidence.seen import take_in_stored
    from gapless.pipelines.ui import server

    place, target = server.Place(host, port, base_path, origin), open_target(destination)
    take_in_stored(target)
    server.serve(target, place, not headless, output.print_message)


def mcp(rows: Rows = 500, timeout: Timeout = 20.0, destination: Destination = "duckdb") -> None:
    """Answer the questions of an assistant by MCP, over stdin and stdout: tables, SQL, timeline, gaps, freshness.

    Example: [bold]gapless mcp --destination postgres[/bold]

    It only reads: the copy that GAPLESS_PUBLISH names if there is one, else the DuckDB file; or Postgres. Each answer
    says up to when it is proven complete. Sends no request to a vendor.
    """
    from gapless.pipelines.evidence.seen import take_in_stored
    from gapless.pipelines.mcp_server.server import serve

    try:
        os.read(0, 0)
    except OSError as error:
        raise WrongSettings(
            f"gapless mcp reads questions from stdin, which cannot be read: {error.strerror}."
        ) from None
    target = open_target(destination)
    take_in_stored(target)
    serve(target, rows, timeout)


def demo(file: DemoFile = Path("gapless-demo.duckdb"), now: Now = None, as_json: Json = False) -> None:
    """Sync simulated vendors twice, one simulated hour apart. Needs no keys and no network, changes no settings.

    Examples: [bold]gapless demo[/bold] · [bold]gapless demo --file /tmp/try.duckdb[/bold]
    """
    from gapless.pipelines.cli import arguments, progress
    from gapless.pipelines.cli.demo import run, summary, to_json

    initialise()
    path = real_path(file)
    # Whole minutes: seconds would only make times harder to read.
    at = arguments.time(now, "--now") if now else datetime.now(UTC).replace(second=0, microsecond=0)
    with progress.displayed(output.err()) as display:
        result = run(path, at, display.message, display.start, display.end)
    code = exit_code(result.first + result.second)
    if as_json:
        output.print_json("demo", to_json(result), code, report.problems_of(result.first + result.second))
    else:
        output.print_results(*summary(result))
    report.print_failures(result.first + result.second)
    raise typer.Exit(code)
