"""Syntax that Monty's parser may refuse, and `del`, which a program can be rewritten without."""

import ast
from collections.abc import Iterator

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.guest.json_values import has_surrogates
from codemode_sandboxes.monty.dialect.change import Change, Place, RewrittenGap, find_classes
from codemode_sandboxes.monty.dialect.keys import REFUSE
from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.tree import Function, Tree

__all__ = ["STATEMENTS"]

_DELETE = """\
def _cm_delete(container, key):
    from collections import Counter, deque
    if isinstance(container, deque) or isinstance(key, slice):
        REFUSE('del of a slice, or in a deque, is not known here; build it without the items')
    if isinstance(container, Counter):
        if key in container:
            container.pop(key)
    elif isinstance(container, dict):
        container.pop(key)
    elif isinstance(container, list):
        size = len(container)
        if isinstance(key, int) and not -size <= key < size:
            raise IndexError('list assignment index out of range')
        container[key]
        container.pop(key)
    elif hasattr(container, '__delitem__'):
        container.__delitem__(key)
    else:
        raise TypeError("'" + type(container).__name__ + "' object doesn't support item deletion")
""".replace("REFUSE", REFUSE)


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


def _deletions(tree: Tree) -> Iterator[Place]:
    """Yield each `del`, with the change that makes a call of `del d[key]`."""
    for node in tree.of(ast.Delete):
        match node.targets:
            # What stands after the target, such as a comma, would move into the call's parentheses.
            case [ast.Subscript() as target] if target.end_col_offset == node.end_col_offset and not any(
                isinstance(part, ast.Slice) for part in ast.walk(target.slice)
            ):
                yield node, _deletion(node, target)
            case _:
                yield node, None


def _deletion(node: ast.Delete, target: ast.Subscript) -> Change:
    def edit(edits: Edits) -> None:
        begin, end = edits.span(target)
        opening = edits.code.rindex("[", edits.span(target.value)[1], edits.span(target.slice)[0] + 1)
        edits.blank(edits.span(node)[0], begin, "_cm_delete(")
        edits.replace(opening, opening + 1, ", (")
        edits.replace(end - 1, end, "))")

    return Change(node, edit, _DELETE)


def _lone_surrogates(tree: Tree) -> Iterator[ast.AST]:
    """Yield the texts that Monty, whose texts are UTF-8, would change without a word."""
    return (node for node in tree.of(ast.Constant) if isinstance(node.value, str) and has_surrogates(node.value))


STATEMENTS: tuple[Gap | RewrittenGap, ...] = (
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
        _deletions,
        "d = {'a': 1}\ndel d['a']\nd == {}",
        words=r"\bdel\b",
        open_name="del of names, attributes and slices",
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
