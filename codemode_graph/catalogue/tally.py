"""The shape of what a tool returned: names and types, never values.

A tally counts what stands at each place of a tool's results in one run, and is then written as a JSON Schema. Only there is
it decided which keys are names of fields: many objects at one place say more than one. The schema has types, names and
what may be missing; no values, no formats, no bounds, and no enum of its own.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from codemode_graph.catalogue.field_names import FieldNames
from codemode_graph.catalogue.merge import MOST_DEPTH, MOST_FIELDS, join, type_of
from codemode_graph.tools.schema import mapping_at
from codemode_graph.tools.spec import ToolSpec

# Nodes of a tool's results that are looked at; distinct keys of a place that are told apart; nodes of a
# schema; characters of a text, which is held against the values that the tool lists.
_MOST_NODES = 50_000
_MOST_KEYS = 200
_MOST_SHAPES = 300
_LONGEST_TEXT = 100
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


class Tally:
    """The results of one tool in a run.

    Args:
        spec: The tool.
    """

    def __init__(self, spec: ToolSpec) -> None:
        self._spec = spec
        self._root = _Place()
        self._room = _MOST_NODES

    def add(self, value: Any) -> None:
        """Count a result, of JSON values."""
        self._count(self._root, value, 0)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the results; an empty one where nothing can be said."""
        return _Writer(FieldNames(self._spec), _enums(self._spec)).schema(self._root, "")

    def filter(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return a schema, as `restrict` returns it, without what no tally of this tool would have: of a file of others."""
        return _filter(schema, FieldNames(self._spec), list(_enums(self._spec).values()))

    def _count(self, place: "_Place", value: Any, depth: int) -> None:
        self._room -= 1
        if self._room < 0:
            return
        if depth > MOST_DEPTH:
            place.types["any"] += 1
        elif isinstance(value, dict):
            place.objects += 1
            for key, item in value.items():
                if self._room < 0:
                    break  # else a huge result would hold up the host
                if not isinstance(key, str) or (key not in place.keys and len(place.keys) >= _MOST_KEYS):
                    place.is_crowded = True
                    self._count(place.others, item, depth + 1)
                    continue
                place.counts[key] += 1
                self._count(place.keys.setdefault(key, _Place()), item, depth + 1)
        elif isinstance(value, list):
            place.types["array"] += 1
            for item in islice(value, self._room + 1):
                self._count(place.items, item, depth + 1)
        else:
            place.types[_TYPES.get(type(value), "any")] += 1
            if isinstance(value, str):
                place.texts.add(value[:_LONGEST_TEXT])


@dataclass(slots=True)
class _Place:
    """The values that stand at one place of the results.

    Attributes:
        types: How often a value of each type stands there, objects aside.
        objects: How often an object does.
        keys: What stands under each key, and `counts` how often.
        is_crowded: There are more keys, whose values are in `others`.
        texts: The texts there.
    """

    types: Counter[str] = field(default_factory=Counter)
    objects: int = 0
    keys: dict[str, "_Place"] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    is_crowded: bool = False
    texts: set[str] = field(default_factory=set)
    _others: "_Place | None" = None
    _items: "_Place | None" = None

    @property
    def items(self) -> "_Place":
        """The tally of the items of all lists."""
        self._items = self._items or _Place()
        return self._items

    @property
    def others(self) -> "_Place":
        """The tally of the values under keys that are not told apart."""
        self._others = self._others or _Place()
        return self._others

    @classmethod
    def of(cls, places: Sequence["_Place"]) -> "_Place":
        """Return what stands at any of several places."""
        if len(places) == 1:
            return places[0]
        keys: dict[str, list[_Place]] = {}
        for place in places:
            for key, each in place.keys.items():
                keys.setdefault(key, []).append(each)
        items = [place._items for place in places if place._items is not None]
        others = [place._others for place in places if place._others is not None]
        return cls(
            types=sum((place.types for place in places), Counter()),
            objects=sum(place.objects for place in places),
            keys={key: cls.of(each) for key, each in keys.items()},
            counts=sum((place.counts for place in places), Counter()),
            is_crowded=any(place.is_crowded for place in places) or len(keys) > _MOST_KEYS,
            texts=set().union(*(place.texts for place in places)),
            _items=cls.of(items) if items else None,
            _others=cls.of(others) if others else None,
        )


class _Writer:
    def __init__(self, names: FieldNames, enums: Mapping[str, Sequence[str]]) -> None:
        self._names, self._enums = names, enums
        self._room = _MOST_SHAPES

    def schema(self, place: _Place, name: str) -> dict[str, Any]:
        self._room -= 1
        if self._room < 0 or place.types["any"]:
            return {}
        found: list[dict[str, Any]] = []
        for kind in ("boolean", "integer", "number", "string", "null"):
            if place.types[kind] and not (kind == "integer" and place.types["number"]):
                found.append({"type": kind})
                enum = self._enums.get(name)
                if kind == "string" and enum is not None and place.texts <= set(enum):
                    found[-1]["enum"] = list(enum)
        if place.types["array"]:
            items = self.schema(place.items, "")
            found.append({"type": "array", "items": items} if items else {"type": "array"})
        if place.objects:
            found.append(self._object(place))
        return join(found)

    def _object(self, place: _Place) -> dict[str, Any]:
        fields = {name: self.schema(place.keys[name], name) for name in self._fields(place)}
        others = [each for key, each in place.keys.items() if key not in fields]
        if place.is_crowded:
            others.append(place.others)
        if not fields:
            value = self.schema(_Place.of(others), "") if others else {}
            return {"type": "object", "additionalProperties": value} if value else {"type": "object"}
        required = [name for name in fields if place.counts[name] == place.objects]
        written: dict[str, Any] = {"type": "object", "properties": fields, "required": required}
        return written | {"additionalProperties": True} if others else written

    def _fields(self, place: _Place) -> list[str]:
        """Return the keys that are names of fields; none where the object is a map."""
        keys = list(place.keys)
        known = [key for key in keys if self._names.is_known(key)]
        alike = len({kind for each in place.keys.values() for kind in _kinds(each)}) < 2
        # A map may have a key by chance that is a word of names; and keys of a map differ from one to the next.
        if place.is_crowded or (alike and len(known) * 2 < len(keys)):
            return []
        if alike and len(known) > 1 and any(place.counts[key] * 2 < place.objects for key in known):
            return []
        return known[:MOST_FIELDS]


def _filter(schema: Mapping[str, Any], names: FieldNames, enums: Sequence[Sequence[str]]) -> dict[str, Any]:
    plain = dict(schema)
    if "anyOf" in plain:
        plain["anyOf"] = [_filter(each, names, enums) for each in plain["anyOf"]]
    if plain.get("enum") not in (None, *enums):
        del plain["enum"]
    for key in ("items", "additionalProperties"):
        if isinstance(plain.get(key), Mapping):
            plain[key] = _filter(plain[key], names, enums)
    if "properties" in plain:
        fields = {
            name: _filter(each, names, enums) for name, each in plain["properties"].items() if names.is_known(name)
        }
        if len(fields) < len(plain["properties"]):
            plain["additionalProperties"] = True
        plain |= {"properties": fields, "required": [name for name in plain["required"] if name in fields]}
        if not fields:
            plain = {"type": "object"}
    return plain


def _kinds(place: _Place) -> frozenset[str]:
    kinds = {type_of(kind) for kind, count in place.types.items() if count and kind != "null"}
    return frozenset(kinds | {"object"} if place.objects else kinds)


def _enums(spec: ToolSpec) -> dict[str, list[str]]:
    """Return the values that arguments of the tool may have, by their names: they are public, and fields repeat them."""
    enums = {}
    for name, each in mapping_at(spec.input_schema, "properties").items():
        values = each.get("enum") if isinstance(each, Mapping) else None
        if isinstance(values, list) and values and all(isinstance(value, str) for value in values):
            enums[name] = values
    return enums
