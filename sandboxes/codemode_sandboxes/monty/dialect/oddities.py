"""Single expressions that mean something else in Monty, and errors whose text differs."""

import ast
from collections.abc import Iterator

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.dialect.kinds import EXCEPTIONS, is_tools, is_view, kinds_of, method_calls
from codemode_sandboxes.source.tree import Function, Tree

__all__ = ["ODDITIES"]

_ATTRIBUTES = frozenset(
    name
    for kind in (str, bytes, int, float, list, tuple, dict, set, range, type, complex)
    for name in dir(kind)
    if not name.startswith("__")
)
_DATA_ATTRIBUTES = frozenset({"denominator", "imag", "mapping", "numerator", "real", "step"})
# Special attributes that Monty has of the values that programs read them of.
_SPECIAL_ATTRIBUTES = frozenset({"__doc__", "__init__", "__name__"})
# Exceptions that only the program itself and its tools raise, or whose text is the same.
_SAME_TEXT = frozenset({"AssertionError", "NotImplementedError", "PermissionError", "RuntimeError", "TimeoutError"})
_MOST_FUNCTIONS = 60
_QUIET_FUNCTIONS = frozenset(
    {
        *("abs", "bool", "enumerate", "float", "id", "int", "isinstance", "len", "list", "print", "range"),
        *("repr", "str", "tuple", "type"),
    }
)
_CONSUMING = ("dict", "frozenset", "list", "max", "min", "set", "sorted", "sum", "tuple")
_SEARCHES = ("count", "endswith", "find", "index", "rfind", "rindex", "startswith")
_LOUD = (*(ast.Assert, ast.Delete, ast.DictComp, ast.Import, ast.ImportFrom, ast.Set, ast.SetComp, ast.With),)
_QUIET_METHODS = frozenset({"append", "copy", "isoformat", "items", "keys", "lower", "strip", "upper", "values"})


def _types_of_exceptions(tree: Tree) -> Iterator[ast.AST]:
    kinds = kinds_of(tree)
    for node in tree.of(ast.Compare):
        sides = (node.left, *node.comparators)
        is_type = any(isinstance(side, ast.Call) and kinds.is_builtin(side.func, "type") for side in sides)
        named = (each for side in sides for each in ast.walk(side))
        if is_type and any(isinstance(each, ast.Name) and each.id in EXCEPTIONS for each in named):
            yield node


def _attributes_by_name(tree: Tree) -> Iterator[ast.AST]:
    kinds = kinds_of(tree)
    for node in tree.of(ast.Call):
        if kinds.is_builtin(node.func, "getattr", "hasattr") and len(node.args) > 1:
            name = node.args[1]
            if not isinstance(name, ast.Constant) or name.value in _ATTRIBUTES - tree.function_names:
                yield node
    for attribute in tree.of(ast.Attribute):
        is_own = attribute.attr in tree.own_attributes and kinds.kind(attribute.value) is None
        if is_own or not isinstance(attribute.ctx, ast.Load):
            continue
        # Monty has both of bytes, and not of floats.
        is_hex = (attribute.attr == "hex" and kinds.kind(attribute.value) != "bytes" and not is_tools(attribute)) or (
            attribute.attr == "fromhex" and kinds.is_builtin(attribute.value, "float")
        )
        if is_hex or attribute.attr in _DATA_ATTRIBUTES or _is_special(tree, attribute):
            yield attribute


def _is_special(tree: Tree, attribute: ast.Attribute) -> bool:
    """Return whether an attribute such as `__len__`, of what may be a built-in value, is one that Monty has not."""
    name, kinds = attribute.attr, kinds_of(tree)
    if not (name.startswith("__") and name.endswith("__")):
        return False
    if name == "__class__":  # objects of the program's own classes have it
        return kinds.kind(attribute.value) is not None or not any(True for _ in tree.of(ast.ClassDef))
    return name not in _SPECIAL_ATTRIBUTES or kinds.is_builtin(attribute.value, *EXCEPTIONS)


def _ends_of_iterators(tree: Tree) -> Iterator[ast.AST]:
    """Find what may raise `StopIteration` out of a coroutine, where the program may see it: there it is a `RuntimeError`."""
    if not any(True for _ in tree.of(ast.AsyncFunctionDef)):
        return
    kinds = kinds_of(tree)
    nodes: list[ast.AST] = [
        call for call in tree.of(ast.Call) if len(call.args) == 1 and kinds.is_builtin(call.func, "next")
    ]
    for statement in tree.of(ast.Raise):
        error = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
        if error is not None and kinds.is_builtin(error, "StopIteration"):
            nodes.append(statement)
    yield from filter(kinds.catches, nodes)


def _orders_of_views(tree: Tree) -> Iterator[ast.AST]:
    """Find `<`, `<=`, `>` and `>=` of what may be the keys or items of a dict."""
    kinds = kinds_of(tree)
    for node in tree.of(ast.Compare):
        if any(isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for op in node.ops):
            for side in (node.left, *node.comparators):
                bound = (value for _, value in kinds.bindings(side)) if isinstance(side, ast.Name) else ()
                if is_view(side) or any(map(is_view, bound)):
                    yield node
                    break


def _class_texts(tree: Tree) -> Iterator[ast.AST]:
    """Find classes of the program, and `type(...)` of what may be one's object or a Counter: shown, they lack the module."""
    kinds = kinds_of(tree)
    classes = {node.name for node in tree.of(ast.ClassDef)}
    named = [node for node in tree.of(ast.Name) if node.id in classes and isinstance(node.ctx, ast.Load)]
    own = classes or any(name.startswith("collections.Counter") for name, _ in tree.references)
    typed = [node for node in tree.of(ast.Call) if own and kinds.is_builtin(node.func, "type")]
    for node in (*named, *typed):
        parent = tree.parent(node)
        by_call = isinstance(parent, ast.Call) and kinds.is_builtin(parent.func, "str", "repr", "print", "format")
        by_call = by_call and node in getattr(parent, "args", ())
        in_display = isinstance(parent, ast.List | ast.Dict) or (
            isinstance(parent, ast.Tuple) and not isinstance(tree.parent(parent), ast.Call | ast.Compare)
        )
        if by_call or in_display or isinstance(parent, ast.FormattedValue):
            yield node


def _late_names(tree: Tree) -> Iterator[ast.AST]:
    """Find calls that name an argument behind `**`: Monty evaluates it first, and a dict of them has it first."""
    for call in tree.of(ast.Call):
        names = [keyword.arg for keyword in call.keywords]
        if None in names and any(names[names.index(None) :]):
            yield call


def _environments(tree: Tree) -> Iterator[ast.AST]:
    """Find `os.environ` where more of it shows than that nothing is in it: in Monty it is a dict, a new one each time."""
    for name, node in tree.references:
        if name != "os.environ":
            continue
        match tree.parent(node):
            case ast.Attribute(attr="get" | "items" | "keys" | "values" | "copy"):
                continue
            case ast.Subscript(ctx=ast.Load()) | ast.Compare(ops=[ast.In() | ast.NotIn()]):
                continue
            case ast.Call(func=ast.Name(id="bool" | "dict" | "len" | "list" | "sorted"), args=[_]):
                continue
        yield node


def _assertions(tree: Tree) -> Iterator[ast.AST]:
    kinds = kinds_of(tree)
    return (node for node in tree.of(ast.Assert) if node.msg is not None and kinds.kind(node.msg) != "str")


def _listed_iterators(tree: Tree) -> Iterator[ast.AST]:
    """Find iterators that Monty makes a list of, where they are not consumed whole and at once."""
    kinds = kinds_of(tree)
    for call in tree.of(ast.Call):
        name = (
            call.func.attr
            if isinstance(call.func, ast.Attribute)
            else (tree.dotted(call.func) or "").rpartition(".")[2]
        )
        if name not in ("elements", "finditer") or name in tree.function_names or is_tools(call.func):
            continue
        around = tree.parent(call)
        is_looped = isinstance(around, ast.For | ast.comprehension) and around.iter is call
        is_listed = isinstance(around, ast.Call) and kinds.is_builtin(around.func, *_CONSUMING)
        if not (is_looped or is_listed or isinstance(around, ast.Starred)):
            yield call


def _searches(tree: Tree) -> Iterator[ast.AST]:
    """Find searches from a place for what may be an empty text: beyond the end Monty finds it. And lines kept by no bool."""
    for call, method in method_calls(tree, "splitlines", *_SEARCHES):
        first = call.args[0] if call.args else None
        constant = first.value if isinstance(first, ast.Constant) else None
        is_kept = method.attr == "splitlines" and first is not None and not isinstance(constant, bool)
        if is_kept or (method.attr != "splitlines" and len(call.args) > 1 and not constant):
            yield call


def _texts_of_errors(tree: Tree) -> Iterator[ast.AST]:
    """Find handlers that read an error's text where more than tools and the program's own `raise` may have written it."""
    quiet = _Quiet(tree)
    for node in tree.of(ast.Try):
        if all(map(quiet.is_quiet, node.body)):
            continue
        for handler in node.handlers:
            caught = [each.id for each in ast.walk(handler.type) if isinstance(each, ast.Name)] if handler.type else []
            if handler.name and not (caught and _SAME_TEXT.issuperset(caught)) and _reads_text(tree, handler):
                yield handler
    for call in tree.calls("asyncio.gather"):
        settles = any(
            keyword.arg == "return_exceptions" and getattr(keyword.value, "value", True) for keyword in call.keywords
        )
        own = [
            each
            for each in ast.walk(call)
            if isinstance(each, ast.Call) and each is not call and not is_tools(each.func)
        ]
        if settles and not all(quiet.is_quiet(each) for each in own):
            yield call


def _reads_text(tree: Tree, handler: ast.ExceptHandler) -> bool:
    for statement in handler.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and node.id == handler.name:
                parent = tree.parent(node)
                by_type = isinstance(parent, ast.Call) and kinds_of(tree).is_builtin(parent.func, "type", "isinstance")
                if not by_type and not isinstance(parent, ast.Raise):
                    return True
    return False


class _Quiet:
    """The code that raises nothing itself but what has the same text in CPython."""

    def __init__(self, tree: Tree) -> None:
        self._tree, self._kinds = tree, kinds_of(tree)
        self._known: dict[Function, bool] = {}

    def is_quiet(self, node: ast.AST) -> bool:
        """Return whether a statement or an expression, and what it calls, is quiet."""
        return all(map(self._is_quiet_alone, ast.walk(node)))

    def _is_quiet_alone(self, node: ast.AST) -> bool:
        match node:
            case ast.Call():
                return self._is_quiet_call(node)
            case ast.Subscript(slice=key):
                return isinstance(key, ast.Slice) or is_tools(node) or self._kinds.kind(key) == "str"
            case ast.BinOp(op=ast.Div() | ast.FloorDiv() | ast.Mod() | ast.Pow(), right=right):
                return isinstance(right, ast.Constant) and isinstance(right.value, int | float) and bool(right.value)
            case ast.Dict(keys=keys):
                return all(key is not None and self._kinds.kind(key) in ("number", "str") for key in keys)
            case ast.AugAssign(target=target, value=value):
                return {self._kinds.kind(target), self._kinds.kind(value)} in ({"number"}, {"str"})
            case ast.Compare(ops=ops):
                # Two tuples or lists that cannot be ordered are told of as such by Monty, and by their items in CPython.
                sides = (node.left, *node.comparators)
                return not any(isinstance(op, ast.In | ast.NotIn) for op in ops) and not any(
                    isinstance(side, ast.Tuple | ast.List | ast.ListComp) for side in sides
                )
            case ast.Starred(value=value):
                return isinstance(value, ast.ListComp | ast.GeneratorExp | ast.List | ast.Tuple)
        stores = isinstance(node, ast.Tuple | ast.List) and isinstance(node.ctx, ast.Store)
        return not stores and not isinstance(node, _LOUD)

    def _is_quiet_call(self, call: ast.Call) -> bool:
        if is_tools(call.func) or isinstance(self._tree.parent(call), ast.Raise):
            return True
        if self._tree.dotted(call.func) == "asyncio.gather":
            return True
        if isinstance(call.func, ast.Attribute):
            if call.func.attr == "get" and call.args and self._kinds.kind(call.args[0]) == "str":
                return True
            return call.func.attr in _QUIET_METHODS - self._tree.own_attributes and not self._tree.dotted(call.func)
        if isinstance(call.func, ast.Name) and self._tree.owner(call.func) is None:
            return call.func.id in _QUIET_FUNCTIONS | EXCEPTIONS
        function = self._tree.function(call.func)
        if function is None:
            return False
        if function not in self._known:
            # One that calls itself is as quiet as the rest of it. A long chain of functions is not followed to its end.
            self._known[function] = len(self._known) < _MOST_FUNCTIONS
            if self._known[function]:
                self._known[function] = all(map(self.is_quiet, function.body))
        return self._known[function]


ODDITIES: tuple[Gap, ...] = (
    Gap(
        "comparisons of an exception's type",
        "use `isinstance(e, ValueError)`, or `type(e).__name__`",
        _types_of_exceptions,
        "try:\n    1 / 0\nexcept Exception as e:\n    r = type(e) is ZeroDivisionError\nr",
        rare=True,
    ),
    Gap(
        "attributes of built-in values by name",
        "use `isinstance(value, dict)`, `type(value).__name__`, `len(value)` and the like",
        _attributes_by_name,
        "hasattr('a', 'upper') and (5).real == 5 and 'a'.__len__() == 1 and (2.5).hex() == '0x1.4000000000000p+1'",
        rare=True,
    ),
    Gap(
        "StopIteration out of async functions",
        "give `next` a default: `next(items, None)`",
        _ends_of_iterators,
        "async def f():\n    next(iter([]))\ntry:\n    await f()\nexcept Exception as e:\n    r = str(e)\nr != ''",
        rare=True,
    ),
    Gap(
        "orders of a dict's keys and items",
        "compare sets: `set(d) <= set(other)`",
        _orders_of_views,
        "{'a': 1}.keys() <= {'a': 1}.keys() and {'a': 1}.items() >= {'a': 1}.items()",
        rare=True,
    ),
    Gap(
        "classes as text",
        "show the name: `Point.__name__`, `type(value).__name__`",
        _class_texts,
        "class A:\n    pass\nrepr(A) == \"<class '__main__.A'>\"",
        rare=True,
    ),
    Gap(
        "named arguments behind **",
        "write `**` last: `f(b=2, **others)`",
        _late_names,
        "list(dict(**{'a': 1}, b=2)) == ['a', 'b']",
        rare=True,
    ),
    Gap(
        "os.environ as a value",
        "read it by `os.environ.get(name)`: it is empty",
        _environments,
        "import os\nrepr(os.environ) == 'environ({})'",
        rare=True,
    ),
    Gap(
        "assert with a message that is no text",
        "write the message as text: `assert ok, f'...'`",
        _assertions,
        "try:\n    assert 1 == 2, [1]\nexcept AssertionError as e:\n    r = str(e)\nr == '[1]'",
        rare=True,
    ),
    Gap(
        "re.finditer and Counter.elements that are kept, or taken in part",
        "make a list: `list(re.finditer(...))`",
        _listed_iterators,
        "import re\ng = re.finditer('a', 'a')\n[len(list(g)), len(list(g))] == [1, 0]",
        rare=True,
    ),
    Gap(
        "searches for an empty text beyond the end",
        "slice first: `text[start:].find(part)`",
        _searches,
        "'a'.find('', 2) == -1",
        rare=True,
    ),
    Gap(
        "the texts of built-in errors",
        "use `type(e).__name__`, or catch the errors of tools alone: only the call inside of `try`",
        _texts_of_errors,
        "try:\n    {}[1]\nexcept KeyError as e:\n    r = str(e)\nr == '1'",
        rare=True,
    ),
)
