"""The shapes of the values that a program makes: parts of them, and joins of several."""

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from codemode_graph.tools.annotations import (
    NULL,
    UNKNOWN,
    Array,
    Field,
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

NOTHING = Union(())
"""The shape of an expression that has no value yet, such as an item of an empty list."""
TEXT, NUMBER, TRUTH = Scalar("str"), Scalar("float"), Scalar("bool")
_LARGEST = 12
_MOST_PARTS = 200


@dataclass(frozen=True, slots=True)
class Later(Unknown):
    """A call that has not been awaited; unknown to all who do not ask for its value."""

    value: Shape = UNKNOWN


@dataclass(slots=True, eq=False)
class OwnRecord(Record):
    """A dict that a program writes out, with texts for keys. Unlike those of tools, they compare by their fields."""

    fields: dict[str, Field] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnRecord) and self.fields == other.fields and self.extra == other.extra

    def __hash__(self) -> int:
        return hash(tuple(self.fields))


def own_record(fields: dict[str, Shape], extra: Shape | None = None) -> OwnRecord:
    """Return the shape of a dict that a program writes out."""
    return OwnRecord("dict", fields={key: Field(shape, True) for key, shape in fields.items()}, extra=extra)


def literal(node: ast.expr) -> Literals | None:
    """Return the shape of a text or number that is written out; None of any other expression."""
    match node:
        case ast.Constant(value=str() | int() | float()):
            return Literals((node.value,))
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return Literals((-value,))
    return None


def members(shape: Shape) -> tuple[Shape, ...]:
    """Return the members of a union, or the one that a shape is."""
    return shape.members if isinstance(shape, Union) else (shape,)


def join(shapes: Iterable[Shape]) -> Shape:
    """Return the shape of a value that has any of these shapes; containers of one kind become one."""
    shapes = list(shapes)
    if len(shapes) == 1:
        return shapes[0]
    distinct = dict.fromkeys(member for shape in shapes for member in members(shape))
    if len(distinct) < 2:
        return next(iter(distinct), NOTHING)
    arrays = [each for each in distinct if isinstance(each, Array)]
    maps = [each for each in distinct if isinstance(each, Map)]
    rest: list[Shape] = [each for each in distinct if not isinstance(each, Array | Map)]
    if rest and all(isinstance(each, Later) for each in distinct):
        return Later(value=join(each.value for each in rest if isinstance(each, Later)))
    if arrays:
        rest.append(Array(join(each.item for each in arrays)))
    if maps:
        rest.append(Map(join(each.value for each in maps), join(each.key for each in maps)))
    return union(rest) if len(rest) <= _LARGEST else UNKNOWN


def each_of(shape: Shape, part: Callable[[Shape], Shape]) -> Shape:
    """Return the join of what a function says of each member of a shape; unknown where one member is."""
    if isinstance(shape, Union):
        return join(part(member) for member in shape.members)
    return UNKNOWN if isinstance(shape, Unknown) else part(shape)


def items(shape: Shape) -> Shape:
    """Return the shape of what a loop over a value goes over."""

    def of(member: Shape) -> Shape:
        match member:
            case Array(item):
                return item
            case Tuple(parts):
                return join(parts)
            case Map(key=key):
                return key
            case Record() | Scalar("str"):
                return TEXT
            case Literals(values):
                return TEXT if any(isinstance(each, str) for each in values) else NOTHING
            case Scalar("int" | "float" | "bool" | "None"):
                return NOTHING
        return UNKNOWN

    return each_of(shape, of)


def values(shape: Shape) -> Shape:
    """Return the shape of the values of a dict."""

    def of(member: Shape) -> Shape:
        match member:
            case Map(value):
                return value
            case Record(fields=fields):
                return UNKNOWN if member.others is not None else join(each.shape for each in fields.values())
            case Scalar("int" | "float" | "bool" | "None" | "str") | Literals():
                return NOTHING
        return UNKNOWN

    return each_of(shape, of)


def lookup(shape: Shape, key: Shape, default: Shape | None = None) -> Shape:
    """Return the shape of what is found under a key.

    Args:
        shape: That of the dict, list or text.
        key: That of the key.
        default: What `get` returns where there is none; None for a subscript, which raises an exception.
    """
    texts = key.values if isinstance(key, Literals) else None
    if (
        default is None
        and texts is not None
        and isinstance(shape, Record)
        and len(texts) == 1
        and texts[0] in shape.fields
    ):
        return shape.fields[texts[0]].shape

    def of(member: Shape) -> Shape:
        match member:
            case Record(fields=fields) if texts is not None:
                others = member.others
                known = [fields[each].shape for each in texts if each in fields]
                whole = all(each in fields and fields[each].required for each in texts)
                found = [*known, *([others] if others is not None and not known else [])]
                return join([*found, *([] if default is None or whole else [default])])
            case Record() | Map():
                return join([values(member), *([] if default is None else [default])])
            case Tuple(parts) if texts is not None and len(texts) == 1 and isinstance(texts[0], int):
                return parts[texts[0]] if -len(parts) <= texts[0] < len(parts) else NOTHING
            case Array() | Tuple() | Literals() | Scalar("str"):
                if texts is not None and all(isinstance(each, str) for each in texts):
                    return NOTHING
                return items(member) if default is None else UNKNOWN
            case Scalar("int" | "float" | "bool" | "None"):
                return NOTHING
        return UNKNOWN

    return each_of(shape, of)


def merge(first: Shape, second: Shape) -> Shape:
    """Return the shape of a dict with the keys of two, of which the second one's win."""

    def of(one: Shape, other: Shape) -> Shape:
        match one, other:
            case (_, Map(value=Union(()))):
                return one
            case (Map(value=Union(())), Record() | Map()):
                return other
            case Record(), Record() if one.others is None and other.others is None:
                fields = dict(one.fields)
                for name, each in other.fields.items():
                    before = fields.get(name)
                    if before is None or each.required:
                        fields[name] = each
                    else:
                        fields[name] = Field(join([before.shape, each.shape]), before.required)
                return OwnRecord("dict", fields=fields)
            case Record() | Map(), Record() | Map():
                return Map(join([values(one), values(other)]), join([items(one), items(other)]))
        return UNKNOWN

    return each_of(first, lambda one: each_of(second, lambda other: of(one, other)))


def put_item(shape: Shape, item: Shape) -> Shape:
    """Return the shape of a list into which an item may be put."""
    return each_of(shape, lambda each: Array(join([items(each), item])) if isinstance(each, Array | Tuple) else each)


def put_key(shape: Shape, key: Shape, value: Shape, *, written: bool) -> Shape:
    """Return the shape of a dict or list in which a value may be stored under a key.

    Args:
        shape: That of the container.
        key: That of the key.
        value: That of the value.
        written: The key is written out; one that is computed makes a record a dict of any keys.
    """
    texts = [each for each in key.values if isinstance(each, str)] if written and isinstance(key, Literals) else []

    def of(member: Shape) -> Shape:
        match member:
            case Array():
                return put_item(member, value)
            case Record(fields=fields) if texts and member.others is None:
                more = {each: fields[each] if each in fields else Field(NOTHING, False) for each in texts}
                changed = {each: Field(join([old.shape, value]), old.required) for each, old in more.items()}
                return OwnRecord("dict", fields={**fields, **changed})
            case Record() | Map():
                return Map(join([values(member), value]), join([items(member), key]))
        return member

    return each_of(shape, of)


def without_none(shape: Shape) -> Shape:
    """Return a shape without None and other literals that are false."""

    def of(member: Shape) -> Shape:
        if isinstance(member, Literals):
            rest = tuple(each for each in member.values if each)
            return Literals(rest) if rest else NOTHING
        return NOTHING if member == NULL else member

    return each_of(shape, of)


def is_number(shape: Shape) -> bool:
    """Return whether a value can only be a number, True or False."""
    match shape:
        case Literals(values):
            return all(isinstance(each, int | float) for each in values)
        case Scalar(name):
            return name in ("int", "float", "bool")
    return False


def is_text(shape: Shape) -> bool:
    """Return whether a value can only be a text."""
    match shape:
        case Literals(values):
            return all(isinstance(each, str) for each in values)
        case Scalar(name):
            return name == "str"
    return False


def is_large(shape: Shape) -> bool:
    """Return whether a shape has more parts than are followed: tuples of tuples double with each line of a hostile program."""
    todo = [shape]
    for each in todo:
        if len(todo) > _MOST_PARTS:
            return True
        match each:
            case Union(several) | Tuple(several):
                todo += several
            case Array(item):
                todo.append(item)
            case Map(value, key):
                todo += (value, key)
            case Later():
                todo.append(each.value)
            case OwnRecord():
                todo += (one.shape for one in each.fields.values())
    return False
