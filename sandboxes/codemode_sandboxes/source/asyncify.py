"""Putting `await` before calls, and making the functions around them `async def`."""

import ast
from collections.abc import Callable, Iterable

from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.scopes import Function, Scopes

__all__ = ["AsyncEdits", "can_await", "convertible", "function_around", "is_waiting", "needs_parentheses"]

_COLLECTORS = {"dict", "frozenset", "list", "max", "min", "set", "sorted", "sum", "tuple"}


def convertible(scopes: Scopes) -> set[Function]:
    """Find the plain functions that can be made `async def`.

    Returns:
        Functions that are only ever called, by name, and only where `await` may stand, or could stand if other
        functions of this set were `async def` too. Generators and methods are not among them.
    """
    functions: set[Function] = {
        f for f in scopes.functions() if isinstance(f, ast.FunctionDef) and _is_only_called(scopes, f)
    }
    while True:
        lost = {f for f in functions if not all(can_await(scopes, name, functions) for name in _uses(scopes, f))}
        if not lost:
            return functions
        functions -= lost


def can_await(scopes: Scopes, node: ast.AST, made_async: set[Function] | None = None) -> bool:
    """Tell whether `await` may stand before an expression.

    Args:
        scopes: The program.
        node: The expression.
        made_async: Functions that will be `async def`.
    """
    scope = scopes.scope(node)
    while scope.kind == "comprehension":
        if isinstance(scope.node, ast.GeneratorExp) and not _is_collected(scopes, scope.node):
            return False
        assert scope.parent is not None
        scope = scope.parent
    if scope.kind in ("class", "lambda"):
        return False
    return not isinstance(scope.node, ast.FunctionDef) or (made_async is not None and scope.node in made_async)


class AsyncEdits:
    """Edits that put in `await` and `async`."""

    def __init__(self, edits: Edits, scopes: Scopes) -> None:
        self.edits = edits
        self._scopes = scopes
        self._lists: set[ast.AST] = set()

    def make_async(self, function: Function) -> None:
        """Make a function `async def`."""
        self.edits.insert(self.edits.offset(function.lineno, function.col_offset), "async ")

    def add_await(self, node: ast.expr) -> None:
        """Put `await` before an expression, where `can_await` holds."""
        self.collect(node)
        start, end = self.edits.span(node)
        tight = needs_parentheses(self._scopes.parent(node), node)
        self.edits.insert(start, "(await " if tight else "await ")
        if tight:
            self.edits.insert(end, ")")

    def convert(self, functions: Iterable[Function], is_awaited: Callable[[ast.Call], bool]) -> set[Function]:
        """Make functions `async def` and await their calls, and so on with the functions around those calls.

        Args:
            functions: Some of `convertible`.
            is_awaited: Tells which of the calls need no `await` put before them.

        Returns:
            All functions that become `async def`.
        """
        todo, done = list(functions), set(functions)
        while todo:
            function = todo.pop()
            self.make_async(function)
            for name in _uses(self._scopes, function):
                call = self._scopes.parent(name)
                assert isinstance(call, ast.Call)
                if is_awaited(call):
                    continue
                self.add_await(call)
                around = function_around(self._scopes, call)
                if isinstance(around, ast.FunctionDef) and around not in done:
                    done.add(around)
                    todo.append(around)
        return done

    def collect(self, node: ast.expr) -> None:
        """Make lists of the generators around an expression that holds an `await`."""
        scope = self._scopes.scope(node)
        while scope.kind == "comprehension":
            if isinstance(scope.node, ast.GeneratorExp) and scope.node not in self._lists:
                self._lists.add(scope.node)
                start, end = self.edits.span(scope.node)
                self.edits.insert(start + 1, "[")
                self.edits.insert(end - 1, "]")
            assert scope.parent is not None
            scope = scope.parent


def function_around(scopes: Scopes, node: ast.AST) -> Function | None:
    """Give the `def` whose body, comprehensions included, a node belongs to; None at the top level or in a lambda."""
    scope = scopes.scope(node)
    while scope.kind == "comprehension" and scope.parent is not None:
        scope = scope.parent
    return scope.node if isinstance(scope.node, Function) else None


def is_waiting(node: ast.AST) -> bool:
    """Tell whether a node may stand in an async function alone."""
    if isinstance(node, ast.comprehension):
        return node.is_async == 1
    return isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith)


def needs_parentheses(parent: ast.AST, node: ast.expr) -> bool:
    """Tell whether `await node` needs parentheses where `node` stands."""
    match parent:
        case ast.Attribute() | ast.Await():
            return True
        case ast.Subscript(value=value):
            return value is node
        case ast.Call(func=function):
            return function is node
    return False


def _is_only_called(scopes: Scopes, function: ast.FunctionDef) -> bool:
    scope = scopes.scope(function)
    if scope.kind == "class" or function.decorator_list or len(scope.bound[function.name]) != 1:
        return False
    inner = scopes.opened(function)
    if any(isinstance(n, ast.Yield | ast.YieldFrom) and scopes.scope(n) is inner for n in ast.walk(function)):
        return False
    return all(_is_called(scopes, name) for name in _uses(scopes, function))


def _is_called(scopes: Scopes, name: ast.Name) -> bool:
    call = scopes.parent(name)
    return isinstance(call, ast.Call) and call.func is name


def _uses(scopes: Scopes, function: Function) -> list[ast.Name]:
    return scopes.uses(function.name, scopes.scope(function))


def _is_collected(scopes: Scopes, node: ast.GeneratorExp) -> bool:
    """A generator that is wholly consumed on the spot: a list in its place means the same."""
    call = scopes.parent(node)
    if not isinstance(call, ast.Call) or node not in call.args:
        return False
    match call.func:
        case ast.Name(id=name):
            return name in _COLLECTORS and scopes.resolve(name, scopes.scope(call)) is None
        case ast.Attribute(value=ast.Constant(value=str()), attr="join"):
            return True
    return False
