"""Imports point one way; the sandboxes know nothing of the graph."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ["state", "tools", "check", "calls", "model", "nodes", "graph", "api", "cli"]
"""From the ground up; a module may import from its own layer and those below."""
PLACE = {
    **dict.fromkeys(("compat", "errors", "redact", "preview", "sync", "events", "state"), "state"),
    **dict.fromkeys(("tools", "mcp"), "tools"),
    **dict.fromkeys(("check", "plan"), "check"),
    **dict.fromkeys(("calls", "approvals", "updates"), "calls"),
    **dict.fromkeys(("nodes", "settings", "options"), "nodes"),
    **dict.fromkeys(("api", "runs", "result", "trace", "metrics", "integrations"), "api"),
    **dict.fromkeys(("cli", "demo", "__main__", "__init__"), "cli"),
    "model": "model",
    "graph": "graph",
}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def modules(package: Path) -> list[Path]:
    return sorted(path for path in package.rglob("*.py") if "__pycache__" not in path.parts)


@pytest.mark.parametrize("path", modules(ROOT / "sandboxes"), ids=lambda path: path.stem)
def test_the_sandboxes_know_nothing_of_the_graph(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported(path)}
    assert not roots & {"codemode_graph", "langgraph", "langchain", "langchain_core", "langsmith"}


@pytest.mark.parametrize("path", modules(ROOT / "codemode_graph"), ids=lambda path: path.stem)
def test_imports_point_down(path: Path) -> None:
    here = path.relative_to(ROOT / "codemode_graph").parts[0].removesuffix(".py")
    for name in imported(path):
        package, _, rest = name.partition(".")
        if package != "codemode_graph" or not rest:
            continue
        there = rest.split(".")[0]
        # The vocabulary of tools is part of the ground: the state names effects.
        if rest == "tools.spec":
            continue
        assert LAYERS.index(PLACE[there]) <= LAYERS.index(PLACE[here]), f"{here} imports {there}"
