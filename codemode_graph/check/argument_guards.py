"""Write the conditions of a saved program's arguments into its function: they hold there for what a program computes, too."""

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from codemode_sandboxes.source import Edits, Function, parse, tree_of

from codemode_graph.tools.schema import mapping_at

_LONGEST = 120
# Models may hold themselves.
_DEPTH = 6
_PLAIN = frozenset({"type", "title", "description", "default", "examples", "$defs"})
# What is none of these becomes a value of JSON where a tool is called, such as a date: that is for the tool to say.
_OTHERS = {
    "string": "bool, int, float, list, tuple, set, dict",
    "number": "bool, str, list, tuple, set, dict",
    "integer": "bool, str, list, tuple, set, dict",
    "boolean": "str, int, float, list, tuple, set, dict",
    "array": "bool, str, int, float, dict",
    "object": "bool, str, int, float, list, tuple, set",
}
_BOUNDS = {"minimum": ">=", "maximum": "<=", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
_LENGTHS = {
    "minLength": ("str", ">="),
    "maxLength": ("str", "<="),
    "minItems": ("list", ">="),
    "maxItems": ("list", "<="),
}


def guard_arguments(name: str, function: str, parameters: Mapping[str, Any], *, prefix: str) -> str:
    """Return a saved program's function that begins with a look at its arguments, behind the functions that look.

    Of a schema these hold: types, `enum`, `const`, bounds, lengths, and those of items and properties. Texts are not held
    against a `pattern` or a `format`, which not every sandbox reads in the same way.

    Args:
        name: The name of the saved program, for errors.
        function: Its function.
        parameters: JSON Schema of its arguments.
        prefix: What the names of the other functions begin with; the program has none of that kind.
    """
    tree, edits = tree_of(function), Edits(function)
    (definition,) = (each for each in tree.root.body if isinstance(each, Function))
    first = definition.body[0]
    start = edits.span(first)[0]
    before = edits.line(first.lineno)[: first.col_offset]
    end = "\n" + before if not before.strip() else "; "
    guards, required = [], parameters.get("required", ())
    for argument, schema in mapping_at(parameters, "properties").items():
        if not isinstance(schema, Mapping) or schema.keys() <= _PLAIN:
            continue
        if (condition := _Conditions(parameters).of(schema, "value")) is None:
            continue
        guard = f"{prefix}_{argument}"
        absent = "" if argument in required else "value is None or "
        condition = ast.unparse(parse(f"{absent}{condition}"))  # with no more brackets than it needs
        begin = f"the argument {argument!r} of {name} is wrong: "
        error = f"{begin!r} + repr(value)[:80] + {_mismatch(schema)!r}"
        guards.append(f"def {guard}(value):\n    if not ({condition}):\n        raise ValueError({error})\n")
        edits.insert(start, f"{guard}({argument}){end}")
    return "".join([*guards, edits.apply()])


def _mismatch(schema: Mapping[str, Any]) -> str:
    text = json.dumps({key: value for key, value in schema.items() if key not in _PLAIN - {"type"}})
    return f" does not fit {'its type' if len(text) > _LONGEST or '$ref' in text else text}"


class _Conditions:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root, self._numbers = root, count()

    def of(self, schema: Any, value: str, depth: int = 0) -> str | None:
        """Return an expression that is true where a value fits a schema; None where the schema asks for nothing."""
        if not isinstance(schema, Mapping) or depth > _DEPTH:
            return None
        parts = [*self._own(schema, value), *self._inner(schema, value, depth + 1)]
        for word in ("anyOf", "oneOf"):
            members = [self.of(each, value, depth + 1) for each in _listed(schema.get(word))]
            if members and None not in members:
                parts.append(f"({' or '.join(map(str, members))})")
        parts += [part for each in _listed(schema.get("allOf")) if (part := self.of(each, value, depth + 1))]
        if isinstance(reference := schema.get("$ref"), str):
            found: Any = self._root
            for step in reference.removeprefix("#/").split("/"):
                found = found.get(step) if isinstance(found, Mapping) else None
            if (part := self.of(found, value, depth + 1)) is not None:
                parts.append(part)
        return f"({' and '.join(parts)})" if parts else None

    def _own(self, schema: Mapping[str, Any], value: str) -> Iterator[str]:
        kinds = [schema["type"]] if isinstance(schema.get("type"), str) else _listed(schema.get("type"))
        if kinds and all(kind == "null" or kind in _OTHERS for kind in kinds):
            yield f"({' or '.join(_is_kind(kind, value) for kind in kinds)})"
        if "const" in schema or isinstance(schema.get("enum"), list):
            yield f"{value} in {[schema['const']] if 'const' in schema else schema['enum']!r}"
        for word, operator in _BOUNDS.items():
            if _is_number(schema.get(word)):
                yield f"(not isinstance({value}, (int, float)) or {value} {operator} {schema[word]!r})"
        if isinstance(whole := schema.get("multipleOf"), int) and whole > 0:
            yield f"(not isinstance({value}, int) or {value} % {whole} == 0)"
        for word, (kind, operator) in _LENGTHS.items():
            if _is_number(schema.get(word)):
                yield f"(not isinstance({value}, {kind}) or len({value}) {operator} {schema[word]!r})"

    def _inner(self, schema: Mapping[str, Any], value: str, depth: int) -> Iterator[str]:
        item = f"item{next(self._numbers)}"
        if (part := self.of(schema.get("items"), item, depth)) is not None:
            yield f"(not isinstance({value}, (list, tuple)) or all([{part} for {item} in {value}]))"
        keys = []
        properties = schema.get("properties")
        for key, inner in properties.items() if isinstance(properties, Mapping) else ():
            if (part := self.of(inner, f"{value}[{key!r}]", depth)) is not None:
                keys.append(f"({key!r} not in {value} or {part})")
        keys += [f"{key!r} in {value}" for key in _listed(schema.get("required")) if isinstance(key, str)]
        if schema.get("additionalProperties") is False and isinstance(properties, Mapping):
            keys.append(f"all([{item} in {list(properties)!r} for {item} in {value}])")
        if keys:
            yield f"(not isinstance({value}, dict) or ({' and '.join(keys)}))"


def _is_kind(kind: str, value: str) -> str:
    if kind == "null":
        return f"{value} is None"
    whole = f" and (not isinstance({value}, float) or {value} % 1 == 0)" if kind == "integer" else ""
    # True and False are integers in Python.
    is_bool = f"isinstance({value}, bool) or " if kind == "boolean" else ""
    return f"({is_bool}{value} is not None and not isinstance({value}, ({_OTHERS[kind]})){whole})"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
