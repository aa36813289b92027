"""Imports point one way, go round in no circle, and the sandboxes know nothing of the graph."""

import ast
import graphlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"codemode_graph": ROOT, "codemode_sandboxes": ROOT / "sandboxes"}
LAYERS = (
    {"errors", "redact", "preview", "sync", "compat", "mcp_sdk", "events", "exact", "state"},
    {"tools", "mcp"},
    {"check", "catalogue"},
    {"calls", "updates"},
    {"model"},
    {"settings", "options", "nodes"},
    {"graph"},
    {"api", "runs", "checkpoints", "result", "trace", "metrics", "integrations"},
    {"evaluation"},
    {"cli", "demo", "server", "__main__", "__init__"},
)
"""What is in codemode_graph/, from the ground up: a module may import from its own layer and those below."""


@cache
def modules(package: str) -> dict[str, Path]:
    """The package's files by their modules' names; a package's own is the name of its `__init__`."""
    root = PACKAGES[package]
    found = {path.relative_to(root).with_suffix(""): path for path in sorted((root / package).rglob("*.py"))}
    return {".".join(name.parts).removesuffix(".__init__"): path for name, path in found.items()}


ALL_MODULES = {module for package in PACKAGES for module in modules(package)}


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, those in functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            ours = modules(node.module.split(".")[0]) if node.module.split(".")[0] in PACKAGES else {}
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in ours else node.module


@pytest.mark.parametrize("module", modules("codemode_sandboxes"))
def test_the_sandboxes_know_nothing_of_the_graph(module: str) -> None:
    roots = {name.split(".")[0] for name in imported(modules("codemode_sandboxes")[module])}
    assert not roots & {"codemode_graph", "langgraph", "langchain", "langchain_core", "langsmith"}


def test_the_layers_are_the_folders() -> None:
    folders = {
        path.stem for path in (ROOT / "codemode_graph").iterdir() if path.suffix == ".py" or any(path.glob("*.py"))
    }
    assert folders == set().union(*LAYERS)
    assert len(folders) == sum(map(len, LAYERS))


@pytest.mark.parametrize("module", modules("codemode_graph"))
def test_imports_point_down(module: str) -> None:
    def layer(name: str) -> int:
        folder = [*name.split("."), "__init__"][1]
        return next(number for number, names in enumerate(LAYERS) if folder in names)

    for name in imported(modules("codemode_graph")[module]):
        # The vocabulary of tools is part of the ground: the state names effects.
        if name.startswith("codemode_graph.") and name != "codemode_graph.tools.spec":
            assert layer(name) <= layer(module), f"{module} imports {name}"


@pytest.mark.parametrize("module", modules("codemode_graph"))
def test_a_name_with_an_underscore_stays_in_its_module(module: str) -> None:
    tree = ast.parse(modules("codemode_graph")[module].read_text())
    ours = [each for each in ast.walk(tree) if isinstance(each, ast.ImportFrom) and (each.module or "") in ALL_MODULES]
    assert not [alias.name for each in ours for alias in each.names if alias.name.startswith("_")]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_files_import_each_other_in_a_circle(package: str) -> None:
    graph = {module: set(imported(path)) & modules(package).keys() for module, path in modules(package).items()}
    # `codemode_graph/__init__` names all that it exports, and imports a name when it is first asked for.
    graph["codemode_graph"] = set()
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))
