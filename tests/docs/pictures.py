"""Makes the README's picture of the demo, from what the demo prints: `python -m tests.docs.pictures`.

The pictures of the page are made by tests/integrations/test_ui.py, whose header has the command.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import MONOKAI

from gapless.pipelines.cli.demo import DemoResult, summary
from gapless.pipelines.destinations.target import DEMO_FILE
from tests.commands.test_demo import NOW

PICTURE = Path(__file__).resolve().parents[2] / "pipelines" / "docs" / "demo.svg"
WIDTH = 104
"""Characters of a line, so that the longest one of the demo fits."""
ELSEWHERE = re.compile(r"\s*@font-face \{.*?\}|\s*<!-- .*? -->", re.DOTALL)


def picture(told: dict[str, Any]) -> str:
    """Returns an SVG of what the demo printed, from its JSON document."""
    tables = {name: [rows["first"], rows["second"]] for name, rows in told["tables"].items()}
    answer = [[*[*row.values()][:-1], datetime.fromisoformat(row["latest"])] for row in told["answer"]]
    result = DemoResult(Path.cwd() / DEMO_FILE, tables=tables, columns=[*told["answer"][0]], answer=answer)
    console = Console(record=True, width=WIDTH, file=StringIO(), highlight=False)
    for part in ("$ gapless demo", "", *summary(result)):
        # The picture is for looking, not for copying a path from.
        if not (isinstance(part, str) and part.lstrip().startswith("python -c")):
            console.print(part, markup=False, soft_wrap=isinstance(part, str))
    drawn = console.export_svg(title="gapless demo", theme=MONOKAI, unique_id="demo")
    # Without fonts and addresses from elsewhere: whoever looks at the picture asks no other host for anything.
    return "\n".join(line.rstrip() for line in ELSEWHERE.sub("", drawn).splitlines()) + "\n"


def main() -> None:
    """Runs the demo in a folder of its own and writes the picture."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gapless.pipelines", "demo", "--json", "--now", NOW]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    PICTURE.write_text(picture(json.loads(done.stdout)), encoding="utf-8")


if __name__ == "__main__":
    main()
