"""A virtual environment per requirements file, made once and kept: nothing of a contender is a dependency of gapless.

All comes from the package index pip is set up for. An environment is named after what it was made from, so a changed
requirements file makes a new one; the checkout is installed editable and so is always the code as it stands.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
import venv
from hashlib import sha256
from pathlib import Path

from tests.bench.contenders import Contender

HERE = Path(__file__).with_name("contenders")
ROOT = HERE.parents[2]
DEFAULT_FOLDER = Path(tempfile.gettempdir()) / "gapless-bench-venvs"


class CannotInstall(Exception):
    """What pip said last."""


def pythons(contender: Contender, folder: Path) -> dict[str, Path]:
    """The interpreters of a contender's environments, by the name it knows them by; made if they are missing."""
    return {name: python(HERE / file, folder) for name, file in contender.environments.items()}


def python(requirements: Path, folder: Path) -> Path:
    """The interpreter of the environment with just these requirements. Raises CannotInstall."""
    place = folder / f"{requirements.stem}-{_mark(requirements)}"
    interpreter = place / "bin" / "python"
    if (place / "ready").exists():
        return interpreter
    print(f"making the environment of {requirements.name} in {place}", file=sys.stderr, flush=True)
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place, with_pip=True)
    pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements.name]
    done = subprocess.run(pip, cwd=requirements.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotInstall("\n".join(done.stderr.strip().splitlines()[-5:]))
    (place / "ready").touch()
    return interpreter


def _mark(requirements: Path) -> str:
    text = requirements.read_text() + platform.python_version()
    if "-e " in text:
        text += str(ROOT) + (ROOT / "pyproject.toml").read_text() + (ROOT / "constraints.txt").read_text()
    return sha256(text.encode()).hexdigest()[:8]
