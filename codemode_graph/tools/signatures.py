"""Tools as Python sees them: signatures, and the stub for the type checker.

Stub and cards use one name for each type, so that a checker's message speaks of what the model has read.

The stub is stricter than JSON Schema where that finds a model's mistakes (a key that a result does not have, an argument
that a tool does not take) and laxer where strictness would refuse a good program:

* An object as an argument may be any mapping, a list any collection but a string: a program builds them in variables,
  whose inferred types (`dict[str, int]`) fit no `TypedDict`.
* Where a tool has an argument that cannot be written as a keyword, `**{"from": x}` has to pass, and the checker matches
  what it unpacks against every argument; so the arguments of such a tool are not typed.
* A number in a result counts as `int`, which Python takes for a float too, and an argument that is an integer takes a
  float: JavaScript servers declare counts and ids as numbers, and `range(result["pages"])` is right.

No description is part of it; names and values stand in it as ASCII literals, so nothing can break out.
"""

import asyncio
import builtins
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from codemode_sandboxes.tool_names import ToolNames, attribute_names

from codemode_graph.tools.annotations import (
    NULL,
    UNKNOWN,
    Array,
    Literals,
    Map,
    Reader,
    Record,
    Scalar,
    Shape,
    Tuple,
    Union,
    Unknown,
    camel,
    record_names,
    records_in,
)
from codemode_graph.tools.schema import Document, Parameter, Parameters
from codemode_graph.tools.spec import ToolSpec

_RESERVED = frozenset(dir(builtins)) | {
    *("Any", "Iterator", "List", "Literal", "Mapping", "NotRequired", "Protocol", "TypedDict", "TypeVar")
}


class Signature(NamedTuple):
    """One tool's signature.

    Attributes:
        tool: The tool.
        parameters: Its arguments, in order.
        arguments: The shape of each argument's values, by the argument's name.
        result: The shape of what it returns, or None where that is not known.
        seen: The shape of what earlier calls returned, or None where that is not known, or the tool declares its result.
        others: The shape of the values of arguments that have no names, of a tool that takes such.
    """

    tool: ToolSpec
    parameters: Parameters
    arguments: Mapping[str, Shape]
    result: Shape | None
    seen: Shape | None = None
    others: Shape = UNKNOWN

    @property
    def is_vague(self) -> bool:
        """True where the tool declares no result, or one without names: what earlier calls returned tells more."""
        return _is_vague(self.result)

    def shape_of(self, parameter: Parameter) -> Shape:
        """Return the shape of an argument's values."""
        return self.arguments[parameter.name]

    def value_shape(self, parameter: Parameter) -> Shape:
        """Return the shape of one positional value of an argument: of `*args`, of each."""
        shape = self.arguments[parameter.name]
        return shape.item if parameter.variadic and isinstance(shape, Array) else shape


@dataclass(frozen=True)
class Signatures:
    """The signatures of all tools of a run, and the names of the types in them.

    Attributes:
        tools: One signature a tool; of several tools of the same name, the first.
        names: A name for every record; equal types share one.
    """

    tools: tuple[Signature, ...]
    names: Mapping[Record, str] = field(default_factory=dict)

    @cached_property
    def by_name(self) -> Mapping[str, Signature]:
        """The signatures by the names of their tools."""
        return {signature.tool.name: signature for signature in self.tools}

    @cached_property
    def records(self) -> Mapping[str, Record]:
        """The records by their names, as a type checker's messages have them."""
        return {name: record for record, name in self.names.items()}

    @cached_property
    def tool_names(self) -> ToolNames:
        """The names of the tools, as a check looks them up."""
        return ToolNames(signature.tool.name for signature in self.tools)

    @classmethod
    def of(cls, specs: Iterable[ToolSpec]) -> "Signatures":
        """Return the signatures of these tools."""
        tools = tuple(_signature(spec) for spec in {spec.name: spec for spec in reversed(list(specs))}.values())[::-1]
        results = [signature.result for signature in tools if signature.result is not None]
        arguments = [shape for each in tools for shape in (*each.arguments.values(), each.others)]
        seen = [signature.seen for signature in tools if signature.seen is not None]
        # Results first: theirs are the names that a checker's messages use.
        return cls(tools, record_names([*records_in(results), *records_in(arguments), *records_in(seen)], _RESERVED))

    def only(self, names: Collection[str]) -> "Signatures":
        """Return the signatures of the tools of these names. Their types keep their names."""
        tools = tuple(signature for signature in self.tools if signature.tool.name in names)
        return Signatures(tools, self.names)

    def with_seen(self, specs: Iterable[ToolSpec]) -> "Signatures":
        """Return the signatures with what earlier calls of these tools returned. All types keep their names."""
        seen = {spec.name: _signature(spec).seen for spec in specs}
        if not seen:
            return self
        records = records_in(shape for shape in seen.values() if shape is not None)
        names = record_names(records, {*_RESERVED, *self.names.values()})
        tools = (each._replace(seen=seen[each.tool.name]) if each.tool.name in seen else each for each in self.tools)
        return Signatures(tuple(tools), {**self.names, **names})

    def names_beside(self, shape: Shape) -> Mapping[Record, str]:
        """Return names for the records of a type that is no tool's: none of them is the name of a tool's type."""
        return record_names(records_in([shape]), {*_RESERVED, *self.names.values()})


def _signature(spec: ToolSpec) -> Signature:
    parameters = Parameters(spec.input_schema)
    name = camel(spec.name) or "Tool"
    reader = Reader(parameters.document, name)
    arguments = {item.name: reader.shape(item.schema, camel(item.name) or "Argument") for item in parameters}
    result: Shape | None = None
    if spec.output_schema is not None:
        result = Reader(Document(spec.output_schema), name).shape(spec.output_schema, "Result")
    result = None if result == UNKNOWN else result
    seen: Shape | None = None
    if spec.observed_schema and _is_vague(result):
        seen = Reader(Document(spec.observed_schema), name).shape(spec.observed_schema, "Result")
    return Signature(
        tool=spec,
        parameters=parameters,
        arguments=arguments,
        result=result,
        seen=None if seen == UNKNOWN else seen,
        others=reader.shape(parameters.flat.get("additionalProperties"), "Other"),
    )


def _is_vague(shape: Shape | None) -> bool:
    match shape:
        case Array(item) | Map(item):
            return _is_vague(item)
        case Union(members):
            return all(member == NULL or _is_vague(member) for member in members)
    return shape is None or shape == UNKNOWN


_HEAD = """\
from typing import Any, Iterator, Literal, Mapping, NotRequired, Protocol, TypedDict, TypeVar, overload

__all__ = ["tools"]
"""

# Not `Sequence`: a str is a sequence of str, too. But its __contains__ takes no other object, which tells it apart.
_LIST = """
_T = TypeVar("_T", covariant=True)

class List(Protocol[_T]):
    def __contains__(self, value: object, /) -> bool: ...
    def __iter__(self) -> Iterator[_T]: ...
    def __len__(self) -> int: ...
"""

_NAMES_TAIL = """\
    def __iter__(self) -> Iterator[Any]: ...
    def __contains__(self, name: object, /) -> bool: ...
    def __len__(self) -> int: ...
"""


def render_stubs(tools: Iterable[ToolSpec] | Signatures) -> str:
    """Write the stub of the name `tools`, the only one that a program has beyond Python's own.

    Args:
        tools: The tools, of several with the same name the first; or their signatures, where the caller has them.

    Returns:
        Python stub text. `tools["name"]` and `tools.attribute` are typed for every tool, arguments are positional or
        keyword in the order of `parameter_order`, and each type stands in it once.
    """
    return _Writer(tools if isinstance(tools, Signatures) else Signatures.of(tools)).text()


# Stubs that are kept, the newest. Programs of a task name the same tools again and again.
_MOST_TEXTS = 256


class Stubs:
    """Writes the stubs for programs, and keeps them: each declares the tools that a program names, and no other.

    So a check takes the same time however many tools there are.

    Args:
        signatures: The signatures of all tools.
    """

    def __init__(self, signatures: Signatures) -> None:
        self._signatures = signatures
        self._texts: dict[frozenset[str], str] = {}

    async def text(self, names: Collection[str]) -> str:
        """Return the stub for a program that names these tools."""
        key = frozenset(names)
        if key not in self._texts:
            # Types of some tools are long: off the event loop.
            text = await asyncio.to_thread(render_stubs, self._signatures.only(key))
            if len(self._texts) >= _MOST_TEXTS:
                del self._texts[next(iter(self._texts))]
            self._texts[key] = text
        return self._texts[key]


class _Writer:
    def __init__(self, signatures: Signatures) -> None:
        self._signatures = signatures
        self._attributes = attribute_names(signature.tool.name for signature in signatures.tools)

    def text(self) -> str:
        tools = [
            (signature, f"tool_{self._attributes.get(signature.tool.name, number)}")
            for number, signature in enumerate(self._signatures.tools)
        ]
        calls = "".join(self._call(signature, name) for signature, name in tools)
        results = records_in(signature.result for signature, _ in tools if signature.result is not None)
        types = "".join({self._signatures.names[record]: self._record(record) for record in results}.values())
        overloaded = "    @overload\n" if len(tools) > 1 else ""
        names = "".join(
            f"{overloaded}    def __getitem__(self, name: Literal[{signature.tool.name!a}], /) -> {name}: ...\n"
            for signature, name in tools
        )
        attributes = "    ...\n" + "".join(
            f"    {self._attributes[signature.tool.name]}: {name}\n"
            for signature, name in tools
            if signature.tool.name in self._attributes
        )
        return (
            _HEAD
            + (_LIST if "List[" in calls else "")
            + (f"\n{types}" if types else "")
            + calls
            # The attributes stand in a class of their own: one named `str` would hide the type from the methods.
            + f"\nclass _Names(Protocol):\n{names}{_NAMES_TAIL}"
            + f"\nclass _Tools(_Names, Protocol):\n{attributes}"
            + "\ntools: _Tools\n"
        )

    def _call(self, signature: Signature, name: str) -> str:
        parameters, exact = signature.parameters, signature.parameters.exact
        words = {item.keyword for item in parameters}
        arguments = [_free("self", words)]
        for item in parameters:
            kind = self._argument(signature.value_shape(item)) if exact else "Any"
            if item.variadic:
                arguments.append(f"*{item.keyword}: {kind}")
                continue
            arguments.append(f"{item.keyword}: {kind}{'' if item.required and exact else ' = ...'}")
        if parameters.open or not exact:
            arguments.append(f"**{_free('kwargs', words)}: Any")
        result = "Any" if signature.result is None else self._value(signature.result)
        return f"\nclass {name}(Protocol):\n    async def __call__({', '.join(arguments)}) -> {result}: ...\n"

    def _record(self, record: Record) -> str:
        name = self._signatures.names[record]
        keys = ", ".join(
            f"{key!a}: {self._value(each.shape) if each.required else f'NotRequired[{self._value(each.shape)}]'}"
            for key, each in record.fields.items()
        )
        extra = "" if record.others is None else f", extra_items={self._value(record.others)}"
        return f"{name} = TypedDict({name!r}, {{{keys}}}{extra})\n"

    def _value(self, shape: Shape) -> str:
        match shape:
            case Unknown():
                return "Any"
            case Scalar(name):
                return "int" if name == "float" else name
            case Literals(values):
                # Python has no literals of floats.
                if any(isinstance(value, float) for value in values):
                    return self._value(Union(shape.types))
                return f"Literal[{', '.join(map(ascii, values))}]"
            case Array(item):
                return f"list[{self._value(item)}]"
            case Tuple(items):
                return f"tuple[{', '.join(map(self._value, items))}]"
            case Map(value):
                return f"dict[str, {self._value(value)}]"
            case Union(members):
                # Cards name the usual values beside a type; to a type checker they are values of the type.
                plain = {member for member in members if isinstance(member, Scalar)}
                types = {member.type for member in plain}
                rest = [m for m in members if not (isinstance(m, Literals) and {s.type for s in m.types} <= types)]
                return " | ".join(dict.fromkeys(map(self._value, rest)))
            case Record():
                return self._signatures.names[shape]

    def _argument(self, shape: Shape, nested: bool = False) -> str:
        match shape:
            case Map() | Record():
                return "Mapping[str, Any]"
            case Array(item):
                return f"List[{self._argument(item, nested=True)}]"
            case Tuple():
                return "List[Any]"
            case Literals() if nested:
                return self._argument(Union(shape.types))
            # A whole number such as 3.0 is accepted where an int is wanted: models compute with floats.
            case Scalar("int"):
                return "float"
            case Union(members):
                return " | ".join(dict.fromkeys(self._argument(member, nested) for member in members))
            case _:
                return self._value(shape)


def _free(name: str, used: set[str]) -> str:
    while name in used:
        name = f"_{name}"
    return name
