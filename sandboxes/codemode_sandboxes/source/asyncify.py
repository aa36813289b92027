"""Putting `await` before calls, and making the functions around them `async def`."""

import ast
from collections.abc import Callable, Iterable

from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.tree import Function, Tree

__all__ = ["AsyncEdits", "can_await", "convertible", "is_waiting", "needs_parentheses"]

# Functions that consume an iterable at once, and need no generator for it.
_COLLECTORS = {"dict", "frozenset", "list", "max", "min", "set", "sorted", "sum", "tuple"}


def convertible(tree: Tree) -> set[Function]:
    """Find the plain functions that can be made `async def`.

    Returns:
        Functions that are only ever called, by name, and only where `await` may stand, or could stand if other
        functions of this set were `async def` too. Generators and methods are not among them.
    """
    functions: set[Function] = {f for f in tree.of(ast.FunctionDef) if _is_only_called(tree, f)}
    # A function that cannot be converted keeps those from it whose calls it holds, so this goes on until none is lost.
    while True:
        lost = {f for f in functions if not all(can_await(tree, name, functions) for name in _uses(tree, f))}
        if not lost:
            return functions
        functions -= lost


def can_await(tree: Tree, node: ast.AST, converted: set[Function] | None = None) -> bool:
    """Return whether `await` may stand before an expression.

    Args:
        tree: The program.
        node: The expression.
        converted: Functions that will be `async def`.
    """
    scope = tree.scope(node)
    while scope.kind == "comprehension":
        if isinstance(scope.node, ast.GeneratorExp) and not _is_collected(tree, scope.node):
            return False
        assert scope.parent is not None
        scope = scope.parent
    if scope.kind in ("class", "lambda"):
        return False
    return not isinstance(scope.node, ast.FunctionDef) or (converted is not None and scope.node in converted)


class AsyncEdits:
    """Edits that put in `await` and `async`."""

    def __init__(self, edits: Edits, tree: Tree) -> None:
        self.edits = edits
        self._tree = tree
        self._lists: set[ast.AST] = set()

    def make_async(self, function: Function) -> None:
        """Make a function `async def`."""
        self.edits.insert(self.edits.offset(function.lineno, function.col_offset), "async ")

    def add_await(self, node: ast.expr) -> None:
        """Put `await` before an expression, where `can_await` holds."""
        self.collect(node)
        start, end = self.edits.span(node)
        tight = needs_parentheses(self._tree.parent(node), node)
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
            for name in _uses(self._tree, function):
                call = self._tree.parent(name)
                assert isinstance(call, ast.Call)
                if is_awaited(call):
                    continue
                self.add_await(call)
                around = self._tree.function_around(call)
                if isinstance(around, ast.FunctionDef) and around not in done:
                    done.add(around)
                    todo.append(around)
        return done

    def collect(self, node: ast.expr) -> None:
        """Make lists of the generators around an expression that holds an `await`."""
        scope = self._tree.scope(node)
        while scope.kind == "comprehension":
            if isinstance(scope.node, ast.GeneratorExp) and scope.node not in self._lists:
                self._lists.add(scope.node)
                start, end = self.edits.span(scope.node)
                self.edits.insert(start + 1, "[")
                self.edits.insert(end - 1, "]")
            assert scope.parent is not None
            scope = scope.parent


def is_waiting(node: ast.AST) -> bool:
    """Return whether a node may only stand in an async function."""
    if isinstance(node, ast.comprehension):
        return node.is_async == 1
    return isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith)


def needs_parentheses(parent: ast.AST, node: ast.expr) -> bool:
    """Return whether `await node` needs parentheses where `node` stands."""
    match parent:
        case ast.Attribute() | ast.Await():
            return True
        case ast.Subscript(value=value):
            return value is node
        case ast.Call(func=function):
            return function is node
    return False


def _is_only_called(tree: Tree, function: ast.FunctionDef) -> bool:
    scope = tree.scope(function)
    if scope.kind == "class" or function.decorator_list or len(scope.bound[function.name]) != 1:
        return False
    if tree.is_generator(function):
        return False
    return all(_is_called(tree, name) for name in _uses(tree, function))


def _is_called(tree: Tree, name: ast.Name) -> bool:
    call = tree.parent(name)
    return isinstance(call, ast.Call) and call.func is name


def _uses(tree: Tree, function: Function) -> list[ast.Name]:
    return tree.uses(function.name, tree.scope(function))


def _is_collected(tree: Tree, node: ast.GeneratorExp) -> bool:
    """Return whether a generator is consumed whole where it stands: a list in its place then means the same."""
    call = tree.parent(node)
    if not isinstance(call, ast.Call) or node not in call.args:
        return False
    match call.func:
        case ast.Name(id=name):
            return name in _COLLECTORS and tree.resolve(name, tree.scope(call)) is None
        case ast.Attribute(value=ast.Constant(value=str()), attr="join"):
            return True
    return False
