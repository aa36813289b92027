"""The shapes of values: what stubs and cards are written from."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, TypeAlias

__all__ = [
    "NULL",
    "UNKNOWN",
    "Array",
    "Field",
    "Literals",
    "Map",
    "Record",
    "Scalar",
    "Shape",
    "Tuple",
    "Union",
    "Unknown",
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
