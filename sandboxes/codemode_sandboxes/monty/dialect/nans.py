"""NaN: CPython looks for the same object before it compares, and Monty takes each NaN for the same; sorts differ, too.

Where a NaN comes from is told apart. One in the program's text is found before anything runs. One in a tool's result, or in
a text that the program makes a number or JSON of, is found on its way in, and ends the run by `REFUSE`, so that another
backend goes on with it; but only of a program that does what the two do otherwise, and no other pays for it.
"""

import ast
from collections.abc import Iterator
from typing import Any

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.guest.wire import dumps
from codemode_sandboxes.monty.dialect.change import Place, RewrittenGap, wrap
from codemode_sandboxes.monty.dialect.keys import REFUSE, stores_of
from codemode_sandboxes.monty.dialect.kinds import kinds_of
from codemode_sandboxes.source.tree import Tree, tree_of

__all__ = ["FINITE", "NANS", "WARY_JSON", "refuses", "uses_nan"]

_REASON = (
    "one of the numbers is NaN, or leads to it, and NaN is found and sorted here in another way than in Python; "
    "leave NaN and infinities out, with math.isfinite(x)"
)

# A text such as "n/a" is no number, and the program's own `except` is for it.
FINITE = """\
def _cm_finite(text):
    if type(text) is str and ('n' in text or 'N' in text or 'e' in text or 'E' in text):
        try:
            number = float(text)
        except ValueError:
            return text
        if number - number != 0:
            REFUSE('REASON')
    return text
""".replace("REFUSE", REFUSE).replace("REASON", _REASON)
WARY_JSON = """\
def _cm_json(text):
    import re
    if type(text) is str and re.search(r'(?:^|[\\[:,])\\s*-?(?:NaN|Infinity)|\\d[eE]\\+?\\d{3}', text):
        REFUSE('REASON')
    return text
""".replace("REFUSE", REFUSE).replace("REASON", _REASON)

_LOOKING = frozenset({"add", "count", "discard", "frozenset", "index", "remove", "set", "sort", "sorted"})
# From there a product or two lead beyond all floats, and on to NaN.
_HUGE = 1e100


def _minds_nan(tree: Tree) -> bool:
    """Return whether a program may look for values, or order them: there two NaN, or one, would show."""
    words = {node.id for node in tree.of(ast.Name)} | {node.attr for node in tree.of(ast.Attribute)}
    sides = ([node.left, *node.comparators] for node in tree.of(ast.Compare))
    # The largest of several numbers is the same in both, of pairs it is not.
    pairs = "items" in words or any(True for _ in tree.of(ast.Tuple, ast.List))
    return (
        (pairs and not words.isdisjoint({"max", "min"}))
        or not _LOOKING.isdisjoint(words)
        or any(True for _ in (*tree.of(ast.Set), *tree.of(ast.SetComp), *stores_of(tree)))
        or any(sum(not isinstance(side, ast.Constant) for side in each) > 1 for each in sides)
    )


def uses_nan(code: str) -> bool:
    """Return whether a program may do otherwise in Monty where a tool gives it NaN, or an infinity, of which NaN may come."""
    try:
        return _minds_nan(tree_of(code))
    except SyntaxError:
        return False


def refuses(value: Any) -> str:
    """Return why a program that minds NaN must not go on in Monty with a tool's result; empty where it may.

    Args:
        value: The result, a JSON value.
    """
    try:
        text = dumps(value)  # much faster than a walk, which only a result that has one of the words is worth
    except (TypeError, ValueError, RecursionError):
        return ""
    if "NaN" not in text and "Infinity" not in text and "e+" not in text:
        return ""
    return "" if all(abs(each) < _HUGE for each in _floats(value)) else _REASON


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
    if found and _minds_nan(tree):
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


def _read(tree: Tree) -> Iterator[Place]:
    """Yield the texts that a program reads as JSON, where NaN among them would show."""
    loads = [call for call in tree.of(ast.Call) if tree.dotted(call.func) == "json.loads"]
    if loads and _minds_nan(tree):
        for call in loads:
            for text in call.args[:1]:
                yield wrap(text, "_cm_json((", WARY_JSON)


NANS: tuple[Gap | RewrittenGap, ...] = (
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
        _read,
        "float('nan') not in [float('nan')]",
        words=r"\bloads\b",
    ),
)
