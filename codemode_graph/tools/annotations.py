"""The shapes of values: what stubs and cards are written from."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, TypeAlias

from codemode_graph.tools.schema import Document, branches_of, mapping_at, merged, names_at

__all__ = [
    "NULL",
    "UNKNOWN",
    "Array",
    "Field",
    "Literals",
    "Map",
    "Reader",
    "Record",
    "Scalar",
    "Shape",
    "Tuple",
    "Union",
    "Unknown",
    "camel",
    "literals",
    "parts",
    "record_names",
    "records_in",
    "union",
]

_LITERALS = 60
_LITERAL_LENGTH = 100
_PYTHON_SCALARS = {str: "str", int: "int", float: "float", bool: "bool", type(None): "None"}


@dataclass(frozen=True, slots=True)
class Unknown:
    """Anything."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A Python type by name (`str`, `int`, `float`, `bool`, `None`), and the format of a string."""

    type: str
    format: str = ""


@dataclass(frozen=True, slots=True)
class Literals:
    """One of these values: strings, ints, bools, None."""

    values: tuple[Any, ...]

    @property
    def types(self) -> tuple[Scalar, ...]:
        """The types of the values."""
        return tuple(dict.fromkeys(Scalar(_PYTHON_SCALARS[type(value)]) for value in self.values))


@dataclass(frozen=True, slots=True)
class Array:
    """A list."""

    item: "Shape"


@dataclass(frozen=True, slots=True)
class Tuple:
    """A list of so many values, each with a shape of its own."""

    items: tuple["Shape", ...]


@dataclass(frozen=True, slots=True)
class Map:
    """An object with any keys."""

    value: "Shape"


@dataclass(frozen=True, slots=True)
class Union:
    """One of several."""

    members: tuple["Shape", ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a record."""

    shape: "Shape"
    required: bool


@dataclass(slots=True, eq=False)
class Record:
    """An object with known keys. It may hold itself, so records are told apart by identity.

    Attributes:
        hint: What to call it; several records may have the same.
        titled: Whether the schema itself gives that name.
        fields: Its keys.
        extra: The shape of other keys' values, or None where there are no others.
    """

    hint: str
    titled: bool = False
    fields: dict[str, Field] = field(default_factory=dict)
    extra: "Shape | None" = None


Shape: TypeAlias = Unknown | Scalar | Literals | Array | Tuple | Map | Union | Record

UNKNOWN: Final = Unknown()
NULL: Final = Scalar("None")


def literals(values: list[Any]) -> Shape:
    """Give the shape of what has one of these values: its type, where they are too many, too long or no literals."""
    kinds = {type(value) for value in values}
    if not kinds <= _PYTHON_SCALARS.keys():
        return UNKNOWN
    fit = len(values) <= _LITERALS and all(len(value) <= _LITERAL_LENGTH for value in values if isinstance(value, str))
    if fit and float not in kinds:
        return Literals(tuple({repr(value): value for value in values}.values()))
    return union(Scalar(_PYTHON_SCALARS[kind]) for kind in dict.fromkeys(map(type, values)))


def union(shapes: Iterable[Shape]) -> Shape:
    """Give the shape of what has any of these shapes."""
    members: dict[Shape, None] = {}
    values: dict[str, Any] = {}
    for shape in chain.from_iterable(s.members if isinstance(s, Union) else (s,) for s in shapes):
        if isinstance(shape, Unknown):
            return UNKNOWN
        if isinstance(shape, Literals):
            values |= {repr(value): value for value in shape.values}
        else:
            members[shape] = None
    plain = {shape.type for shape in members if isinstance(shape, Scalar)}
    values = {key: value for key, value in values.items() if _PYTHON_SCALARS[type(value)] not in plain}
    if values:
        members = {literals(list(values.values())): None} | members
    found = list(members)
    return Union(tuple(found)) if len(found) > 1 else found[0] if found else UNKNOWN


def parts(shape: Shape) -> Iterator[Shape]:
    """Give the shapes that a shape is made of."""
    match shape:
        case Array(item):
            yield item
        case Tuple(items) | Union(items):
            yield from items
        case Map(value):
            yield value
        case Record():
            yield from (each.shape for each in shape.fields.values())
            if shape.extra is not None:
                yield shape.extra


def records_in(shapes: Iterable[Shape]) -> list[Record]:
    """Give every record that these shapes hold, each once, outer ones first."""
    found: dict[Record, None] = {}
    queue = list(shapes)
    for shape in queue:
        if isinstance(shape, Record):
            if shape in found:
                continue
            found[shape] = None
        queue.extend(parts(shape))
    return list(found)


def record_names(records: Iterable[Record], reserved: Iterable[str] = ()) -> dict[Record, str]:
    """Name records so that each name means one type: equal records of the same hint share a name.

    Args:
        records: All that need a name, with all that they hold.
        reserved: Names that are taken.
    """
    group = dict.fromkeys(records, 0)
    count = 0
    while True:
        keys: dict[Any, int] = {}
        group = {record: keys.setdefault(_key(record, group), len(keys)) for record in group}
        if len(keys) == count:
            break
        count = len(keys)
    taken, names = set(reserved), dict[int, str]()
    for record, number in group.items():
        if number not in names:
            base = name = record.hint or "Result"
            suffix = 2
            while name in taken:
                name, suffix = f"{base}{suffix}", suffix + 1
            taken.add(name)
            names[number] = name
    return {record: names[number] for record, number in group.items()}


def _key(shape: Shape | None, group: Mapping[Record, int], top: bool = True) -> Any:
    match shape:
        case Record() if top:
            fields = sorted(shape.fields.items())
            keys = tuple((name, each.required, _key(each.shape, group, False)) for name, each in fields)
            return shape.hint, shape.titled, keys, _key(shape.extra, group, False)
        case Record():
            return "record", group[shape]
        case Array() | Tuple() | Map() | Union():
            return type(shape), tuple(_key(part, group, False) for part in parts(shape))
        case Literals(values):
            return tuple(map(repr, values))
        case _:
            return shape


_DEPTH = 32
_SHAPES = 20_000
_ALTERNATIVES = 25
_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_STRUCTURE = frozenset(
    {"type", "properties", "additionalProperties", "items", "prefixItems", "enum", "const", "anyOf", "oneOf"}
)
_ANNOTATIONS = frozenset({"description", "default", "title", "examples", "deprecated", "readOnly", "writeOnly"})
_BESIDES_REF = _ANNOTATIONS | {"$ref", "$defs", "definitions", "$schema", "$id", "$comment"}
_CONDITIONAL = frozenset({"if", "dependentSchemas", "patternProperties", "unevaluatedProperties"})
_FORMATS = frozenset({"date", "date-time", "time", "duration", "email", "uuid", "byte", "binary", "uri"})


class Reader:
    """Reads the shapes of one schema document. Recursive types become records that hold themselves."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._read: dict[str, Shape] = {}
        self._reading: set[str] = set()
        self._left = _SHAPES

    def shape(self, schema: object, hint: str, depth: int = 0) -> Shape:
        """Give the shape of what a schema of this document allows.

        Args:
            schema: A part of the document.
            hint: What to call it, where it is a record that has no name of its own.
            depth: How deeply it is nested.
        """
        self._left -= 1
        if not isinstance(schema, Mapping) or depth > _DEPTH or self._left < 0:
            return UNKNOWN
        ref = schema.get("$ref")
        if not isinstance(ref, str) or schema.keys() - _BESIDES_REF:
            return self._shape(self._document.flat(schema), hint, depth)
        if ref not in self._read:
            if ref in self._reading:
                return UNKNOWN
            self._reading.add(ref)
            target = self._document.flat(schema)
            name = camel(ref.rpartition("/")[2])
            shape = self._shape(target, name or hint, depth, ref=ref, titled=bool(name))
            self._read[ref] = shape
            self._reading.discard(ref)
        return self._read[ref]

    def _shape(
        self, flat: dict[str, Any], hint: str, depth: int, ref: str | None = None, titled: bool = False
    ) -> Shape:
        if "const" in flat:
            return literals([flat["const"]])
        if isinstance(enum := flat.get("enum"), list) and enum:
            return literals(enum + [None] * (flat.get("nullable") is True))
        if alternatives := branches_of(flat):
            shape = self._alternatives(flat, alternatives, hint, depth)
        elif isinstance(kinds := flat.get("type"), list):
            shape = union(self._typed(kind, flat, hint, depth, None, titled) for kind in kinds[:_ALTERNATIVES])
        else:
            shape = self._typed(kinds or _implied(flat), flat, hint, depth, ref, titled)
        return union([shape, NULL]) if flat.get("nullable") is True else shape

    def _alternatives(self, flat: dict[str, Any], alternatives: list[Any], hint: str, depth: int) -> Shape:
        base = {key: value for key, value in flat.items() if key not in {"anyOf", "oneOf", "nullable"} | _ANNOTATIONS}
        shaping = [branch for branch in alternatives if self._document.flat(branch).keys() & _STRUCTURE]
        if not shaping:
            return self._shape(base, hint, depth + 1) if base.keys() & _STRUCTURE else UNKNOWN
        if len(shaping) > _ALTERNATIVES or (len(shaping) < len(alternatives) and not base.keys() & _STRUCTURE):
            return UNKNOWN
        return union(self._alternative(base, branch, hint, depth + 1) for branch in shaping)

    def _alternative(self, base: dict[str, Any], branch: object, hint: str, depth: int) -> Shape:
        own = self._document.flat(branch)
        if not base.keys() & _STRUCTURE or (
            base.keys() & _STRUCTURE == {"type"} and own.keys() & {"type", "properties"}
        ):
            return self.shape(branch, hint, depth)
        self._left -= 1
        if self._left < 0 or depth > _DEPTH:
            return UNKNOWN
        return self._shape(self._document.flat(merged(base, own)), hint, depth)

    def _typed(self, kind: object, flat: dict[str, Any], hint: str, depth: int, ref: str | None, titled: bool) -> Shape:
        if kind == "object":
            return self._object(flat, hint, depth, ref, titled)
        if kind == "array":
            return self._array(flat, hint, depth)
        if kind == "string":
            form = flat.get("format")
            return Scalar("str", form if isinstance(form, str) and form in _FORMATS else "")
        return Scalar(_SCALARS[kind]) if isinstance(kind, str) and kind in _SCALARS else UNKNOWN

    def _array(self, flat: dict[str, Any], hint: str, depth: int) -> Shape:
        hint, items = _item_hint(hint), flat.get("items")
        prefix, rest = flat.get("prefixItems"), items
        if isinstance(items, list):
            prefix, rest = items, flat.get("additionalItems")
        if not isinstance(prefix, list) or not prefix:
            return Array(self.shape(items, hint, depth + 1))
        shapes = tuple(self.shape(item, hint, depth + 1) for item in prefix)
        exact = flat.get("minItems") == len(prefix) and (rest is False or flat.get("maxItems") == len(prefix))
        return Tuple(shapes) if exact else Array(union([*shapes, self.shape(rest, hint, depth + 1)]))

    def _object(self, flat: dict[str, Any], hint: str, depth: int, ref: str | None, titled: bool) -> Shape:
        properties, others = mapping_at(flat, "properties"), flat.get("additionalProperties")
        if not properties:
            return Map(self.shape(others, hint, depth + 1))
        if not titled and isinstance(title := flat.get("title"), str) and (name := camel(title)):
            hint, titled = name, True
        record = Record(hint, titled)
        if ref is not None:
            self._read[ref] = record
        needed = set(names_at(flat, "required"))
        for name, schema in properties.items():
            record.fields[name] = Field(self.shape(schema, camel(name) or hint, depth + 1), name in needed)
        if (others is not None and others is not False) or flat.keys() & _CONDITIONAL:
            record.extra = self.shape(others, hint, depth + 1)
        return record


def _implied(flat: dict[str, Any]) -> str:
    if "properties" in flat or "additionalProperties" in flat:
        return "object"
    return "array" if "items" in flat or "prefixItems" in flat else "any"


def camel(text: str) -> str:
    """Give a class name for a title (`list-events` gives `ListEvents`), or an empty string."""
    words = re.findall(r"[0-9A-Za-z]+", text[:200])
    name = "".join(word[0].upper() + word[1:] for word in words)[:40]
    return f"T{name}" if name[:1].isdigit() else name


def _item_hint(hint: str) -> str:
    if hint.endswith("Result"):
        return hint.removesuffix("Result") + "Item"
    if hint.endswith("ies"):
        return hint[:-3] + "y"
    return hint[:-1] if hint.endswith("s") and not hint.endswith("ss") and len(hint) > 1 else hint
