"""Rewriting a program into Python that Monty runs, where that is exactly the same. Lines keep their numbers."""

import ast
import builtins
import keyword
import re
from typing import NamedTuple

from codemode_sandboxes.monty.dialect.assignments import ASSIGNMENTS
from codemode_sandboxes.monty.dialect.calls import CALLS
from codemode_sandboxes.monty.dialect.change import Change, RewrittenGap
from codemode_sandboxes.monty.dialect.dates import DATES, READERS
from codemode_sandboxes.monty.dialect.formats import FORMATS
from codemode_sandboxes.monty.dialect.keys import GUARD, KEYS
from codemode_sandboxes.monty.dialect.laziness import LAZINESS
from codemode_sandboxes.monty.dialect.nans import NANS, WARY_JSON
from codemode_sandboxes.monty.dialect.oddities import ODDITIES
from codemode_sandboxes.monty.dialect.orders import ORDERS
from codemode_sandboxes.monty.dialect.slices import SLICED, SLICES
from codemode_sandboxes.monty.dialect.statements import STATEMENTS
from codemode_sandboxes.monty.dialect.texts import DIGITS, SUBJECTS, TEXTS
from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.tree import Tree, parse, tree_of

__all__ = ["GAPS", "Lowered", "lower"]

GAPS = (
    *(*ASSIGNMENTS, *STATEMENTS, *CALLS, *DATES, *KEYS, *NANS, *LAZINESS, *ORDERS, *FORMATS, *SLICES, *TEXTS),
    *ODDITIES,
)
"""All gaps but those that are read off the installed version: missing names, and calls that were not tried."""

_REWRITTEN = [(gap, re.compile(gap.words)) for gap in GAPS if isinstance(gap, RewrittenGap)]
_SILENT = (GUARD, *READERS, DIGITS, WARY_JSON, SUBJECTS, SLICED)
_BUILTINS = {name for name in dir(builtins) if not name.startswith("_") and not keyword.iskeyword(name)}
_BIND = """\
try:
    {name} = {name}
except NameError:
    pass
"""
_TARGETS = re.compile(r"\bfor\b([^:]{1,100}?)\bin\b")  # bounded, so that hostile text takes no quadratic time
_NAME = re.compile(r"\w+")


class Lowered(NamedTuple):
    """A program as Monty runs it.

    Attributes:
        code: The program, with as many lines.
        helpers: What has to be defined before it starts.
    """

    code: str
    helpers: str = ""


def lower(code: str) -> Lowered:
    """Rewrite a program in terms of what Monty runs, as far as that is exact.

    Args:
        code: Any text. What does not parse, or is laid out too oddly to be edited, is left as it is.
    """
    gaps = [gap for gap, words in _REWRITTEN if words.search(code)]
    if not gaps and _BUILTINS.isdisjoint(name for target in _TARGETS.findall(code) for name in _NAME.findall(target)):
        return Lowered(code)
    try:
        tree = tree_of(code)
    except SyntaxError:
        return Lowered(code)
    shadowed = "".join(_BIND.format(name=name) for name in sorted(_shadowed_builtins(tree)))
    changes = sorted((change for gap in gaps for change in gap.changes(tree)), key=_outermost_first)
    if not changes:
        return Lowered(code, shadowed)
    # An edit may not find its place, such as where a comment has the comma that it looks for. Monty refuses what is left
    # as it was then, apart from what it reads in another way: edits for that look for nothing, and are made all the same.
    for chosen in (changes, [change for change in changes if change.helper in _SILENT]):
        edits = Edits(code)
        try:
            for change in chosen:
                change.edit(edits)
            lowered = edits.apply()
            parse(lowered)
        except (ValueError, SyntaxError):
            continue
        return Lowered(lowered, shadowed + "".join(dict.fromkeys(change.helper for change in chosen)))
    return Lowered(code, shadowed)


def _shadowed_builtins(tree: Tree) -> set[str]:
    """Return the built-in names that comprehensions use for variables of their own.

    At the top of a program Monty 1.4 takes such a name for the built-in thing, unless the program binds it, too.
    """
    targets = (node.target for node in tree.of(ast.comprehension))
    return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)} & _BUILTINS


def _outermost_first(change: Change) -> tuple[int, int, int, int]:
    # Insertions at one place keep their order: what is around comes before what is inside.
    node = change.node
    return node.lineno, node.col_offset, -(node.end_lineno or 0), -(node.end_col_offset or 0)
