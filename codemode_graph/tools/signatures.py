"""Tools as Python sees them: signatures, the stub for the type checker, the cards for the model.

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

A card:

    await tools['list-events'](calendar_id: str, limit: int = 50) -> list[Event]
        Lists the events of a calendar.
        calendar_id: which calendar, "work" or "home"
    Event = {id: str, title: str, attendees?: list[str]}

A `?` marks what may be missing. Descriptions are other people's text: they appear as one plain line each.
"""

import builtins
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from codemode_sandboxes.tool_names import attribute_names

from codemode_graph.tools.annotations import (
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
    parts,
    record_names,
    records_in,
)
from codemode_graph.tools.schema import MISSING, Document, Parameter, Parameters
from codemode_graph.tools.spec import Effect, ToolSpec
from codemode_graph.tools.text import first_sentence

__all__ = ["Signature", "Signatures", "estimate_tokens", "render_card", "render_cards", "render_stubs"]

_RESERVED = frozenset(dir(builtins)) | {
    *("Any", "Iterator", "List", "Literal", "Mapping", "NotRequired", "Protocol", "TypedDict", "TypeVar")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One tool's signature.

    Attributes:
        tool: The tool.
        parameters: Its arguments, in order.
        arguments: The shape of each argument's values, by the argument's name.
        result: The shape of what it returns, or None where that is not known.
    """

    tool: ToolSpec
    parameters: Parameters
    arguments: Mapping[str, Shape]
    result: Shape | None

    def shape_of(self, parameter: Parameter) -> Shape:
        """Return the shape of an argument's values."""
        return self.arguments[parameter.name]


@dataclass(frozen=True, slots=True)
class Signatures:
    """The signatures of all tools of a run, and the names of the types in them.

    Attributes:
        tools: One signature a tool; of several tools of the same name, the first.
        names: A name for every record; equal types share one.
    """

    tools: tuple[Signature, ...]
    names: Mapping[Record, str] = field(default_factory=dict)

    @classmethod
    def of(cls, specs: Iterable[ToolSpec]) -> "Signatures":
        """Return the signatures of these tools."""
        tools = tuple(_signature(spec) for spec in {spec.name: spec for spec in reversed(list(specs))}.values())[::-1]
        results = [signature.result for signature in tools if signature.result is not None]
        arguments = [shape for signature in tools for shape in signature.arguments.values()]
        # Results first: theirs are the names that a checker's messages use.
        return cls(tools, record_names([*records_in(results), *records_in(arguments)], _RESERVED))


def _signature(spec: ToolSpec) -> Signature:
    parameters = Parameters(spec.input_schema)
    reader, name = Reader(parameters.document), camel(spec.name)
    arguments = {item.name: reader.shape(item.schema, camel(item.name) or "Argument") for item in parameters}
    result: Shape | None = None
    if spec.output_schema is not None:
        result = Reader(Document(spec.output_schema)).shape(spec.output_schema, f"{name}Result")
    return Signature(
        tool=spec, parameters=parameters, arguments=arguments, result=None if result == UNKNOWN else result
    )


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


def render_stubs(specs: Iterable[ToolSpec]) -> str:
    """Write the stub of the name `tools`, the only one that a program has beyond Python's own.

    Args:
        specs: The tools. Of several with the same name, the first counts.

    Returns:
        Python stub text. `tools["name"]` and `tools.attribute` are typed for every tool, arguments are positional or
        keyword in the order of `parameter_order`, and each type stands in it once.
    """
    return _Writer(Signatures.of(specs)).text()


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
            kind = self._argument(signature.shape_of(item)) if exact else "Any"
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
        extra = "" if record.extra is None else f", extra_items={self._value(record.extra)}"
        return f"{name} = TypedDict({name!r}, {{{keys}}}{extra})\n"

    def _value(self, shape: Shape) -> str:
        match shape:
            case Unknown():
                return "Any"
            case Scalar(name):
                return "int" if name == "float" else name
            case Literals(values):
                return f"Literal[{', '.join(map(ascii, values))}]"
            case Array(item):
                return f"list[{self._value(item)}]"
            case Tuple(items):
                return f"tuple[{', '.join(map(self._value, items))}]"
            case Map(value):
                return f"dict[str, {self._value(value)}]"
            case Union(members):
                return " | ".join(dict.fromkeys(map(self._value, members)))
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


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name = f"_{name}"
    return name


# Characters of a type that stands in place of its name, of a default; literals of a union, keys of a type; characters of
# all the types below one card. Cards are a large part of every prompt.
_INLINE = 80
_DEFAULT = 40
_VALUES = 24
_KEYS = 60
_TYPES_LENGTH = 4000
_EFFECTS: Mapping[Effect, str] = {
    "read": "",
    "idempotent": "[idempotent: changes something; repeating it is safe]",
    "write": "[write: changes something]",
    "destructive": "[destructive: destroys something]",
}
_RETURNS = re.compile(r"^[ \t]*(?::returns?:|Returns?:)[ \t]*\n?[ \t]*(\S.*)$", re.MULTILINE)
_FILLER = frozenset({"a", "an", "the", "of", "to", "for", "in", "is", "this", "that", "value", "argument", "parameter"})


def render_card(spec: ToolSpec) -> str:
    """Write the card of one tool: its call and result, its description, its arguments' descriptions, the types in it."""
    return render_cards([spec])


def render_cards(specs: Iterable[ToolSpec]) -> str:
    """Write the cards of several tools, with an empty line between them. A type stands at its first use only."""
    signatures = Signatures.of(specs)
    types = _Types(signatures.names)
    return "\n\n".join(_card(signature, types) for signature in signatures.tools)


def estimate_tokens(text: str) -> int:
    """Estimate the number of tokens in a text: one for four characters.

    A rule of thumb for English and code, not a count: counting needs the model's own tokeniser.
    """
    return -(-len(text) // 4)


def _card(signature: Signature, types: "_Types") -> str:
    spec = signature.tool
    arguments = [_argument(item, types.text(signature.shape_of(item))) for item in signature.parameters]
    if signature.parameters.open:
        arguments.append("**others: Any")
    returns = "" if signature.result is None else f" -> {types.text(signature.result)}"
    about = " ".join(filter(None, [first_sentence(spec.description), _effect(spec)]))
    lines = [
        f"await tools[{_literal(spec.name, 1000)}]({', '.join(arguments)}){returns}",
        f"    {about}" if about else "",
    ]
    lines += [
        f"    {item.keyword}: {first_sentence(item.description)}" for item in signature.parameters if _has_news(item)
    ]
    if signature.result is None:
        # Few servers declare what comes back, but many descriptions have a "Returns:" section.
        described = _RETURNS.search(spec.description[:10_000])
        lines.append(
            f"    returns, not declared: {first_sentence(described[1])}"
            if described
            else "    returns: not declared; look before you index"
        )
    return "\n".join([*filter(None, lines), *types.definitions()])


def _effect(spec: ToolSpec) -> str:
    return f"[effect not declared; taken for a {spec.effect}]" if spec.undeclared else _EFFECTS[spec.effect_in_force]


def _argument(item: Parameter, kind: str) -> str:
    if item.required:
        return f"{item.keyword}: {kind}"
    default = "" if item.default is MISSING else _literal(item.default)
    return f"{item.keyword}: {kind} = {default}" if 0 < len(default) <= _DEFAULT else f"{item.keyword}?: {kind}"


def _literal(value: object, limit: int = 200) -> str:
    # Still the same string to Python, but no fence and no token of a chat template.
    exact = repr(value).replace("```", r"\x60``").replace("<|", r"<\x7c")
    return exact if len(exact) <= limit else exact[:limit] + "…"


def _has_news(item: Parameter) -> bool:
    """Return whether an argument's description says more than its name does."""
    words = set(re.findall(r"\w+", item.description.lower()))
    return bool(words - _FILLER - set(re.findall(r"[a-z0-9]+", item.name.lower())))


class _Types:
    """Writes shapes, and collects the types that are named in them but not yet defined."""

    def __init__(self, names: Mapping[Record, str]) -> None:
        self._names = names
        self._pending: dict[str, Record] = {}
        self._defined: set[str] = set()

    def text(self, shape: Shape) -> str:
        match shape:
            case Unknown():
                return "Any"
            case Scalar(name, form):
                return f"{name} ({form})" if form and form != "uri" else name
            case Literals(values):
                shown = " | ".join(map(_literal, values[:_VALUES]))
                return shown if len(values) <= _VALUES else f"{shown} | ..."
            case Array(item):
                return f"list[{self.text(item)}]"
            case Tuple(items):
                return f"tuple[{', '.join(map(self.text, items))}]"
            case Map(value):
                return "dict" if value == UNKNOWN else f"dict[str, {self.text(value)}]"
            case Union(members):
                return " | ".join(dict.fromkeys(map(self.text, members)))
            case Record():
                return self._reference(shape)

    def definitions(self) -> list[str]:
        """Return the definitions of types named since the last call, and of those named in them."""
        lines, left, hidden = list[str](), _TYPES_LENGTH, list[str]()
        while self._pending:
            name = next(iter(self._pending))
            record = self._pending.pop(name)
            # One type of thousands of keys must not push the task out of the prompt.
            if left <= 0:
                hidden.append(name)
                continue
            self._defined.add(name)
            lines.append(f"{name} = {self._fields(record)}")
            left -= len(lines[-1])
        if hidden:
            lines.append(f"({', '.join(hidden[:20])}{', ...' if len(hidden) > 20 else ''}: dicts, too large to show)")
        return lines

    def _reference(self, record: Record) -> str:
        if not record.titled and not records_in(parts(record)):
            inline = self._fields(record)
            if len(inline) <= _INLINE:
                return inline
        name = self._names[record]
        if name not in self._defined:
            self._pending.setdefault(name, record)
        return name

    def _fields(self, record: Record) -> str:
        keys = [
            f"{key if key.isidentifier() else _literal(key)}{'' if each.required else '?'}: {self.text(each.shape)}"
            for key, each in islice(record.fields.items(), _KEYS)
        ]
        if len(record.fields) > _KEYS:
            keys.append(f"... and {len(record.fields) - _KEYS} more")
        if record.extra is not None:
            keys.append("..." if record.extra == UNKNOWN else f"...: {self.text(record.extra)}")
        return f"{{{', '.join(keys)}}}"
