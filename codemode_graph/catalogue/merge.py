"""Learning from a tool's results: schemas of several runs become one, and what is contradicted is forgotten."""

from collections.abc import Iterable, Mapping
from typing import Any

from codemode_graph.tools.schema import mapping_at, names_at

MOST_DEPTH = 6
MOST_FIELDS = 60
"""Names of one object; it may have others then."""
LONGEST_NAME = 48
_MOST_TYPES = 3
# Runs of the tool in which a field may be missing until it is forgotten.
_MOST_MISSED = 5
_MISSED = "x-missed"


def merge(known: Mapping[str, Any], seen: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """Return what is known after a run.

    A type is added to those that are known only where the run saw one of those, too: a place that has another type now has
    been changed, and what was known of it holds no more. So it is with names.

    Args:
        known: What was known, as this function or a `Tally` writes it.
        seen: What the run saw, as a `Tally` writes it.
        depth: How deeply the place is nested.
    """
    if not known or not seen:
        return dict(known or seen)
    before, now = kinds_of(known), kinds_of(seen)
    # A number that is whole today may have a fraction tomorrow.
    if "number" in before | now:
        for kinds in (before, now):
            if kinds.pop("integer", None):
                kinds["number"] = {"type": "number"}
    base = before if (before.keys() & now.keys()) - {"null"} or not now.keys() - {"null"} else {}
    if not before.keys() - {"null"}:
        base = before
    null = {"null": {"type": "null"}} if "null" in before | now else {}
    found = [
        _united(base[kind], now[kind], depth) if kind in base and kind in now else (now.get(kind) or base[kind])
        for kind in {**base, **now}
        if kind != "null"
    ]
    return join([*found, *null.values()])


def kinds_of(schema: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the alternatives of a schema of a `Tally`, by their types."""
    found = schema.get("anyOf") or ([schema] if "type" in schema else [])
    return {each["type"]: dict(each) for each in found}


def type_of(kind: str) -> str:
    """Return a type of JSON Schema, with one name for all numbers."""
    return "number" if kind == "integer" else kind


def join(schemas: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of values of any of these schemas; an empty one where they are too many to be of use."""
    found = list(schemas)
    if len(found) == 1:
        return found[0]
    several = [each for each in found if each.get("type") != "null"]
    return {} if not found or {} in found or len(several) > _MOST_TYPES else {"anyOf": found}


def restrict(schema: object, *, own: bool = False, depth: int = 0) -> dict[str, Any]:
    """Return the part of a schema that this package learns: one from a file may have anything.

    Args:
        schema: What was kept.
        own: Keep how often a field was missing, too.
        depth: How deeply it is nested.

    Raises:
        ValueError: It is no such schema.
    """
    if not isinstance(schema, Mapping) or depth > MOST_DEPTH + 1:
        raise ValueError("it is no schema of results")
    if not schema:
        return {}
    plain: dict[str, Any] = {}
    if own and isinstance(missed := schema.get(_MISSED), int):
        plain[_MISSED] = missed
    if "anyOf" in schema:
        branches = schema["anyOf"]
        if not isinstance(branches, list) or not 0 < len(branches) <= _MOST_TYPES + 1:
            raise ValueError("anyOf has no alternatives, or too many")
        found = [restrict(each, own=own, depth=depth) for each in branches]
        if any("type" not in each for each in found):
            raise ValueError("an alternative has no type")
        return {**plain, "anyOf": found}
    plain["type"] = kind = schema.get("type")
    if kind not in ("null", "boolean", "integer", "number", "string", "array", "object"):
        raise ValueError(f"{kind!r} is no type")
    if kind == "string" and isinstance(enum := schema.get("enum"), list):
        plain["enum"] = [value for value in enum if isinstance(value, str)]
    if kind == "array" and "items" in schema:
        plain["items"] = restrict(schema["items"], own=own, depth=depth + 1)
    if kind == "object":
        if fields := mapping_at(schema, "properties"):
            if len(fields) > MOST_FIELDS or max(map(len, fields)) > LONGEST_NAME:
                raise ValueError("an object has too many names, or too long ones")
            plain["properties"] = {name: restrict(each, own=own, depth=depth + 1) for name, each in fields.items()}
            plain["required"] = [name for name in names_at(schema, "required") if name in fields]
        if "additionalProperties" in schema:
            others = schema["additionalProperties"]
            plain["additionalProperties"] = True if others is True else restrict(others, own=own, depth=depth + 1)
    return plain


def _united(known: dict[str, Any], seen: dict[str, Any], depth: int) -> dict[str, Any]:
    """Return the schema of two of one type."""
    kind = known["type"]
    if kind == "array":
        items = merge(known.get("items", {}), seen.get("items", {}), depth + 1)
        return {"type": kind, "items": items} if items else {"type": kind}
    if kind == "string":
        return known if known.get("enum") == seen.get("enum") else {"type": kind}
    return _united_objects(known, seen, depth) if kind == "object" else known


def _united_objects(known: dict[str, Any], seen: dict[str, Any], depth: int) -> dict[str, Any]:
    before, now = mapping_at(known, "properties"), mapping_at(seen, "properties")
    if not before or not now:
        # An object that was empty says nothing; else it is a map now, or none any more.
        if "properties" in seen or "additionalProperties" not in seen:
            return seen if now or "additionalProperties" in seen else known
        value = merge({} if before else known.get("additionalProperties", {}), seen["additionalProperties"], depth + 1)
        return {"type": "object", "additionalProperties": value}
    both = before.keys() & now.keys()
    values = [*before.values(), *now.values()]
    alike = len({type_of(kind) for each in values for kind in kinds_of(each) if kind != "null"}) < 2
    if alike and len(both) * 2 < len(before | now):
        # Keys that differ from run to run, over values that are alike, are those of a map.
        common: dict[str, Any] = {}
        for each in values:
            common = merge(common, each, depth + 1)
        return {"type": "object", "additionalProperties": common}
    if not both:
        return seen
    required = set(names_at(known, "required"))
    new = [type_of(kind) for name in now.keys() - both for kind in kinds_of(now[name])]
    fields: dict[str, Any] = {}
    for name, each in before.items():
        if name in both:
            fields[name] = merge({k: v for k, v in each.items() if k != _MISSED}, now[name], depth + 1)
            continue
        # A name that was always there, and another of its type in its place: it has been renamed.
        renamed = name in required and any(type_of(kind) in new for kind in kinds_of(each))
        missed = each.get(_MISSED, 0) + 1
        if not renamed and missed < _MOST_MISSED:
            fields[name] = {**each, _MISSED: missed}
    fields |= {name: now[name] for name in now if name not in both}
    dropped = required - fields.keys()
    always = {
        *(required & set(names_at(seen, "required"))),
        *(set(names_at(seen, "required")) - both if dropped else ()),
    }
    is_open = any("additionalProperties" in each for each in (known, seen)) or len(fields) > MOST_FIELDS
    names = list(fields)[:MOST_FIELDS]
    written = {
        "type": "object",
        "properties": {name: fields[name] for name in names},
        "required": [name for name in names if name in always],
    }
    return {**written, "additionalProperties": True} if is_open else written
