"""Lowering a program, and what of a gap that leaves."""

import ast
import builtins
import keyword
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.gaps import IDIOMS, SYNTAX, library_gaps
from codemode_sandboxes.monty.lowering import calls, statements
from codemode_sandboxes.monty.lowering.context import Change, Context, Lowering
from codemode_sandboxes.monty.lowering.helpers import HELPERS
from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.parse import parse
from codemode_sandboxes.source.tree import Tree

__all__ = ["Lowered", "lower", "remaining"]

_LOWERINGS: dict[str, tuple[Lowering, str]] = {
    "asyncio.gather(return_exceptions=True)": (calls.gather, "asyncio.gather(return_exceptions=...) computed"),
    "tool calls from map(), filter() and sort keys": (calls.mapped, "tool calls from lazy map(), filter(), sort keys"),
    "next() of a generator expression": (calls.next_of, "next() of a generator kept in a variable, of zip() or map()"),
    "methods of built-in types as values": (calls.method_value, "methods of built-in types kept in variables"),
    "exception internals": (statements.class_of, "exception internals"),
    "exceptions with other arguments than one string": (
        statements.exception,
        "exceptions with other arguments than one string",
    ),
    "re.sub with a function": (calls.substitution, ""),
    "json.dumps(default=)": (calls.dumps, "json.dumps(cls=)"),
    "set.union of several": (calls.set_operation, ""),
    "del": (statements.delete, "del of attributes, and of names that are used again"),
    "asyncio tasks": (calls.task, "asyncio tasks that are not gathered at once"),
    "asyncio exceptions": (statements.timeout_error, "asyncio exceptions"),
    "datetime.UTC": (statements.utc, ""),
    "datetime.utcnow": (statements.utcnow, ""),
    "datetime.fromtimestamp": (calls.timestamp, "date.fromtimestamp"),
}
"""By gap: what closes it in part or whole, and the name of what stays open; without a name too little does to speak of."""

_LIBRARY = (
    *("asyncio.create_task", "asyncio.ensure_future", "asyncio.TimeoutError", "datetime.UTC"),
    *("datetime.datetime.utcnow", "datetime.datetime.today", "datetime.datetime.fromtimestamp"),
)
_FURTHER = {"exceptions with other arguments than one string": statements.raised}
"""By gap: what finds more than the gap can be sure of, since what it finds is the same when it is lowered."""
_GAPS = tuple(
    replace(gap, find=_FURTHER.get(gap.name, gap.find))
    for gap in (*SYNTAX, *IDIOMS, *library_gaps(_LIBRARY))
    if gap.name in _LOWERINGS
)


_WORDS = {
    "asyncio.gather(return_exceptions=True)": "return_exceptions",
    "tool calls from map(), filter() and sort keys": "map",
    "next() of a generator expression": "next",
    "methods of built-in types as values": "key|map|filter",
    "exception internals": "__class__",
    "exceptions with other arguments than one string": "raise",
    "re.sub with a function": "sub",
    "json.dumps(default=)": "default",
    "set.union of several": "union|intersection|difference",
    "del": "del",
    "asyncio tasks": "create_task|ensure_future",
    "asyncio exceptions": "TimeoutError",
    "datetime.UTC": "UTC",
    "datetime.utcnow": "utcnow|today",
    "datetime.fromtimestamp": "fromtimestamp",
}
"""By gap: without one of these words in its text a program does not have it, and need not be looked through."""
_FINDERS = tuple((gap, re.compile(rf"\b({_WORDS[gap.name]})\b")) for gap in _GAPS)


_BUILTINS = {name for name in dir(builtins) if not name.startswith("_") and not keyword.iskeyword(name)}
_BOUND = """\
try:
    {name} = {name}
except NameError:
    pass
"""
_TARGETS = re.compile(r"\bfor\b([^:]{1,100}?)\bin\b")  # bounded: the text may be hostile
_NAME = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Lowered:
    """A program as Monty runs it.

    Attributes:
        code: The program; a line is what became of the line with its number.
        helpers: What has to be defined before it starts.
    """

    code: str
    helpers: str = ""


def lower(code: str) -> Lowered:
    """Write a program in terms of what Monty runs, as far as that is exact; any text may be given."""
    gaps = [gap for gap, words in _FINDERS if words.search(code)]
    if not gaps and _BUILTINS.isdisjoint(name for target in _TARGETS.findall(code) for name in _NAME.findall(target)):
        return Lowered(code)
    try:
        tree = Tree(parse(code))
    except SyntaxError:
        return Lowered(code)
    context = Context(tree)
    shadowed = "".join(_BOUND.format(name=name) for name in sorted(_shadowed(tree)))
    changes = [change for gap in gaps for node in gap.find(tree) if (change := _change(context, gap.name, node))]
    if not changes:
        return Lowered(code, shadowed)
    edits = Edits(code)
    try:
        for change in sorted(changes, key=_outermost_first):
            change.edit(edits)
        lowered = edits.apply()
        parse(lowered)
    except (ValueError, SyntaxError):
        return Lowered(code, shadowed)  # written so oddly, as with commas in comments, that its parts were not found
    helpers = dict.fromkeys(change.helper for change in changes if change.helper)
    return Lowered(lowered, shadowed + "".join(HELPERS[helper] for helper in helpers))


def _shadowed(tree: Tree) -> set[str]:
    """Built-in names that comprehensions use for variables of their own.

    At the top of a program Monty 1.4 takes such a name for the built-in thing, unless the program binds it, too.
    """
    targets = (node.target for node in tree.of(ast.comprehension))
    return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)} & _BUILTINS


def remaining(gaps: Iterable[Gap]) -> Iterator[Gap]:
    """Give the gaps that stay open when programs are lowered, under names that say what of them does."""
    for gap in gaps:
        lowering = _LOWERINGS.get(gap.name)
        if lowering is None:
            yield gap
        else:
            yield replace(gap, name=lowering[1] or gap.name, find=_Remaining(gap), rare=not lowering[1])


@dataclass(frozen=True, slots=True)
class _Remaining:
    gap: Gap

    def __call__(self, tree: Tree) -> Iterator[ast.AST]:
        nodes = list(self.gap.find(tree))
        if nodes:
            context = Context(tree)
            yield from (node for node in nodes if _change(context, self.gap.name, node) is None)


def _change(context: Context, gap: str, node: ast.AST) -> Change | None:
    return _LOWERINGS[gap][0](context, node) if context.placed(node) else None


def _outermost_first(change: Change) -> tuple[int, int, int, int]:
    node = change.node
    return node.lineno, node.col_offset, -(node.end_lineno or 0), -(node.end_col_offset or 0)
