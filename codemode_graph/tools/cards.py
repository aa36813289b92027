"""The cards of tools: what a model reads of each.

A card:

    await tools['list-events'](calendar_id: str, limit: int (1..100) = 50) -> list[Event]
        Lists the events of a calendar.
        calendar_id: which calendar, "work" or "home"
    Event = {id: str, start: str (date-time), title?: str, attendees?: list[str]}
        start: When it begins, in the calendar's time zone.

`seen:` is what earlier calls returned, of a tool that declares no result. `model/cards.md` explains every sign to the model.
A type, and the description of an argument or a key, stands at its first use only: many tools of a server take the same.
Descriptions are other people's text: they appear as one plain line each.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
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
from codemode_graph.tools.conditions import description_of, requirements
from codemode_graph.tools.schema import MISSING, Parameter
from codemode_graph.tools.signatures import Signature, Signatures
from codemode_graph.tools.spec import Effect, ToolSpec
from codemode_graph.tools.text import condense, one_line, vocabulary

# Characters of a type that stands in place of its name, and of a default; keys of a type, and characters of all types below one
# card: a hostile or careless server may send megabytes, and they must not push the task out of the prompt.
_INLINE = 80
_DEFAULT = 200
_KEYS = 400
_TYPES_LENGTH = 40_000
# Characters of the descriptions of a tool, of an argument and of a key, and of those of all keys below one card. Measured with
# `python -m benchmarks.catalogue.card_facts`.
_ABOUT = 1_000
_ARGUMENT = 400
_FIELD = 200
_FIELDS_LENGTH = 2_400
# A description that is this long is not told twice.
_REPEATED = 40
_EFFECTS: Mapping[Effect, str] = {
    "read": "",
    "idempotent": "[idempotent]",
    "write": "[write]",
    "destructive": "[destructive]",
}
_RETURNS = re.compile(r"^[ \t]*(?::returns?:|Returns?:)[ \t]*\n?[ \t]*(\S.*(?:\n[ \t]+\S.*)*)$", re.MULTILINE)
_FILLER = vocabulary(
    "a an and as at be by for from if in is it its of on or that the this to use used value argument parameter with"
)


def render_card(spec: ToolSpec, *, signatures: Signatures | None = None) -> str:
    """Write the card of one tool: its call and result, its description, its arguments' descriptions, the types in it.

    Args:
        spec: The tool.
        signatures: Those of all tools of the run, so that types have the names by which a check calls them.
    """
    return render_cards([spec], signatures=signatures)


def render_cards(specs: Iterable[ToolSpec], *, signatures: Signatures | None = None) -> str:
    """Write the cards of several tools, with an empty line between them. What they share stands at its first use only.

    Args:
        specs: The tools.
        signatures: Those of all tools of the run, so that types have the names by which a check calls them.
    """
    chosen = list(specs)
    known = Signatures.of(chosen) if signatures is None else signatures
    types = _Types(known.names)
    names = dict.fromkeys(spec.name for spec in chosen)
    return "\n\n".join(_card(known.by_name[name], types) for name in names)


def render_seen(specs: Iterable[ToolSpec], signatures: Signatures) -> dict[str, list[str]]:
    """Write what earlier calls of tools returned, as their cards do: by names, the type and then those that are named in it.

    Args:
        specs: The tools; those of which nothing was seen are left out.
        signatures: Those of all tools of the run, with what was seen.
    """
    types = _Types(signatures.names)
    shapes = {spec.name: signatures.by_name[spec.name].seen for spec in specs}
    return {name: [types.text(shape), *types.definitions()] for name, shape in shapes.items() if shape is not None}


def call_start(name: str) -> str:
    """Return how the card of a tool begins."""
    return f"await tools[{_literal(name, 1000)}]("


def render_type(shape: Shape, signatures: Signatures) -> list[str]:
    """Write a type in the words of the cards: its own line, then one for each type that is named in it.

    Args:
        shape: The type.
        signatures: Those of the tools, whose types have other names.
    """
    types = _Types(signatures.names_beside(shape))
    return [types.text(shape), *types.inline_notes("", shape), *types.definitions()]


def estimate_tokens(text: str) -> int:
    """Estimate the number of tokens in a text: one for four characters.

    A rule of thumb for English and code, not a count: counting needs the model's own tokeniser.
    """
    return -(-len(text) // 4)


def _card(signature: Signature, types: "_Types") -> str:
    spec, parameters = signature.tool, signature.parameters
    arguments = [_argument(item, types.text(signature.value_shape(item))) for item in parameters]
    if parameters.open:
        arguments.append(f"**others: {types.text(signature.others)}")
    returns = "" if signature.result is None else f" -> {types.text(signature.result)}"
    description, returned = spec.description[:10_000], None
    if signature.result is None and signature.seen is None and (returned := _RETURNS.search(description)):
        description = description[: returned.start()] + description[returned.end() :]
    about = " ".join(filter(None, [condense(description, _ABOUT), _effect(spec)]))
    lines = [f"{call_start(spec.name)}{', '.join(arguments)}){returns}", about]
    for item in parameters:
        text = description_of(parameters.document, parameters.document.flat(item.schema))
        lines.append(types.note(item.keyword, text, _ARGUMENT, item.name))
        lines += types.inline_notes(item.keyword, signature.arguments[item.name])
    words = {item.name: item.keyword for item in parameters}
    needs = requirements(parameters.document, parameters.flat, lambda key: words.get(key, key), structured=True)
    lines += [f"needs {need}" for need in needs]
    # Few servers declare what comes back, but many descriptions have a "Returns:" section.
    if returned:
        lines.append(f"returns, not declared: {condense(returned[1], _ARGUMENT)}")
    if signature.seen is not None:
        lines.append(f"seen: {types.text(signature.seen)}")
    call, *more = lines
    return "\n".join([call, *(f"    {line}" for line in more if line), *types.definitions()])


def _effect(spec: ToolSpec) -> str:
    return "[effect not declared]" if spec.undeclared else _EFFECTS[spec.effect_in_force]


def _argument(item: Parameter, kind: str) -> str:
    if item.variadic:
        return f"*{item.keyword}: {kind}"
    return _keyed(item.keyword, kind, item.required, item.default)


def _keyed(key: str, kind: str, required: bool, default: object) -> str:
    if required:
        return f"{key}: {kind}"
    return f"{key}?: {kind}" if default is MISSING else f"{key}: {kind} = {_literal(default, _DEFAULT)}"


def _literal(value: object, limit: int = 1_000) -> str:
    # Still the same string to Python, but no fence and no token of a chat template.
    exact = repr(value).replace("```", r"\x60``").replace("<|", r"<\x7c")
    return exact if len(exact) <= limit else exact[:limit] + "…"


def _has_news(text: str, name: str) -> bool:
    """Return whether a description says more than a name does."""
    words = set(re.findall(r"[^\W_]+", text.lower()))
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return bool(words - _FILLER - set(re.findall(r"[a-z0-9]+", spaced.lower())) - {name.lower()})


class _Types:
    """Writes shapes and the notes on their keys, and collects the types that are named in them but not yet defined."""

    def __init__(self, names: Mapping[Record, str]) -> None:
        self._names = names
        self._pending: dict[str, Record] = {}
        self._defined: set[str] = set()
        self._noted: set[tuple[str, str]] = set()

    def text(self, shape: Shape) -> str:
        match shape:
            case Unknown(limits):
                return f"Any ({limits})" if limits else "Any"
            case Scalar(name, limits):
                return f"{name} ({limits})" if limits else name
            case Literals(values):
                return " | ".join(map(_literal, values))
            case Array(item, limits, first, rest):
                items = [*map(self.text, first), *([] if rest is None else [f"*list[{self.text(rest)}]"])]
                kind = f"tuple[{', '.join(items)}]" if first else f"list[{self.text(item)}]"
                return f"{kind} ({limits})" if limits else kind
            case Tuple(items):
                return f"tuple[{', '.join(map(self.text, items))}]"
            case Map(value, key, limits):
                is_plain = value == UNKNOWN and key == Scalar("str")
                kind = "dict" if is_plain else f"dict[{self.text(key)}, {self.text(value)}]"
                return f"{kind} ({limits})" if limits else kind
            case Union(members):
                return " | ".join(dict.fromkeys(map(self.text, members)))
            case Record():
                return self._reference(shape)

    def note(self, key: str, text: str, limit: int, name: str) -> str:
        """Return the line on the meaning of an argument or a key; empty where its name says it, or a line before."""
        if not text or not _has_news(text, name):
            return ""
        line = f"{key}: {condense(text, limit)}"
        if len(text) >= _REPEATED:
            if (name, text) in self._noted:
                return ""
            self._noted.add((name, text))
        return line

    def inline_notes(self, path: str, shape: Shape) -> Iterator[str]:
        """Yield the lines on the keys of the types that stand in place of their names in a shape."""
        todo: list[Shape] = [shape]
        for each in todo:
            if isinstance(each, Record):
                if self._is_inline(each):
                    yield from self._notes(each, f"{path}." if path else "", nested=True)
            else:
                todo += parts(each)

    def definitions(self) -> list[str]:
        """Return the definitions of types named since the last call, and of those named in them."""
        lines, room, hidden = list[str](), _TYPES_LENGTH, list[str]()
        notes = _FIELDS_LENGTH
        while self._pending:
            name = next(iter(self._pending))
            record = self._pending.pop(name)
            # One type of thousands of keys must not push the task out of the prompt.
            if room <= 0:
                hidden.append(name)
                continue
            self._defined.add(name)
            lines.append(f"{name} = {self._fields(record)}")
            room -= len(lines[-1])
            lines += [f"    needs {need}" for need in record.needs]
            for note in self._notes(record):
                if (notes := notes - len(note)) < 0:
                    break
                lines.append(f"    {note}")
        if hidden:
            lines.append(f"({', '.join(hidden[:20])}{', ...' if len(hidden) > 20 else ''}: dicts, too large to show)")
        return lines

    def _notes(self, record: Record, path: str = "", *, nested: bool = False) -> Iterator[str]:
        for key, each in islice(record.fields.items(), _KEYS):
            shown = key if key.isidentifier() else _literal(key)
            if note := self.note(f"{path}{shown}", each.description, _FIELD, key):
                yield note
            if not nested:
                yield from self.inline_notes(shown, each.shape)

    def _is_inline(self, record: Record) -> bool:
        if record.titled or record.needs or records_in(parts(record)):
            return False
        return len(self._fields(record)) <= _INLINE

    def _reference(self, record: Record) -> str:
        if self._is_inline(record):
            return self._fields(record)
        name = self._names[record]
        if name not in self._defined:
            self._pending.setdefault(name, record)
        return name

    def _fields(self, record: Record) -> str:
        keys = [
            _keyed(key if key.isidentifier() else _literal(key), self.text(each.shape), each.required, each.default)
            for key, each in islice(record.fields.items(), _KEYS)
        ]
        if len(record.fields) > _KEYS:
            keys.append(f"... and {len(record.fields) - _KEYS} more")
        keys += [f"/{one_line(pattern, 160)}/: {self.text(each)}" for pattern, each in record.patterns.items()]
        if record.extra is not None:
            keys.append("..." if record.extra == UNKNOWN else f"...: {self.text(record.extra)}")
        return f"{{{', '.join(keys)}}}"
