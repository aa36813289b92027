"""Syntax that Monty's parser may refuse, and `del`, which a program can be rewritten without."""

import ast
from collections.abc import Iterator

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.guest.json_values import has_surrogates
from codemode_sandboxes.monty.dialect.change import Change, RewrittenGap, find_classes
from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.tree import Function, Tree

__all__ = ["STATEMENTS"]

_LOOPS = ast.For | ast.AsyncFor | ast.While
_OBSERVERS = frozenset({"dir", "eval", "exec", "globals", "locals", "vars"})

_DELETE = """\
def _cm_delete(container, key):
    from collections import Counter, deque
    def without(items):
        if isinstance(key, slice):
            gone = list(range(len(items)))[key]
            return [items[i] for i in range(len(items)) if i not in gone]
        items[key]
        items.pop(key)
        return items
    if isinstance(container, Counter):
        if key in container:
            container.pop(key)
    elif isinstance(container, dict):
        container.pop(key)
    elif isinstance(container, (list, deque)):
        kind = 'deque' if isinstance(container, deque) else 'list assignment'
        size = len(container)
        if isinstance(key, int) and not -size <= key < size:
            raise IndexError(kind + ' index out of range')
        kept = without(list(container))
        container.clear()
        container.extend(kept)
    elif hasattr(container, '__delitem__'):
        container.__delitem__(key)
    else:
        raise TypeError("'" + type(container).__name__ + "' object doesn't support item deletion")
"""


def _inheritance(tree: Tree) -> Iterator[ast.AST]:
    return (node for node in tree.of(ast.ClassDef) if node.bases or node.keywords)


def _method_decorators(tree: Tree) -> Iterator[ast.AST]:
    for node in tree.of(ast.ClassDef):
        yield from (item for item in node.body if isinstance(item, Function) and item.decorator_list)


def _class_statements(tree: Tree) -> Iterator[ast.AST]:
    for node in tree.of(ast.ClassDef):
        yield from (item for item in node.body if not _is_plain_class_statement(item))


def _is_plain_class_statement(item: ast.stmt) -> bool:
    if isinstance(item, ast.Assign):
        return len(item.targets) == 1 and isinstance(item.targets[0], ast.Name)
    if isinstance(item, ast.Expr):
        return isinstance(item.value, ast.Constant)
    return isinstance(item, Function | ast.AnnAssign | ast.Pass)


def _async_comprehensions(tree: Tree) -> Iterator[ast.AST]:
    return (node.target for node in tree.of(ast.comprehension) if node.is_async)


def _star_imports(tree: Tree) -> Iterator[ast.AST]:
    return (node for node in tree.of(ast.ImportFrom) if node.names[0].name == "*")


def _deletions(tree: Tree) -> Iterator[Change]:
    """Rewrite `del d[key]` as a call, and drop `del name` where the name is not used again."""
    for node in tree.of(ast.Delete):
        # What stands after the last target on its line would move into the call's parentheses.
        several = len(node.targets) > 1 or isinstance(node.targets[0], ast.Name)
        closed = node.targets[-1].end_col_offset == node.end_col_offset and not (
            several and node.lineno != node.end_lineno
        )
        if closed and all(_can_delete(tree, target) for target in node.targets):
            yield _deletion(node)


def _can_delete(tree: Tree, target: ast.expr) -> bool:
    match target:
        case ast.Subscript(slice=ast.Slice() as part):
            return _is_simple(part) and tree.are_builtin("slice")
        case ast.Name():
            return _is_unused_after(tree, target)
    return isinstance(target, ast.Subscript)


def _deletion(node: ast.Delete) -> Change:
    def edit(edits: Edits) -> None:
        start = edits.span(node)[0]
        for number, target in enumerate(node.targets):
            begin, end = edits.span(target)
            edits.blank(start, begin, "; " if number else "")
            if isinstance(target, ast.Subscript):
                edits.insert(begin, "_cm_delete(")
                opening = edits.code.rindex("[", edits.span(target.value)[1], edits.span(target.slice)[0] + 1)
                if isinstance(target.slice, ast.Slice):
                    parts = (target.slice.lower, target.slice.upper, target.slice.step)
                    written = ", ".join("None" if part is None else ast.unparse(part) for part in parts)
                    edits.blank(opening, end, f", slice({written}))")
                else:
                    edits.replace(opening, opening + 1, ", (")
                    edits.replace(end - 1, end, "))")
            else:
                edits.insert(end, "; pass")  # reading the name raises where it is not bound
            start = end

    needs_helper = any(isinstance(target, ast.Subscript) for target in node.targets)
    return Change(node, edit, _DELETE if needs_helper else "")


def _is_simple(part: ast.Slice) -> bool:
    simple = (
        ast.Slice | ast.Constant | ast.Name | ast.UnaryOp | ast.BinOp | ast.operator | ast.unaryop | ast.expr_context
    )
    return part.lineno == part.end_lineno and all(isinstance(node, simple) for node in ast.walk(part))


def _is_unused_after(tree: Tree, name: ast.Name) -> bool:
    """Return whether nothing can observe that a name stays bound.

    There is then no later use, none in a nested function, and none in the next turn of a loop around it.
    """
    frame = tree.frame(name)
    # `locals()` and its kin would show a name that should be gone.
    if frame.kind == "class" or any(node.id in _OBSERVERS for node in tree.of(ast.Name)):
        return False
    loop: ast.AST | None = None
    for around in tree.ancestors(name):
        if around is frame.node:
            break
        # An exception may lead past the later binding to a use that looks earlier in the text.
        if isinstance(around, ast.Try):
            return False
        if isinstance(around, _LOOPS):
            loop = around
    uses = [node for node in tree.of(ast.Name) if node.id == name.id]
    declared = any(name.id in node.names for node in tree.of(ast.Global, ast.Nonlocal))
    if declared or any(_place(use) > _place(name) or tree.frame(use) is not frame for use in uses):
        return False
    if loop is None:
        return True
    # The next turn of the loop must bind the name before anything reads it.
    first = min((use for use in uses if _place(loop) < _place(use)), key=_place)
    return isinstance(first.ctx, ast.Store) and _is_always_bound(tree, first, loop)


def _is_always_bound(tree: Tree, first: ast.Name, loop: ast.AST) -> bool:
    """Return whether each turn of a loop binds a name before it does anything else with it."""
    # The target of a `for` is bound at the head of each turn.
    if isinstance(loop, ast.For) and any(part is first for part in ast.walk(loop.target)):
        return True
    statement: ast.AST = first
    while (around := tree.parent(statement)) is not loop:
        statement = around
    return isinstance(statement, ast.Assign) and statement in getattr(loop, "body", ()) and first in statement.targets


def _lone_surrogates(tree: Tree) -> Iterator[ast.AST]:
    """Yield the texts that Monty, whose texts are UTF-8, would change without a word."""
    return (node for node in tree.of(ast.Constant) if isinstance(node.value, str) and has_surrogates(node.value))


def _place(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


STATEMENTS: tuple[Gap, ...] = (
    Gap(
        "generator functions",
        "append to a list and return it, instead of `yield`",
        find_classes("Yield", "YieldFrom"),
        "def g():\n    yield 1\nlist(g()) == [1]",
    ),
    Gap(
        "async for",
        "await a list first and loop over it with a plain `for`",
        find_classes("AsyncFor"),
        "async def f(x):\n    async for y in x:\n        pass\nTrue",
    ),
    Gap(
        "async comprehensions",
        "await a list first and use a plain comprehension",
        _async_comprehensions,
        "async def f(x):\n    return [y async for y in x]\nTrue",
    ),
    Gap(
        "async with",
        "leave the block out: no semaphore, lock, task group or timeout is needed here; `asyncio.gather` the calls",
        find_classes("AsyncWith"),
        "async def f(x):\n    async with x:\n        pass\nTrue",
    ),
    Gap(
        "class inheritance",
        "use a class without bases, a dataclass, a dict, or a built-in exception",
        _inheritance,
        "class A:\n    pass\nclass B(A):\n    pass\nTrue",
    ),
    Gap(
        "method decorators",
        "write a plain method for a property, and a function outside the class for a static or class method",
        _method_decorators,
        "class A:\n    @property\n    def v(self):\n        return 3\nA().v == 3",
    ),
    Gap(
        "statements in class bodies",
        "keep a class body to methods, `name = value` and annotated fields",
        _class_statements,
        "class A:\n    class B:\n        pass\nTrue",
    ),
    RewrittenGap(
        "del",
        "use `d.pop(key)` or `items.pop(index)`, or build the collection without the item",
        find_classes("Delete"),
        "d = {'a': 1}\ndel d['a']\nd == {}",
        rewrite=_deletions,
        words=r"\bdel\b",
        open_name="del of attributes, and of names that are used again",
    ),
    Gap(
        "except*",
        "use `except`",
        find_classes("TryStar"),
        "try:\n    1 / 0\nexcept* ZeroDivisionError:\n    pass\nTrue",
    ),
    Gap("type statements", "write the type where it is used", find_classes("TypeAlias"), "type X = int\nTrue"),
    Gap("template strings", "use an f-string", find_classes("TemplateStr"), "t'{1}'\nTrue"),
    Gap(
        "lone surrogates",
        "leave the halves of surrogate pairs out of texts",
        _lone_surrogates,
        "ord('\\ud800') == 0xD800",
        rare=True,
    ),
    Gap("import *", "import the names that are used", _star_imports, "from math import *\nsqrt(4) == 2"),
)
