"""Compare what an expression certainly is with the type that is asked for."""

import ast
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from codemode_sandboxes.source import parse

from codemode_graph.tools.annotations import (
    NULL,
    UNKNOWN,
    Array,
    Literals,
    Map,
    Record,
    Scalar,
    Shape,
    Tuple,
    Union,
    Unknown,
    union,
)

_SCALARS = {"str": "str", "LiteralString": "str", "int": "int", "float": "float", "bool": "bool"}
_LISTS = {"list", "List", "set", "frozenset", "Sequence", "Iterable", "Collection"}
_MAPS = {"dict", "Mapping", "defaultdict", "Counter", "OrderedDict"}
_LONGEST = 5_000
# Only types of different kinds certainly differ: within a kind, Python and the tools convert values.
_KINDS = {
    **{"str": "str", "LiteralString": "str", "bytes": "bytes", "None": "None"},
    **{"int": "number", "float": "number", "bool": "number"},
    **{"list": "list", "tuple": "list", "List": "list", "set": "list", "frozenset": "list"},
    **{"dict": "dict", "Mapping": "dict"},
}
_WORDS = {
    **{"str": "a str", "int": "a number", "float": "a number", "bool": "a bool"},
    **{"list": "a list", "Mapping[str, Any]": "a dict"},
}
# Records may hold themselves.
_DEPTH = 6


class Clash(NamedTuple):
    """The reason why no value of one type is of another.

    Attributes:
        place: Where in the value, as it is indexed.
        found: The type there, as it is; None for a key that is missing.
        expected: The type that is asked for there.
        key: The key that is missing.
    """

    place: str
    found: Shape | None
    expected: Shape
    key: str = ""


def read_type(text: str, records: Mapping[str, Record]) -> Shape:
    """Return the shape of a type as the type checker writes it: unknown where it is not certain.

    Args:
        text: The type.
        records: The types of the tools by their names.
    """
    tree = parsed(text)
    return UNKNOWN if tree is None else _read(tree, records)


def parsed(text: str) -> ast.expr | None:
    """Return the expression that the text of a type is; None where it is none, or too long."""
    try:
        body = parse(text).body if len(text) <= _LONGEST else []
    except SyntaxError:
        return None
    return body[0].value if len(body) == 1 and isinstance(body[0], ast.Expr) else None


def literal_values(node: ast.expr) -> tuple[Any, ...] | None:
    """Return the values of `Literal[...]`; None for any other type."""
    match node:
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            try:
                return tuple(ast.literal_eval(item) for item in items)
            except ValueError:
                return None
    return None


def _read(node: ast.expr, records: Mapping[str, Record]) -> Shape:
    match node:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return union([_read(left, records), _read(right, records)])
        case ast.Constant(value=None):
            return NULL
        case ast.Name(id=name) if name in records:
            return records[name]
        case ast.Name(id=name) if name in _SCALARS:
            return Scalar(_SCALARS[name])
        case ast.Name(id="None"):
            return NULL
        case ast.Name(id=name) if name in _LISTS:
            return Array(UNKNOWN)
        case ast.Name(id=name) if name in _MAPS:
            return Map(UNKNOWN)
        case ast.Subscript(value=ast.Name(id="Literal")):
            values = literal_values(node)
            # Bytes are no value of JSON.
            known = values is not None and all(isinstance(each, str | int | None) for each in values)
            return Literals(values) if known and values is not None else UNKNOWN
        case ast.Subscript(value=ast.Name(id=name), slice=inner) if name in _LISTS:
            return Array(_read(inner, records))
        case ast.Subscript(value=ast.Name(id="Counter")):
            return Map(Scalar("int"))
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Tuple(elts=[_, value])) if name in _MAPS:
            return Map(_read(value, records))
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[item, ast.Constant(value=rest)])) if (
            rest is ...
        ):
            return Array(_read(item, records))
        case ast.Subscript(value=ast.Name(id="tuple"), slice=inner):
            items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return Tuple(tuple(_read(item, records) for item in items))
    return UNKNOWN


def without_parts(shape: Shape) -> Shape:
    """Return a shape without what its containers hold: of a variable that has been filled since, no more is known."""
    match shape:
        case Array() | Tuple():
            return Array(UNKNOWN)
        case Map() | Record():
            return Map(UNKNOWN)
        case Union(members):
            return union(map(without_parts, members))
    return shape


def kinds_of(shape: Shape) -> set[str]:
    """Return what a JSON value of this shape may be: "number", "str", "bool", "None", "list", "dict", or "any"."""
    match shape:
        case Unknown():
            return {"any"}
        case Scalar(name):
            return {"number" if name in ("int", "float") else name}
        case Literals():
            return {kind for each in shape.types for kind in kinds_of(each)}
        case Array() | Tuple():
            return {"list"}
        case Map() | Record():
            return {"dict"}
        case Union(members):
            return {kind for each in members for kind in kinds_of(each)}


def single_kind(shape: Shape) -> str:
    """Return the kind that a type's values have, but None; "any" where there are several."""
    if isinstance(shape, Scalar):
        return "number" if shape.type in ("int", "float", "bool") else "any" if shape == NULL else shape.type
    kinds = {"number" if kind == "bool" else kind for kind in kinds_of(shape)} - {"None"}
    return kinds.pop() if len(kinds) == 1 else "any"


def clash(found: Shape, expected: Shape, stored: Collection[str], place: str = "", depth: int = 0) -> Clash | None:
    """Return why no value of a type can be of another; None where one may be.

    Args:
        found: The type that an expression has.
        expected: The type that is asked for.
        stored: Keys that the program puts into dicts, of which the tools' types tell nothing.
        place: Where in the value, for the result.
        depth: How deep in the types.
    """
    if isinstance(found, Unknown) or isinstance(expected, Unknown) or depth > _DEPTH:
        return None
    whole = Clash(place, found, expected)
    if isinstance(found, Union):
        return _of_all(found.members, lambda each: clash(each, expected, stored, place, depth), whole)
    if isinstance(expected, Union):
        return _of_all(expected.members, lambda each: clash(found, each, stored, place, depth), whole)
    match found, expected:
        case Literals(values), Literals(allowed):
            fits = {(type(value), value) for value in values} & {(type(value), value) for value in allowed}
            return None if fits else whole
        case Tuple(items), Tuple(others) if len(items) != len(others):
            return whole
        case Record(), Record():
            return None if found is expected else _of_records(found, expected, stored, place, depth)
    if (parts := _parts(found, expected, stored)) is None:
        return None if kinds_of(found) & kinds_of(expected) else whole
    every = (clash(one, other, stored, f"{place}[{step}]", depth + 1) for step, one, other in parts)
    return next(filter(None, every), None)


def _parts(found: Shape, expected: Shape, stored: Collection[str]) -> Iterator[tuple[object, Shape, Shape]] | None:
    """Return the parts of two containers that have to fit each other, each with its place; None for other shapes."""
    match found, expected:
        case Array(item), Array(wanted):
            return iter([("i", item, wanted)])
        case Tuple(items), Array(wanted):
            return ((i, item, wanted) for i, item in enumerate(items))
        case Tuple(items), Tuple(others):
            return ((i, item, other) for i, (item, other) in enumerate(zip(items, others, strict=True)))
        case Array(item), Tuple(others):
            return ((i, item, other) for i, other in enumerate(others))
        case Map(value), Map(wanted):
            return iter([("key", value, wanted)])
        case Map(value), Record(fields=fields):
            return ((repr(key), value, each.shape) for key, each in fields.items() if each.required)
        case Record(fields=fields), Map(wanted):
            sure = (key for key, each in fields.items() if each.required and key not in stored)
            return ((repr(key), fields[key].shape, wanted) for key in sure)
    return None


def _of_all(members: tuple[Shape, ...], compare: Callable[[Shape], Clash | None], whole: Clash) -> Clash | None:
    """Return a clash where every member has one: the only one that looks into a container, else the whole."""
    found = [compare(member) for member in members]
    if None in found:
        return None
    inner = [each for each in found if each is not None and each.place != whole.place]
    return inner[0] if len(inner) == 1 else whole


def _of_records(found: Record, expected: Record, stored: Collection[str], place: str, depth: int) -> Clash | None:
    for key, target in expected.fields.items():
        if key in stored or not target.required:
            continue
        own = found.fields.get(key)
        if own is not None:
            inner = clash(own.shape, target.shape, stored, f"{place}[{key!r}]", depth + 1) if own.required else None
        else:
            inner = None if found.others is not None else Clash(place, found, expected, key)
        if inner is not None:
            return inner
    return None


def kind_of(text: str) -> str | None:
    """Return the kind that all members of a type have; None where they have several, or one is not known."""
    kinds = {_kind(member) for member in _members(text, ()) or ()}
    return kinds.pop() if len(kinds) == 1 else None


def certainly_differ(found: str, expected: str, records: Collection[str]) -> bool:
    """Return whether no value of one type is of the other.

    Args:
        found: The type of an argument, as a type checker writes it.
        expected: The type that the tool takes.
        records: Names of types that are dicts.
    """
    one, other = _members(found, records), _members(expected, records)
    if one is None or other is None:
        return False
    return not any(_fits(a, b) for a in one for b in other)


def plain_type(text: str) -> str:
    """Return a type in words for a model: `'opened'`, `a str or None`, `one of 'open', 'closed'`."""
    tree = parsed(text)
    words: dict[str, None] = {}
    for member in _split(tree) if tree is not None else ():
        values = literal_values(member)
        if values is not None:
            shown = ", ".join(map(repr, values))
            words[shown if len(values) == 1 else f"one of {shown}"] = None
        else:
            name = ast.unparse(member)
            words[_WORDS.get(name, name).replace("List[", "list[")] = None
    return " or ".join(words) or text


def _split(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return [*_split(left), *_split(right)]
    return [node]


def _members(text: str, records: Collection[str]) -> list[object] | None:
    """Return a union's members: a value for each literal, a kind for each type; None where one is not known."""
    tree = parsed(text)
    if tree is None:
        return None
    members: list[object] = []
    for member in _split(tree):
        values = literal_values(member)
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
