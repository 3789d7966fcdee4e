"""What people and libraries hand to the command line is escaped, too: arguments, names of files, warnings."""

from __future__ import annotations

import io
import warnings

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli import streams
from gapless.pipelines.cli.app import app
from gapless.pipelines.observability import webhook
from tests.support.hostile import FORGED, harmful

HOSTILE = f"\x1b]0;title\x07\u202e\n{FORGED}[bold]"


@pytest.mark.parametrize(
    "arguments",
    [
        [HOSTILE],
        [f"-{HOSTILE}"],
        ["sync", f"--{HOSTILE}"],
        ["sync", HOSTILE],
        ["sync", "--every", HOSTILE],
        ["sync", "--since", HOSTILE],
        ["sync", "--shard", HOSTILE],
        ["ui", "--port", HOSTILE],
        ["state", HOSTILE],
        ["state", "reset", "one", HOSTILE],
        ["gaps", "--destination", HOSTILE],
        ["publish", HOSTILE],
        ["demo", "--file", f"{HOSTILE}/x"],
        ["copy", "--to", HOSTILE],
        ["--log-format", HOSTILE],
    ],
    ids=lambda given: " ".join(given).replace(HOSTILE, "X"),
)
@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
def test_arguments_are_repeated_escaped(arguments: list[str], as_json: list[str]) -> None:
    """In typer's box as in messages of our own; with --json the document is one line."""
    result = CliRunner().invoke(app, [*arguments, *as_json])
    assert result.exit_code in (1, 2)
    assert harmful(result.output) == []
    bare = [line.partition("Z ")[2] or line for line in result.output.splitlines()]
    assert [line for line in bare if line.startswith(FORGED[:6])] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["forget", "one", "--where", "name=\udcff"],
        ["forget", "one", "--id", "\udcff"],
        ["sync", "one", "--id", "\udcff"],
        ["\udcff"],
        ["publish", "\udcff.duckdb"],
        ["status", "--destination", "\udcff"],
    ],
    ids=lambda given: given[-2] if len(given) > 1 else "command",
)
@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
def test_arguments_that_are_no_text(arguments: list[str], as_json: list[str]) -> None:
    """Bytes that are not UTF-8 are wrong usage, whichever argument has them, and named in ASCII."""
    result = CliRunner().invoke(app, [*arguments, *as_json])
    assert (result.exit_code, "is not valid UTF-8" in " ".join(result.output.split())) == (2, True), result.output
    assert harmful(result.output) == []


def test_what_libraries_write_is_escaped() -> None:
    """A warning, or a traceback of a thread, goes to stderr by itself; colours and line ends are rich's own."""
    written = io.StringIO()
    stderr = streams._Safe(written)
    stderr.write(warnings.formatwarning("id \x1b]0;title\x07 \x9b2J \u202e", UserWarning, "x.py", 1, ""))
    assert written.getvalue().startswith("x.py:1: UserWarning: id \\x1b]0;title\\x07 \\x9b2J \\u202e\n")
    stderr.write("\x1b[31mred\x1b[0m\tcell\r\n")
    assert written.getvalue().endswith("\x1b[31mred\x1b[0m\tcell\r\n")


def test_the_webhooks_text_is_one_line() -> None:
    """A chat shows it as it is: the name of a destination cannot make a line of its own."""
    text = webhook.document("failed", 1, HOSTILE, [], "InUse")["text"]
    assert harmful(text) == []
    assert "\n" not in text
