"""Keys that equal a key of another spelling, such as 1, 1.0 and True: CPython keeps the first, Monty the last.

What a key is cannot be read from a program, since most come from tools. So a program's stores go through helpers: these
note how each key is spelled, and put the first spelling in the place of a later one. Texts, which most keys are, cost one
look at their type. Where the first spelling cannot be found, a helper calls `REFUSE`, which ends the run.
"""

import ast
from collections.abc import Iterator, Sequence
from functools import cached_property

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.dialect.change import Change, RewrittenGap, insert_call, wrap
from codemode_sandboxes.monty.dialect.kinds import Kinds, is_tools, kinds_of, root_of
from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.tree import Tree

__all__ = ["GUARD", "KEYS", "REFUSE", "stores_of"]

REFUSE = "_cm_refuse"
"""The name of the function, defined in the prelude, by which helpers end a run, with a message. No `except` sees that."""

_TEXTS = frozenset({"str", "bytes", "NoneType", "ellipsis"})
_NO_DICTS = frozenset({"str", "bytes", "list", "tuple", "range"})

# `_cm_spelled` has the first spelling of each key of the run that is no text; `_cm_mixed` where there were several. Only
# then a dict is searched for the key that it has.
GUARD = """\
_cm_spelled = {}
_cm_mixed = []
def _cm_is_nan(key):
    if type(key) is tuple or type(key) is frozenset:
        return any([_cm_is_nan(part) for part in key])
    return type(key) is float and key != key
def _cm_doubt(key):
    kind = type(key)
    if kind is str or key is None:
        return False
    try:
        first = _cm_spelled.setdefault(key, key)
    except TypeError:
        return False
    if first is _cm_mixed:
        return True
    if kind is int and type(first) is int:
        return False
    shown = repr(key)
    if 'nan' in shown and _cm_is_nan(key):
        _cm_refuse('a key is NaN, which equals no key, not even itself; test with math.isnan(key) first')
    if type(first) is kind and (first is key or repr(first) == shown):
        return False
    _cm_spelled[key] = _cm_mixed
    return True
def _cm_note(key):
    _cm_doubt(key)
    return key
def _cm_key(target, key):
    if type(key) is str or type(target) is list or not _cm_doubt(key):
        return key
    if isinstance(target, dict) and key in target:
        for first in target:
            if first == key:
                return first
    return key
def _cm_first(seen, key):
    if type(key) is str:
        return key
    _cm_doubt(key)
    try:
        return seen.setdefault(key, key)
    except TypeError:
        return key
def _cm_last(seen, made):
    return made
def _cm_known(target, keys):
    seen = {}
    mixed = [key for key in keys if type(key) is not str and _cm_doubt(key)]
    if not mixed:
        return None
    for key in target:
        _cm_first(seen, key)
    return seen
def _cm_over(target, other):
    if not isinstance(other, dict):
        return other
    seen = _cm_known(target if isinstance(target, dict) else (), other)
    if seen is None:
        return other
    new = type(other)() if type(other).__name__ == 'Counter' else {}
    for key in other:
        new[_cm_first(seen, key)] = other[key]
    return new
def _cm_into(seen, other):
    made = {}
    for key in {**other}:
        made[_cm_first(seen, key)] = other[key]
    return made
def _cm_is_pair(item):
    return (type(item) is tuple or type(item) is list) and len(item) == 2
def _cm_pairs(items, target=()):
    if isinstance(items, dict):
        return _cm_over(target, items)
    items = list(items)
    if not all([_cm_is_pair(item) for item in items]):
        return items
    seen = _cm_known(target, [item[0] for item in items])
    return items if seen is None else [(_cm_first(seen, item[0]), item[1]) for item in items]
def _cm_firsts(items, target=()):
    if isinstance(items, dict) or type(items) is str:
        return items
    items = list(items)
    seen = _cm_known(target, items)
    return items if seen is None else [_cm_first(seen, item) for item in items]
def _cm_update(target, other):
    if isinstance(other, dict):
        return _cm_over(target, other)
    if not isinstance(target, dict):
        return other
    return _cm_firsts(other, target) if type(target).__name__ == 'Counter' else _cm_pairs(other, target)
def _cm_within(target, items):
    return items if isinstance(items, (set, frozenset)) else [item for item in items if item in target]
def _cm_common(items):
    if type(items) is not int:
        for item in items:
            if type(item) is not str and _cm_doubt(item):
                _cm_refuse(repr(item) + ' meets an item that equals it, of another type; make all of them texts or integers')
    return items
""".replace("_cm_refuse", REFUSE)
"""Definitions of the helpers, in Monty's Python."""


class _Stores:
    """The places of a program where a dict or a Counter may take a key, each with the change that guards it."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._kinds: Kinds = kinds_of(tree)

    def find(self) -> Iterator[tuple[ast.expr, Change | None]]:
        """Yield each place; None where no change guards it."""
        for node in self._tree.of(ast.Subscript):
            if isinstance(node.ctx, ast.Store):
                yield from self._stored(node)
        for comprehension in self._tree.of(ast.DictComp):
            if not self._is_text(comprehension.key):
                yield self._record(comprehension, [(comprehension.key, "_cm_first")])
        for display in self._tree.of(ast.Dict):
            yield from self._displayed(display)
        for call in self._tree.of(ast.Call):
            yield from self._called(call)
        for operation in self._tree.of(ast.BinOp):
            yield from self._combined(operation)
        for assignment in self._tree.of(ast.AugAssign):
            yield from self._augmented(assignment)
        if self._uses("defaultdict"):
            for node in self._tree.of(ast.Subscript):
                if isinstance(node.ctx, ast.Load) and not self._is_harmless(node) and not is_tools(node):
                    yield _wrap(node.slice, "_cm_note")

    def _uses(self, name: str) -> bool:
        return any(found == f"collections.{name}" for found, _ in self._tree.references)

    def _is_text(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Tuple):
            return all(map(self._is_text, node.elts))
        return self._kinds.kind(node) in _TEXTS

    def _is_harmless(self, node: ast.Subscript) -> bool:
        return (
            isinstance(node.slice, ast.Slice)
            or self._is_text(node.slice)
            or self._kinds.kind(node.value) in _NO_DICTS
            or any(isinstance(each, ast.Slice | ast.Starred) for each in ast.walk(node.slice))
        )

    def _stored(self, node: ast.Subscript) -> Iterator[tuple[ast.expr, Change | None]]:
        if not self._is_harmless(node):
            yield self._wrap_for(node.value, node.slice, "_cm_key")

    def _displayed(self, display: ast.Dict) -> Iterator[tuple[ast.expr, Change | None]]:
        others = [key for key in display.keys if key is not None and not self._is_text(key)]
        stars = [value for key, value in zip(display.keys, display.values, strict=True) if key is None]
        constant = not stars and all(isinstance(key, ast.Constant) for key in others)
        if constant or len(others) + len(stars) == 1:
            # Keys of one type, or a copy: they only have to be known.
            yield from (_wrap(key, "_cm_note") for key in others)
        else:
            guards = [(key, "_cm_first") for key in others] + [(star, "_cm_into") for star in stars]
            yield self._record(display, guards)

    def _record(
        self, node: ast.Dict | ast.DictComp, guards: Sequence[tuple[ast.expr, str]]
    ) -> tuple[ast.expr, Change | None]:
        """Return a change that gives each evaluation of a display a record of the keys that it has seen."""
        if not self._may_bind(node):
            return node, None
        seen = f"_cm_seen_{node.lineno}_{node.col_offset}"

        def edit(edits: Edits) -> None:
            parts = [(node, f"_cm_last(({seen} := {{}}), ", ")")]
            for part, opening, closing in [*parts, *((key, f"{helper}({seen}, (", "))") for key, helper in guards)]:
                start, end = edits.span(part)
                edits.insert(start, opening)
                edits.insert(end, closing)

        return node, Change(node, edit, GUARD)

    def _may_bind(self, node: ast.expr) -> bool:
        """Return whether `:=` may stand in a place, and be seen in what is inside of it."""
        if self._tree.frame(node).kind == "class":
            return False
        return node not in self._loops

    @cached_property
    def _loops(self) -> frozenset[ast.AST]:
        return frozenset(each for loop in self._tree.of(ast.comprehension) for each in ast.walk(loop.iter))

    def _called(self, call: ast.Call) -> Iterator[tuple[ast.expr, Change | None]]:
        function, args = call.func, call.args
        if self._kinds.is_builtin(function, "map") and args:
            maker = self._kinds.is_builtin(args[0], "dict") or self._tree.dotted(args[0]) == "collections.Counter"
            yield from [(args[0], None)] if maker else []
        if self._kinds.is_builtin(function, "dict") and args:
            yield from self._wrapped(args[0], "_cm_pairs")
        dotted = self._tree.dotted(function)
        if dotted == "collections.Counter" and args:
            yield from self._wrapped(args[0], "_cm_firsts")
        if dotted == "collections.defaultdict" and len(args) > 1:
            yield from self._wrapped(args[1], "_cm_pairs")
        if dotted is not None or not isinstance(function, ast.Attribute) or is_tools(function) or not args:
            return
        if function.attr in self._tree.function_names or self._kinds.kind(function.value) in _NO_DICTS:
            return
        if function.attr == "fromkeys":
            yield from self._wrapped(args[0], "_cm_firsts")
        elif function.attr == "setdefault" and not self._is_text(args[0]):
            yield from self._wrapped(args[0], "_cm_note")
        elif function.attr in ("update", "subtract") and self._kinds.kind(function.value) != "set":
            if not self._has_text_keys(args[0]):
                yield from self._wrapped(args[0], "_cm_update", function.value)
        elif function.attr == "intersection":
            yield from self._wrapped(args[0], "_cm_within", function.value)

    def _wrap_for(self, target: ast.expr, node: ast.expr, helper: str) -> tuple[ast.expr, Change | None]:
        """Return a change that passes a value through a helper, with the dict that takes it."""
        parts = ast.Attribute | ast.Subscript | ast.Name | ast.Constant | ast.expr_context
        is_plain = root_of(target) is not None and all(isinstance(each, parts) for each in ast.walk(target))
        binds = any(isinstance(each, ast.NamedExpr) for each in ast.walk(node))
        if is_plain and not binds and target.lineno == target.end_lineno:
            return node, Change(
                node, lambda edits: insert_call(edits, node, f"{helper}({edits.text(target)}, ("), GUARD
            )
        if not self._may_bind(target):
            return node, None
        name = f"_cm_dict_{target.lineno}_{target.col_offset}_{target.end_col_offset}"

        def edit(edits: Edits) -> None:
            insert_call(edits, target, f"({name} := (")
            insert_call(edits, node, f"{helper}({name}, (")

        return node, Change(node, edit, GUARD)

    def _has_text_keys(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Dict) and all(key is not None and self._is_text(key) for key in node.keys)

    def _wrapped(
        self, node: ast.expr, helper: str, target: ast.expr | None = None
    ) -> Iterator[tuple[ast.expr, Change | None]]:
        if isinstance(node, ast.Starred):
            yield node, None
        elif helper != "_cm_note" and self._kinds.kind(node) == "str":
            return
        else:
            yield _wrap(node, helper) if target is None else self._wrap_for(target, node, helper)

    def _combined(self, node: ast.BinOp) -> Iterator[tuple[ast.expr, Change | None]]:
        if isinstance(node.op, ast.BitAnd) and any(map(_is_view, (node.left, node.right))):
            yield _wrap(node.left, "_cm_common")
            yield _wrap(node.right, "_cm_common")
        elif self._may_join(node.op, node.left, node.right) and self._is_value(node.left, node.right):
            yield self._wrap_for(node.left, node.right, "_cm_over")

    def _augmented(self, node: ast.AugAssign) -> Iterator[tuple[ast.expr, Change | None]]:
        if self._may_join(node.op, node.target, node.value):
            yield self._wrap_for(
                node.target, node.value, "_cm_update" if isinstance(node.op, ast.BitOr) else "_cm_over"
            )

    def _may_join(self, operator: ast.operator, left: ast.expr, right: ast.expr) -> bool:
        if not isinstance(operator, ast.BitOr) and not (
            isinstance(operator, ast.Add | ast.Sub | ast.BitAnd) and self._uses("Counter")
        ):
            return False
        kinds = {self._kinds.kind(left), self._kinds.kind(right)}
        return kinds.isdisjoint({"number", "set", *_TEXTS, *_NO_DICTS}) and not self._has_text_keys(right)

    def _is_value(self, *sides: ast.expr) -> bool:
        """Return whether operands are values, and not types as in `int | None` or flags as in `re.I | re.M`."""
        for side in sides:
            if self._tree.dotted(side) is not None:
                return False
            if isinstance(side, ast.Name) and self._tree.owner(side) is None:
                return False
            if isinstance(side, ast.Subscript) and not self._is_value(side.value):
                return False
            if isinstance(side, ast.BinOp) and not self._is_value(side.left, side.right):
                return False
        return True


def _wrap(node: ast.expr, helper: str) -> tuple[ast.expr, Change | None]:
    return node, wrap(node, f"{helper}((", GUARD)


def _is_view(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("keys", "items")


def _changes(tree: Tree) -> Iterator[Change]:
    return (change for _, change in _Stores(tree).find() if change is not None)


def stores_of(tree: Tree) -> Iterator[ast.AST]:
    """Yield the places of a program where a dict or a Counter may take a key that is no text."""
    return (node for node, _ in _Stores(tree).find())


def _equal_constants(tree: Tree) -> Iterator[ast.AST]:
    """Find displays with keys that equal each other, of several types."""
    for display in tree.of(ast.Dict):
        constants = [key.value for key in display.keys if isinstance(key, ast.Constant)]
        if len(set(constants)) < len({(type(value), repr(value)) for value in constants}):
            yield display


_PROBE = "d = {1: 'a'}\nd[1.0] = 'b'\nrepr(d) == \"{1: 'b'}\""
_SUBSTITUTE = "make all keys texts or all of them integers"

KEYS: tuple[Gap, ...] = (
    RewrittenGap(
        "keys that may equal a key of another type",
        _SUBSTITUTE,
        stores_of,
        _PROBE,
        rewrite=_changes,
        words=r"[\[{|&]|\bdict\b|Counter|setdefault|update|fromkeys|intersection",
    ),
    Gap("keys that equal a key of another type", _SUBSTITUTE, _equal_constants, _PROBE, rare=True),
)
