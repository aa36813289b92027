"""From JSON Schema to the shapes of values."""

import re
from collections.abc import Mapping
from typing import Any

from codemode_graph.tools.annotations import (
    NULL,
    UNKNOWN,
    Array,
    Field,
    Map,
    Record,
    Scalar,
    Shape,
    Tuple,
    literals,
    union,
)
from codemode_graph.tools.document import Document, branches_of, mapping_at, merged, names_at

__all__ = ["Reader", "camel"]

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
