"""Formats, patterns and other small languages inside of strings, of which Monty reads a part or reads it otherwise."""

import ast
import re
import string
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.dialect.kinds import kinds_of, method_calls
from codemode_sandboxes.source.tree import Tree

__all__ = ["FORMATS"]

_FORMATTED = frozenset({"number", "str"})
_NUMERIC_SPEC = re.compile(r"[bcdoxXneEfFgG%]$|[,_]")
_TIME_METHODS = {"strftime": 0, "strptime": 1}
# Directives that give the same in both, as tried: `%p` is not read by Monty's `strptime`, and
# its `%y` begins a century elsewhere.
_DIRECTIVES = {"strftime": frozenset("YmdHMSaAbBjpIyfF%T"), "strptime": frozenset("YmdHMSbBf%")}
_ENCODINGS = frozenset({"utf-8", "utf8", "ascii"})
_PATTERN_FUNCTIONS = frozenset({"compile", "findall", "finditer", "fullmatch", "match", "search", "split", "sub"})
# Of these only CPython's find an empty match that begins where the match before it ends.
_REPEATING = frozenset({"compile", "findall", "finditer", "split", "sub"})
_FLAGS = frozenset({"I", "IGNORECASE", "M", "MULTILINE", "S", "DOTALL"})
_PLAIN_NODES = frozenset(
    {
        *("ANY", "AT", "BRANCH", "CATEGORY", "IN", "LITERAL", "MAX_REPEAT", "MIN_REPEAT", "NEGATE"),
        *("NOT_LITERAL", "RANGE", "SUBPATTERN"),
    }
)
_PLAIN_PLACES = frozenset({"AT_BEGINNING", "AT_BEGINNING_STRING", "AT_BOUNDARY"})


def _formats(tree: Tree) -> Iterator[ast.AST]:
    for node in tree.of(ast.FormattedValue):
        if (
            node.format_spec is not None
            and node.conversion == -1
            and not _formats_alike(tree, node.value, node.format_spec)
        ):
            yield node.value
    kinds = kinds_of(tree)
    for call in tree.of(ast.Call):
        if kinds.is_builtin(call.func, "format") and len(call.args) == 2 and not _formats_alike(tree, *call.args):
            yield call
    for call, method in method_calls(tree, "format"):
        if not _template_formats_alike(tree, method.value, call):
            yield call


def _formats_alike(tree: Tree, value: ast.expr, spec: ast.expr) -> bool:
    """Return whether a value is formatted as in CPython: Monty formats None, and lists, as if they were texts."""
    kinds = kinds_of(tree)
    if kinds.kind(value) in _FORMATTED:
        return True
    text = "".join(
        str(part.value) if isinstance(part, ast.Constant) else "0" for part in getattr(spec, "values", [spec])
    )
    if not text:
        return True
    # A number's format fails for everything else, in both; the exceptions have different types.
    # The commas of a date's format are its own: `{day:%B %d, %Y}`.
    return bool(_NUMERIC_SPEC.search(text)) and "%" not in text[:-1] and not kinds.catches(value)


def _template_formats_alike(tree: Tree, text: ast.expr, call: ast.Call) -> bool:
    if not isinstance(text, ast.Constant) or not isinstance(text.value, str):
        return False
    try:
        fields = [field for field in string.Formatter().parse(text.value) if field[1] is not None]
    except ValueError:
        return False
    kinds = kinds_of(tree)
    plain = all(kinds.kind(value) in _FORMATTED for value in (*call.args, *(item.value for item in call.keywords)))
    return all(
        "." not in str(name) and (not spec or plain or (_NUMERIC_SPEC.search(spec) and not kinds.catches(call)))
        for _, name, spec, _ in fields
    )


def _times(tree: Tree) -> Iterator[ast.AST]:
    for node in tree.of(ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name in _TIME_METHODS and name not in tree.own_attributes:
            text = _text(tree, node.args[-1]) if node.args else None
            found = None if text is None else set(re.findall(r"%(.?)", text, re.DOTALL))
            if found is None or not found <= _DIRECTIVES[name]:
                yield node
    for value in tree.of(ast.FormattedValue):
        for part in getattr(value.format_spec, "values", ()):
            if (
                isinstance(part, ast.Constant)
                and not set(re.findall("%(.)", str(part.value))) <= _DIRECTIVES["strftime"]
            ):
                yield value.value


def _encodings(tree: Tree) -> Iterator[ast.AST]:
    for call, _ in method_calls(tree, "encode", "decode"):
        named = [keyword.value for keyword in call.keywords if keyword.arg == "encoding"]
        if any((_text(tree, value) or "").lower() not in _ENCODINGS for value in (*call.args[:1], *named)):
            yield call


def _patterns(tree: Tree) -> Iterator[ast.AST]:
    for node in tree.of(ast.Call):
        function = (tree.dotted(node.func) or "").partition("re.")
        if function[0] == "" and function[2] in _PATTERN_FUNCTIONS:
            named = [keyword.value for keyword in node.keywords if keyword.arg == "pattern"]
            pattern = next(iter((*node.args[:1], *named)), None)
            compiled = isinstance(pattern, ast.Name) and _is_compiled(tree, pattern)
            least = 1 if function[2] in _REPEATING else 0
            if pattern is None or not (compiled or _is_plain_pattern(_text(tree, pattern), least)):
                yield node
        if isinstance(node.func, ast.Attribute) and node.func.attr == "sub" and "sub" not in tree.own_attributes:
            place = 1 if tree.dotted(node.func) == "re.sub" else 0
            named = [keyword.value for keyword in node.keywords if keyword.arg == "repl"]
            template = next(iter((*node.args[place:][:1], *named)), None)
            if template is not None and not _is_plain_template(tree, template):
                yield node
    for name, reference in tree.references:
        if name.startswith("re.") and name[3:].isupper() and name[3:] not in _FLAGS:
            yield reference


def _places_by_name(tree: Tree) -> Iterator[ast.AST]:
    """Find `match.start('name')` and its kin: Monty's matches know the places of groups by their numbers alone."""
    kinds = kinds_of(tree)
    for call, _ in method_calls(tree, "end", "span", "start"):
        if any(kinds.kind(group) != "number" for group in call.args):
            yield call


def _is_compiled(tree: Tree, name: ast.Name) -> bool:
    values = [value for _, value in kinds_of(tree).bindings(name)]
    return bool(values) and all(
        isinstance(value, ast.Call) and tree.dotted(value.func) == "re.compile" for value in values
    )


def _is_plain_pattern(pattern: str | None, least: int = 0) -> bool:
    """Return whether a pattern has only parts that both engines take for the same, and matches so many characters at least."""
    if pattern is None or re.search(r"\{,|\\[^\w\s]?[pPxuUNZ]|\(\?[aiLmsux]", pattern):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The parser of `re` itself; it has no public name.
            parsed = re._parser.parse(pattern)  # type: ignore[attr-defined]
    except (re.error, OverflowError, RecursionError):
        return False
    if parsed.getwidth()[0] < least:
        return False
    return all(str(operator) in _PLAIN_NODES and (str(operator) != "AT" or str(value) in _PLAIN_PLACES)
               for operator, value in _operators(parsed))  # fmt: skip


def _operators(parsed: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    for item in parsed:
        if isinstance(item, tuple) and len(item) == 2 and str(item[0]).isupper():
            yield item
        if isinstance(item, tuple | list) or hasattr(item, "data"):
            yield from _operators(item)


def _is_plain_template(tree: Tree, node: ast.expr) -> bool:
    """Return whether what replaces a match is a function, or a text without references to groups and escapes."""
    if isinstance(node, ast.Lambda) or (isinstance(node, ast.Name) and node.id in tree.function_names):
        return True
    if isinstance(node, ast.Name) and any(isinstance(value, ast.Lambda) for _, value in kinds_of(tree).bindings(node)):
        return True
    text = _text(tree, node)
    return text is not None and "\\" not in text


def _text(tree: Tree, node: ast.expr) -> str | None:
    """Return the text that an expression surely is."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.Name():
            values = [value for _, value in kinds_of(tree).bindings(node)]
            if len(values) == 1 and isinstance(values[0], ast.Constant) and isinstance(values[0].value, str):
                return values[0].value
    return None


FORMATS: tuple[Gap, ...] = (
    Gap(
        "formats of unknown values",
        "convert first: `f'{str(x):>10}'`, `f'{float(x):.2f}'`",
        _formats,
        "try:\n    f'{None:>5}'\nexcept TypeError:\n    r = True\nr",
        rare=True,
    ),
    Gap(
        "rare directives of dates",
        "use `%Y %m %d %H %M %S`, or take the parts of the text",
        _times,
        "from datetime import datetime\ndatetime.strptime('5PM', '%I%p').hour == 17",
        rare=True,
    ),
    Gap(
        "encodings other than UTF-8 and ASCII",
        "use UTF-8",
        _encodings,
        "'é'.encode('latin-1') == b'\\xe9'",
        rare=True,
    ),
    Gap(
        "places of a match's groups by name",
        "write the group's number: `match.start(1)`",
        _places_by_name,
        "import re\nre.match('(?P<n>a)', 'a').start('n') == 0",
        rare=True,
    ),
    Gap(
        "rare regular expressions",
        "write the pattern as a literal, without `$` (use `re.fullmatch`), look-around, references and flags inside",
        _patterns,
        "import re\nre.search('$', 'a\\n').start() == 1",
        rare=True,
    ),
)
