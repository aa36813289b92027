"""A parsed program, walked once for all that is looked for in it."""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import TypeVar, cast

from codemode_sandboxes.source.scopes import Function

__all__ = ["Tree", "dotted_name"]

N = TypeVar("N", bound=ast.AST)


class Tree:
    """A program's syntax tree, with what is often looked up in it. The tree must not be changed.

    Args:
        root: What `ast.parse` gave.

    Attributes:
        root: The same.
        nodes: Every node, in the order of `ast.walk`.
    """

    def __init__(self, root: ast.AST) -> None:
        self.root = root
        self.nodes = tuple(ast.walk(root))
        self._by_kind: dict[type[ast.AST], list[ast.AST]] = {}
        for node in self.nodes:
            self._by_kind.setdefault(type(node), []).append(node)

    def of(self, *kinds: type[N]) -> Iterator[N]:
        """Give the nodes of exactly these classes, one class after the other."""
        for kind in kinds:
            yield from cast("list[N]", self._by_kind.get(kind, []))

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """The node around each node."""
        return {child: node for node in self.nodes for child in ast.iter_child_nodes(node)}

    @cached_property
    def functions(self) -> list[Function]:
        """The definitions of functions and methods."""
        return [*self.of(ast.FunctionDef), *self.of(ast.AsyncFunctionDef)]

    @cached_property
    def function_names(self) -> frozenset[str]:
        """The names of all functions and methods that it defines."""
        return frozenset(node.name for node in self.functions)

    @cached_property
    def imported(self) -> dict[str, str]:
        """The dotted name for which each imported name stands, as in `{"dt": "datetime.datetime"}`."""
        names: dict[str, str] = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    names[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
        return names

    @cached_property
    def references(self) -> tuple[tuple[str, ast.AST], ...]:
        """Each reference to something imported: in an import itself, or through an attribute of what was imported."""
        found: list[tuple[str, ast.AST]] = []
        for plain in self.of(ast.Import):
            found += [(alias.name, alias) for alias in plain.names]
        for node in self.of(ast.ImportFrom):
            if node.module and not node.level:
                found += [(node.module, node), *((f"{node.module}.{alias.name}", alias) for alias in node.names)]
        for attribute in self.of(ast.Attribute):
            if (name := dotted_name(attribute, self.imported)) is not None:
                found.append((name, attribute))
        return tuple(found)

    @cached_property
    def bound(self) -> Counter[str]:
        """How often it binds each name, in any scope, by assignment, parameter, import or class; not by `def`."""
        names = Counter([*self.imported, *(node.name for node in self.of(ast.ClassDef))])
        names.update(node.arg for node in self.of(ast.arg))
        names.update(node.id for node in self.of(ast.Name) if isinstance(node.ctx, ast.Store))
        names.update(node.name for node in self.of(ast.ExceptHandler) if node.name)
        return names

    @cached_property
    def own_attributes(self) -> frozenset[str]:
        """Names that may be attributes of its own objects: methods, fields, and the words in short strings.

        The words are there for `namedtuple("P", "count index")`.
        """
        names = set(self.function_names)
        names.update(node.attr for node in self.of(ast.Attribute) if isinstance(node.ctx, ast.Store))
        names.update(node.target.id for node in self.of(ast.AnnAssign) if isinstance(node.target, ast.Name))
        for node in self.of(ast.Constant):
            if isinstance(node.value, str) and len(node.value) < 200:
                names.update(node.value.replace(",", " ").split())
        return frozenset(names)

    def calls(self, dotted: str) -> Iterator[ast.Call]:
        """Give the calls of an imported function."""
        return (node for node in self.of(ast.Call) if dotted_name(node.func, self.imported) == dotted)


def dotted_name(node: ast.AST, imported: dict[str, str]) -> str | None:
    """Give the dotted name of an imported thing that an expression refers to; None where it is something else."""
    if isinstance(node, ast.Name):
        return imported.get(node.id)
    if isinstance(node, ast.Attribute) and (base := dotted_name(node.value, imported)) is not None:
        return f"{base}.{node.attr}"
    return None
