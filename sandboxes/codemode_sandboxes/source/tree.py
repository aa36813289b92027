"""One index of a program's syntax tree: its nodes by class, their parents, Python's scopes, and what names mean."""

import ast
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal, TypeAlias, TypeVar, overload

__all__ = ["CACHED_CHARACTERS", "MAX_DEPTH", "Function", "Scope", "Tree", "is_same_program", "parse", "tree_of"]

A = TypeVar("A", bound=ast.AST)
B = TypeVar("B", bound=ast.AST)
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Kind: TypeAlias = Literal["module", "function", "lambda", "class", "comprehension"]

MAX_DEPTH = 200
"""How many nodes deep a program's syntax tree may be.

Code that walks it recursively, as `ast.NodeVisitor` does, then stays within Python's recursion limit.
"""

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
_OUTSIDE = {"decorator_list", "returns", "bases", "keywords"}
CACHED_CHARACTERS = 20_000
"""Characters of a program, and its index, that a cache may hold."""
_TRIES = 10
"""For a text that the parser stumbles over because another thread parses at the same time."""
_lock = threading.Lock()


def parse(code: str) -> ast.Module:
    """Parse a program.

    Args:
        code: Any text; it may be hostile.

    Returns:
        Its syntax tree, at most `MAX_DEPTH` nodes deep.

    Raises:
        SyntaxError: It is not Python, or nested too deeply. No other exception, whatever the text.
    """
    try:
        tree = _tree_of_any(code)
    except (RecursionError, MemoryError):
        raise _too_deep() from None
    except UnicodeError:
        raise SyntaxError("the program holds a lone surrogate, which is not a character") from None
    except ValueError as error:
        raise SyntaxError(str(error)) from None
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return tree
    raise _too_deep()


def _tree_of_any(code: str) -> ast.Module:
    # Neither warnings' filters nor, before Python 3.11.8 and 3.12.1, the depth that the parser counts are a thread's own
    # (https://github.com/python/cpython/issues/106905). Another library that parses in a thread may still come between.
    for _ in range(_TRIES):
        with _lock, suppress(SystemError), warnings.catch_warnings():
            # An invalid escape sequence concerns the program's author, not the users of the host's log.
            warnings.simplefilter("ignore")
            return ast.parse(code)
    return ast.parse(code)


def _too_deep() -> SyntaxError:
    return SyntaxError("the program is nested too deeply")


def is_same_program(one: str, other: str) -> bool:
    """Return whether two programs differ only in comments, white space and imports of modules that they do not use.

    Texts that do not parse must be equal.
    """
    if one == other:
        return True
    try:
        return _used_parts(parse(one)) == _used_parts(parse(other))
    except SyntaxError:
        return False


def _used_parts(module: ast.Module) -> list[str]:
    """Return the statements of a program, without the plain imports of names that nothing reads."""
    used = {node.id for node in ast.walk(module) if isinstance(node, ast.Name)}
    return [
        ast.dump(statement)
        for statement in module.body
        if not (
            isinstance(statement, ast.Import)
            and used.isdisjoint(each.asname or each.name.partition(".")[0] for each in statement.names)
        )
    ]


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
        """Note that a node binds a name in this scope."""
        self.bound.setdefault(name, []).append(node)


class Tree:
    """A program's syntax tree and what is often looked up in it. The tree must not be changed.

    Args:
        root: The result of `parse`.

    Attributes:
        root: The same.
        module: The scope of the top level.
    """

    def __init__(self, root: ast.Module) -> None:
        self.root = root
        self.module = Scope("module", root, None)
        self._opened: dict[ast.AST, Scope] = {root: self.module}
        self._parents: dict[ast.AST, ast.AST] = {}
        self._scopes: dict[ast.AST, Scope] = {}
        self._names: dict[str, list[ast.Name]] = {}
        self._uses: dict[tuple[str, Scope], list[ast.Name]] = {}
        self._found: dict[Callable[[Tree], Iterable[ast.AST]], tuple[ast.AST, ...]] = {}
        # Depth first, so that names and bindings are listed in the order of the text.
        todo: list[tuple[ast.AST, Scope]] = [(root, self.module)]
        while todo:
            node, scope = todo.pop()
            self._scopes[node] = scope
            self._bind_names(node, scope)
            inner = scope
            if kind := _OPENERS.get(type(node)):
                inner = self._opened[node] = Scope(kind, node, scope)
            for name, value in reversed(list(ast.iter_fields(node))):
                where = self._scope_of_field(node, name, scope, inner)
                for child in reversed(value if isinstance(value, list) else [value]):
                    if isinstance(child, ast.AST):
                        self._parents[child] = node
                        todo.append((child, where))
        self._move_declared_names_to_their_owners()

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node, in the order of `ast.walk`."""
        return tuple(ast.walk(self.root))

    @cached_property
    def _by_class(self) -> dict[type[ast.AST], list[ast.AST]]:
        found: dict[type[ast.AST], list[ast.AST]] = {}
        for node in self.nodes:
            found.setdefault(type(node), []).append(node)
        return found

    @overload
    def of(self, one: type[A], /) -> Iterator[A]: ...
    @overload
    def of(self, one: type[A], other: type[B], /) -> Iterator[A | B]: ...
    @overload
    def of(self, *classes: type[ast.AST]) -> Iterator[ast.AST]: ...
    def of(self, *classes: Any) -> Iterator[Any]:
        """Yield the nodes of exactly these classes, one class after the other, each in the order of `ast.walk`."""
        for each in classes:
            yield from self._by_class.get(each, [])

    def found_by(self, find: Callable[["Tree"], Iterable[ast.AST]]) -> tuple[ast.AST, ...]:
        """Return the nodes that a finder yields. It looks once: check and choice of a sandbox ask the same of a program."""
        if find not in self._found:
            self._found[find] = tuple(find(self))
        return self._found[find]

    def parent(self, node: ast.AST) -> ast.AST:
        """Return the node around a node; the module is its own parent."""
        return self._parents.get(node, self.root)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the nodes around a node, from the inside out."""
        while node is not self.root:
            node = self.parent(node)
            yield node

    def scope(self, node: ast.AST) -> Scope:
        """Return the scope in which a node is evaluated."""
        return self._scopes[node]

    def frame(self, node: ast.AST) -> Scope:
        """Return the module, function, lambda or class body in which a node runs: its scope, comprehensions aside."""
        scope = self._scopes[node]
        while scope.kind == "comprehension" and scope.parent is not None:
            scope = scope.parent
        return scope

    def function_around(self, node: ast.AST) -> Function | None:
        """Return the `def` whose body a node belongs to; None at the top level, in a class body or in a lambda."""
        around = self.frame(node).node
        return around if isinstance(around, Function) else None

    def opened(self, node: ast.AST) -> Scope:
        """Return the scope that a function, a lambda, a class or a comprehension opens."""
        return self._opened[node]

    def scopes(self) -> list[Scope]:
        """Return every scope."""
        return list(self._opened.values())

    def resolve(self, name: str, scope: Scope) -> Scope | None:
        """Return the scope whose variable a name means where it is read; None for a built-in or an undefined name."""
        if scope.declared.get(name) == "global":
            return self.module if name in self.module.bound else None
        if name in scope.bound:
            return scope
        # Functions do not see the names of the class bodies around them.
        outer = scope.parent
        while outer is not None and outer.kind == "class":
            outer = outer.parent
        return None if outer is None else self.resolve(name, outer)

    def owner(self, name: ast.Name) -> Scope | None:
        """Return the scope whose variable a name in the program means."""
        return self.resolve(name.id, self._scopes[name])

    def uses(self, name: str, scope: Scope) -> list[ast.Name]:
        """Return every place that reads a scope's variable."""
        if (name, scope) not in self._uses:
            self._uses[name, scope] = [node for node in self.names(name) if self.owner(node) is scope]
        return self._uses[name, scope]

    def names(self, name: str) -> list[ast.Name]:
        """Return every place that reads a variable of this name, of whichever scope."""
        return [node for node in self._names.get(name, ()) if isinstance(node.ctx, ast.Load)]

    def unresolved(self) -> Iterator[ast.Name]:
        """Yield the names that are read but never bound: built-ins, what the host provides, mistakes."""
        for name in self._names:
            yield from (node for node in self.names(name) if self.owner(node) is None)

    def function(self, name: ast.expr) -> Function | None:
        """Return the function that an expression names, where it can be no other.

        Args:
            name: Any expression. Only a plain name can name a function.

        Returns:
            The function, if the name's variable is bound once, by an undecorated `def`.
        """
        if not isinstance(name, ast.Name):
            return None
        # A class body's name is an attribute of the class elsewhere, and a second binding may be another function.
        scope = self.owner(name)
        if scope is None or scope.kind == "class" or len(scope.bound[name.id]) != 1:
            return None
        node = scope.bound[name.id][0]
        return node if isinstance(node, Function) and not node.decorator_list else None

    def is_generator(self, function: Function) -> bool:
        """Return whether a call of a function makes a generator."""
        # A `yield` in a function inside belongs to that function.
        inner = self.opened(function)
        return any(self.scope(node) is inner for node in self.of(ast.Yield, ast.YieldFrom))

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
        found: list[tuple[str, ast.AST]] = [(alias.name, alias) for node in self.of(ast.Import) for alias in node.names]
        for node in self.of(ast.ImportFrom):
            if node.module and not node.level:
                found += [(node.module, node), *((f"{node.module}.{alias.name}", alias) for alias in node.names)]
        dotted = ((self.dotted(attribute), attribute) for attribute in self.of(ast.Attribute))
        return (*found, *((name, attribute) for name, attribute in dotted if name is not None))

    @cached_property
    def bound(self) -> Counter[str]:
        """The number of times it binds each name, in any scope, by assignment, parameter, import or class; not by `def`."""
        names = Counter([*self.imported, *(node.name for node in self.of(ast.ClassDef))])
        names.update(node.arg for node in self.of(ast.arg))
        names.update(node.id for node in self.of(ast.Name) if isinstance(node.ctx, ast.Store))
        names.update(node.name for node in self.of(ast.ExceptHandler) if node.name)
        return names

    @cached_property
    def own_attributes(self) -> frozenset[str]:
        """Names that attributes of its own objects have: methods, fields, and words of `namedtuple` and `setattr` calls."""
        names = set(self.function_names)
        names.update(node.attr for node in self.of(ast.Attribute) if isinstance(node.ctx, ast.Store))
        for node in self.of(ast.AnnAssign):
            if isinstance(node.target, ast.Name) and self.scope(node).kind == "class":
                names.add(node.target.id)
        for call in self.of(ast.Call):
            if self.dotted(call.func) == "collections.namedtuple" or getattr(call.func, "id", "") == "setattr":
                texts = (each.value for each in ast.walk(call) if isinstance(each, ast.Constant))
                names.update(word for text in texts if isinstance(text, str) for word in text.replace(",", " ").split())
        return frozenset(names)

    def dotted(self, node: ast.AST) -> str | None:
        """Return the dotted name of the imported thing that an expression means; None where it is something else."""
        if isinstance(node, ast.Name):
            return self.imported.get(node.id)
        if isinstance(node, ast.Attribute) and (base := self.dotted(node.value)) is not None:
            return f"{base}.{node.attr}"
        return None

    def calls(self, dotted: str) -> Iterator[ast.Call]:
        """Yield the calls of an imported function, such as "json.dumps"."""
        return (node for node in self.of(ast.Call) if self.dotted(node.func) == dotted)

    def are_builtin(self, *names: str) -> bool:
        """Return whether names mean what Python means by them: the program binds none of them in any scope."""
        return self.function_names.isdisjoint(names) and self.bound.keys().isdisjoint(names)

    def _scope_of_field(self, node: ast.AST, name: str, scope: Scope, inner: Scope) -> Scope:
        """Return where a field is evaluated: what stands in a definition's head, outside of what it defines."""
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

    def _bind_names(self, node: ast.AST, scope: Scope) -> None:
        match node:
            case ast.Name(id=name):
                self._names.setdefault(name, []).append(node)
                if not isinstance(node.ctx, ast.Load):
                    # `:=` in a comprehension binds in the scope around it.
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
            case _ if type(node).__name__ in ("TypeVar", "ParamSpec", "TypeVarTuple"):  # since Python 3.12
                scope.bind(node.name, node)  # type: ignore[attr-defined]

    def _move_declared_names_to_their_owners(self) -> None:
        for scope in self._opened.values():
            for name, kind in scope.declared.items():
                if scope is self.module or name not in scope.bound:
                    continue
                nodes = scope.bound.pop(name)
                owner = self.module if kind == "global" else self.resolve(name, scope)
                for node in nodes if owner is not None else ():
                    assert owner is not None
                    owner.bind(name, node)


def tree_of(code: str) -> Tree:
    """Parse a program and index it; the last few programs are cached.

    The steps that bring a program into script form and check it parse its text in turn, and mostly leave it as it is.

    Args:
        code: Any text.

    Returns:
        The index.

    Raises:
        SyntaxError: As `parse` does.
    """
    # The index of a longer program takes megabytes, which a cache would hold.
    return _cached(code) if len(code) <= CACHED_CHARACTERS else Tree(parse(code))


@lru_cache(maxsize=4)
def _cached(code: str) -> Tree:
    return Tree(parse(code))
