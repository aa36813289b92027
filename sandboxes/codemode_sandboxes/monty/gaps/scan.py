"""How gaps find what they are about."""

import ast
from collections.abc import Callable, Iterable

from codemode_sandboxes.source.tree import Tree

__all__ = ["Find", "kinds"]

Find = Callable[[Tree], Iterable[ast.AST]]


def kinds(*names: str) -> Find:
    """Find the nodes of these `ast` classes; an older Python may not have some of them."""
    present: list[type[ast.AST]] = [getattr(ast, name) for name in names if hasattr(ast, name)]
    return lambda tree: tree.of(*present)
