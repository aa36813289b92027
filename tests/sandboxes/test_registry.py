"""Sandboxes by name."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import codemode_sandboxes
import pytest
from codemode_sandboxes import SANDBOXES, SandboxError, UnknownSandbox, create_sandbox
from codemode_sandboxes.choice import BY_COST
from codemode_sandboxes.monty import MontySandbox
from codemode_sandboxes.registry import ALIASES, EXTRAS, SPREAD


def test_a_name_and_its_options_make_a_sandbox() -> None:
    assert isinstance(create_sandbox("monty", max_workers=2), MontySandbox)
    with pytest.raises(TypeError, match="unknown_option"):
        create_sandbox("monty", unknown_option=1)


@pytest.mark.parametrize(
    ("name", "words"),
    [("mony", "did you mean 'monty'?"), ("quantum", "There are: "), ("mock", "no sandbox is named 'mock'"), ("", "")],
)
def test_an_unknown_name_is_an_error_that_helps(name: str, words: str) -> None:
    with pytest.raises(UnknownSandbox) as raised:
        create_sandbox(name)
    assert words in str(raised.value)
    assert ", ".join(sorted(SANDBOXES)) in str(raised.value)
    assert isinstance(raised.value, SandboxError | ValueError)


@pytest.mark.parametrize("name", sorted(SANDBOXES))
def test_every_name_leads_to_a_class_of_that_name(name: str) -> None:
    module, _, attribute = SANDBOXES[name].partition(":")
    assert getattr(importlib.import_module(module), attribute).name == name


def test_every_backend_has_its_place_among_the_costs_and_its_extra_exists() -> None:
    assert set(BY_COST) == set(SANDBOXES) - SPREAD
    project = tomllib.loads(Path(codemode_sandboxes.__file__).parents[1].joinpath("pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    assert set(EXTRAS) <= set(SANDBOXES)
    assert set(EXTRAS.values()) == set(extras) - {"pyodide-build"}  # which makes wheels, and is no sandbox


def test_no_alias_is_a_backends_own_name() -> None:
    assert not set(ALIASES) & set(SANDBOXES)


def test_importing_the_package_imports_no_backend() -> None:
    code = (
        "import sys, codemode_sandboxes\nprint([name for name in sys.modules if 'pydantic' in name or 'monty' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
