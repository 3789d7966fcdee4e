"""A project that has packages called `sources` and `pipelines` of its own, as dlt's projects do, uses gapless."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "sources" / "README.md").read_text()
WHERE = """
from importlib.util import find_spec
for name in ("gapless.pipelines.integrations.dagster_assets", "gapless.pipelines.integrations.airflow_dags"):
    assert find_spec(name), name  # not imported: each needs its extra
print(sources.__file__, pipelines.__file__, gapless.pipelines.cli.app.__file__, sequence.__module__, sep="\\n")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with `sources/` and `pipelines/` of its own."""
    for name in ("sources", "pipelines"):
        (tmp_path / "project" / name).mkdir(parents=True)
        (tmp_path / "project" / name / "__init__.py").touch()
    return tmp_path / "project"


def shown() -> str:
    """The script of the page about it."""
    (script,) = [text for text in re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S) if "# yours" in text]
    return str(script)


def imported(project: Path, *path: Path) -> list[str]:
    """Runs the page's script in the project's folder; returns where its four modules come from."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", shown() + WHERE],
        cwd=project,
        env=environment | ({"PYTHONPATH": os.pathsep.join(map(str, path))} if path else {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.sweep
def test_beside_an_editable_install(project: Path) -> None:
    """The project imports its own packages by their names, and gapless by its."""
    sources, pipelines, app, source = imported(project)
    assert [sources, pipelines] == [str(project / name / "__init__.py") for name in ("sources", "pipelines")]
    assert Path(app).resolve() == ROOT / "pipelines" / "cli" / "app.py"
    assert source == "gapless.sources.sequence"


@pytest.mark.slow
def test_beside_a_wheel(project: Path, tmp_path: Path) -> None:
    """The same; and the wheel holds one top-level package."""
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    made = subprocess.run(
        [*build, "--wheel-dir", str(tmp_path / "dist"), str(ROOT)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    (wheel,) = (tmp_path / "dist").glob("gapless-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        top = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"gapless"}
    sources, pipelines, app, source = imported(project, tmp_path / "site")
    assert [sources, pipelines] == [str(project / name / "__init__.py") for name in ("sources", "pipelines")]
    assert Path(app) == tmp_path / "site" / "gapless" / "pipelines" / "cli" / "app.py"
    assert source == "gapless.sources.sequence"
