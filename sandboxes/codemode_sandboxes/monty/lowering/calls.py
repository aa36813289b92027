"""Calls of functions that Monty has, but not with these arguments."""

import ast

from codemode_sandboxes.monty.lowering.context import Change, Context, after_word, replace_text
from codemode_sandboxes.source.edits import Edits

__all__ = ["dumps", "gather", "mapped", "method_value", "next_of", "set_operation", "substitution", "task", "timestamp"]

_TYPES = ("str", "list", "dict", "set", "tuple", "bytes")
_SORTS = ("max", "min", "sorted")


def gather(context: Context, call: ast.AST) -> Change | None:
    """`asyncio.gather(*coroutines, return_exceptions=True)`: each coroutine is wrapped in one that returns its exception."""
    if not isinstance(call, ast.Call) or len(call.keywords) != 1:
        return None
    (keyword,) = call.keywords
    wanted = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
    if not isinstance(wanted, bool) or any(_end(argument) > _start(keyword) for argument in call.args):
        return None

    def edit(edits: Edits) -> None:
        if wanted:
            opening = _opening(edits, call)
            edits.insert(opening + 1, "*_cm_settled(")
        replace_text(edits, *edits.span(keyword), ")" if wanted else "")

    return Change(call, edit, "_cm_settled" if wanted else "")


def dumps(context: Context, call: ast.AST) -> Change | None:
    """`json.dumps(value, default=function)`: what JSON has nothing for is converted before."""
    if not isinstance(call, ast.Call) or not {keyword.arg for keyword in call.keywords} <= {
        *("default", "indent", "separators", "sort_keys", "ensure_ascii", "allow_nan", "skipkeys"),
    }:
        return None
    return Change(call, lambda edits: replace_text(edits, *edits.span(call.func), "_cm_dumps"), "_cm_dumps")


def timestamp(context: Context, node: ast.AST) -> Change | None:
    """`datetime.fromtimestamp(seconds)`, with a time zone or without."""
    call = context.call_of(node)
    if call is None or context.dotted(node) != "datetime.datetime.fromtimestamp":
        return None
    return Change(
        call, lambda edits: replace_text(edits, *edits.span(call.func), "_cm_fromtimestamp"), "_cm_fromtimestamp"
    )


def substitution(context: Context, call: ast.AST) -> Change | None:
    """`re.sub(pattern, function, text)` and `pattern.sub(function, text)`."""
    if not isinstance(call, ast.Call):
        return None
    if context.dotted(call.func) == "re.sub":
        return Change(call, lambda edits: replace_text(edits, *edits.span(call.func), "_cm_sub"), "_cm_sub")
    return _method(call, "_cm_sub", "_cm_sub(")


def set_operation(context: Context, call: ast.AST) -> Change | None:
    """`set().union(*others)` and the like."""
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.keywords:
        return None
    if not context.builtin("set"):
        return None
    return _method(call, "_cm_set", f"_cm_set({call.func.attr!r}, ")


def task(context: Context, node: ast.AST) -> Change | None:
    """`asyncio.create_task(coroutine)` where the tasks do nothing but be gathered: the coroutine itself is gathered."""
    call = context.call_of(node)
    if call is None or context.dotted(node) not in ("asyncio.create_task", "asyncio.ensure_future"):
        return None
    single = len(call.args) == 1 and not call.keywords and not isinstance(call.args[0], ast.Starred)
    if not single or node.lineno != node.end_lineno or not _is_gathered(context, call):  # type: ignore[attr-defined]
        return None

    def edit(edits: Edits) -> None:
        replace_text(edits, *edits.span(call.func), "")
        _drop_comma(edits, call)

    return Change(call, edit)


def _is_gathered(context: Context, call: ast.Call) -> bool:
    """Whether a task is made in the arguments of `asyncio.gather`, or in a list that the next statement gathers."""
    made: ast.AST = call
    around = context.parent(made)
    if isinstance(around, ast.ListComp | ast.GeneratorExp) and around.elt is made:
        if any(generator.is_async for generator in around.generators) or _waits(around):
            return False
        made, around = around, context.parent(around)
    elif isinstance(around, ast.List):
        made, around = around, context.parent(around)
    elif not isinstance(around, ast.Starred):
        return _is_gather(context, around)
    if isinstance(around, ast.Assign):
        return _is_gathered_next(context, around)
    return isinstance(around, ast.Starred) and _is_gather(context, context.parent(around))


def _is_gathered_next(context: Context, made: ast.Assign) -> bool:
    if len(made.targets) != 1 or not isinstance(made.targets[0], ast.Name):
        return False
    name = made.targets[0].id
    block = next(
        (
            value
            for value in vars(context.parent(made) or ast.Pass()).values()
            if isinstance(value, list) and made in value
        ),
        [],
    )
    following = block[block.index(made) + 1 :][:1]
    value = getattr(following[0], "value", None) if following else None
    gathering = value.value if isinstance(value, ast.Await) else None
    if not isinstance(gathering, ast.Call) or not _is_gather(context, gathering):
        return False
    uses = context.uses[name]
    argument = gathering.args[0] if len(gathering.args) == 1 else None
    starred = isinstance(argument, ast.Starred) and isinstance(argument.value, ast.Name) and argument.value.id == name
    return starred and len(uses) == 2


def _is_gather(context: Context, node: ast.AST | None) -> bool:
    return isinstance(node, ast.Call) and context.dotted(node.func) == "asyncio.gather"


def mapped(context: Context, callback: ast.AST) -> Change | None:
    """`map(tools.name, items)` that is unpacked or made a list at once: a list comprehension."""
    call = context.parent(callback)
    if (
        not isinstance(callback, ast.expr)
        or not isinstance(call, ast.Call)
        or not (isinstance(call.func, ast.Name) and call.func.id == "map")
        or len(call.args) != 2
        or call.keywords
        or callback is not call.args[0]
        or any(isinstance(argument, ast.Starred) for argument in call.args)
        or _in_class_body(context, call)
        or not context.builtin("map", "list", "tuple")
    ):
        return None
    around = context.parent(call)
    listed = isinstance(around, ast.Call) and isinstance(around.func, ast.Name) and around.func.id in ("list", "tuple")
    if not (isinstance(around, ast.Starred) or (listed and call in getattr(around, "args", ()))):
        return None

    def edit(edits: Edits) -> None:
        items = call.args[1]
        start, end = edits.span(call)
        replace_text(edits, start, _opening(edits, call) + 1, "[(")
        comma, behind = after_word(edits, ",", edits.span(callback)[1], edits.span(items)[0])
        edits.replace(comma, behind, ")(_cm_item) for _cm_item in (")
        _drop_comma(edits, call)
        edits.replace(end - 1, end, ")]")

    return Change(call, edit)


def method_value(context: Context, method: ast.AST) -> Change | None:
    """`key=counts.get` and `map(str.strip, items)`: the method is called by a function written out."""
    around = context.parent(method)
    keyed = isinstance(around, ast.keyword) and around.arg == "key" and _is_sort(context.parent(around))
    passed = (
        isinstance(around, ast.Call)
        and isinstance(around.func, ast.Name)
        and around.func.id in ("map", "filter")
        and len(around.args) == 2
    )
    if not isinstance(method, ast.Attribute) or not isinstance(method.value, ast.Name) or not (keyed or passed):
        return None
    if not context.builtin("map", "filter", "isinstance", *_SORTS):
        return None
    base, name, helper = method.value.id, method.attr, ""
    dotted = context.dotted(method)
    if dotted is not None and not dotted.endswith(".fromisoformat"):
        return None
    if base in _TYPES and context.builtin(base) and name not in ("fromhex", "fromkeys"):
        helper = "_cm_unfit"
        call = f"_cm_value.{name}() if isinstance(_cm_value, {base}) else _cm_unfit({name!r}, {base!r}, _cm_value)"
    else:
        call = f"{base}.{name}(_cm_value)"
    return Change(method, lambda edits: replace_text(edits, *edits.span(method), f"(lambda _cm_value: {call})"), helper)


def _is_sort(call: ast.AST | None) -> bool:
    if not isinstance(call, ast.Call):
        return False
    if isinstance(call.func, ast.Attribute):
        return call.func.attr == "sort"
    return isinstance(call.func, ast.Name) and call.func.id in _SORTS


def next_of(context: Context, call: ast.AST) -> Change | None:
    """`next(generator expression, default)`: a function that looks at one item after the other."""
    if not isinstance(call, ast.Call) or call.keywords or not 1 <= len(call.args) <= 2 or not context.builtin("next"):
        return None
    found = call.args[0]
    if not isinstance(found, ast.GeneratorExp) or len(found.generators) != 1 or _waits(found):
        return None
    (loop,) = found.generators
    names = loop.target.elts if isinstance(loop.target, ast.Tuple) else [loop.target]
    plain = [name.id for name in names if isinstance(name, ast.Name)]
    if not plain or len(plain) != len(names) or len(set(plain)) != len(plain) or _has(found, ast.NamedExpr):
        return None
    width = len(plain) if isinstance(loop.target, ast.Tuple) else 0

    def edit(edits: Edits) -> None:
        replace_text(edits, *edits.span(call.func), "_cm_next")
        start, end = edits.span(found)
        own = edits.code.find("(", edits.span(call.func)[1], start) >= 0
        if own:
            edits.replace(start, start + 1, "")
        edits.insert(start + 1, f"{width}, lambda {', '.join(plain)}: (")
        element, target, items = edits.span(found.elt)[1], edits.span(loop.target), edits.span(loop.iter)
        begin, _ = after_word(edits, "for", element, target[0])
        _, begun = after_word(edits, "in", target[1], items[0])
        replace_text(edits, begin, begun, "), ")
        last = items[1]
        for number, condition in enumerate(loop.ifs):
            word = after_word(edits, "if", last, edits.span(condition)[0])
            edits.replace(*word, ") and (" if number else f", lambda {', '.join(plain)}: (")
            last = edits.span(condition)[1]
        edits.insert(end - 1, ")" if loop.ifs else ", None")
        if own:
            edits.replace(end - 1, end, "")

    return Change(call, edit, "_cm_next")


def _method(call: ast.Call, helper: str, prefix: str) -> Change | None:
    """A method call as a call of a helper that takes the object first."""

    def edit(edits: Edits) -> None:
        assert isinstance(call.func, ast.Attribute)
        dot, _ = after_word(edits, ".", edits.span(call.func.value)[1], edits.span(call.func)[1])
        edits.insert(edits.span(call)[0], prefix)
        replace_text(edits, dot, _opening(edits, call) + 1, ", ")

    return Change(call, edit, helper)


def _opening(edits: Edits, call: ast.Call) -> int:
    """Where a call's arguments begin.

    Raises:
        ValueError: A comment comes before.
    """
    end = edits.span(call.func)[1]
    opening = edits.code.index("(", end)
    if edits.code[end:opening].strip(") \t\n\\"):
        raise ValueError("a comment")
    return opening


def _drop_comma(edits: Edits, call: ast.Call) -> None:
    """Take out the comma after the last argument, which would make a tuple of it."""
    last, end = edits.span(call.args[-1])[1], edits.span(call)[1]
    if (comma := edits.code.find(",", last, end)) >= 0:
        edits.replace(comma, comma + 1, "")


def _waits(node: ast.AST) -> bool:
    return _has(node, ast.Await, ast.Yield, ast.YieldFrom)


def _has(node: ast.AST, *kinds: type[ast.AST]) -> bool:
    loops = [part for part in ast.walk(node) if isinstance(part, ast.comprehension)]
    return any(isinstance(part, kinds) for part in ast.walk(node)) or any(loop.is_async for loop in loops)


def _in_class_body(context: Context, node: ast.AST) -> bool:
    while (around := context.parent(node)) is not None:
        if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return False
        if isinstance(around, ast.ClassDef):
            return True
        node = around
    return False


def _start(node: ast.expr | ast.keyword) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.expr | ast.keyword) -> tuple[int, int]:
    return node.end_lineno or 0, node.end_col_offset or 0
