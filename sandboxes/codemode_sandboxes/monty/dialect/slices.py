"""Slices of what has none, and searches in ranges and bytes: CPython refuses or answers where Monty does otherwise.

Monty takes a slice for the key of a dict: a Counter then counts 0 of it, and a store puts it in. A slice stands on lists and
texts nearly always, so a helper looks at the value, where its kind is not known, and ends the run by `REFUSE` if it is a dict.
"""

import ast
from collections.abc import Iterator

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.dialect.change import Change, RewrittenGap, wrap
from codemode_sandboxes.monty.dialect.keys import REFUSE
from codemode_sandboxes.monty.dialect.kinds import is_tools, kinds_of
from codemode_sandboxes.source.tree import Tree

__all__ = ["SLICED", "SLICES"]

SLICED = """\
def _cm_sliced(value):
    if isinstance(value, dict) or type(value) is range:
        REFUSE('a slice of a ' + type(value).__name__ + ' is another thing here; make a list of it first')
    return value
""".replace("REFUSE", REFUSE)
_SEQUENCES = frozenset({"bytes", "list", "str", "tuple"})
# Their dicts have a value for every key, a slice too.
_FULL_DICTS = frozenset({"collections.Counter", "collections.defaultdict"})


def _slices(tree: Tree) -> Iterator[tuple[ast.expr, Change | None]]:
    """Yield what is sliced and may be a dict, each with the change that looks at it, where a slice of one stays silent."""
    kinds = kinds_of(tree)
    has_full_dicts = any(name in _FULL_DICTS for name, _ in tree.references)
    for node in tree.of(ast.Subscript):
        if not isinstance(node.slice, ast.Slice) or kinds.kind(node.value) in _SEQUENCES:
            continue
        if has_full_dicts or not isinstance(node.ctx, ast.Load) or kinds.catches(node):
            yield node.value, wrap(node.value, "_cm_sliced((", SLICED)


def _searches(tree: Tree) -> Iterator[ast.AST]:
    """Find `count` and `index` of what may be a range or bytes, within a `try` that hides that Monty lacks them."""
    kinds = kinds_of(tree)
    may_be_range = any(kinds.is_builtin(name, "range") and not _is_loop(tree, name) for name in tree.of(ast.Name))
    may_be_bytes = any(isinstance(each.value, bytes) for each in tree.of(ast.Constant)) or any(
        each.attr in ("encode", "fromhex", "to_bytes") for each in tree.of(ast.Attribute)
    )
    if not may_be_range and not may_be_bytes:
        return
    for call in tree.of(ast.Call):
        match call:
            case ast.Call(func=ast.Attribute(value=value, attr="count" | "index" as name), args=[item, *_]):
                is_other = name in tree.own_attributes or is_tools(call.func) or kinds.kind(item) == "str"
                if not is_other and kinds.kind(value) is None and kinds.catches(call):
                    yield call


def _is_loop(tree: Tree, name: ast.Name) -> bool:
    """Return whether a range is gone through at once, so that no variable holds it."""
    call = tree.parent(name)
    around = tree.parent(call) if isinstance(call, ast.Call) and call.func is name else None
    match around:
        case ast.For(iter=iterated) | ast.comprehension(iter=iterated):
            return iterated is call
        case ast.Call(func=ast.Name(id="list" | "tuple" | "set" | "sum" | "sorted" | "enumerate" | "zip")):
            return True
    return False


SLICES: tuple[Gap, ...] = (
    RewrittenGap(
        "slices of dicts",
        "make a list first: `list(d.items())[:3]`",
        lambda tree: (node for node, _ in _slices(tree)),
        "d = {}\ntry:\n    d[1:2] = 3\nexcept TypeError:\n    pass\nd == {}",
        rewrite=lambda tree: (change for _, change in _slices(tree) if change is not None),
        words=r"\[[^]]*:",
    ),
    Gap(
        "searches in ranges and bytes within try",
        "make a list first: `list(range(n)).index(x)`",
        _searches,
        "range(3).index(1) == 1 and b'a'.count(97) == 1",
        rare=True,
    ),
)
