"""JSON Schema documents, and the arguments of a tool in one: order, keywords, binding of a call.

Schemas come from anywhere and many are wrong. No function here raises because of one: what cannot be understood counts as
a schema that allows anything.
"""

import json
import keyword
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from codemode_graph.tools.text import one_line, suggest

AGAIN = "codemode_again"
"""The keyword by which a program says that a call is meant anew. The host takes it off, whatever the tool's arguments."""

# Bounds on the work for one document: how deep references and `allOf` nest, how many schemas are visited in all.
_DEPTH = 40
_STEPS = 50_000


class Document:
    """A JSON Schema document, which follows its `$ref`s and merges its `allOf`s.

    The work on one document is bounded: references can branch without end, and a hostile server may send such a schema.
    """

    def __init__(self, root: object) -> None:
        self.root = root
        self._steps = _STEPS

    def follow(self, pointer: str) -> object:
        """Return what a local reference (`#/$defs/Event`) points at, or True, the schema that allows anything."""
        if pointer != "#" and not pointer.startswith("#/"):
            return self._named.get(unquote(pointer), True)
        place: object = self.root
        for step in unquote(pointer[1:]).split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(place, Mapping) and key in place:
                place = place[key]
            elif isinstance(place, list) and key.isdecimal() and int(key) < len(place):
                place = place[int(key)]
            else:
                return True
        return place

    @cached_property
    def _named(self) -> dict[str, object]:
        """The schemas that have names, by the references to them: `#event` for an anchor, else an `$id`."""
        found: dict[str, object] = {}
        places = [self.root]
        for place in places:
            if isinstance(place, Mapping):
                for word, sign in (("$anchor", "#"), ("$dynamicAnchor", "#"), ("$id", "")):
                    if isinstance(name := place.get(word), str):
                        found.setdefault(f"{sign}{name}", place)
            if isinstance(place, Mapping | list) and len(places) < _STEPS:
                places += place.values() if isinstance(place, Mapping) else place
        return found

    def flat(self, schema: object, seen: frozenset[str] = frozenset(), depth: int = 0) -> dict[str, Any]:
        """Return the schema with its references followed and its `allOf` merged, one level deep.

        Returns:
            A new schema without `$ref` and `allOf`. An empty one allows anything.
        """
        self._steps -= 1
        # Schemas come from servers: one that refers to itself, or doubles with each level, must end.
        if not isinstance(schema, Mapping) or depth > _DEPTH or self._steps < 0:
            return {}
        ref, branches = schema.get("$ref", schema.get("$dynamicRef")), schema.get("allOf")
        whole: dict[str, Any] = {}
        if isinstance(ref, str) and ref not in seen:
            whole = self.flat(self.follow(ref), seen | {ref}, depth + 1)
        for branch in branches if isinstance(branches, list) else ():
            whole = merge(whole, self.flat(branch, seen, depth + 1))
        own = {key: value for key, value in schema.items() if isinstance(key, str) and key not in _MERGED}
        return merge(whole, own) if whole else own


_MERGED = frozenset({"$ref", "$dynamicRef", "allOf"})
ALSO: Final = "x-also"
"""The keyword of a merged schema that holds the conditions of its `allOf` which no other keyword of it has room for."""
_CONDITIONS = ("anyOf", "oneOf", "not", "if")


def merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of values that fit both; of two keywords that cannot be combined the second one's stands."""
    both = {**first, **second}
    a, b = mapping_at(first, "properties"), mapping_at(second, "properties")
    if a and b:
        shared = {name: {"allOf": [a[name], b[name]]} for name in a if name in b and not _are_equal(a[name], b[name])}
        both["properties"] = {**a, **b, **shared}
    if (required := names_at(first, "required")) and "required" in second:
        both["required"] = list(dict.fromkeys([*required, *names_at(second, "required")]))
    if isinstance(some := first.get("enum"), list) and isinstance(others := second.get("enum"), list):
        # Enums without a common value would allow nothing, which no server means.
        both["enum"] = [value for value in some if value in others] or others
    hidden = [
        word for word in _CONDITIONS if word in first and word in second and not _are_equal(first[word], second[word])
    ]
    conditions = [{name: first[name] for name in (word, "then", "else") if name in first} for word in hidden]
    if also := [*first.get(ALSO, ()), *second.get(ALSO, ()), *conditions]:
        both[ALSO] = also
    if (needed := mapping_at(first, "dependentRequired")) and "dependentRequired" in second:
        both["dependentRequired"] = {**needed, **mapping_at(second, "dependentRequired")}
    return both


def branches_of(schema: Mapping[str, Any]) -> list[Any]:
    """Return the alternatives of `anyOf` or `oneOf`."""
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    return alternatives if isinstance(alternatives, list) else []


def mapping_at(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the members of a keyword that holds an object, such as `properties`, or none where it does not."""
    value = schema.get(key)
    return {name: item for name, item in value.items() if isinstance(name, str)} if isinstance(value, Mapping) else {}


def names_at(schema: Mapping[str, Any], key: str) -> list[str]:
    """Return the strings of a keyword that holds a list, such as `required`, or none where it does not."""
    value = schema.get(key)
    return [name for name in value if isinstance(name, str)] if isinstance(value, list | tuple) else []


def _are_equal(a: object, b: object) -> bool:
    try:
        return a is b or a == b
    except RecursionError:
        return False


VARIADIC: Final = "x-variadic"
"""The keyword of a property of an input schema that stands for a function's `*args`."""

MISSING: Final = object()
"""Marks an argument without a default: None is a default like any other."""


class Parameter(NamedTuple):
    """One argument of a tool.

    Attributes:
        name: As the tool names it; any characters.
        keyword: What a program writes for it: the name where that is a plain identifier, else the nearest one (`from_`
            for `from`, `If_Match` for `If-Match`).
        schema: Its JSON Schema, as it stands in the tool's.
        required: Whether a call must have it.
        default: The value in the schema that stands for a missing argument, or `MISSING`.
        description: From the schema.
        variadic: Whether it takes all further positional values, as `*args` does; its own value is their list.
    """

    name: str
    keyword: str
    schema: Any
    required: bool
    default: Any = MISSING
    description: str = ""
    variadic: bool = False

    @property
    def value_schema(self) -> Any:
        """The JSON Schema of one positional value."""
        return mapping_at({"": self.schema}, "").get("items", True) if self.variadic else self.schema


class Parameters(Sequence[Parameter]):
    """The arguments that a tool takes, in the order in which positional ones are bound.

    Required ones come first, then the others, each in the order of the schema's properties. Where one is variadic, those
    before it keep the order of the schema, and those behind it are keywords alone, as in Python.

    Args:
        schema: The tool's input schema.

    Attributes:
        document: The document that it is.
        flat: The schema without references, one level deep.
    """

    def __init__(self, schema: object) -> None:
        self.document = Document(schema)
        self.flat = self.document.flat(schema)
        properties, required = self._properties()
        names = list(properties)
        rest = next((n for n, name in enumerate(names) if mapping_at(properties, name).get(VARIADIC) is True), None)
        self._rest = rest
        # The order of a function with `*args` is part of how it is called; in any other case a schema has none.
        fixed, free = ([], names) if rest is None else (names[: rest + 1], names[rest + 1 :])
        ordered = [*fixed, *sorted(free, key=lambda name: name not in required)]
        keywords = keyword_names(ordered)
        self._items = tuple(self._read(name, keywords[name], properties[name], name in required) for name in ordered)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def positional(self, count: int) -> list[Parameter]:
        """Return the argument that each of so many positional values goes to; fewer where the tool takes no more."""
        if self._rest is None:
            return list(self._items[:count])
        return [self._items[min(index, self._rest)] for index in range(count)]

    @cached_property
    def open(self) -> bool:
        """True where arguments that the schema does not name are accepted too."""
        extra = self.flat.get("additionalProperties")
        # A schema that names no arguments and forbids none takes any.
        if "patternProperties" in self.flat or (extra is None and not self._items and "properties" not in self.flat):
            return True
        return extra is not None and extra is not False

    @cached_property
    def first_may_be_object(self) -> bool:
        """True where the first argument may itself be an object."""
        return not self._items or _may_be_object(self.document, self._items[0].value_schema)

    @cached_property
    def exact(self) -> bool:
        """True where every argument can be passed under its own name as a keyword."""
        return all(item.name == item.keyword for item in self._items)

    @cached_property
    def by_name(self) -> dict[str, Parameter]:
        """Each argument under its keyword and, taking precedence, under its own name."""
        return {item.keyword: item for item in self._items} | {item.name: item for item in self._items}

    def __str__(self) -> str:
        """Return the arguments as a message to a program lists them: `calendar_id, limit=50, status=...`."""
        if not self._items:
            return "any keyword arguments" if self.open else "none"
        more = ["..."] if len(self._items) > 40 else []
        return ", ".join([*map(self._show, self._items[:40]), *more])

    @staticmethod
    def _show(item: Parameter) -> str:
        if item.variadic:
            return f"*{item.keyword}"
        if item.required:
            return item.keyword
        return f"{item.keyword}={'...' if item.default is MISSING else one_line(repr(item.default), 40)}"

    def _properties(self) -> tuple[dict[str, Any], set[str]]:
        properties, required = mapping_at(self.flat, "properties"), set(names_at(self.flat, "required"))
        # Alternatives of arguments: a program may use those of any, and must use those that all of them require.
        alternatives = [self.document.flat(branch) for branch in branches_of(self.flat)]
        several: dict[str, list[Any]] = {}
        for branch in alternatives:
            for name, schema in mapping_at(branch, "properties").items():
                several.setdefault(name, []).append(schema)
        # An argument may have other values in each alternative.
        properties = {
            name: each[0] if len(each) == 1 else {"anyOf": each} for name, each in several.items()
        } | properties
        if alternatives:
            required |= set.intersection(*(set(names_at(branch, "required")) for branch in alternatives))
        # Servers require what they do not describe: it takes any value.
        properties = {name: each for name, each in properties.items() if each is not False or name in required}
        return properties | dict.fromkeys(sorted(required - properties.keys()), True), required

    def _read(self, name: str, word: str, schema: object, required: bool) -> Parameter:
        flat = self.document.flat(schema)
        description = flat.get("description")
        return Parameter(
            name=name,
            keyword=word,
            schema=schema,
            required=required,
            default=flat.get("default", MISSING),
            description=description if isinstance(description, str) else "",
            variadic=flat.get(VARIADIC) is True,
        )


def keyword_names(parameters: Iterable[str]) -> dict[str, str]:
    """Return the keyword under which a program can pass each argument, by the argument's name."""
    names = list(parameters)
    keywords = {name: name for name in names if _is_plain(name)}
    used = set(keywords)
    for name in names:
        if name not in keywords:
            word = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "argument"
            word = f"_{word}" if word[0].isdigit() else word
            # Two names may come to one word, such as `a-b` and `a.b`; a keyword such as `from` gets an underscore.
            while word in used or not _is_plain(word):
                word += "_"
            keywords[name] = word
            used.add(word)
    return keywords


def _is_plain(name: str) -> bool:
    # Python normalizes identifiers, so a name in another form would arrive as a different one.
    return (
        name.isidentifier()
        and not keyword.iskeyword(name)
        and not name.startswith("__")
        and unicodedata.normalize("NFKC", name) == name
    )


def bind(tool: str, schema: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Bind a call's arguments to the tool's own names.

    Positional arguments go to the arguments in the order of `Parameters`, and all further ones to the variadic one, if there is
    one. A single positional dict whose keys are all names of arguments means keyword arguments, unless the first argument
    may itself be an object. An argument whose name cannot be written as a keyword is also known by the nearest word that
    can (`from_` for `from`). None is a value like any other; defaults are not filled in.

    Args:
        tool: The tool's name, for messages.
        schema: Its input schema.
        args: Positional arguments.
        kwargs: Keyword arguments.

    Returns:
        The arguments by name.

    Raises:
        TypeError: The call does not fit; the message says how the tool is called.
    """
    parameters = _parameters(_Identity(schema))
    known = parameters.by_name
    if len(args) == 1 and _means_keywords(args[0], parameters):
        args, kwargs = [], _join(tool, args[0], kwargs)
    places = parameters.positional(len(args))
    if len(args) > len(places):
        expected = f"{len(parameters)} positional argument{'' if len(parameters) == 1 else 's'}"
        raise _refusal(tool, f"takes {expected} but {len(args)} were given", parameters)
    bound: dict[str, Any] = {}
    for item, value in zip(places, args, strict=True):
        if item.variadic:
            bound.setdefault(item.name, []).append(value)
        else:
            bound[item.name] = value
    for word, value in kwargs.items():
        if word not in known and not parameters.open:
            hint = f" ({close})" if (close := suggest(word, known)) else ""
            raise _refusal(tool, f"got an unexpected argument {one_line(repr(word), 80)}{hint}", parameters)
        name = known[word].name if word in known else word
        if name in bound:
            raise _refusal(tool, f"got two values for the argument {one_line(repr(word), 80)}", parameters)
        bound[name] = value
    if missing := [item.keyword for item in parameters if item.required and item.name not in bound]:
        plural = "s" if len(missing) > 1 else ""
        raise _refusal(tool, f"is missing the argument{plural} {', '.join(map(repr, missing[:20]))}", parameters)
    return bound


def without_defaults(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments without those that equal their defaults: the call is the same without them."""
    known = _parameters(_Identity(schema)).by_name
    return {name: value for name, value in arguments.items() if not (name in known and _is_default(value, known[name]))}


def with_defaults(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with the defaults that the schema names for the others."""
    known = _parameters(_Identity(schema)).by_name
    return {name: each.default for name, each in known.items() if each.default is not MISSING} | dict(arguments)


def _is_default(value: object, parameter: Parameter) -> bool:
    if parameter.required or parameter.default is MISSING or parameter.default != value:
        return False
    return json.dumps(value, sort_keys=True) == json.dumps(parameter.default, sort_keys=True)  # 1 is not True


@dataclass(frozen=True, slots=True, eq=False)
class _Identity:
    """Key of one schema object in a cache. It keeps the object alive, so that no other one gets the same id."""

    schema: Mapping[str, Any]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.schema is other.schema

    def __hash__(self) -> int:
        return id(self.schema)


@lru_cache(maxsize=1024)
def _parameters(key: _Identity) -> Parameters:
    return Parameters(key.schema)


def _refusal(tool: str, problem: str, parameters: Parameters) -> TypeError:
    return TypeError(f"{one_line(tool, 80)}() {problem}; its arguments are {parameters}")


def _join(tool: str, first: Mapping[str, Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if twice := [name for name in first if name in kwargs]:
        raise TypeError(f"{one_line(tool, 80)}() got two values for the argument {one_line(repr(twice[0]), 80)}")
    return {**first, **kwargs}


def _means_keywords(value: object, parameters: Parameters) -> bool:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        return False
    if not len(parameters):
        return parameters.open or not value
    return all(name in parameters.by_name for name in value) and not parameters.first_may_be_object


def _may_be_object(document: Document, schema: object, depth: int = 0) -> bool:
    flat = document.flat(schema)
    kind = flat.get("type")
    if isinstance(kind, str | list):
        return kind == "object" or "object" in kind
    if alternatives := branches_of(flat):
        return depth > 8 or any(_may_be_object(document, branch, depth + 1) for branch in alternatives)
    return not ({"enum", "const", "items", "prefixItems"} & flat.keys())
