"""The container's recipes ask for little: no root, no privilege, nothing writable but the state.

tests/third_party lints them and plays them.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gapless.sources import SOURCES
from tests.docs.test_pages import blocks, page
from tests.third_party.containerfile import instructions

STEPS = instructions(page("pipelines/docs/container/Containerfile"))
USER = "10001"


@pytest.fixture
def recipes() -> list[Any]:
    """The page's YAML: Compose, then Kubernetes."""
    return [yaml.safe_load(text) for _, text in blocks(page("pipelines/docs/CONTAINER.md"), "yaml")]


def test_the_last_stage_is_nobodys_but_the_users() -> None:
    """A user by number, who is not root; the base by version; no key among what is set or copied."""
    assert [argument for name, argument in STEPS if name == "USER"] == [f"{USER}:{USER}"]
    (base,) = [argument for name, argument in STEPS if name == "ARG"]
    assert base.count(":") == 1
    assert base.split(":")[1][0].isdigit()
    needs = {need.upper() for source in SOURCES.values() for need in source.needs}
    assert [(name, argument) for name, argument in STEPS if needs & {*argument.replace("=", " ").split()}] == []
    copied = {word for name, argument in STEPS if name == "COPY" for word in argument.split()[:-1]}
    assert copied == {"requirements.txt", "pyproject.toml", "README.md", "LICENSE", "sources", "pipelines"} | {
        "--from=build", "/opt/gapless",
    }  # fmt: skip
    assert [argument for name, argument in STEPS if name in ("ADD", "EXPOSE")] == []


def test_what_is_installed_is_checked() -> None:
    """Each command of pip either checks hashes, or can ask nobody."""
    runs = [argument for name, argument in STEPS if name == "RUN" and "pip install" in argument]
    assert ["--require-hashes" in run or "--no-index" in run for run in runs] == [True, True]


def test_compose(recipes: list[Any]) -> None:
    """Read-only, without capabilities, one volume and a /tmp in memory, from which nothing is started."""
    service = recipes[0]["services"]["gapless"]
    assert (service["read_only"], service["user"], service["cap_drop"]) == (True, f"{USER}:{USER}", ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert (service["volumes"], [*recipes[0]["volumes"]]) == (["gapless:/data"], ["gapless"])
    assert all("noexec" in mount and "nosuid" in mount for mount in service["tmpfs"])
    assert "ports" not in service


def test_kubernetes(recipes: list[Any]) -> None:
    """The same for a pod, which has no token of the cluster; one at a time, as a schedule does."""
    job = recipes[1]["spec"]
    pod = job["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert job["concurrencyPolicy"] == "Forbid"
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert pod["securityContext"] == {
        "runAsNonRoot": True, "runAsUser": int(USER), "runAsGroup": int(USER), "fsGroup": int(USER),
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/data", "/tmp"}
