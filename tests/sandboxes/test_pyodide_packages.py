"""Packages for programs in Pyodide: fetched and locked ahead, imported without a network, out of reach."""

import base64
import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import codemode_sandboxes
import pytest
from codemode_sandboxes import Limits, Program, SandboxUnavailable, create_sandbox
from codemode_sandboxes.pyodide import PyodideSandbox
from codemode_sandboxes.pyodide.packages import (
    VERSION,
    _explain,
    download_wheels,
    find_packages,
    find_pyodide,
    install_packages,
    normalize,
)
from codemode_sandboxes.pyodide.wheels import WheelImporter, import_ahead
from codemode_sandboxes.source import Tree, parse

from codemode_graph.check.modules import find_missing_modules
from tests.sandboxes.driving import run
from tests.sandboxes.processes import make

ROOT = Path(codemode_sandboxes.__file__).parents[1]
PURE, COMPILED = "py3-none-any", "cp314-cp314-manylinux_2_17_x86_64"
WORDS = {
    "codemode_words/__init__.py": "from codemode_letters import upper\nprint('imported')\ntry:\n    import js\nexcept ImportError:\n    js = None\n",
    "codemode_words/late.py": "import tarfile\nfrom . import data\nfrom importlib import resources\n"
    "text = resources.files(data).joinpath('words.txt').read_text()\n",
    "codemode_words/data/__init__.py": "",
    "codemode_words/data/words.txt": "a b",
    "codemode_shelf/deep/book.py": "pages = 3\n",
}
FIRST = "codemode-words==1"
MARKED = 'codemode-letters; sys_platform == "emscripten"', 'codemode-absent; sys_platform != "emscripten"'


def wheel(
    folder: Path, name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = (), tag: str = PURE
) -> Path:
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    about = {"METADATA": metadata, "WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"}
    files = files | {f"{stem}.dist-info/{file}": text for file, text in about.items()}
    record = [f"{path},{_digest(text)},{len(text)}" for path, text in files.items()]
    files[f"{stem}.dist-info/RECORD"] = "\n".join([*record, f"{stem}.dist-info/RECORD,,", ""])
    place = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(place, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return place


def _digest(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pip finds packages in."""
    folder = tmp_path_factory.mktemp("index")
    wheel(folder, "codemode-letters", "1", {"codemode_letters.py": "def upper(text): return text.upper()\n"})
    for version in ("1", "2"):
        wheel(folder, "codemode-words", version, WORDS | {"codemode_words/number.py": f"n = {version}\n"}, MARKED)
    wheel(folder, "codemode-fast", "1", {"codemode_fast.py": ""}, tag=COMPILED)
    wheel(folder, "codemode-slow", "1", {"codemode_slow.py": ""}, ("codemode-fast",))
    (folder / "codemode_source-1.tar.gz").write_bytes(b"never opened")
    return folder


def offers(index: Path) -> dict[str, str]:
    """The environment in which pip knows this folder alone."""
    return {"PIP_FIND_LINKS": str(index), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of its own, with Pyodide in it."""
    folder = tmp_path_factory.mktemp("cache")
    pyodide = find_pyodide(None, make("pyodide")._cache)
    (folder / VERSION).symlink_to(pyodide.parents[1])
    return folder


def install(cache: Path, *packages: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "codemode_sandboxes.pyodide", "install", "--cache", str(cache)]
    command += [f"--package={package}" for package in packages]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
async def first(cache: Path, index: Path) -> AsyncIterator[PyodideSandbox]:
    """A sandbox with packages from a folder. The package index is not to be had when it starts."""
    done = install(cache, FIRST, **offers(index))
    assert (done.returncode, done.stderr) == (0, "")
    assert "Packages: codemode-letters 1, codemode-words 1\nModules: codemode_letters, codemode_shelf" in done.stdout
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        patch.setenv("PIP_FIND_LINKS", "/nowhere")
        sandbox: Any = create_sandbox("pyodide", packages=[FIRST], cache=cache)
        yield sandbox
        await sandbox.aclose()


@pytest.fixture(scope="module")
async def second(cache: Path, index: Path) -> AsyncIterator[tuple[PyodideSandbox, bool]]:
    """Another, with a package from the real index where that can be reached."""
    packages = ["codemode-words==2", "python-dateutil<3"]
    done = install(cache, *packages, PIP_FIND_LINKS=str(index), PIP_RETRIES="0", PIP_DEFAULT_TIMEOUT="5")
    if done.returncode:
        assert "cannot reach the package index" in done.stderr
        del packages[1]
        assert install(cache, *packages, **offers(index)).returncode == 0
    sandbox = PyodideSandbox(packages=packages, cache=cache)
    yield sandbox, len(packages) == 2
    await sandbox.aclose()


@pytest.mark.slow
async def test_programs_import_what_was_fetched_ahead(first: PyodideSandbox) -> None:
    code = """
import codemode_words, codemode_letters, codemode_shelf.deep.book, importlib.metadata, pkgutil
from codemode_words import late
[codemode_letters.upper("a"), late.text, late.tarfile.TarFile.__name__, codemode_shelf.deep.book.pages,
 importlib.metadata.version("codemode.Words"), pkgutil.get_data("codemode_words.data", "words.txt").decode(),
 codemode_words.js]
"""
    result = await run(first, code)
    assert (result.value, result.stdout) == (["A", "a b", "TarFile", 3, "1", "a b", None], "")


@pytest.mark.slow
async def test_the_check_knows_the_packages_modules(first: PyodideSandbox) -> None:
    modules = first.capabilities.modules
    assert {"codemode_words", "codemode_letters", "codemode_shelf", "json"} <= modules
    program = Tree(parse("import codemode_words, codemode_letters, numpy"))
    assert [finding["message"].split()[2] for finding in find_missing_modules(program, modules)] == ["numpy"]


@pytest.mark.slow
async def test_a_real_package_with_what_it_needs(second: tuple[PyodideSandbox, bool]) -> None:
    sandbox, reached = second
    if not reached:
        pytest.skip("the package index cannot be reached")
    code = """
import datetime, six
from dateutil import parser, tz
from dateutil.relativedelta import relativedelta
from dateutil.rrule import rrule, MONTHLY
start = parser.parse("31 January 2024 10:00")
noon = datetime.datetime(2024, 7, 1, 12, tzinfo=tz.gettz("Europe/Rome"))
[str(start + relativedelta(months=1)), [day.day for day in rrule(MONTHLY, count=3, dtstart=start)], str(noon), six.PY3]
"""
    value = (await run(sandbox, code)).value
    assert value == ["2024-02-29 10:00:00", [31, 31, 31], "2024-07-01 12:00:00+02:00", True]


@pytest.mark.slow
async def test_two_versions_side_by_side(first: PyodideSandbox, second: tuple[PyodideSandbox, bool]) -> None:
    code = "from codemode_words import number\nnumber.n"
    assert [(await run(sandbox, code)).value for sandbox in (first, second[0])] == [1, 2]


@pytest.mark.slow
async def test_what_packages_take_is_not_the_programs_memory(first: PyodideSandbox) -> None:
    limits = Limits(memory_bytes=64 << 20)
    assert (await run(first, "x = bytes(48 << 20)\nlen(x) >> 20", limits=limits)).value == 48
    assert (await run(first, "x = bytes(104 << 20)", limits=limits)).failed.kind == "memory"


@pytest.mark.slow
async def test_a_program_changes_no_package_for_the_next(first: PyodideSandbox, cache: Path) -> None:
    (kept,) = cache.glob("packages/wheels/*/codemode_words-1-*.whl")  # noqa: ASYNC240
    before = kept.read_bytes()
    code = f"""
import sys, codemode_words, codemode_letters
written = []
for place in ("/packages/codemode-words.whl", codemode_words.__file__, {str(kept)!r}):
    for mode in ("r", "w", "ab"):
        try:
            open(place, mode)
            written.append((place, mode))
        except OSError:
            pass
codemode_letters.upper = lambda text: "mine"
sys.meta_path[0]._files.clear()
written
"""
    assert (await run(first, code)).value == []
    assert (await run(first, "from codemode_words import late, upper\nupper('a') + late.text")).value == "Aa b"
    assert kept.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "part"),
    {
        "codemode-source": "codemode-source has no wheel that is of Python alone",
        "codemode-slow": "codemode-fast (which codemode-slow needs) has no wheel that is of Python alone",
        "codemode-nobody-has": "no package is named codemode-nobody-has",
        "codemode-words>7": "there is no codemode-words>7 that can be used; there are 1, 2",
    }.items(),
)
def test_what_cannot_be_had_is_said(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, part: str
) -> None:
    for name, value in offers(index).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SandboxUnavailable) as raised:
        download_wheels(normalize(package), "3.14.2", tmp_path)
    assert part in raised.value.reason
    assert raised.value.remedy


def test_no_network_is_not_an_unknown_package() -> None:
    said = "WARNING: Retrying (Retry(total=0)) after ...\nERROR: No matching distribution found for six"
    assert _explain(said)[0] == "pip cannot reach the package index"


async def test_packages_that_were_not_fetched_are_refused_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailable) as raised:
        find_packages(normalize(["six", "attrs >=25"]), tmp_path)
    assert raised.value.reason == "these packages are not prepared: attrs>=25, six"
    command = "python -m codemode_sandboxes.pyodide install --package 'attrs>=25' --package six --cache"
    assert command in raised.value.remedy


@pytest.mark.slow
async def test_a_sandbox_does_not_fetch_by_itself(cache: Path) -> None:
    with pytest.raises(SandboxUnavailable, match="these packages are not prepared: six"):
        await PyodideSandbox(packages=["six"], cache=cache).start(Program(code="1"))


@pytest.mark.slow
def test_a_wheel_that_was_changed_is_refused(
    cache: Path, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in offers(index).items():
        monkeypatch.setenv(name, value)
    packages = install_packages(("codemode-letters",), find_pyodide(None, cache), tmp_path)
    assert [(package.name, package.modules, package.requested) for package in packages] == [
        ("codemode-letters", ("codemode_letters",), True)
    ]
    assert find_packages(("codemode-letters",), tmp_path) == packages
    (place,) = tmp_path.glob("packages/wheels/*/*.whl")
    place.write_bytes(place.read_bytes() + b"more")
    with pytest.raises(SandboxUnavailable, match="the wheel of codemode-letters is not the one that was locked"):
        find_packages(("codemode-letters",), tmp_path)


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("Python_DateUtil", ("python-dateutil",)),
        (["b", "a >= 1, <2", "b"], ("a<2,>=1", "b")),
        (["jsonschema[format]"], ("jsonschema[format]",)),
        ([], ()),
    ],
)
def test_requirements_have_one_spelling(given: Any, normal: tuple[str, ...]) -> None:
    assert normalize(given) == normal


@pytest.mark.parametrize("given", ["-r file", "./a.whl", "a @ https://example.com/a.whl", "git+https://example.com/a"])
def test_only_names_and_versions_are_packages(given: str) -> None:
    with pytest.raises(ValueError, match=r"is not a package with its version|names an address"):
        PyodideSandbox(packages=[given])


@pytest.fixture
def clean_modules() -> Iterator[None]:
    modules, finders = dict(sys.modules), sys.meta_path[:]
    yield
    sys.meta_path[:] = finders
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]


@pytest.mark.usefixtures("clean_modules")
def test_a_package_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    broken = wheel(tmp_path, "codemode-broken", "1", {"codemode_broken.py": "import js\n"}).read_bytes()
    with pytest.raises(ImportError, match=r"the package codemode-broken cannot be imported in Pyodide: .*'?js'?"):
        import_ahead(WheelImporter([broken]), {"codemode-broken": ["codemode_broken"]})
    assert "js" not in sys.modules
