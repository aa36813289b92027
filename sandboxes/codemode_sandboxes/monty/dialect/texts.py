"""Rare characters that CPython's functions read and Monty's do not: digits of other scripts, and letters of patterns."""

import ast
import re
import sys
from collections.abc import Iterator

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.dialect.change import Change, Place, RewrittenGap, wrap
from codemode_sandboxes.monty.dialect.keys import REFUSE
from codemode_sandboxes.monty.dialect.kinds import Kinds, is_tools, kinds_of
from codemode_sandboxes.monty.dialect.nans import FINITE
from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.tree import Tree

__all__ = ["DIGITS", "SUBJECTS", "TEXTS"]

DIGITS = (
    """\
def _cm_digits(text):
    if type(text) is bytes:
        return text.decode('ascii') if text.isascii() else text
    if type(text) is str and not text.isascii() and any([sign > '\\x7f' and sign.isdecimal() for sign in text]):
        REFUSE('the digits of ' + repr(text[:40]) + ' are not read here; write them in ASCII')
    return text
def _cm_int(text=0, *base, **named):
    return int(_cm_digits(text), *base, **named)
def _cm_float(text=0.0):
    return float(_cm_finite(_cm_digits(text)))
""".replace("REFUSE", REFUSE)
    + FINITE
)
# `\\w` lacks signs such as a raised two, and has joiners, and the marks and vowels of Indian scripts; `\\s` lacks the
# separators of records; and without case a dotless i is a letter of its own.
SUBJECTS = """\
def _cm_subject(text):
    if type(text) is not str:
        return text
    odd = [sign for sign in '\\x1c\\x1d\\x1e\\x1f\\u0130\\u0131' if sign in text]
    if not odd and not text.isascii():
        import re
        odd = [sign for sign in text if sign > '\\x7f' and sign.isalnum() != (re.match('\\\\w', sign) is not None)]
    if odd:
        REFUSE('this pattern reads ' + repr(odd[0]) + ' in another way here; take the text apart with methods of str')
    return text
""".replace("REFUSE", REFUSE)
_SHOWING = ("print", "repr", "str")
_NUMBERS = ("float", "int")
_NUMBER_CALL = re.compile(r"\b(int|float)\(")
_READING = re.compile(r"\\[wWbBsS]")
# How many arguments come before the text: of the function in `re`, and of a pattern's method.
_FUNCTIONS = {
    **dict.fromkeys(("findall", "finditer", "fullmatch", "match", "search", "split"), (1, 0)),
    **dict.fromkeys(("sub", "subn"), (2, 1)),
}


def _numerals(tree: Tree) -> Iterator[Place]:
    """Yield what makes numbers of texts, each with the change that has it read the digits of all scripts."""
    kinds = kinds_of(tree)
    names = [name for name in tree.of(ast.Name) if kinds.is_builtin(name, *_NUMBERS)]
    # A type that is handed on is replaced by a function, unless something else might see that.
    seen = any(isinstance(around, ast.Compare) for name in names for around in list(tree.ancestors(name))[:2])
    in_strings = _strings_around(tree)
    strings = dict.fromkeys(in_strings[name] for name in names if name in in_strings)
    yield from ((string, _rename_inside(string)) for string in strings)
    for name in names:
        call = tree.parent(name)
        if name in in_strings:
            continue
        if isinstance(call, ast.Call) and call.func is name:
            if call.args and not _is_plain(kinds, call.args[0]):
                yield name, _rename(name)
        elif _is_stored(tree, name):
            shown = kinds.is_builtin(getattr(call, "func", call), *_SHOWING)
            yield name, None if seen or shown else _rename(name)


def _strings_around(tree: Tree) -> dict[ast.AST, ast.JoinedStr]:
    """Return the outermost f-string of each node in one, where the positions of such nodes are wrong."""
    if sys.version_info >= (3, 12):
        return {}
    found: dict[ast.AST, ast.JoinedStr] = {}
    for string in tree.of(ast.JoinedStr):  # the outer ones come first
        found.update({inner: string for inner in ast.walk(string) if inner not in found})
    return found


def _rename_inside(string: ast.JoinedStr) -> Change | None:
    texts = (each.value for each in ast.walk(string) if isinstance(each, ast.Constant) and isinstance(each.value, str))
    if any(map(_NUMBER_CALL.search, texts)):
        return None

    def edit(edits: Edits) -> None:
        start, end = edits.span(string)
        edits.replace(start, end, _NUMBER_CALL.sub(r"_cm_\1(", edits.code[start:end]))

    return Change(string, edit, DIGITS)


def _is_stored(tree: Tree, name: ast.Name) -> bool:
    """Return whether a type may be called by another name: it is no annotation, and not compared."""
    around = list(tree.ancestors(name))
    if any(isinstance(each, ast.arg | ast.AnnAssign | ast.Compare | ast.BinOp | ast.Subscript) for each in around[:3]):
        return False
    if isinstance(around[0], ast.Expr | ast.FunctionDef | ast.AsyncFunctionDef | ast.Attribute | ast.MatchClass):
        return False
    # `isinstance(x, (int, float))`, `defaultdict(int)`: the first makes no number, the other none of a text.
    call = around[1] if isinstance(around[0], ast.Tuple | ast.keyword) else around[0]
    known = isinstance(call, ast.Call) and (
        (isinstance(call.func, ast.Name) and call.func.id in ("isinstance", "issubclass"))
        or is_tools(call.func)
        or tree.dotted(call.func) in ("collections.defaultdict", "dataclasses.field")
    )
    return not known


def _is_plain(kinds: Kinds, node: ast.expr) -> bool:
    text = node.value if isinstance(node, ast.Constant) else None
    return kinds.kind(node) == "number" or (isinstance(text, str) and text.isascii())


def _rename(name: ast.Name) -> Change:
    def edit(edits: Edits) -> None:
        edits.replace(*edits.span(name), f"_cm_{name.id}")

    return Change(name, edit, DIGITS)


def _subjects(tree: Tree) -> Iterator[Place]:
    """Yield the texts that patterns are tried on, where the pattern may take a rare letter for another."""
    if not any(name.startswith("re") for name, _ in tree.references):
        return
    texts = (node.value for node in tree.of(ast.Constant) if isinstance(node.value, str))
    flags = any(name in ("re.I", "re.IGNORECASE") for name, _ in tree.references)
    if not flags and not any(map(_READING.search, texts)):
        return
    for call in tree.of(ast.Call):
        dotted = tree.dotted(call.func)
        name = call.func.attr if isinstance(call.func, ast.Attribute) else (dotted or "").rpartition(".")[2]
        if name not in _FUNCTIONS or (dotted is None and name in tree.own_attributes):
            continue
        if dotted is not None and not dotted.startswith("re."):
            continue
        place = _FUNCTIONS[name][dotted is None]
        named = [keyword.value for keyword in call.keywords if keyword.arg == "string"]
        for text in (*call.args[place : place + 1], *named):
            yield wrap(text, "_cm_subject((", SUBJECTS)


TEXTS: tuple[Gap | RewrittenGap, ...] = (
    RewrittenGap(
        "numbers in the digits of other scripts",
        "call `int` and `float` by their names",
        _numerals,
        "int('٣') == 3",
        words=r"\bint\b|\bfloat\b",
    ),
    RewrittenGap(
        "rare letters in patterns",
        "take the text apart with methods of str",
        _subjects,
        "import re\nre.fullmatch(r'\\w', '²') is not None and re.match(r'\\s', '\\x1c') is not None",
        words=r"\bre\b",
    ),
)
