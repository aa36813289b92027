"""Statements, and names that have another name in Monty."""

import ast
from collections.abc import Iterator

from codemode_sandboxes.monty.lowering.context import Change, Context, replace_text
from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.scopes import Function
from codemode_sandboxes.source.tree import Tree

__all__ = ["class_of", "delete", "exception", "raised", "timeout_error", "utc", "utcnow"]

_OF_TEXT = frozenset(
    {
        *("ArithmeticError", "AssertionError", "AttributeError", "Exception", "IndexError", "LookupError", "NameError"),
        *("NotImplementedError", "OSError", "OverflowError", "PermissionError", "RuntimeError", "TimeoutError"),
        *("TypeError", "ValueError", "ZeroDivisionError"),
    }
)
"""Exceptions whose text is that of their one argument; that of a `KeyError` is not."""

_Loop = ast.For | ast.AsyncFor | ast.While


def delete(context: Context, node: ast.AST) -> Change | None:
    """`del d[key]`, and `del name` where the name is not used again."""
    if not isinstance(node, ast.Delete) or node.targets[-1].end_col_offset != node.end_col_offset:
        return None
    several = len(node.targets) > 1 or isinstance(node.targets[0], ast.Name)
    if several and node.lineno != node.end_lineno:
        return None
    for target in node.targets:
        if isinstance(target, ast.Subscript):
            if isinstance(target.slice, ast.Slice) and not (_is_simple(target.slice) and context.builtin("slice")):
                return None
        elif not isinstance(target, ast.Name) or not _is_spent(context, target):
            return None

    def edit(edits: Edits) -> None:
        start = edits.span(node)[0]
        for number, target in enumerate(node.targets):
            begin, end = edits.span(target)
            replace_text(edits, start, begin, "; " if number else "")
            if isinstance(target, ast.Subscript):
                edits.insert(begin, "_cm_delete(")
                opening = edits.code.rindex("[", edits.span(target.value)[1], edits.span(target.slice)[0] + 1)
                if isinstance(target.slice, ast.Slice):
                    parts = (target.slice.lower, target.slice.upper, target.slice.step)
                    written = ", ".join("None" if part is None else ast.unparse(part) for part in parts)
                    replace_text(edits, opening, end, f", slice({written}))")
                else:
                    edits.replace(opening, opening + 1, ", (")
                    edits.replace(end - 1, end, "))")
            else:
                edits.insert(end, "; pass")  # reading the name raises where it is not bound
            start = end

    helper = "_cm_delete" if any(isinstance(target, ast.Subscript) for target in node.targets) else ""
    return Change(node, edit, helper)


def _is_simple(part: ast.Slice) -> bool:
    simple = (
        ast.Slice | ast.Constant | ast.Name | ast.UnaryOp | ast.BinOp | ast.operator | ast.unaryop | ast.expr_context
    )
    return part.lineno == part.end_lineno and all(isinstance(node, simple) for node in ast.walk(part))


def _is_spent(context: Context, name: ast.Name) -> bool:
    """Whether nothing can tell if a name is still bound: no later use, none in a nested function, none in the next turn."""
    scope: ast.AST | None = None
    loop: ast.AST | None = None
    inner: ast.AST = name
    while (around := context.parent(inner)) is not None and scope is None:
        if isinstance(around, Function):
            scope = around
        elif isinstance(around, ast.ClassDef):
            return False
        elif isinstance(around, _Loop):
            loop = around
        elif isinstance(around, ast.Try):
            return False
        inner = around
    scope = scope or context.root
    uses = context.uses[name.id]
    looks = not context.uses.keys().isdisjoint(("locals", "globals", "vars", "dir", "eval", "exec"))
    if name.id in context.declared or looks or any(_place(use) > _place(name) for use in uses):
        return False
    if any(_scope(context, use) is not scope for use in uses):
        return False
    if loop is None:
        return True
    inside = [use for use in uses if _place(loop) < _place(use)]
    first = min(inside, key=_place)
    return isinstance(first.ctx, ast.Store) and _always_runs(context, first, loop)


def _always_runs(context: Context, first: ast.Name, loop: ast.AST) -> bool:
    """Whether a name is bound by each turn of a loop before anything else."""
    if isinstance(loop, ast.For) and any(part is first for part in ast.walk(loop.target)):
        return True
    statement: ast.AST = first
    while (around := context.parent(statement)) is not None and around is not loop:
        statement = around
    return isinstance(statement, ast.Assign) and statement in getattr(loop, "body", ()) and first in statement.targets


def _scope(context: Context, node: ast.AST) -> ast.AST:
    """The function or class around a node; a comprehension reads the names around it at once, so it is none."""
    while (around := context.parent(node)) is not None:
        if isinstance(around, Function | ast.Lambda | ast.ClassDef):
            return around
        node = around
    return context.root


def _place(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def class_of(context: Context, node: ast.AST) -> Change | None:
    """`error.__class__`."""
    if not isinstance(node, ast.Attribute) or node.attr != "__class__" or not isinstance(node.value, ast.Name):
        return None
    if not isinstance(node.ctx, ast.Load) or not context.builtin("type"):
        return None
    name = node.value.id
    return Change(node, lambda edits: replace_text(edits, *edits.span(node), f"type({name})"))


def raised(tree: Tree) -> Iterator[ast.AST]:
    """Find exceptions that are raised with something that need not be a text."""
    for node in tree.of(ast.Raise):
        if isinstance(node.exc, ast.Call) and len(node.exc.args) == 1:
            (value,) = node.exc.args
            if not isinstance(value, ast.JoinedStr) and not (
                isinstance(value, ast.Constant) and isinstance(value.value, str)
            ):
                yield node.exc


def exception(context: Context, call: ast.AST) -> Change | None:
    """`raise ValueError(value)`, where nobody reads an exception's `args`: its text is the value's."""
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id not in _OF_TEXT:
        return None
    if len(call.args) != 1 or call.keywords or isinstance(call.args[0], ast.Starred):
        return None
    is_read = any(node.attr == "args" for node in context.tree.of(ast.Attribute))
    if is_read or not isinstance(context.parent(call), ast.Raise) or not context.builtin(call.func.id):
        return None

    def edit(edits: Edits) -> None:
        begin, end = edits.span(call.args[0])
        edits.insert(begin, "_cm_text(")
        edits.insert(end, ")")

    return Change(call, edit, "_cm_text")


def utc(context: Context, node: ast.AST) -> Change | None:
    """`datetime.UTC`, and its import."""
    if isinstance(node, ast.Attribute) and context.dotted(node) == "datetime.UTC" and isinstance(node.value, ast.Name):
        module = node.value.id
        return Change(node, lambda edits: replace_text(edits, *edits.span(node), f"{module}.timezone.utc"))
    statement = context.parent(node)
    if not isinstance(node, ast.alias) or node.name != "UTC" or not isinstance(statement, ast.ImportFrom):
        return None
    name = node.asname or node.name

    def edit(edits: Edits) -> None:
        replace_text(edits, *edits.span(node), "timezone as _cm_timezone")
        edits.insert(edits.span(statement)[1], f"; {name} = _cm_timezone.utc")

    return Change(node, edit)


def utcnow(context: Context, node: ast.AST) -> Change | None:
    """`datetime.utcnow()`: the clock of a program shows UTC."""
    call = context.call_of(node)
    names = ("datetime.datetime.utcnow", "datetime.datetime.today")
    if call is None or call.args or call.keywords or context.dotted(node) not in names:
        return None
    assert isinstance(node, ast.Attribute)
    return Change(node, lambda edits: replace_text(edits, *_attribute(edits, node), "now"))


def timeout_error(context: Context, node: ast.AST) -> Change | None:
    """`asyncio.TimeoutError`, which is the built-in one."""
    if not isinstance(node, ast.Attribute) or context.dotted(node) != "asyncio.TimeoutError":
        return None
    if not context.builtin("TimeoutError"):
        return None
    return Change(node, lambda edits: replace_text(edits, *edits.span(node), "TimeoutError"))


def _attribute(edits: Edits, node: ast.Attribute) -> tuple[int, int]:
    end = edits.span(node)[1]
    return end - len(node.attr), end
