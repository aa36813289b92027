"""Dates: Monty reads fewer forms of them than CPython does, some wrong ones too, and durations of whole numbers alone.

It also writes years below 1000 with four digits, and raises `TypeError` where CPython multiplies durations by fractions.

What a program reads comes from tools. So texts go through helpers: `strptime` takes what the pattern takes that CPython makes
of the format, and a form that only one of the two reads ends the run by `REFUSE`, so that another backend goes on with it.
"""

import ast
import re
from _strptime import TimeRE  # type: ignore[import-not-found]
from collections.abc import Iterator

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.dialect.change import Change, Place, RewrittenGap, wrap
from codemode_sandboxes.monty.dialect.keys import REFUSE
from codemode_sandboxes.monty.dialect.kinds import is_tools, kinds_of
from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.tree import Tree

__all__ = ["DATES", "READERS"]

# A text that does not begin with a year is no date to either.
_ISO = """\
def _cm_iso(text):
    import re
    form = '[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.]([0-9]{3}|[0-9]{6}))?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?'
    if type(text) is str and text[:4].isdecimal() and re.fullmatch(form, text) is None:
        REFUSE(repr(text[:40]) + ' is a date in a form that is read in another way here; take its parts as numbers')
    return text
""".replace("REFUSE", REFUSE)
_PARSE = """\
def _cm_when(text, form, pattern):
    import re
    found = re.match(pattern, text, re.IGNORECASE) if type(text) is str else None
    if type(text) is str and (found is None or found.end() != len(text)):
        raise ValueError('time data ' + repr(text) + ' does not match format ' + repr(form))
    return text
"""
_DURATION = """\
def _cm_whole(number):
    if type(number) is float:
        if number != number or number - number != 0 or number != int(number):
            REFUSE('a duration of ' + repr(number) + ' is no whole number; use smaller units')
        return int(number)
    return number
""".replace("REFUSE", REFUSE)
_YEAR = """\
def _cm_dated(value):
    try:
        year = value.year
    except AttributeError:
        return value
    if type(year) is int and year < 1000:
        REFUSE('the year ' + str(year) + ' is written in another way here; use isoformat()')
    return value
""".replace("REFUSE", REFUSE)
READERS = (_ISO, _PARSE, _DURATION, _YEAR)


_HANDED_ON = frozenset({"datetime.datetime.fromisoformat", "datetime.date.fromisoformat", "datetime.datetime.strptime"})


def _readings(tree: Tree) -> Iterator[Place]:
    """Yield what makes dates and durations, each with the change that has it read as in CPython; None where there is none."""
    for call in tree.of(ast.Call):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        dotted = tree.dotted(call.func)
        if dotted in ("datetime.datetime.fromisoformat", "datetime.date.fromisoformat"):
            yield from (wrap(text, "_cm_iso((", _ISO) for text in call.args)
        elif dotted == "datetime.datetime.strptime":
            yield (call.args or [call])[0], _parsing(call)
        elif dotted == "datetime.timedelta":
            for value in (*call.args, *(keyword.value for keyword in call.keywords)):
                if not _is_integer(value):
                    yield (value, None) if isinstance(value, ast.Constant) else wrap(value, "_cm_whole((", _DURATION)
        elif name in ("fromisoformat", "strptime") and name not in tree.own_attributes and not is_tools(call.func):
            yield call, None
    for node in (*tree.of(ast.Name), *tree.of(ast.Attribute)):
        if tree.dotted(node) in _HANDED_ON and getattr(tree.parent(node), "func", None) is not node:
            yield node, None


def _is_integer(node: ast.expr) -> bool:
    value = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(value, ast.Constant) and isinstance(value.value, int)


def _parsing(call: ast.Call) -> Change | None:
    """Return the change of a call of `strptime`, where its format is known, and has a year, a month and a day.

    Monty has no date to fill a time up with.
    """
    match call.args:
        case [text, ast.Constant(value=str(form))] if not isinstance(text, ast.Starred):
            found = set(re.findall("%(.)", form))
            if "Y" not in found or found.isdisjoint("mbB") or "d" not in found:
                return None
            try:
                # CPython's own pattern of the format; it has no public name. No minute has a 61st second in the end.
                pattern = re.sub(r"\?P<\w+>", "?:", TimeRE().pattern(form)).replace("6[0-1]|", "")
            except (IndexError, KeyError, ValueError):
                return None
        case _:
            return None

    def edit(edits: Edits) -> None:
        start, end = edits.span(text)
        edits.insert(start, "_cm_when((")
        edits.insert(end, f"), {form!r}, {pattern!r})")

    return Change(text, edit, _PARSE)


def _writings(tree: Tree) -> Iterator[Place]:
    """Yield what is written with `strftime`, each with the change that looks at its year; None where there is none."""
    for node in tree.of(ast.Attribute):
        if node.attr != "strftime" or is_tools(node) or node.attr in tree.own_attributes:
            continue
        call = tree.parent(node)
        is_called = isinstance(call, ast.Call) and call.func is node
        # `date.strftime(day, '%Y')` has the date among its arguments, and a method that is kept is called later.
        if is_called and tree.dotted(node) is None:
            yield wrap(node.value, "_cm_dated((", _YEAR)
        else:
            yield node, None


def _caught_arithmetic(tree: Tree) -> Iterator[ast.AST]:
    """Find operations on durations and dates that raise in Monty alone, or raise something else, within a `try`.

    Outside of a `try` the run ends there, and goes on in another backend.
    """
    if not any(name.partition(".")[0] == "datetime" for name, _ in tree.references):
        return
    kinds = kinds_of(tree)
    # Beyond the first and the last day CPython raises `OverflowError`, and Monty `TypeError`.
    tells_overflow = any(name.id in _OVERFLOWS for name in tree.of(ast.Name))
    operations: list[ast.BinOp | ast.AugAssign] = [*tree.of(ast.BinOp), *tree.of(ast.AugAssign)]
    for node in operations:
        sides = (node.target, node.value) if isinstance(node, ast.AugAssign) else (node.left, node.right)
        known = set(map(kinds.kind, sides))
        if isinstance(node.op, ast.Add | ast.Sub):
            is_same = known != {None} or not tells_overflow
        elif isinstance(node.op, ast.Mult | ast.Div | ast.FloorDiv):
            is_same = None not in known or any(map(_is_small, sides)) or not known.isdisjoint({"str", "list", "tuple"})
        else:
            continue
        if not is_same and kinds.catches(node):
            yield node
    for attribute in tree.of(ast.Attribute):
        call = tree.parent(attribute)
        is_called = isinstance(call, ast.Call) and call.func is attribute
        is_own = attribute.attr in tree.own_attributes or tree.dotted(attribute) is not None or is_tools(attribute)
        if attribute.attr in _LIMITS and not is_called and not is_own and kinds.catches(attribute):
            yield attribute


_LIMITS = frozenset({"max", "min", "resolution"})
_OVERFLOWS = frozenset({"ArithmeticError", "OverflowError", "TypeError"})
_SMALL = 2**31


def _is_small(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value < _SMALL


DATES: tuple[Gap | RewrittenGap, ...] = (
    RewrittenGap(
        "strftime that is not called on a date",
        "call it on the date: `day.strftime('%Y-%m-%d')`",
        _writings,
        "from datetime import date\ndate(999, 1, 1).strftime('%Y') == '999'",
        words=r"\bstrftime\b",
    ),
    Gap(
        "fractions of durations, and rare errors of dates, within try",
        "compute with `total_seconds()`, outside of `try`",
        _caught_arithmetic,
        "from datetime import timedelta\ntimedelta(2) * 0.5 == timedelta(1)",
        rare=True,
    ),
    RewrittenGap(
        "dates and durations in rare forms",
        "take the parts of the text as numbers, and durations in whole seconds",
        _readings,
        "from datetime import datetime\ndatetime.fromisoformat('20240105').day == 5",
        words=r"fromisoformat|strptime|timedelta",
    ),
)
