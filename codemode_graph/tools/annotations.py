"""The shapes of values, and how they are read from JSON Schema. Stubs and cards are written from them.

A shape is less than a schema: it knows types, keys and literals, which a program's writer and a type checker can use, and
no patterns, ranges or conditions.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any, Final, TypeAlias

from codemode_graph.tools.conditions import description_of, limits_of, requirements
from codemode_graph.tools.schema import MISSING, Document, branches_of, mapping_at, merge, names_at
from codemode_graph.tools.text import one_line, vocabulary

# Characters of all values of one enum: beyond, it counts as its values' types. All time zones have 10,000.
_LITERALS = 20_000
_SHOWN = 4
_PYTHON_SCALARS = {str: "str", int: "int", float: "float", bool: "bool", type(None): "None"}


@dataclass(frozen=True, slots=True)
class Unknown:
    """Anything, and in words what limits it."""

    limits: str = ""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A Python type by name (`str`, `int`, `float`, `bool`, `None`), and in words what limits its values."""

    type: str
    limits: str = ""


@dataclass(frozen=True, slots=True)
class Literals:
    """One of these values: strings, numbers, bools, None."""

    values: tuple[Any, ...]

    @property
    def types(self) -> tuple[Scalar, ...]:
        """The types of the values."""
        return tuple(dict.fromkeys(Scalar(_PYTHON_SCALARS[type(value)]) for value in self.values))


@dataclass(frozen=True, slots=True)
class Array:
    """A list.

    Attributes:
        item: The shape of each item.
        limits: In words what limits the list.
        first: The shapes of its first items, where each place has one of its own.
        rest: The shape of the items behind those; None where there are none.
    """

    item: "Shape"
    limits: str = ""
    first: tuple["Shape", ...] = ()
    rest: "Shape | None" = None


@dataclass(frozen=True, slots=True)
class Tuple:
    """A list of a fixed length, each item with a shape of its own."""

    items: tuple["Shape", ...]


@dataclass(frozen=True, slots=True)
class Map:
    """An object with any keys, or any of those that a shape allows."""

    value: "Shape"
    key: "Shape" = Scalar("str")
    limits: str = ""


@dataclass(frozen=True, slots=True)
class Union:
    """Any of several shapes."""

    members: tuple["Shape", ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a record.

    Attributes:
        shape: The shape of its value.
        required: Whether it is always there.
        default: The value that stands for a missing one, or `MISSING`.
        description: Its meaning, in the schema's words.
    """

    shape: "Shape"
    required: bool
    default: Any = MISSING
    description: str = ""


@dataclass(slots=True, eq=False)
class Record:
    """An object with known keys. It may hold itself, so records compare by identity.

    Attributes:
        hint: A name for it; several records may have the same.
        titled: Whether the name comes from the schema.
        place: The name of what it is in, such as a tool.
        fields: Its keys.
        extra: The shape of other keys' values, or None where there are no others.
        patterns: The shapes of the values of keys that match an expression.
        needs: Which keys are required together, a condition each.
    """

    hint: str
    titled: bool = False
    place: str = ""
    fields: dict[str, Field] = field(default_factory=dict)
    extra: "Shape | None" = None
    patterns: dict[str, "Shape"] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    @property
    def others(self) -> "Shape | None":
        """The shape of the values of all keys that are not known, or None where there are no such keys."""
        shapes = [*self.patterns.values(), *([] if self.extra is None else [self.extra])]
        return union(shapes) if shapes else None


Shape: TypeAlias = Unknown | Scalar | Literals | Array | Tuple | Map | Union | Record

UNKNOWN: Final = Unknown()
NULL: Final = Scalar("None")


def literals(values: list[Any]) -> Shape:
    """Return the shape of these JSON values: their types, where they are too many or too long."""
    several = list({repr(value): value for value in values}.values())
    plain = [value for value in several if type(value) in _PYTHON_SCALARS]
    shapes: list[Shape] = []
    if plain and sum(len(str(value)) + 5 for value in plain) <= _LITERALS:
        shapes.append(Literals(tuple(plain)))
        plain = []
    for kind in dict.fromkeys(map(type, plain)):
        shown = [one_line(repr(value), 60) for value in plain if type(value) is kind]
        shapes.append(
            Scalar(_PYTHON_SCALARS[kind], f"one of {len(shown):,} values, such as {', '.join(shown[:_SHOWN])}")
        )
    if lists := [repr(value) for value in several if isinstance(value, list)]:
        shapes.append(Array(UNKNOWN, one_line(f"only {' or '.join(lists)}", _LITERALS)))
    if dicts := [repr(value) for value in several if isinstance(value, Mapping)]:
        shapes.append(Map(UNKNOWN, limits=one_line(f"only {' or '.join(dicts)}", _LITERALS)))
    return shapes[0] if len(shapes) == 1 else union(shapes)


def union(shapes: Iterable[Shape]) -> Shape:
    """Return the shape of values that have any of these shapes."""
    members: dict[Shape, None] = {}
    values: dict[str, Any] = {}  # by their repr: 1 and True are equal, and not the same literal
    for shape in chain.from_iterable(s.members if isinstance(s, Union) else (s,) for s in shapes):
        if isinstance(shape, Unknown):
            return UNKNOWN
        if isinstance(shape, Literals):
            values |= {repr(value): value for value in shape.values}
        else:
            members[shape] = None
    if values:
        members = {literals(list(values.values())): None} | members
    if not members:
        return UNKNOWN
    return Union(tuple(members)) if len(members) > 1 else next(iter(members))


def parts(shape: Shape) -> Iterator[Shape]:
    """Yield the shapes that a shape consists of."""
    match shape:
        case Array(item, _, first, rest):
            yield from (item, *first, *([] if rest is None else [rest]))
        case Tuple(items) | Union(items):
            yield from items
        case Map(value):
            yield value
        case Record():
            yield from (each.shape for each in shape.fields.values())
            yield from shape.patterns.values()
            if shape.extra is not None:
                yield shape.extra


def records_in(shapes: Iterable[Shape]) -> list[Record]:
    """Return every record in these shapes, each once, outer ones first."""
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
    """Return a name for each record, so that each name means one type: equal records of the same hint share one.

    Args:
        records: The records, with all the records in them.
        reserved: Names not to use.
    """
    # Records may hold themselves, so equality is found by refinement: all start in one group, and groups split by their
    # members' keys until no more do.
    group = dict.fromkeys(records, 0)
    size = 0
    while True:
        keys: dict[Any, int] = {}
        group = {record: keys.setdefault(_key(record, group), len(keys)) for record in group}
        if len(keys) == size:
            break
        size = len(keys)
    used, names = set(reserved), dict[int, str]()
    for record, number in group.items():
        if number not in names:
            placed = f"{record.place}{record.hint}" or "Result"
            numbered = (f"{placed}{suffix}" for suffix in count(2))
            name = next(name for name in chain([record.hint] * record.titled, [placed], numbered) if name not in used)
            used.add(name)
            names[number] = name
    return {record: names[number] for record, number in group.items()}


def _key(shape: Shape | None, group: Mapping[Record, int], top: bool = True) -> Any:
    match shape:
        case Record() if top:
            fields = sorted(shape.fields.items())
            keys = tuple(
                (name, each.required, repr(each.default), each.description, _key(each.shape, group, False))
                for name, each in fields
            )
            patterns = tuple((name, _key(each, group, False)) for name, each in shape.patterns.items())
            return shape.hint, shape.titled, shape.needs, keys, patterns, _key(shape.extra, group, False)
        case Record():
            return "record", group[shape]
        case Array() | Tuple() | Map() | Union():
            return (
                type(shape),
                shape.limits if isinstance(shape, Array | Map) else "",
                tuple(_key(part, group, False) for part in parts(shape)),
            )
        case Literals(values):
            return tuple(map(repr, values))
        case _:
            return shape


# Bounds on one document: alternatives multiply, and a hostile server may send such a schema.
_DEPTH = 32
_SHAPES = 20_000
_ALTERNATIVES = 100
_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_STRUCTURE = vocabulary(
    "type properties patternProperties additionalProperties items prefixItems enum const anyOf oneOf"
)
_ANNOTATIONS = frozenset({"description", "default", "title", "examples", "deprecated", "readOnly", "writeOnly"})
# Keywords beside a `$ref` that leave its type as it is, so that it keeps its name.
_BESIDES_REF = _ANNOTATIONS | {"$ref", "$defs", "definitions", "$schema", "$id", "$comment"}
# Keywords by which an object may have keys that its properties do not name.
_CONDITIONAL = frozenset({"if", "dependentSchemas"})
# Names that code generators give to what has none, such as `Def0`, `__schema12` and `7`.
_GENERATED = re.compile(
    r"_*(?:def|definition|schema|type|ref|item|model|object|anonymous|inline|unnamed)?s?_*\d+", re.IGNORECASE
)


class Reader:
    """Reads the shapes in one schema document. Recursive types become records that hold themselves.

    Depth and number of shapes are bounded; beyond that everything is `Unknown`.

    Args:
        document: The document.
        place: The name of what it belongs to, such as a tool. Records without a name of their own are named by it.
    """

    def __init__(self, document: Document, place: str = "") -> None:
        self._document, self._place = document, place
        self._read: dict[str, Shape] = {}
        self._reading: set[str] = set()
        self._room = _SHAPES

    def shape(self, schema: object, hint: str, depth: int = 0) -> Shape:
        """Return the shape of the values that a schema of this document allows.

        Args:
            schema: A part of the document.
            hint: A name for it, where it is a record that has none of its own.
            depth: How deeply it is nested.
        """
        self._room -= 1
        if not isinstance(schema, Mapping) or depth > _DEPTH or self._room < 0:
            return UNKNOWN
        ref = schema.get("$ref")
        if not isinstance(ref, str) or schema.keys() - _BESIDES_REF:
            return self._shape(self._document.flat(schema), hint, depth)
        if ref not in self._read:
            if ref in self._reading:  # It refers to itself, and not within a record that would break the circle.
                return UNKNOWN
            self._reading.add(ref)
            target = self._document.flat(schema)
            name = _title(ref)
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
        if isinstance(shape, Record):
            shape.needs = requirements(self._document, flat)
        return union([shape, NULL]) if flat.get("nullable") is True else shape

    def _alternatives(self, flat: dict[str, Any], alternatives: list[Any], hint: str, depth: int) -> Shape:
        base = {key: value for key, value in flat.items() if key not in {"anyOf", "oneOf", "nullable"} | _ANNOTATIONS}
        shaping = [branch for branch in alternatives if self._document.flat(branch).keys() & _STRUCTURE]
        # Alternatives without structure ("this key or that one is required") say nothing of the shape.
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
        self._room -= 1
        if self._room < 0 or depth > _DEPTH:
            return UNKNOWN
        return self._shape(self._document.flat(merge(base, own)), hint, depth)

    def _typed(self, kind: object, flat: dict[str, Any], hint: str, depth: int, ref: str | None, titled: bool) -> Shape:
        if kind == "object":
            return self._object(flat, hint, depth, ref, titled)
        if kind == "array":
            return self._array(flat, hint, depth)
        if isinstance(kind, str) and kind in _SCALARS:
            return Scalar(_SCALARS[kind], limits_of(flat, kind))
        return Unknown(limits_of(flat, ""))

    def _array(self, flat: dict[str, Any], hint: str, depth: int) -> Shape:
        items = flat.get("items")
        hint = "Item" if hint == "Result" else hint
        prefix, rest = flat.get("prefixItems"), items
        if isinstance(items, list):
            prefix, rest = items, flat.get("additionalItems")
        if not isinstance(prefix, list) or not prefix:
            return Array(self.shape(items, hint, depth + 1), limits_of(flat, "array"))
        shapes = tuple(self.shape(item, hint, depth + 1) for item in prefix)
        exact = flat.get("minItems") == len(prefix) and (rest is False or flat.get("maxItems") == len(prefix))
        if exact:
            return Tuple(shapes)
        behind = None if rest is False else self.shape(rest, hint, depth + 1)
        limits = limits_of(flat if behind or "maxItems" in flat else {**flat, "maxItems": len(prefix)}, "array")
        return Array(union([*shapes, *([behind] if behind else [])]), limits, shapes, behind)

    def _object(self, flat: dict[str, Any], hint: str, depth: int, ref: str | None, titled: bool) -> Shape:
        properties, others = mapping_at(flat, "properties"), flat.get("additionalProperties")
        if others is None:
            others = flat.get("unevaluatedProperties")
        patterns = mapping_at(flat, "patternProperties")
        if not properties and len(patterns) == 1 and others is False:
            ((pattern, value),) = patterns.items()
            key = Scalar("str", limits_of({"pattern": pattern}, "string"))
            return Map(self.shape(value, hint, depth + 1), key, limits_of(flat, "object"))
        if not properties and not patterns:
            names = flat.get("propertyNames")
            keys = self.shape({"type": "string", **names} if isinstance(names, Mapping) else {}, hint, depth + 1)
            value = self.shape(others, hint, depth + 1)
            return Map(value, Scalar("str") if keys == UNKNOWN else keys, limits_of(flat, "object"))
        if not titled and isinstance(title := flat.get("title"), str) and (name := _title(title)):
            hint, titled = name, True
        record = Record(hint, titled, self._place)
        if ref is not None:
            self._read[ref] = record  # before its fields are read: they may refer to it
        required = set(names_at(flat, "required"))
        record.patterns = {name: self.shape(each, hint, depth + 1) for name, each in patterns.items()}
        for name, schema in properties.items():
            if schema is False:
                continue  # a key that must not be there
            each = self._document.flat(schema)
            record.fields[name] = Field(
                self.shape(schema, camel(name) or hint, depth + 1),
                name in required,
                each.get("default", MISSING),
                description_of(self._document, each),
            )
        if (others is not None and others is not False) or flat.keys() & _CONDITIONAL:
            record.extra = self.shape(others, hint, depth + 1)
        return record


def _implied(flat: dict[str, Any]) -> str:
    if {"properties", "patternProperties", "additionalProperties"} & flat.keys():
        return "object"
    return "array" if "items" in flat or "prefixItems" in flat else "any"


def camel(text: str) -> str:
    """Return a class name for a title (`ListEvents` for `list-events`), or an empty string."""
    words = re.findall(r"[0-9A-Za-z]+", text[:200])
    name = "".join(word[0].upper() + word[1:] for word in words)[:40]
    return f"T{name}" if name[:1].isdigit() else name


def _title(text: str) -> str:
    """Return the class name in a title or at the end of a reference; empty where nobody chose it."""
    place, _, name = text.rpartition("/")
    # A reference into another part of the schema, such as `#/properties/start`, names no type.
    if place.startswith("#") and place.rpartition("/")[2] not in ("$defs", "definitions", "schemas"):
        return ""
    return "" if _GENERATED.fullmatch(name) else camel(name)
