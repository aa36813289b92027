"""Syntax that Monty's parser may refuse."""

import ast
from collections.abc import Iterator

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.gaps.scan import kinds
from codemode_sandboxes.source.scopes import Function
from codemode_sandboxes.source.tree import Tree

__all__ = ["SYNTAX"]


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


SYNTAX: tuple[Gap, ...] = (
    Gap(
        "generator functions",
        "append to a list and return it, instead of `yield`",
        kinds("Yield", "YieldFrom"),
        "def g():\n    yield 1\nlist(g()) == [1]",
    ),
    Gap(
        "async for",
        "await a list first and loop over it with a plain `for`",
        kinds("AsyncFor"),
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
        kinds("AsyncWith"),
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
    Gap(
        "del",
        "use `d.pop(key)` or `items.pop(index)`, or build the collection without the item",
        kinds("Delete"),
        "d = {'a': 1}\ndel d['a']\nd == {}",
    ),
    Gap("except*", "use `except`", kinds("TryStar"), "try:\n    1 / 0\nexcept* ZeroDivisionError:\n    pass\nTrue"),
    Gap("type statements", "write the type where it is used", kinds("TypeAlias"), "type X = int\nTrue"),
    Gap("template strings", "use an f-string", kinds("TemplateStr"), "t'{1}'\nTrue"),
    Gap("import *", "import the names that are used", _star_imports, "from math import *\nsqrt(4) == 2"),
)
