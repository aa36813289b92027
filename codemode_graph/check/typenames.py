"""Types as a type checker writes them."""

import ast
from collections.abc import Collection

from codemode_sandboxes.source import parse

__all__ = ["certainly_differ", "plain_type"]

_KINDS = {
    **{"str": "str", "LiteralString": "str", "bytes": "bytes", "None": "None"},
    **{"int": "number", "float": "number", "bool": "number"},
    **{"list": "list", "tuple": "list", "List": "list", "set": "list", "frozenset": "list"},
    **{"dict": "dict", "Mapping": "dict"},
}
_WORDS = {
    "str": "a str",
    "int": "a number",
    "float": "a number",
    "bool": "a bool",
    "Mapping[str, Any]": "a dict",
}


def certainly_differ(given: str, expected: str, records: Collection[str]) -> bool:
    """Tell whether no value of one type is of the other.

    Args:
        given: What an argument is.
        expected: What it must be.
        records: Names of types that are dicts.
    """
    one, other = _members(given, records), _members(expected, records)
    if one is None or other is None:
        return False
    return not any(_fits(a, b) for a in one for b in other)


def plain_type(text: str) -> str:
    """Give a type in words for a model: `'opened'`, `a str or None`, `one of 'open', 'closed'`."""
    tree = _parsed(text)
    words: dict[str, None] = {}
    for member in _split(tree) if tree is not None else ():
        values = _literals(member)
        if values is not None:
            shown = ", ".join(map(repr, values))
            words[shown if len(values) == 1 else f"one of {shown}"] = None
        else:
            name = ast.unparse(member)
            words[_WORDS.get(name, name).replace("List[", "list[")] = None
    return " or ".join(words) or text


def _parsed(text: str) -> ast.expr | None:
    try:
        body = parse(text).body if len(text) <= 2_000 else []
    except SyntaxError:
        return None
    return body[0].value if len(body) == 1 and isinstance(body[0], ast.Expr) else None


def _split(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return [*_split(left), *_split(right)]
    return [node]


def _literals(node: ast.expr) -> list[object] | None:
    match node:
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            try:
                return [ast.literal_eval(item) for item in items]
            except ValueError:
                return None
    return None


def _members(text: str, records: Collection[str]) -> list[object] | None:
    """The union's members: a value for each literal, a kind for each type; None where one is not known."""
    tree = _parsed(text)
    if tree is None:
        return None
    members: list[object] = []
    for member in _split(tree):
        values = _literals(member)
        if values is not None:
            members += [(value,) for value in values]
            continue
        name = ast.unparse(member.value if isinstance(member, ast.Subscript) else member)
        kind = "dict" if name in records else _KINDS.get(name)
        if kind is None:
            return None
        members.append(kind)
    return members


def _fits(a: object, b: object) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return a == b
    return _kind(a) == _kind(b)


def _kind(member: object) -> str:
    return _KINDS[type(member[0]).__name__.replace("NoneType", "None")] if isinstance(member, tuple) else str(member)
