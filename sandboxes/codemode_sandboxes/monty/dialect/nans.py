"""NaN: CPython looks for the same object before it compares, and Monty takes each NaN for the same; sorts differ, too.

Where a NaN comes from is told apart. One in the program's text is found before anything runs. One in a tool's result, or in
a text that the program makes a number or JSON of, is found on its way in, and ends the run by `REFUSE`, so that another
backend goes on with it; but only of a program that does what the two do otherwise, and no other pays for it.
"""

import ast
import math
from collections.abc import Iterator
from typing import Any

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.guest.wire import dumps
from codemode_sandboxes.monty.dialect.change import Change, RewrittenGap, wrap
from codemode_sandboxes.monty.dialect.keys import REFUSE, stores_of
from codemode_sandboxes.monty.dialect.kinds import Kinds, is_tools, kinds_of
from codemode_sandboxes.source.tree import Tree, tree_of

__all__ = ["NANS", "WARY_JSON", "WARY_NUMBERS", "minds_nan", "refuses", "uses_nan"]

_REASON = (
    "this program looks for values or sorts them, and one of them may be NaN, which this sandbox finds and sorts in another "
    "way than Python; leave NaN and infinities out, with math.isfinite(x)"
)

# A text such as "n/a" is no number, and the program's own `except` is for it.
WARY_NUMBERS = """\
def _cm_finite(text):
    if type(text) is str and ('n' in text or 'N' in text or 'e' in text or 'E' in text):
        try:
            number = float(text)
        except ValueError:
            return text
        if number - number != 0:
            REFUSE('REASON')
    return text
def _cm_real(text):
    return _cm_finite(_cm_digits(text))
def _cm_float(text=0.0):
    return float(_cm_real(text))
""".replace("REFUSE", REFUSE).replace("REASON", _REASON)
WARY_JSON = """\
def _cm_json(text):
    import re
    if type(text) is str and re.search(r'(?:^|[\\[:,])\\s*-?(?:NaN|Infinity)|\\d[eE]\\+?\\d{3}', text):
        REFUSE('REASON')
    return text
""".replace("REFUSE", REFUSE).replace("REASON", _REASON)

_LOOKING = frozenset({"add", "count", "discard", "index", "remove"})
_SCALARS = frozenset({"str", "bytes", "NoneType", "ellipsis"})
_CONTAINERS = frozenset({"list", "tuple"})
_ARITHMETIC = ast.Add | ast.Sub | ast.Mult | ast.Div | ast.FloorDiv | ast.Mod | ast.Pow
# From there a product or two lead beyond all floats, and on to NaN.
_HUGE = 1e100


class _Uses:
    """The uses that a program makes of values, where NaN may be among them."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._kinds: Kinds = kinds_of(tree)

    def orders(self) -> bool:
        """Return whether it sorts, or compares the order of what holds others: that differs for one and the same NaN."""
        for name in self._tree.of(ast.Name):
            if self._kinds.is_builtin(name, "sorted"):
                return True
            # The largest of several numbers is the same, of pairs it is not.
            call = self._tree.parent(name) if self._kinds.is_builtin(name, "max", "min") else name
            if any(isinstance(each, ast.Tuple | ast.List) or _is_method(each, "items") for each in ast.walk(call)):
                return True
        if any(node.attr == "sort" for node in self._tree.of(ast.Attribute)):
            return True
        return any(
            isinstance(operator, ast.Lt | ast.LtE | ast.Gt | ast.GtE)
            and not _CONTAINERS.isdisjoint(map(self._kinds.kind, (node.left, *node.comparators)))
            for node in self._tree.of(ast.Compare)
            for operator in node.ops
        )

    def looks(self) -> bool:
        """Return whether it compares what is the same with what is equal, as `in`, sets and keys do: two NaN differ there."""
        if any(True for _ in (*self._tree.of(ast.SetComp), *stores_of(self._tree))):
            return True
        if any(not all(map(self._is_scalar, node.elts)) for node in self._tree.of(ast.Set)):
            return True
        if any(self._kinds.is_builtin(name, "frozenset", "set") for name in self._tree.of(ast.Name)):
            return True
        for call in self._tree.of(ast.Call):
            method = call.func if isinstance(call.func, ast.Attribute) and not is_tools(call.func) else None
            looks = method is not None and method.attr in _LOOKING and self._kinds.kind(method.value) != "str"
            if looks and not all(map(self._is_scalar, call.args[:1])):
                return True
        return any(map(self._looks_in, self._tree.of(ast.Compare)))

    def _looks_in(self, node: ast.Compare) -> bool:
        sides = [node.left, *node.comparators]
        for operator, left, right in zip(node.ops, sides, sides[1:], strict=False):
            if isinstance(operator, ast.In | ast.NotIn) and not (self._is_scalar(left) or self._is_constant(right)):
                return True
            if isinstance(operator, ast.Eq | ast.NotEq) and not (
                any(map(self._is_plain, (left, right))) or ast.dump(left) == ast.dump(right)
            ):
                return True
        return False

    def computes(self) -> bool:
        """Return whether it computes: from an infinity, or NaN, to another NaN."""
        sides = [(node.op, node.left, node.right) for node in self._tree.of(ast.BinOp)]
        sides += [(node.op, node.target, node.value) for node in self._tree.of(ast.AugAssign)]
        for operator, left, right in sides:
            kinds = {self._kinds.kind(left), self._kinds.kind(right)}
            if isinstance(operator, _ARITHMETIC) and kinds.isdisjoint({*_SCALARS, *_CONTAINERS}):
                return True
        return any(self._kinds.is_builtin(name, "float", "sum") for name in self._tree.of(ast.Name))

    def _is_scalar(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Constant) or self._kinds.kind(node) in _SCALARS

    def _is_plain(self, node: ast.expr) -> bool:
        return self._is_scalar(node) or self._kinds.kind(node) == "number" or self._is_constant(node)

    def _is_constant(self, node: ast.expr) -> bool:
        """Return whether no NaN is in a display, whose parts are texts and constants."""
        match node:
            case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
                return all(map(self._is_scalar, parts))
            case ast.Dict(keys=keys):
                return all(key is not None and self._is_scalar(key) for key in keys)
        return self._kinds.kind(node) == "str"


def _is_method(node: ast.AST, method: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == method


def uses_nan(code: str) -> tuple[bool, bool]:
    """Return whether a program may do otherwise in Monty where a tool gives it NaN; and where it gives it an infinity."""
    try:
        uses = _Uses(tree_of(code))
    except SyntaxError:
        return False, False
    orders, computes = uses.orders(), uses.computes()
    looks = computes and uses.looks()
    return orders or looks, computes and (orders or looks)


def refuses(value: Any, *, nan: bool, infinity: bool) -> str:
    """Return why a program must not go on in Monty with a tool's result; empty where it may.

    Args:
        value: The result, a JSON value.
        nan: Whether NaN is too much for it.
        infinity: Whether an infinity is.
    """
    if not nan and not infinity:
        return ""
    try:
        text = dumps(value)  # much faster than a walk, which only a result that has one of the words is worth
    except (TypeError, ValueError, RecursionError):
        return ""
    if "NaN" not in text and "Infinity" not in text and "e+" not in text:
        return ""
    found = {"nan" if math.isnan(each) else "infinity" for each in _floats(value) if not abs(each) < _HUGE}
    return _REASON if (nan and "nan" in found) or (infinity and "infinity" in found) else ""


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _floats(part)


def _visible(tree: Tree) -> Iterator[ast.AST]:
    """Find NaN in a program's text, and infinities that it computes with, where it looks for values or sorts them."""
    kinds = kinds_of(tree)
    calls = [call for call in tree.of(ast.Call) if kinds.is_builtin(call.func, "float")]
    infinite: list[ast.AST] = [call for call in calls if _text(call) in ("inf", "infinity")]
    found: list[ast.AST] = [call for call in calls if _text(call) == "nan"]
    names = (*tree.of(ast.Attribute), *tree.of(ast.Name))
    found += [node for node in names if tree.dotted(node) == "math.nan"]
    infinite += [node for node in names if tree.dotted(node) == "math.inf"]
    infinite += [
        node for node in tree.of(ast.Constant) if isinstance(node.value, float) and not abs(node.value) < _HUGE
    ]
    found += [node for node in infinite if _is_operand(tree, node)]
    found += _growing(tree)
    if found and minds_nan(tree):
        yield from found


def _growing(tree: Tree) -> Iterator[ast.AST]:
    """Find what is multiplied in a loop by itself, beyond all floats perhaps, and subtracted or divided later."""
    for loop in tree.of(ast.For, ast.AsyncFor, ast.While):
        for node in ast.walk(loop):
            match node:
                case ast.AugAssign(target=ast.Name(id=name), op=ast.Mult() | ast.Pow()):
                    pass
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.BinOp(op=ast.Mult() | ast.Pow()) as value):
                    if not any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(value)):
                        continue
                case _:
                    continue
            if any(
                isinstance(around := tree.parent(use), ast.BinOp)
                and isinstance(around.op, ast.Sub | ast.Div | ast.FloorDiv | ast.Mod)
                for use in tree.names(name)
            ):
                yield node


def _text(call: ast.Call) -> str:
    value = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
    return value.strip().lower().lstrip("+-") if isinstance(value, str) else ""


def _is_operand(tree: Tree, node: ast.AST) -> bool:
    """Return whether an infinity, or a variable that it is bound to, may be computed with."""
    parent = tree.parent(node)
    while isinstance(parent, ast.UnaryOp):
        node, parent = parent, tree.parent(parent)
    if isinstance(parent, ast.Compare):
        return False
    target = parent.targets[0] if isinstance(parent, ast.Assign) and len(parent.targets) == 1 else None
    if not isinstance(target, ast.Name):
        return True
    added = any(isinstance(each.target, ast.Name) and each.target.id == target.id for each in tree.of(ast.AugAssign))
    return added or any(isinstance(tree.parent(use), ast.BinOp | ast.AugAssign) for use in tree.names(target.id))


def _read(tree: Tree) -> Iterator[tuple[ast.AST, Change | None]]:
    """Yield the texts that a program reads as JSON, where NaN among them would show."""
    loads = [call for call in tree.of(ast.Call) if tree.dotted(call.func) == "json.loads"]
    if loads and minds_nan(tree):
        for call in loads:
            for text in call.args[:1]:
                yield text, wrap(text, "_cm_json((", WARY_JSON)


def minds_nan(tree: Tree) -> bool:
    """Return whether a program does with some value what two NaN, or one, would show."""
    uses = _Uses(tree)
    return uses.orders() or uses.looks()


NANS: tuple[Gap, ...] = (
    Gap(
        "NaN among others",
        "test with `math.isnan(x)`, or leave NaN out",
        _visible,
        "float('nan') not in [float('nan')]",
        rare=True,
    ),
    RewrittenGap(
        "NaN in JSON",
        "test with `math.isnan(x)`, or leave NaN out",
        lambda tree: (node for node, _ in _read(tree)),
        "float('nan') not in [float('nan')]",
        rewrite=lambda tree: (change for _, change in _read(tree) if change is not None),
        words=r"\bloads\b",
    ),
)
