"""Built-in names, methods of built-in types and special methods that Monty may lack."""

import ast
import builtins
import collections
import datetime
import decimal
import random
import re
from collections.abc import Collection, Iterator

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.dialect.kinds import method_calls
from codemode_sandboxes.source.tree import Function, Tree

__all__ = ["BUILTINS", "METHOD_OWNERS", "SPECIAL_METHODS", "object_gaps"]

_PLAIN = "do without it, or write it out in plain Python"

BUILTINS = tuple(name for name in dir(builtins) if not name.startswith("_"))

METHOD_OWNERS: dict[str, object] = {
    "''": "",
    "[]": [],
    "{}": {},
    "{1}": {1},
    "frozenset()": frozenset(),
    "()": (),
    "1": 1,
    "1.5": 1.5,
    "b''": b"",
    "range(3)": range(3),
    "datetime.datetime(2026, 1, 1)": datetime.datetime(2026, 1, 1),
    "datetime.date(2026, 1, 1)": datetime.date(2026, 1, 1),
    "datetime.time(1)": datetime.time(1),
    "datetime.timedelta(1)": datetime.timedelta(1),
    "decimal.Decimal(1)": decimal.Decimal(1),
    "collections.Counter()": collections.Counter(),
    "collections.deque()": collections.deque(),
    "collections.defaultdict(list)": collections.defaultdict(list),
    "re.compile('a')": re.compile("a"),
    "re.match('a', 'a')": re.match("a", "a"),
    "random.Random(1)": random.Random(1),
}
"""Expressions whose values' methods are compared with those of the same objects here."""

_OPERATORS = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "or": "|"}

SPECIAL_METHODS: dict[str, tuple[str, str]] = {
    "__len__": ("(self): return 3", "len(A()) == 3"),
    "__eq__": ("(self, o): return True", "A() == 1"),
    "__lt__": ("(self, o): return True", "A() < A()"),
    "__hash__": ("(self): return 1", "hash(A()) == 1"),
    "__repr__": ("(self): return 'R'", "repr(A()) == 'R'"),
    "__str__": ("(self): return 'S'", "str(A()) == f'{A()}' == 'S'"),
    "__iter__": ("(self): return iter([1])", "[x for x in A()] == list(A()) == [1]"),
    "__contains__": ("(self, x): return True", "1 in A()"),
    "__getitem__": ("(self, i): return [7, 8][i]", "A()[1] == 8 and list(A()) == [7, 8]"),
    "__setitem__": ("(self, i, v): self.v = v", "a = A()\na[1] = 5\na.v == 5"),
    "__call__": ("(self, x): return x", "A()(1) == 1"),
    "__enter__": ("(self): return 1\n    def __exit__(self, *a): return True", "with A():\n    1 / 0\nTrue"),
    **{f"__{name}__": ("(self, o): return 3", f"A() {sign} 1 == 3") for name, sign in _OPERATORS.items()},
}
"""Special methods, each with the rest of its definition and a program that is true of a class `A` where it works."""


def object_gaps(
    builtin_names: Collection[str], methods: Collection[str], special_methods: Collection[str]
) -> Iterator[Gap]:
    """Yield the gaps of missing built-in names, of methods that no value has, and of special methods never called."""
    if builtin_names:
        known = ("callable", "issubclass", "super", "dir", "vars", "globals")
        examples = [name for name in known if name in builtin_names] or sorted(builtin_names)[:3]
        yield Gap(f"built-ins such as {', '.join(examples)}", _PLAIN, lambda tree: _builtins(tree, builtin_names))
    if methods:
        yield Gap("rare methods of built-in types", _PLAIN, lambda tree: _methods(tree, methods))
    if special_methods:
        examples = [name for name in ("__len__", "__lt__") if name in special_methods] or sorted(special_methods)[:2]
        yield Gap(
            f"special methods such as {', '.join(examples)}",
            "write a plain method and call it by its name",
            lambda tree: _special_methods(tree, special_methods),
        )


def _builtins(tree: Tree, missing: Collection[str]) -> Iterator[ast.AST]:
    for node in tree.of(ast.Name):
        if node.id in missing and node.id not in tree.function_names and node.id not in tree.bound:
            yield node


def _methods(tree: Tree, missing: Collection[str]) -> Iterator[ast.AST]:
    return (call for call, _ in method_calls(tree, *missing))


def _special_methods(tree: Tree, missing: Collection[str]) -> Iterator[ast.AST]:
    # Of a special name that was not tried it is not known whether Monty asks for it: `__slots__`, `__setattr__`.
    known = (SPECIAL_METHODS.keys() - set(missing)) | {"__init__", "__post_init__", "__exit__", "__delitem__"}
    for node in tree.of(ast.ClassDef):
        for item in node.body:
            name = item.name if isinstance(item, Function) else _assigned_name(item)
            if name.startswith("__") and name.endswith("__") and name not in known:
                yield item


def _assigned_name(item: ast.stmt) -> str:
    target = item.targets[0] if isinstance(item, ast.Assign) else getattr(item, "target", None)
    return target.id if isinstance(target, ast.Name) else ""
