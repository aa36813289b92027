"""What a program says about itself, as far as its syntax tells."""

import ast
from collections.abc import Callable, Iterable, Iterator

from codemode_sandboxes.language import dotted_name, imported_names

__all__ = ["Find", "Function", "bound_names", "calls", "classes", "function_names", "kinds", "own_attributes"]

Find = Callable[[ast.AST], Iterable[ast.AST]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def kinds(*names: str) -> Find:
    """Find the nodes of these `ast` classes; an older Python may not have some of them."""
    present = tuple(getattr(ast, name) for name in names if hasattr(ast, name))
    return lambda tree: (node for node in ast.walk(tree) if isinstance(node, present))


def calls(tree: ast.AST, dotted: str) -> Iterator[ast.Call]:
    """Give the calls of an imported function."""
    imported = imported_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and dotted_name(node.func, imported) == dotted:
            yield node


def classes(tree: ast.AST) -> Iterator[ast.ClassDef]:
    """Give the class definitions."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def function_names(tree: ast.AST) -> set[str]:
    """Give the names of all functions and methods that it defines."""
    return {node.name for node in ast.walk(tree) if isinstance(node, Function)}


def bound_names(tree: ast.AST) -> list[str]:
    """Give the names that it binds in any scope, by assignment, parameter, import or class; once for each binding.

    Functions are not among them; see `function_names`.
    """
    names: list[str] = [*imported_names(tree), *(node.name for node in classes(tree))]
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            names.append(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.append(node.name)
    return names


def own_attributes(tree: ast.AST) -> set[str]:
    """Give the names that may be attributes of its own objects: methods, fields, and the words in short strings.

    The words are there for `namedtuple("P", "count index")`.
    """
    names = function_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 200:
            names.update(node.value.replace(",", " ").split())
    return names
