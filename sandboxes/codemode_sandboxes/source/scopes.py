"""Which variable a name means: Python's scopes, read off a syntax tree."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, TypeAlias

from codemode_sandboxes.source.parse import parse

__all__ = ["Function", "Scope", "Scopes", "scopes_of"]

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Kind: TypeAlias = Literal["module", "function", "lambda", "class", "comprehension"]

_OPENERS: dict[type[ast.AST], Kind] = {
    ast.FunctionDef: "function",
    ast.AsyncFunctionDef: "function",
    ast.Lambda: "lambda",
    ast.ClassDef: "class",
    ast.ListComp: "comprehension",
    ast.SetComp: "comprehension",
    ast.DictComp: "comprehension",
    ast.GeneratorExp: "comprehension",
}
_KEPT = 20_000
"""Characters of the longest program that is kept: it may take some megabytes."""
_OUTSIDE = {"decorator_list", "returns", "bases", "keywords"}


@dataclass(slots=True, eq=False)
class Scope:
    """A module, a function, a lambda, a class body or a comprehension.

    Attributes:
        kind: Which of them.
        node: The node that opens it.
        parent: The scope around it.
        bound: Names that it binds, each with the nodes that bind it.
        declared: Names that it declares `global` or `nonlocal`.
        star: Whether it imports `*`.
    """

    kind: Kind
    node: ast.AST
    parent: "Scope | None"
    bound: dict[str, list[ast.AST]] = field(default_factory=dict)
    declared: dict[str, Literal["global", "nonlocal"]] = field(default_factory=dict)
    star: bool = False

    def bind(self, name: str, node: ast.AST) -> None:
        """Note that a node binds a name here."""
        self.bound.setdefault(name, []).append(node)


class Scopes:
    """The scopes of one program, the parents of its nodes, and what its names mean."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.module = Scope("module", tree, None)
        self._opened: dict[ast.AST, Scope] = {tree: self.module}
        self._parents: dict[ast.AST, ast.AST] = {}
        self._scopes: dict[ast.AST, Scope] = {}
        self._names: dict[str, list[ast.Name]] = {}
        self._uses: dict[tuple[str, Scope], list[ast.Name]] = {}
        todo: list[tuple[ast.AST, Scope]] = [(tree, self.module)]
        while todo:
            node, scope = todo.pop()
            self._scopes[node] = scope
            self._note(node, scope)
            inner = scope
            if kind := _OPENERS.get(type(node)):
                inner = self._opened[node] = Scope(kind, node, scope)
            for name, value in reversed(list(ast.iter_fields(node))):
                where = self._scope_of_field(node, name, scope, inner)
                for child in reversed(value if isinstance(value, list) else [value]):
                    if isinstance(child, ast.AST):
                        self._parents[child] = node
                        todo.append((child, where))
        self._give_declared_names_to_their_owners()

    def parent(self, node: ast.AST) -> ast.AST:
        """Give the node around a node; the module is around itself."""
        return self._parents.get(node, self.tree)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """Give the nodes around a node, from the inside out."""
        while node is not self.tree:
            node = self.parent(node)
            yield node

    def scope(self, node: ast.AST) -> Scope:
        """Give the scope in which a node is evaluated."""
        return self._scopes[node]

    def opened(self, node: ast.AST) -> Scope:
        """Give the scope that a function, a lambda, a class or a comprehension opens."""
        return self._opened[node]

    def resolve(self, name: str, scope: Scope) -> Scope | None:
        """Give the scope whose variable a name means, read in a scope; None for a built-in or an undefined name."""
        if scope.declared.get(name) == "global":
            return self.module if name in self.module.bound else None
        if name in scope.bound:
            return scope
        outer = scope.parent
        while outer is not None and outer.kind == "class":
            outer = outer.parent
        return None if outer is None else self.resolve(name, outer)

    def uses(self, name: str, scope: Scope) -> list[ast.Name]:
        """Give every place that reads a scope's variable."""
        if (name, scope) not in self._uses:
            found = [node for node in self.names(name) if self.resolve(name, self._scopes[node]) is scope]
            self._uses[name, scope] = found
        return self._uses[name, scope]

    def names(self, name: str) -> list[ast.Name]:
        """Give every place that reads a variable of this name, whichever it is."""
        return [node for node in self._names.get(name, ()) if isinstance(node.ctx, ast.Load)]

    def unresolved(self) -> Iterator[ast.Name]:
        """Give the names that are read but never bound: built-ins, what the host provides, mistakes."""
        for name in self._names:
            for node in self.names(name):
                if self.resolve(name, self._scopes[node]) is None:
                    yield node

    def function(self, name: ast.expr) -> Function | None:
        """Give the function that an expression names, where it can be no other.

        Args:
            name: Any expression. Only a plain name can name a function.

        Returns:
            The function, if the name's variable is bound once, by an undecorated `def`.
        """
        if not isinstance(name, ast.Name):
            return None
        scope = self.resolve(name.id, self._scopes[name])
        if scope is None or scope.kind == "class" or len(scope.bound[name.id]) != 1:
            return None
        node = scope.bound[name.id][0]
        return node if isinstance(node, Function) and not node.decorator_list else None

    def all(self) -> list[Scope]:
        """Give every scope."""
        return list(self._opened.values())

    def functions(self) -> list[Function]:
        """Give every `def`."""
        return [node for node in self._opened if isinstance(node, Function)]

    def _scope_of_field(self, node: ast.AST, name: str, scope: Scope, inner: Scope) -> Scope:
        """What stands in a definition's head is evaluated outside of what it defines."""
        if isinstance(node, Function | ast.ClassDef):
            return scope if name in _OUTSIDE else inner
        outside = (
            (isinstance(node, ast.arguments) and name in ("defaults", "kw_defaults"))
            or (isinstance(node, ast.arg) and name == "annotation")
            or (isinstance(node, ast.comprehension) and name == "iter" and self._is_first(node))
        )
        return scope.parent if outside and scope.parent is not None else inner

    def _is_first(self, node: ast.comprehension) -> bool:
        around = self._parents[node]
        assert isinstance(around, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp)
        return around.generators[0] is node

    def _note(self, node: ast.AST, scope: Scope) -> None:
        match node:
            case ast.Name(id=name):
                self._names.setdefault(name, []).append(node)
                if not isinstance(node.ctx, ast.Load):
                    while isinstance(self._parents[node], ast.NamedExpr) and scope.kind == "comprehension":
                        assert scope.parent is not None
                        scope = scope.parent
                    scope.bind(name, node)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                scope.bind(name, node)
            case ast.arg(arg=name):
                scope.bind(name, node)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                for alias in aliases:
                    if alias.name == "*":
                        scope.star = True
                    else:
                        scope.bind(alias.asname or alias.name.partition(".")[0], node)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                scope.bind(name, node)
            case ast.MatchMapping(rest=str(name)):
                scope.bind(name, node)
            case ast.Global(names=names):
                scope.declared.update(dict.fromkeys(names, "global"))
            case ast.Nonlocal(names=names):
                scope.declared.update(dict.fromkeys(names, "nonlocal"))
            case _ if type(node).__name__ in ("TypeVar", "ParamSpec", "TypeVarTuple"):
                scope.bind(node.name, node)  # type: ignore[attr-defined]

    def _give_declared_names_to_their_owners(self) -> None:
        for scope in self._opened.values():
            for name, kind in scope.declared.items():
                if scope is self.module or name not in scope.bound:
                    continue
                nodes = scope.bound.pop(name)
                owner = self.module if kind == "global" else self.resolve(name, scope)
                for node in nodes if owner is not None else ():
                    assert owner is not None
                    owner.bind(name, node)


def scopes_of(code: str) -> Scopes:
    """Parse a program. The last few are kept: what is done to a program in turn mostly leaves it as it is.

    Args:
        code: Any text.

    Returns:
        Its scopes, with the tree, which must not be changed.

    Raises:
        SyntaxError: As `parse` does.
    """
    return _kept(code) if len(code) <= _KEPT else Scopes(parse(code))


@lru_cache(maxsize=4)
def _kept(code: str) -> Scopes:
    return Scopes(parse(code))
