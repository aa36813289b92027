"""Wheels of a project of one's own for Pyodide, and the bytecode of all wheels."""

import importlib.util
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import codemode_sandboxes
import pytest
from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.pyodide import PyodideSandbox
from codemode_sandboxes.pyodide.packages import VERSION, find_packages, find_pyodide, normalize
from codemode_sandboxes.pyodide.project import build_project

from tests.sandboxes.driving import run
from tests.sandboxes.processes import make

ROOT = Path(codemode_sandboxes.__file__).parents[1]
HAS_BUILD = importlib.util.find_spec("pyodide_build") is not None
needs_build = pytest.mark.skipif(not HAS_BUILD, reason="needs pyodide-build, and so Python 3.12 or later")
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "codemode-own-tools"
version = "{version}"
[tool.hatch.build.targets.wheel]
packages = ["own_tools"]
{more}
"""
COMPILED = "[tool.hatch.build.targets.wheel.hooks.custom]"
HOOK = """
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
class Hook(BuildHookInterface):
    def initialize(self, version, data):
        data["pure_python"], data["infer_tag"] = False, True
"""


def project(folder: Path, version: str = "1.2", *, code: str = "def double(n): return 2 * n\n", more: str = "") -> Path:
    place = folder / f"project-{version}"
    (place / "own_tools").mkdir(parents=True)
    (place / "pyproject.toml").write_text(PROJECT.format(version=version, more=more))
    (place / "hatch_build.py").write_text(HOOK)
    (place / "own_tools" / "__init__.py").write_text(code)
    (place / "own_tools" / "late.py").write_text("from own_tools import double\nfour = double(2)\n")
    (place / "own_tools" / "other.py").write_text("print 'another Python'\n")
    (place / "own_tools" / "tests").mkdir()
    (place / "own_tools" / "tests" / "test_double.py").write_text("assert True\n")
    return place


def command(*arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PIP_INDEX_URL": "http://127.0.0.1:9/simple", **environment}
    words = [sys.executable, "-m", "codemode_sandboxes.pyodide", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, env=environment)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder of its own, with Pyodide in it."""
    folder = tmp_path / "cache"
    folder.mkdir()
    pyodide = find_pyodide(None, make("pyodide")._cache)
    (folder / VERSION).symlink_to(pyodide.parents[1])
    return folder


@needs_build
def test_a_project_of_python_alone_becomes_a_wheel(tmp_path: Path) -> None:
    for version in ("1.2", "1.10"):
        done = command("build", project(tmp_path, version), "--no-isolation", "--cache", tmp_path / "cache")
        assert (done.returncode, done.stderr) == (0, "")
        first, second = done.stdout.splitlines()
        wheel = Path(first.partition(" is in ")[2])
        assert zipfile.ZipFile(wheel).testzip() is None
        assert second.endswith(f"install --package codemode_own_tools=={version} --cache {tmp_path / 'cache'}")


@needs_build
@pytest.mark.parametrize(
    ("files", "part"),
    [
        ({}, "there is no project in"),
        ({"pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = 'nobody_has_it'\n"}, "cannot be built: "),
        ({"pyproject.toml": PROJECT.format(version="1", more=COMPILED), "hatch_build.py": HOOK, "own_tools/__init__.py": ""},
         "has compiled code, which cannot be put in a memory snapshot. If it can do without on Pyodide, its toolchain"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_said_in_a_line(tmp_path: Path, files: dict[str, str], part: str) -> None:
    place = tmp_path / "project"
    place.mkdir()
    for name, text in files.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text)
    done = command("build", place, "--no-isolation", "--cache", tmp_path / "cache", PATH=os.defpath)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert part in line
    assert not list((tmp_path / "cache").rglob("*.whl"))


def test_without_pyodide_build_the_command_says_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if HAS_BUILD:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SandboxUnavailable, match=r"pyodide-build (needs Python 3.12|is not installed)") as raised:
        build_project(project(tmp_path), tmp_path)
    assert "pip install 'codemode-sandboxes[pyodide-build]'" in raised.value.remedy


@needs_build
async def test_programs_import_a_project_of_ones_own(tmp_path: Path, cache: Path) -> None:
    for version in ("1.2", "1.10"):
        place = project(tmp_path, version, code=f"def double(n): return [{version!r}, 2 * n]\n")
        assert command("build", place, "--no-isolation", "--cache", cache).returncode == 0
    # The index cannot be reached: the wheel is taken that was built.
    done = command("install", "--package", "codemode-own-tools<2", "--cache", cache)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Packages: codemode-own-tools 1.10\nModules: own_tools" in done.stdout
    sandbox = PyodideSandbox(packages=["codemode-own-tools<2"], cache=cache)
    try:
        assert (await run(sandbox, "import own_tools\nown_tools.double(21)")).value == ["1.10", 42]
    finally:
        await sandbox.aclose()


@pytest.mark.slow
async def test_wheels_get_bytecode_that_guests_use(tmp_path: Path, cache: Path) -> None:
    wheel = tmp_path / "own_tools-1-py3-none-any.whl"
    about = {
        "METADATA": "Metadata-Version: 2.1\nName: own-tools\nVersion: 1\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        place = project(tmp_path)
        for path in sorted(place.rglob("*.py")):
            if path.parent != place:
                archive.write(path, path.relative_to(place))
        for name, text in about.items():
            archive.writestr(f"own_tools-1.dist-info/{name}", text)
    requirements = normalize(["own-tools"])
    names, places = [], []
    for option in ((), ("--no-compile",)):
        found = {"PIP_FIND_LINKS": str(tmp_path), "PIP_NO_INDEX": "1"}
        done = command("install", "--package", "own-tools", "--cache", cache, *option, **found)
        assert (done.returncode, done.stderr) == (0, "")
        (package,) = find_packages(requirements, cache)
        names.append(
            sorted(name for name in zipfile.ZipFile(io.BytesIO(package.wheel)).namelist() if name.endswith(".pyc"))
        )
        sandbox = PyodideSandbox(packages=["own-tools"], cache=cache)
        try:
            # The modules that are not imported by the snapshot, too; a traceback still shows their source.
            program = "import own_tools.late, inspect\n[own_tools.late.four, inspect.getsource(own_tools.double)]"
            places.append((await run(sandbox, program)).value)
        finally:
            await sandbox.aclose()
    # `other` is of another Python's syntax, and nobody imports tests.
    assert names == [
        ["own_tools/__pycache__/__init__.cpython-314.pyc", "own_tools/__pycache__/late.cpython-314.pyc"],
        [],
    ]
    assert places == [[4, "def double(n): return 2 * n\n"]] * 2
