"""The cards of tools: what a model reads of each.

A card:

    await tools['list-events'](calendar_id: str, limit: int = 50) -> list[Event]
        Lists the events of a calendar.
        calendar_id: which calendar, "work" or "home"
    Event = {id: str, title: str, attendees?: list[str]}

A `?` marks what may be missing; `seen:` is what earlier calls returned, of a tool that declares no result.
Descriptions are other people's text: they appear as one plain line each.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import islice

from codemode_graph.tools.annotations import (
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
    parts,
    records_in,
)
from codemode_graph.tools.schema import MISSING, Parameter
from codemode_graph.tools.signatures import Signature, Signatures
from codemode_graph.tools.spec import Effect, ToolSpec
from codemode_graph.tools.text import first_sentence

__all__ = ["estimate_tokens", "render_card", "render_cards", "render_type"]

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


def render_type(shape: Shape, signatures: Signatures) -> list[str]:
    """Write a type in the words of the cards: its own line, then one for each type that is named in it.

    Args:
        shape: The type.
        signatures: Those of the tools, whose types have other names.
    """
    types = _Types(signatures.names_beside(shape))
    return [types.text(shape), *types.definitions()]


def estimate_tokens(text: str) -> int:
    """Estimate the number of tokens in a text: one for four characters.

    A rule of thumb for English and code, not a count: counting needs the model's own tokeniser.
    """
    return -(-len(text) // 4)


def _card(signature: Signature, types: "_Types") -> str:
    spec = signature.tool
    arguments = [_argument(item, types.text(signature.value_shape(item))) for item in signature.parameters]
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
    if signature.seen is not None:
        lines.append(f"    seen: {types.text(signature.seen)}")
    elif signature.result is None:
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
    if item.variadic:
        return f"*{item.keyword}: {kind}"
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
