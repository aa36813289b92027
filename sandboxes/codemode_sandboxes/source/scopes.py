"""Which variable a name means: Python's scopes, read off a syntax tree."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["Comprehension", "Function", "Scope", "Scopes"]

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

Kind: TypeAlias = Literal["module", "function", "lambda", "class", "comprehension"]


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
        self._parents: dict[ast.AST, ast.AST] = {}
        self._scopes: dict[ast.AST, Scope] = {}
        self._names: dict[str, list[ast.Name]] = {}
        todo: list[tuple[ast.AST, Scope]] = [(tree, self.module)]
        while todo:
            node, scope = todo.pop()
            self._scopes[node] = scope
            self._note(node, scope)
            inner = self._open(node, scope)
            outer = set(_evaluated_outside(node)) if inner is not scope else set()
            children = list(ast.iter_child_nodes(node))
            for child in children:
                self._parents[child] = node
            todo += [(child, scope if child in outer else inner) for child in reversed(children)]
            if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
                self._reopen_first(node, scope, inner, todo)
        self._settle()

    def parent(self, node: ast.AST) -> ast.AST:
        """Give the node around a node; the module is around itself."""
        return self._parents.get(node, self.tree)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """Give the nodes around a node, from the inside out."""
        while node is not self.tree:
            node = self.parent(node)
            yield node

    def statement(self, node: ast.AST) -> ast.stmt:
        """Give the statement that a node belongs to."""
        while not isinstance(node, ast.stmt):
            node = self.parent(node)
        return node

    def scope(self, node: ast.AST) -> Scope:
        """Give the scope in which a node is evaluated."""
        return self._scopes[node]

    def resolve(self, name: str, scope: Scope) -> Scope | None:
        """Give the scope whose variable a name means, read in a scope; None for a built-in or an undefined name."""
        if scope.declared.get(name) == "global":
            return self.module if name in self.module.bound else None
        if name in scope.bound and scope.declared.get(name) != "nonlocal":
            return scope
        outer = scope.parent
        while outer is not None:
            if outer.kind != "class":
                return self.resolve(name, outer)
            outer = outer.parent
        return None

    def uses(self, name: str, scope: Scope) -> list[ast.Name]:
        """Give every place that reads a scope's variable."""
        return [
            node
            for node in self._names.get(name, ())
            if isinstance(node.ctx, ast.Load) and self.resolve(name, self._scopes[node]) is scope
        ]

    def names(self) -> Iterator[ast.Name]:
        """Give every name that is read."""
        for nodes in self._names.values():
            for node in nodes:
                if isinstance(node.ctx, ast.Load):
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

    def functions(self) -> Iterator[Function]:
        """Give every `def`."""
        return (node for node in self._scopes if isinstance(node, Function))

    def _open(self, node: ast.AST, scope: Scope) -> Scope:
        kinds: dict[type[ast.AST], Kind] = {
            ast.FunctionDef: "function",
            ast.AsyncFunctionDef: "function",
            ast.Lambda: "lambda",
            ast.ClassDef: "class",
            ast.ListComp: "comprehension",
            ast.SetComp: "comprehension",
            ast.DictComp: "comprehension",
            ast.GeneratorExp: "comprehension",
        }
        kind = kinds.get(type(node))
        return scope if kind is None else Scope(kind, node, scope)

    def _reopen_first(
        self, node: Comprehension, scope: Scope, inner: Scope, todo: list[tuple[ast.AST, Scope]]
    ) -> None:
        """The first iterable of a comprehension is evaluated outside it."""
        first = node.generators[0]
        todo.remove((first, inner))
        self._scopes[first] = inner
        for child in ast.iter_child_nodes(first):
            self._parents[child] = first
            todo.append((child, scope if child is first.iter else inner))

    def _note(self, node: ast.AST, scope: Scope) -> None:
        match node:
            case ast.Name(id=name):
                self._names.setdefault(name, []).append(node)
                if not isinstance(node.ctx, ast.Load):
                    _variable_scope(scope, self._parents.get(node)).bind(name, node)
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
            case _ if hasattr(ast, "TypeVar") and isinstance(node, ast.TypeVar | ast.ParamSpec | ast.TypeVarTuple):
                scope.bind(node.name, node)

    def _settle(self) -> None:
        """Hand what a scope binds under `global` or `nonlocal` to the scope that owns it."""
        for scope in {id(scope): scope for scope in self._scopes.values()}.values():
            for name, kind in scope.declared.items():
                nodes = scope.bound.pop(name, None)
                if not nodes or scope.kind == "module":
                    if nodes:
                        scope.bound[name] = nodes
                    continue
                owner: Scope | None = self.module
                if kind == "nonlocal":
                    owner = scope.parent
                    while owner is not None and (owner.kind == "class" or name not in owner.bound):
                        owner = owner.parent
                for node in nodes if owner is not None else ():
                    assert owner is not None
                    owner.bind(name, node)


def _variable_scope(scope: Scope, parent: ast.AST | None) -> Scope:
    """`:=` in a comprehension binds outside of it."""
    while isinstance(parent, ast.NamedExpr) and scope.kind == "comprehension" and scope.parent is not None:
        scope = scope.parent
    return scope


def _evaluated_outside(node: ast.AST) -> Iterator[ast.AST]:
    """Children of a node that opens a scope which are evaluated in the scope around it."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from node.decorator_list
            if node.returns is not None:
                yield node.returns
        case ast.ClassDef():
            yield from node.decorator_list
            yield from node.bases
            yield from node.keywords
