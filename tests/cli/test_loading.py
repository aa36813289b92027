"""Sandboxes as the options name them."""

from typing import Any

import pytest
from codemode_sandboxes import SANDBOXES, AutoSandbox, FallbackSandbox
from codemode_sandboxes.docker import DockerSandbox
from codemode_sandboxes.pyodide import PyodideSandbox
from codemode_sandboxes.registry import SPREAD

from codemode_graph.cli.invocation import load_sandbox


def packaged(sandbox: Any) -> bool:
    """Return whether it is one with a package."""
    match sandbox:
        case PyodideSandbox():
            return bool(sandbox._packages)
        case DockerSandbox():
            return "attrs" in sandbox._options.image
    return False


@pytest.mark.parametrize("name", ["pyodide", "pyodide-wasm", "docker"])
def test_packages_are_given_to_the_sandbox_that_is_named(name: str) -> None:
    assert packaged(load_sandbox({"sandbox": name}, packages=["attrs"]))
    assert not packaged(load_sandbox({"sandbox": name}, packages=[]))


@pytest.mark.parametrize(
    ("name", "auto", "expected"),
    [("auto", None, set(SANDBOXES) - SPREAD), (None, ["pyodide", "monty"], {"pyodide", "monty"})],
)
def test_packages_are_given_to_those_that_may_be_chosen(
    name: str | None, auto: list[str] | None, expected: set[str]
) -> None:
    sandbox = load_sandbox({"sandbox": name, "auto": auto}, packages=["attrs"])
    assert isinstance(sandbox, AutoSandbox)
    assert set(sandbox.names) == expected
    with_packages = {each for each in expected & {"pyodide", "docker", "monty"} if packaged(sandbox.backend(each))}
    assert with_packages == expected & {"pyodide", "docker"}


def test_packages_are_given_to_a_fallback() -> None:
    sandbox = load_sandbox({"sandbox": "docker", "fallback": ["pyodide"]}, packages=["attrs"])
    assert isinstance(sandbox, FallbackSandbox)
    assert all(packaged(sandbox.backend(name)) for name in ("docker", "pyodide"))
