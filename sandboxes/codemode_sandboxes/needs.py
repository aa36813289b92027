"""What a program needs of the sandbox that runs it, told from its text."""

import ast
from collections.abc import Iterator

from codemode_sandboxes.contract import Capabilities
from codemode_sandboxes.source import Scopes, scopes_of
from codemode_sandboxes.source.tree import Tree

__all__ = ["lacking", "needed_modules"]

_CAUGHT = {"Exception", "ImportError", "ModuleNotFoundError"}


def needed_modules(scopes: Scopes) -> Iterator[tuple[str, ast.Import | ast.ImportFrom]]:
    """Give the top-level modules that a program imports, each with its statement.

    An import that is tried, with a handler for the case that it fails, is no need. A relative import is "."'s.
    """
    for node in ast.walk(scopes.tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and not _is_tried(scopes, node):
            if isinstance(node, ast.Import):
                yield from ((alias.name.partition(".")[0], node) for alias in node.names)
            else:
                yield ("." if node.level else (node.module or "").partition(".")[0]), node


def lacking(code: str, capabilities: Capabilities) -> tuple[str, ...]:
    """Name what a program uses and a backend does not offer.

    Args:
        code: Any text. What is not Python is a failure on every backend, so it lacks nothing anywhere.
        capabilities: The backend's.

    Returns:
        Names of gaps, and modules as in "the module csv"; empty where the backend can run the program.
    """
    try:
        scopes = scopes_of(code)
    except SyntaxError:
        return ()
    tree = Tree(scopes.tree)
    gaps = [gap.name for gap in capabilities.gaps if any(True for _ in gap.find(tree))]
    modules = sorted({module for module, _ in needed_modules(scopes)} - capabilities.modules)
    return (*gaps, *(f"the module {module[:80]}" for module in modules))


def _is_tried(scopes: Scopes, node: ast.AST) -> bool:
    inside = {node, *scopes.ancestors(node)}
    for around in scopes.ancestors(node):
        if isinstance(around, ast.Try) and any(inner in inside for inner in around.body):
            for handler in around.handlers:
                names = {n.id for n in ast.walk(handler.type) if isinstance(n, ast.Name)} if handler.type else _CAUGHT
                if names & _CAUGHT:
                    return True
    return False
