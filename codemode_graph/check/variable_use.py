"""Tell what a program does with a variable where it reads it: whether that may change what the variable holds."""

import ast
from collections.abc import Iterator
from itertools import count

from codemode_sandboxes.source import Tree

from codemode_graph.tools.text import vocabulary

_READERS = frozenset({"get", "items", "keys", "values", "copy", "index", "count", "join", "startswith", "endswith"})
_READING = frozenset({"json", "asyncio", "math", "statistics", "itertools", "datetime", "re"})
_PURE = vocabulary(
    "len sorted sum min max list dict set tuple str repr any all enumerate zip map filter print isinstance round "
    "reversed frozenset bool int float abs"
)


class VariableUse:
    """A place that reads a variable.

    Args:
        tree: The program's index.
        name: The place.

    Attributes:
        changes: Whether it may change what the variable holds.
        tested: Whether it stands in a test, behind which the variable may hold less than was assigned.
        appended: The argument, where it is `name.append(argument)`.
        stored: Key and value, where it is `name[key] = value`; the key is None where it is no text.
    """

    def __init__(self, tree: Tree, name: ast.Name) -> None:
        self.changes = False
        self.tested = any(
            isinstance(each, ast.BoolOp | ast.IfExp | ast.Compare | ast.If | ast.While | ast.Assert | ast.Match)
            for each in _up_to_statement(tree, name)
        )
        self.appended: ast.expr | None = None
        self.stored: tuple[str | None, ast.expr] | None = None
        node: ast.expr = name
        for depth in count():
            parent = tree.parent(node)
            match parent:
                case ast.Attribute(value=value) if value is node:
                    call = tree.parent(parent)
                    if isinstance(call, ast.Call) and call.func is parent:
                        self.changes = parent.attr not in _READERS
                        if parent.attr == "append" and len(call.args) == 1 and depth == 0:
                            self.appended = call.args[0]
                        return
                    self.changes = not isinstance(parent.ctx, ast.Load)
                case ast.Subscript(value=value, slice=index) if value is node:
                    if not isinstance(parent.ctx, ast.Load):
                        self.changes = True
                        assign = tree.parent(parent)
                        if depth == 0 and isinstance(assign, ast.Assign) and assign.targets == [parent]:
                            key = index.value if isinstance(index, ast.Constant) else None
                            self.stored = (key if isinstance(key, str) else None), assign.value
                        return
                case ast.Call(func=function) if function is not node:
                    # A tool, a method that takes it, or a function of Python's own only reads it; some of the library do not.
                    reads = (isinstance(function, ast.Attribute) and tree.dotted(function) is None) or (
                        isinstance(function, ast.Name) and function.id in _PURE and tree.are_builtin(function.id)
                    )
                    self.changes = not reads and (tree.dotted(function) or "").partition(".")[0] not in _READING
                    return
                case ast.Assign(value=value) | ast.AnnAssign(value=value) | ast.NamedExpr(value=value) if value is node:
                    # By its other name it may be changed unseen.
                    self.changes = depth == 0
                    return
                case _:
                    return
            node = parent


def _up_to_statement(tree: Tree, node: ast.AST) -> Iterator[ast.AST]:
    for each in tree.ancestors(node):
        yield each
        if isinstance(each, ast.stmt):
            return
