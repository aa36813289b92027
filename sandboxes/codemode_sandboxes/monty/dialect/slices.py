"""Slices of what has none, and searches in ranges and bytes: CPython refuses or answers where Monty does otherwise.

Monty takes a slice for the key of a dict: a Counter then counts 0 of it, and a store puts it in. A slice stands on lists and
texts nearly always, so a helper looks at the value, where its kind is not known, and ends the run by `REFUSE` if it is a dict.
"""

import ast
from collections.abc import Iterator

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.dialect.change import Place, RewrittenGap, wrap
from codemode_sandboxes.monty.dialect.keys import REFUSE
from codemode_sandboxes.monty.dialect.kinds import kinds_of, method_calls
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


def _slices(tree: Tree) -> Iterator[Place]:
    """Yield what is sliced and may be a dict, each with the change that looks at it, where a slice of one stays silent."""
    kinds = kinds_of(tree)
    has_full_dicts = any(name in _FULL_DICTS for name, _ in tree.references)
    for node in tree.of(ast.Subscript):
        kind = kinds.kind(node.value)
        if not isinstance(node.slice, ast.Slice) or kind in _SEQUENCES:
            continue
        if kind == "range":
            yield node.value, None
        elif has_full_dicts or not isinstance(node.ctx, ast.Load) or kinds.catches(node):
            yield wrap(node.value, "_cm_sliced((", SLICED)


def _searches(tree: Tree) -> Iterator[ast.AST]:
    """Find `count` and `index` of ranges, which Monty lacks, and of what may be one or bytes, within a `try` that hides it."""
    kinds = kinds_of(tree)
    for call, method in method_calls(tree, "count", "index"):
        kind = kinds.kind(method.value)
        is_text = bool(call.args) and kinds.kind(call.args[0]) == "str"
        if kind == "range" or (kind is None and not is_text and kinds.catches(call)):
            yield call


SLICES: tuple[Gap | RewrittenGap, ...] = (
    RewrittenGap(
        "slices of dicts and ranges",
        "make a list first: `list(d.items())[:3]`, `list(range(n))[::2]`",
        _slices,
        "d = {}\ntry:\n    d[1:2] = 3\nexcept TypeError:\n    pass\nd == {} and repr(range(10)[::3]) == 'range(0, 10, 3)'",
        words=r"\[[^]]*:",
    ),
    Gap(
        "searches in ranges and bytes",
        "make a list first: `list(range(n)).index(x)`",
        _searches,
        "range(3).index(1) == 1 and b'a'.count(97) == 1",
        rare=True,
    ),
)
