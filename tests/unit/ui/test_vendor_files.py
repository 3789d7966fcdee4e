"""The files of others that the page brings: those that `versions.json` names, as they were, with their licences."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path

VENDOR = Path(__file__).resolve().parents[3] / "pipelines" / "ui" / "static" / "vendor"
VERSIONS = json.loads((VENDOR / "versions.json").read_text())


def test_they_are_what_their_packages_have() -> None:
    """Each has its hash; there is no other."""
    assert {one["file"]: one["sha256"] for one in VERSIONS} == {
        file.name: sha256(file.read_bytes()).hexdigest() for file in VENDOR.glob("*.js")
    }
    assert all(re.fullmatch(r"sha512-[\w+/]{86}==", one["integrity"]) for one in VERSIONS)
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", one["version"]) for one in VERSIONS)


def test_each_has_its_licence() -> None:
    """Beside it."""
    licences = {f"LICENSE.{one['package']}.txt" for one in VERSIONS}
    assert licences == {file.name for file in VENDOR.glob("LICENSE.*")}
    assert {one["licence"] for one in VERSIONS} == {"0BSD"}


def test_scripts_fetch_nothing_from_elsewhere() -> None:
    """Our own scripts, styles and templates name no other host."""
    ours = [*VENDOR.parent.glob("*.*"), *VENDOR.parent.parent.glob("templates/*.html")]
    found = [(file.name, url) for file in ours for url in re.findall(r"(?:https?:)?//[\w.-]+\.\w+", file.read_text())]
    assert {url for _, url in found} <= {"http://www.w3.org"}, found
