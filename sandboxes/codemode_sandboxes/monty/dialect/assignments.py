"""Augmented assignments: Monty's make a new object where CPython's change a list, a set or a deque in its place."""

import ast
from collections.abc import Iterator

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.dialect.change import Change, Place, RewrittenGap
from codemode_sandboxes.monty.dialect.kinds import kinds_of, root_of
from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.tree import Tree

__all__ = ["ASSIGNMENTS"]

_SIGNS: dict[type[ast.operator], str] = {
    ast.Add: "+=",
    ast.Mult: "*=",
    ast.BitOr: "|=",
    ast.BitAnd: "&=",
    ast.Sub: "-=",
    ast.BitXor: "^=",
}
_FIXED = frozenset({"bytes", "number", "str", "tuple", "range", "frozenset", "NoneType"})

_CHANGE = """\
def _cm_{name}(target, value):
    kind = type(target)
    if kind is list and '{operator}' == '+':
        target.extend(value)
    elif '{operator}' == '*' and kind.__name__ in ('list', 'deque'):
        result = target * value
        target.clear()
        target.extend(result)
    elif kind is set and isinstance(value, (set, frozenset)) and '{operator}' in '|&-^':
        result = target {operator} value
        target.clear()
        target.update(result)
    elif kind is set and not isinstance(value, (type({{}}.keys()), type({{}}.items()))):
        raise TypeError("unsupported operand type(s) for {operator}=: 'set' and '" + type(value).__name__ + "'")
    else:
        target {operator}= value
    return target
"""


# What is assigned to a name that only ever holds numbers, texts or tuples is the same in both, and is not looked at: most
# counters and sums are such, and a call for each turn of a loop would cost more than the turn.
def _in_place(tree: Tree) -> Iterator[ast.AugAssign]:
    kinds = kinds_of(tree)
    for node in tree.of(ast.AugAssign):
        if type(node.op) not in _SIGNS:
            continue
        target = kinds.kind(node.target) if isinstance(node.target, ast.Name) else None
        # No list, set or deque takes a number, other than to be multiplied.
        harmless = kinds.kind(node.value) == "number" and not isinstance(node.op, ast.Mult)
        if target not in _FIXED and not harmless:
            yield node


def _assignments(tree: Tree) -> Iterator[Place]:
    return ((node, _assignment(node) if _can_be_repeated(tree, node) else None) for node in _in_place(tree))


def _can_be_repeated(tree: Tree, node: ast.AugAssign) -> bool:
    """Return whether an assignment's target means the same before its value is computed, and after."""
    if any(isinstance(each, ast.NamedExpr) for each in ast.walk(node)):
        return False
    if isinstance(node.target, ast.Name):
        return True
    parts = ast.Attribute | ast.Subscript | ast.Name | ast.Constant | ast.expr_context
    if not all(isinstance(each, parts) for each in ast.walk(node.target)) or root_of(node.target) is None:
        return False
    works = any(isinstance(each, ast.Call | ast.Await) for each in ast.walk(node.value))
    direct = isinstance(node.target.value, ast.Name)
    names = {each.id for each in ast.walk(node.target) if isinstance(each, ast.Name)}
    shared = {name for each in tree.of(ast.Global, ast.Nonlocal) for name in each.names}
    index = getattr(node.target, "slice", None)
    return not works or (direct and not isinstance(index, ast.Attribute | ast.Subscript) and names.isdisjoint(shared))


def _assignment(node: ast.AugAssign) -> Change:
    sign, name = _SIGNS[type(node.op)], type(node.op).__name__.lower()

    def edit(edits: Edits) -> None:
        start, end = edits.span(node.target)
        operator = edits.code.index(sign, end)
        value_end = edits.span(node.value)[1]
        if edits.code[end:operator].strip(" \t\\\n)"):
            raise ValueError("a comment stands before the operator")
        edits.replace(operator, operator + 2, f"= _cm_{name}({edits.code[start:end]}, (")
        # Parentheses around the value may close behind it; what ends the statement ends the call.
        edits.insert(max(value_end, edits.span(node)[1]), "))")

    return Change(node, edit, _CHANGE.format(name=name, operator=sign[0]))


ASSIGNMENTS: tuple[Gap | RewrittenGap, ...] = (
    RewrittenGap(
        "augmented assignment to lists and sets",
        "call the method: `items.extend(more)`, `seen.update(more)`",
        _assignments,
        "xs = [1]\nys = xs\nxs += (2,)\ns = {1}\nt = s\ns |= {2}\nxs *= 2\nys == [1, 2, 1, 2] and t == {1, 2}",
        words=r"[+*|&^-]=",
    ),
)
