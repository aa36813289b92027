"""JSON Schema documents: references followed, `allOf` merged.

Schemas come from anywhere and many are wrong. Nothing here raises because of one: what cannot be understood is taken to
allow anything.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

__all__ = ["Document", "branches_of", "mapping_at", "merged", "names_at"]

_DEPTH = 40
_STEPS = 50_000


class Document:
    """A JSON Schema document: what its `$ref`s and `allOf`s say, in one piece.

    The work on one document is bounded, so that a hostile one costs no more than a large one.
    """

    def __init__(self, root: object) -> None:
        self.root = root
        self._steps = _STEPS

    def follow(self, pointer: str) -> object:
        """Give what a local reference (`#/$defs/Event`) points at, or True, which allows anything."""
        if pointer != "#" and not pointer.startswith("#/"):
            return True
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

    def flat(self, schema: object, seen: frozenset[str] = frozenset(), depth: int = 0) -> dict[str, Any]:
        """Give the schema with its references followed and its `allOf` merged, one level deep.

        Returns:
            A new schema without `$ref` and `allOf`. An empty one allows anything.
        """
        self._steps -= 1
        if not isinstance(schema, Mapping) or depth > _DEPTH or self._steps < 0:
            return {}
        ref, branches = schema.get("$ref"), schema.get("allOf")
        whole: dict[str, Any] = {}
        if isinstance(ref, str) and ref not in seen:
            whole = self.flat(self.follow(ref), seen | {ref}, depth + 1)
        for branch in branches if isinstance(branches, list) else ():
            whole = merged(whole, self.flat(branch, seen, depth + 1))
        own = {key: value for key, value in schema.items() if isinstance(key, str) and key not in {"$ref", "allOf"}}
        return merged(whole, own) if whole else own


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Give the schema of what fits both; where two keywords cannot be combined, the second one's stands."""
    both = {**first, **second}
    a, b = mapping_at(first, "properties"), mapping_at(second, "properties")
    if a and b:
        shared = {name: {"allOf": [a[name], b[name]]} for name in a if name in b and not _same(a[name], b[name])}
        both["properties"] = {**a, **b, **shared}
    if (needed := names_at(first, "required")) and "required" in second:
        both["required"] = [*needed, *(name for name in names_at(second, "required") if name not in needed)]
    if isinstance(some := first.get("enum"), list) and isinstance(others := second.get("enum"), list):
        both["enum"] = [value for value in some if value in others] or others
    return both


def branches_of(schema: Mapping[str, Any]) -> list[Any]:
    """Give the alternatives of `anyOf` and `oneOf`."""
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    return alternatives if isinstance(alternatives, list) else []


def mapping_at(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Give the members of a keyword that holds an object, such as `properties`, or none where it does not."""
    value = schema.get(key)
    return {name: item for name, item in value.items() if isinstance(name, str)} if isinstance(value, Mapping) else {}


def names_at(schema: Mapping[str, Any], key: str) -> list[str]:
    """Give the strings of a keyword that holds a list, such as `required`, or none where it does not."""
    value = schema.get(key)
    return [name for name in value if isinstance(name, str)] if isinstance(value, list | tuple) else []


def _same(a: object, b: object) -> bool:
    try:
        return a is b or a == b
    except RecursionError:
        return False
