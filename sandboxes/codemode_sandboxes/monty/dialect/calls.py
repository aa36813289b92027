"""Calls and uses of objects that parse in Monty and then fail, and rewrites of some of them."""

import ast
import re
from collections.abc import Iterator

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.dialect.change import Change, Find, Place, RewrittenGap, opening_of
from codemode_sandboxes.monty.dialect.kinds import EXCEPTIONS, kinds_of, method_calls
from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.tree import Function, Tree

__all__ = ["CALLS"]

_TYPES = {kind.__name__: kind for kind in (str, list, dict, set, tuple, bytes)}
# Names that methods of Monty's values have: only those fail as values, whatever else a program defines.
_METHODS = frozenset(name for kind in (*_TYPES.values(), re.Pattern) for name in dir(kind) if not name.startswith("_"))
_CLASS_METHODS = frozenset({"fromhex", "fromkeys"})


def _keywords(function: str, **harmless: object) -> Find:
    """Return a finder of calls that pass one of these keywords.

    Args:
        function: The dotted name of the function.
        harmless: For each keyword the constant with which it changes nothing; `...` where there is none.
    """

    def find(tree: Tree) -> Iterator[ast.AST]:
        for node in tree.calls(function):
            for keyword in node.keywords:
                constant = keyword.value.value if isinstance(keyword.value, ast.Constant) else ...
                if keyword.arg in harmless and (constant is ... or constant is not harmless[keyword.arg]):
                    yield node
                    break

    return find


def _function_attributes(tree: Tree) -> Iterator[ast.AST]:
    # A name that is also assigned may hold anything with attributes; what has a name is a class or a function.
    functions = tree.function_names - tree.bound.keys()
    classes = {node.name for node in tree.of(ast.ClassDef)}
    for node in tree.of(ast.Attribute):
        if isinstance(node.value, ast.Name) and (
            node.value.id in functions or (node.attr == "__name__" and node.value.id not in classes)
        ):
            yield node


def _exception_internals(tree: Tree) -> Iterator[ast.AST]:
    hidden = {"__cause__", "__context__", "__notes__", "__traceback__", "add_note", "with_traceback"}
    caught = {node.name for node in tree.of(ast.ExceptHandler) if node.name}
    for node in tree.of(ast.Attribute):
        is_caught = isinstance(node.value, ast.Name) and node.value.id in caught
        if node.attr in hidden or (is_caught and node.attr != "args"):
            yield node


def _exception_arguments(tree: Tree) -> Iterator[ast.AST]:
    kinds = kinds_of(tree)
    for node in tree.of(ast.Call):
        is_error = kinds.is_builtin(node.func, *EXCEPTIONS) and bool(node.args)
        if is_error and (len(node.args) > 1 or kinds.kind(node.args[0]) != "str"):
            yield node


def _methods_as_values(tree: Tree) -> Iterator[ast.AST]:
    # The program's own attributes may have the names of methods, and tools may have any name.
    own = tree.own_attributes | {"tools"}

    def is_method(node: ast.AST) -> bool:
        if not isinstance(node, ast.Attribute):
            return False
        if (dotted := tree.dotted(node)) is not None:
            return dotted.startswith(("datetime.date.", "datetime.datetime.", "datetime.time."))
        of_own = isinstance(node.value, ast.Name) and node.value.id in own
        return node.attr in _METHODS and node.attr not in own and not of_own

    for node in tree.of(ast.Call):
        yield from (argument for argument in _callbacks(node) if is_method(argument))
    yield from (node.value for node in tree.of(ast.Assign) if is_method(node.value))


def _callbacks(call: ast.Call) -> Iterator[ast.expr]:
    """Yield what a call passes for others to call: sort keys, and the functions of `map` and `filter`."""
    yield from (keyword.value for keyword in call.keywords if keyword.arg == "key")
    if isinstance(call.func, ast.Name) and call.func.id in ("map", "filter"):
        yield from call.args[:1]


def _methods_of_types(tree: Tree) -> Iterator[ast.AST]:
    for node in tree.of(ast.Call):
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            base = node.func.value.id
            if base in _TYPES and base not in tree.bound and node.func.attr in _METHODS - _CLASS_METHODS:
                yield node


def _replacements(tree: Tree) -> Iterator[Place]:
    """Call a function of our own for `re.sub(pattern, function, text)` and `pattern.sub(function, text)`."""
    for node in tree.of(ast.Call):
        is_function = tree.dotted(node.func) == "re.sub"
        is_method = (
            isinstance(node.func, ast.Attribute) and node.func.attr == "sub" and "sub" not in tree.function_names
        )
        if is_function or is_method:
            named = (keyword.value for keyword in node.keywords if keyword.arg == "repl")
            if any(_is_function(tree, value) for value in (*node.args[1 if is_function else 0 :][:1], *named)):
                yield node, _substitution(node, is_function=is_function)


def _is_function(tree: Tree, node: ast.expr) -> bool:
    if not isinstance(node, ast.Name):
        return isinstance(node, ast.Lambda)
    scope = tree.owner(node)
    bindings = scope.bound[node.id] if scope is not None else []
    return any(
        isinstance(each, Function) or isinstance(getattr(tree.parent(each), "value", None), ast.Lambda)
        for each in bindings
    )


def _set_operations(tree: Tree) -> Iterator[ast.AST]:
    """Find methods of sets with other than one argument; no other built-in type has methods that are called so."""
    for call, method in method_calls(tree, "difference", "intersection", "union", "update"):
        several = len(call.args) > 1 or any(isinstance(argument, ast.Starred) for argument in call.args)
        if several or (not call.args and not call.keywords and method.attr != "update"):
            yield call


def _calls_from_callbacks(tree: Tree) -> Iterator[ast.AST]:
    def suspends(node: ast.AST) -> bool:
        base = node.value if isinstance(node, ast.Attribute | ast.Subscript) else None
        of_tools = isinstance(base, ast.Name) and base.id == "tools"
        return of_tools or tree.dotted(node) in _SUSPENDING

    def calls_one(body: ast.AST) -> bool:
        return any(isinstance(node, ast.Call) and suspends(node.func) for node in ast.walk(body))

    callbacks = [callback for node in tree.of(ast.Call) for callback in _callbacks(node)]
    if not callbacks:
        return
    functions = {node.name for node in tree.of(ast.FunctionDef) if calls_one(node)}
    for callback in callbacks:
        if (
            suspends(callback)
            or (isinstance(callback, ast.Lambda) and calls_one(callback))
            or (isinstance(callback, ast.Name) and callback.id in functions)
        ):
            yield callback


def _markers(tree: Tree) -> Iterator[ast.AST]:
    for node in tree.of(ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id == "object":
            yield node


# Helpers of rewritten programs. They run before the program and apart from it, so no line of it moves.
_SETTLE = """\
async def _cm_settle(awaitable):
    try:
        return await awaitable
    except Exception as error:
        return error
def _cm_settled(*awaitables):
    return [_cm_settle(awaitable) for awaitable in awaitables]
"""

_SUBSTITUTE = """\
def _cm_sub(pattern, repl, string, count=0, flags=0):
    import re
    found = re.finditer(pattern, string, flags) if isinstance(pattern, str) else pattern.finditer(string)
    parts = []
    done = made = 0
    for match in found:
        if count and made >= count:
            break
        parts.append(string[done:match.start()])
        parts.append(repl(match))
        done = match.end()
        made += 1
    return ''.join(parts) + string[done:]
"""


def _gathers(tree: Tree) -> Iterator[Place]:
    """Wrap each coroutine of `asyncio.gather(..., return_exceptions=True)` in one that returns its exception."""
    for call in tree.calls("asyncio.gather"):
        if not any(keyword.arg == "return_exceptions" for keyword in call.keywords):
            continue
        change = None
        match call.keywords:
            case [ast.keyword(value=ast.Constant(value=bool(wanted))) as keyword]:
                # An argument after the keyword, as in `gather(return_exceptions=True, *calls)`, cannot be wrapped.
                ends = ((argument.end_lineno, argument.end_col_offset) for argument in call.args)
                if all(end < (keyword.lineno, keyword.col_offset) for end in ends):
                    change = _gather(call, keyword, wanted)
        yield call, change


def _gather(call: ast.Call, keyword: ast.keyword, exceptions: bool) -> Change:
    def edit(edits: Edits) -> None:
        if exceptions:
            edits.insert(opening_of(edits, call) + 1, "*_cm_settled(")
        edits.blank(*edits.span(keyword), ")" if exceptions else "")

    return Change(call, edit, _SETTLE if exceptions else "")


def _substitution(call: ast.Call, *, is_function: bool) -> Change:
    def edit(edits: Edits) -> None:
        if is_function:
            edits.blank(*edits.span(call.func), "_cm_sub")
            return
        assert isinstance(call.func, ast.Attribute)
        pattern_end, name_end = edits.span(call.func.value)[1], edits.span(call.func)[1]
        if "#" in edits.code[pattern_end:name_end]:
            raise ValueError("a comment, which may hold a point, stands before the method's name")
        edits.insert(edits.span(call)[0], "_cm_sub(")
        edits.blank(edits.code.rindex(".", pattern_end, name_end), opening_of(edits, call) + 1, ", ")

    return Change(call, edit, _SUBSTITUTE)


_SUSPENDING = frozenset({"time.time", "datetime.datetime.now", "datetime.date.today"})

CALLS: tuple[Gap | RewrittenGap, ...] = (
    RewrittenGap(
        "asyncio.gather(return_exceptions=True)",
        "wrap each call in an async function with try/except and gather those",
        _gathers,
        "import asyncio\nasync def f():\n    return 1\nawait asyncio.gather(f(), return_exceptions=True) == [1]",
        words=r"\breturn_exceptions\b",
        open_name="asyncio.gather(return_exceptions=...) computed",
    ),
    Gap(
        "tool calls from map(), filter() and sort keys",
        "use a comprehension: `await asyncio.gather(*[tools.name(x) for x in items])`",
        _calls_from_callbacks,
        "list(map(host_function, [1])) == [1]",
    ),
    Gap(
        "methods of built-in types as values",
        "wrap the method: `key=lambda x: x.lower()`, `key=lambda k: d.get(k)`",
        _methods_as_values,
        "sorted('bA', key='bA'.find) == ['b', 'A']",
    ),
    Gap(
        "methods called on a built-in type",
        "call the method on the value: `text.lower()`, not `str.lower(text)`",
        _methods_of_types,
        "str.lower('A') == 'a'",
    ),
    Gap(
        "exceptions with other arguments than one string",
        "pass one string: `raise ValueError(f'...')`",
        _exception_arguments,
        "ValueError(1, 2).args == (1, 2)",
    ),
    Gap(
        "exception internals",
        "use `str(e)` and `type(e).__name__`",
        _exception_internals,
        "try:\n    1 / 0\nexcept Exception as e:\n    r = e.__class__.__name__\nr == 'ZeroDivisionError'",
    ),
    Gap(
        "function attributes",
        "keep what belongs to a function, its name too, in a variable or a dict",
        _function_attributes,
        "def f():\n    pass\nf.__name__ == 'f'",
    ),
    RewrittenGap(
        "re.sub with a function",
        "loop over `re.finditer` and join the pieces",
        _replacements,
        "import re\nre.sub('a', lambda m: 'b', 'a') == 'b'",
        words=r"\bsub\b",
    ),
    Gap(
        "json.dumps(default=)",
        "convert such values first, for example with `str(value)`",
        _keywords("json.dumps", default=..., cls=..., check_circular=...),
        "import json\njson.dumps([1], default=str) == '[1]'",
    ),
    Gap(
        "json.loads with hooks",
        "convert the loaded value afterwards",
        _keywords("json.loads", object_hook=..., object_pairs_hook=..., parse_constant=..., cls=...),
        "import json\njson.loads('{}', object_hook=dict) == {}",
    ),
    Gap(
        "dataclass options",
        "use `@dataclass` alone, or with frozen or eq; sort with a key",
        _keywords(
            "dataclasses.dataclass", order=False, unsafe_hash=False, kw_only=False, slots=False, repr=True, init=True
        ),
        "from dataclasses import dataclass\n@dataclass(order=True)\nclass P:\n    x: int\nP(1) < P(2)",
    ),
    Gap(
        "field options",
        "use `field(default=...)` or `field(default_factory=...)` alone",
        _keywords("dataclasses.field", init=True, repr=True, compare=True, hash=None, metadata=None, kw_only=...),
        "from dataclasses import dataclass, field\n@dataclass\nclass P:\n    x: int = field(default=1, repr=False)\n"
        "P().x == 1",
    ),
    Gap(
        "set.union of several",
        "unite them one by one: `s |= set(other)` in a loop",
        _set_operations,
        "set().union([1], [2]) == {1, 2}",
    ),
    Gap("object()", "use a string that does not occur otherwise as the marker", _markers, "object() is not None"),
)
