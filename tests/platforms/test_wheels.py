"""Both wheels: what is in them, what they say of themselves, and that they work where nothing of the checkout is."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pydantic_monty._binary import find_monty_binary

from tests.servers import ROOT

SOURCES = {"codemode_graph": ROOT, "codemode_sandboxes": ROOT / "sandboxes"}
PROGRAM = """
import asyncio, json, sys
from importlib.metadata import requires, version
import codemode_graph, codemode_sandboxes
from codemode_graph import Trace, codemode
from codemode_graph.model import system

async def main():
    async with codemode(tools=[len], sandbox="monty") as cm:
        return await cm.run_code("[6 * 7, await tools.len('seven')]")

result = asyncio.run(main())
print(json.dumps({
    "files": [codemode_graph.__file__, codemode_sandboxes.__file__],
    "versions": [version("codemode-graph"), version("codemode-sandboxes")],
    "output": result["output"],
    "page": "codemode-run" in result.trace.html(),
}))
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    for source in SOURCES.values():
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    return {path.name.partition("-")[0]: path for path in folder.glob("*.whl")}


@pytest.fixture(scope="module")
def installed(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with both wheels, and with the dependencies of this one."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", place, cwd=place.parent)
    options = ("--no-index", "--no-deps", "--disable-pip-version-check", "--no-input", "-q")
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        place / "bin" / "python",
        "install",
        *options,
        *wheels.values(),
        cwd=place,
    )
    (packages,) = place.glob("lib/*/site-packages")
    # A folder that is named in a .pth file is searched, and its own .pth files, which name the checkout, are not read.
    langgraph = find_spec("langgraph")
    assert langgraph is not None
    (own,) = {str(Path(each).parent) for each in langgraph.submodule_search_locations or ()}
    (packages / "dependencies.pth").write_text(own + "\n")
    (place / "bin" / "monty").symlink_to(find_monty_binary(None))  # it is looked for beside the interpreter
    return place / "bin"


def headers(wheel: Path) -> Any:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return HeaderParser().parsestr(archive.read(name).decode())


@pytest.mark.parametrize("package", SOURCES)
def test_a_wheel_holds_the_package_and_nothing_else(package: str, wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels[package]) as archive:
        names = set(archive.namelist())
        (licence,) = [name for name in names if name.endswith("/licenses/LICENSE")]
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    expected = {
        str(path.relative_to(SOURCES[package]))
        for path in (SOURCES[package] / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert f"{package}/py.typed" in expected


@pytest.mark.parametrize("package", SOURCES)
def test_a_wheel_says_what_it_is(package: str, wheels: dict[str, Path]) -> None:
    said = headers(wheels[package])
    assert said["Name"] == package.replace("_", "-")
    assert said["Requires-Python"] == ">=3.11"
    assert said["License-Expression"] == "MIT"
    assert said["License-File"] == "LICENSE"
    assert said["Description-Content-Type"] == "text/markdown"
    assert said.get_payload().startswith("# ")
    assert all(said[name] for name in ("Summary", "Author", "Keywords"))
    assert "Operating System :: OS Independent" in said.get_all("Classifier")
    for requirement in said.get_all("Requires-Dist"):
        assert "<" in requirement, f"{requirement} has no cap"
        assert "@" not in requirement, f"{requirement} is a place, and not a version"


@pytest.mark.parametrize("package", SOURCES)
def test_a_release_names_the_repository_that_it_comes_from(
    package: str, wheels: dict[str, Path], tmp_path: Path
) -> None:
    assert headers(wheels[package]).get_all("Project-URL") is None
    hatchling = (sys.executable, "-m", "hatchling", "build", "-t")
    run(*hatchling, "sdist", "-d", tmp_path, cwd=SOURCES[package], CODEMODE_REPOSITORY="https://example.org/a/b/")
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    # As an index's users build it: from the source distribution, and without the variable.
    run(*hatchling, "wheel", "-d", tmp_path, cwd=next(tmp_path.glob("codemode_*-*/")))
    assert headers(next(tmp_path.glob("*.whl"))).get_all("Project-URL") == [
        "Repository, https://example.org/a/b",
        "Issues, https://example.org/a/b/issues",
        "Changelog, https://example.org/a/b/blob/main/CHANGELOG.md",
    ]


def test_the_source_distribution_has_what_is_to_be_copied(tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=ROOT)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        top = {Path(name).parts[1] for name in archive.getnames()}
    assert {"codemode_graph", "graphs", "langgraph.json", "README.md", "LICENSE", "CHANGELOG.md"} <= top
    assert not top & {"sandboxes", "tests", "docs", "benchmarks"}


@pytest.mark.slow
def test_installed_from_files_they_work(installed: Path, tmp_path: Path) -> None:
    said = json.loads(run(installed / "python", "-c", PROGRAM, cwd=tmp_path))
    assert all(file.startswith(str(installed.parent)) for file in said.pop("files"))
    assert said == {"versions": ["0.1.0", "0.1.0"], "output": [42, 5], "page": True}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["codemode-graph", "codemode_graph"])
def test_the_command_of_the_wheel_works(command: str, installed: Path, tmp_path: Path) -> None:
    start = [installed / command] if command == "codemode-graph" else [installed / "python", "-m", command]
    assert run(*start, "--version", cwd=tmp_path).startswith("codemode-graph 0.1.0")
    assert "Do a task" in run(*start, "--help", cwd=tmp_path)
    (tmp_path / "mytools.py").write_text("def add(a: int, b: int) -> int:\n    'Add.'\n    return a + b\n")
    assert "add" in run(*start, "tools", "--tools", "mytools:add", cwd=tmp_path)
