"""Keys that equal a key of another spelling, such as 1, 1.0 and True: CPython keeps the first, Monty the last.

What a key is cannot be read from a program, since most come from tools. So each key that a program makes goes through a
helper, which notes how it is spelled. Texts, which most keys are, cost one look at their type. A second spelling of a key
ends the run by `REFUSE`, whichever dict it is for, so that another backend goes on with it.
"""

import ast
from collections.abc import Iterator

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.dialect.change import Place, RewrittenGap, wrap
from codemode_sandboxes.monty.dialect.kinds import Kinds, is_tools, is_view, kinds_of
from codemode_sandboxes.source.tree import Tree

__all__ = ["GUARD", "KEYS", "REFUSE", "stores_of"]

REFUSE = "_cm_refuse"
"""The name of the function, defined in the prelude, by which helpers end a run, with a message. No `except` sees that."""

_TEXTS = frozenset({"str", "bytes", "NoneType", "ellipsis"})
_NO_DICTS = frozenset({"str", "bytes", "list", "tuple", "range"})

# `_cm_spelled` has each key of the run that is no text. A key that cannot be hashed is left to the program's own store.
GUARD = """\
_cm_spelled = {}
def _cm_is_nan(key):
    if type(key) is tuple or type(key) is frozenset:
        return any([_cm_is_nan(part) for part in key])
    return type(key) is float and key != key
def _cm_key(key):
    kind = type(key)
    if kind is str or key is None:
        return key
    try:
        first = _cm_spelled.setdefault(key, key)
    except TypeError:
        return key
    if kind is int and type(first) is int:
        return key
    shown = repr(key)
    if 'nan' in shown and _cm_is_nan(key):
        REFUSE('a key is NaN, which equals no key, not even itself; test with math.isnan(key) first')
    if type(first) is not kind or (first is not key and repr(first) != shown):
        REFUSE('the key ' + shown + ' equals ' + repr(first) + '; make all keys texts or all of them integers')
    return key
def _cm_listed(items):
    views = type({}.keys()), type({}.values()), type({}.items())
    return items if isinstance(items, (str, int, dict, list, tuple, set, frozenset, range, *views)) else list(items)
def _cm_keys(items):
    items = _cm_listed(items)
    if not isinstance(items, (str, int)):
        for item in items:
            _cm_key(item)
    return items
def _cm_pairs(items):
    items = _cm_listed(items)
    if isinstance(items, dict):
        return _cm_keys(items)
    if not isinstance(items, (str, int)):
        for item in items:
            if (type(item) is tuple or type(item) is list) and len(item) == 2:
                _cm_key(item[0])
    return items
def _cm_items(items):
    return _cm_keys(_cm_pairs(items))
""".replace("REFUSE", REFUSE)
"""Definitions of the helpers, in Monty's Python."""


def _stores(tree: Tree) -> Iterator[Place]:
    """Yield what may become a key of a dict or a Counter, each with the change that notes it; None where none can."""
    kinds = kinds_of(tree)
    has_defaults = any(name == "collections.defaultdict" for name, _ in tree.references)
    for node in tree.of(ast.Subscript):
        is_store = isinstance(node.ctx, ast.Store) or (has_defaults and isinstance(node.ctx, ast.Load))
        if is_store and not _is_harmless(kinds, node) and not is_tools(node):
            yield _wrap(node.slice, "_cm_key")
    keys = [comprehension.key for comprehension in tree.of(ast.DictComp)]
    keys += [key for display in tree.of(ast.Dict) for key in display.keys if key is not None]
    yield from (_wrap(key, "_cm_key") for key in keys if not _is_text(kinds, key))
    for call in tree.of(ast.Call):
        yield from _called(tree, kinds, call)
    for operation in tree.of(ast.BinOp):
        if isinstance(operation.op, ast.BitAnd) and any(map(is_view, (operation.left, operation.right))):
            yield _wrap(operation.left, "_cm_keys")
            yield _wrap(operation.right, "_cm_keys")
    for assignment in tree.of(ast.AugAssign):
        # `d |= pairs` makes keys; all else that unites dicts takes keys that were noted when they were made.
        is_dict = kinds.kind(assignment.target) not in {"number", "set", *_NO_DICTS}
        if isinstance(assignment.op, ast.BitOr) and is_dict and kinds.kind(assignment.value) not in {"number", "set"}:
            yield _wrap(assignment.value, "_cm_pairs")


def _is_text(kinds: Kinds, node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple):
        return all(_is_text(kinds, part) for part in node.elts)
    return kinds.kind(node) in _TEXTS


def _is_harmless(kinds: Kinds, node: ast.Subscript) -> bool:
    return (
        _is_text(kinds, node.slice)
        or kinds.kind(node.value) in _NO_DICTS
        or any(isinstance(each, ast.Slice | ast.Starred) for each in ast.walk(node.slice))
    )


def _called(tree: Tree, kinds: Kinds, call: ast.Call) -> Iterator[Place]:
    if not call.args:
        return
    function, first, dotted = call.func, call.args[0], tree.dotted(call.func)
    if kinds.is_builtin(function, "map"):
        if kinds.is_builtin(first, "dict") or tree.dotted(first) == "collections.Counter":
            yield first, None
    elif kinds.is_builtin(function, "dict"):
        yield _wrap(first, "_cm_pairs")
    elif dotted == "collections.Counter":
        yield _wrap(first, "_cm_keys")
    elif dotted == "collections.defaultdict":
        yield from (_wrap(items, "_cm_pairs") for items in call.args[1:])
    if dotted is not None or not isinstance(function, ast.Attribute) or is_tools(function):
        return
    if function.attr in tree.function_names or kinds.kind(function.value) in _NO_DICTS:
        return
    if function.attr == "setdefault":
        if not _is_text(kinds, first):
            yield _wrap(first, "_cm_key")
    elif function.attr == "fromkeys":
        yield _wrap(first, "_cm_keys")
    elif function.attr in ("update", "subtract"):
        if kinds.kind(function.value) != "set":
            counts = any(name == "collections.Counter" for name, _ in tree.references)
            yield _wrap(first, "_cm_items" if counts else "_cm_pairs")
    elif function.attr == "intersection":
        # It takes its items from either side.
        yield _wrap(function.value, "_cm_keys")
        yield _wrap(first, "_cm_keys")


def _wrap(node: ast.expr, helper: str) -> Place:
    return wrap(node, f"{helper}((", GUARD)


def stores_of(tree: Tree) -> Iterator[ast.AST]:
    """Yield the places of a program where a dict or a Counter may take a key that is no text."""
    return (node for node, _ in _stores(tree))


def _equal_constants(tree: Tree) -> Iterator[ast.AST]:
    """Find displays with keys that equal each other, of several types."""
    for display in tree.of(ast.Dict):
        constants = [key.value for key in display.keys if isinstance(key, ast.Constant)]
        if len(set(constants)) < len({(type(value), repr(value)) for value in constants}):
            yield display


_PROBE = "d = {1: 'a'}\nd[1.0] = 'b'\nrepr(d) == \"{1: 'b'}\""
_SUBSTITUTE = "make all keys texts or all of them integers"

KEYS: tuple[Gap | RewrittenGap, ...] = (
    RewrittenGap(
        "keys that may equal a key of another type",
        _SUBSTITUTE,
        _stores,
        _PROBE,
        words=r"[\[{|&]|\bdict\b|Counter|setdefault|update|fromkeys|intersection",
    ),
    Gap("keys that equal a key of another type", _SUBSTITUTE, _equal_constants, _PROBE, rare=True),
)
