"""Ordinary Python that a backend may lack: how to find it in a program, and what to write instead."""

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Diagnostic", "Gap", "dotted_name", "imported_names", "references"]


@dataclass(frozen=True, slots=True)
class Gap:
    """A piece of ordinary Python that a backend does not run.

    Attributes:
        name: Short and stable, such as "generator functions".
        substitute: One line that tells what to write instead.
        find: Gives the nodes of a parsed program that use it. It may overlook some, but what it gives will fail.
        probe: A program whose value is True where the backend does run it; empty where that is found out otherwise.
        rare: Whether so little of it is left that a model need not be told of it beforehand.
    """

    name: str
    substitute: str
    find: Callable[[ast.AST], Iterable[ast.AST]]
    probe: str = ""
    rare: bool = False


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """What a type checker has to say about a place in a program.

    Attributes:
        rule: The rule's name, such as "invalid-argument-type".
        message: One line.
        line: Counted from 1.
        column: Counted from 1.
    """

    rule: str
    message: str
    line: int
    column: int


def imported_names(tree: ast.AST) -> dict[str, str]:
    """Give the dotted name for which each imported name stands, as in `{"dt": "datetime.datetime"}`."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return names


def dotted_name(node: ast.AST, imported: dict[str, str]) -> str | None:
    """Give the dotted name of an imported thing that an expression refers to; None where it is something else."""
    if isinstance(node, ast.Name):
        return imported.get(node.id)
    if isinstance(node, ast.Attribute) and (base := dotted_name(node.value, imported)) is not None:
        return f"{base}.{node.attr}"
    return None


def references(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Give each reference to something imported: in an import itself, or through an attribute of what was imported."""
    imported = imported_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, alias) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node
            yield from ((f"{node.module}.{alias.name}", alias) for alias in node.names)
        elif isinstance(node, ast.Attribute) and (name := dotted_name(node, imported)) is not None:
            yield name, node
