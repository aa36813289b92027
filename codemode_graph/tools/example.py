"""A short program that uses the user's own tools: a model copies the shape of what it is shown."""

import builtins
import keyword
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from codemode_graph.tools.schema import Parameter
from codemode_graph.tools.shapes import Array, Literals, Record, Scalar, Shape, Union
from codemode_graph.tools.signatures import Signature, Signatures
from codemode_graph.tools.spec import ToolSpec

__all__ = ["example_program"]

_NONE: Final = object()
_RANK = {"read": 0, "idempotent": 1, "write": 2, "destructive": 3}
_QUOTED = re.compile(r"[\"'`]([\w ./@:+-]{1,40})[\"'`]|\b(?:e\.g\.,?|such as|like|for example,?) ([\w./@:+-]{1,40}\w)")
_VERBS = frozenset(
    {"get", "list", "find", "search", "read", "fetch", "look", "show", "query", "all", "and", "for", "the"}
)
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T09:00:00Z",
    "time": "09:00:00Z",
    "duration": "PT1H",
    "email": "ann@example.com",
    "uri": "https://example.com",
    "uuid": "6f1c2d3e-4b5a-4c6d-8e7f-901234567890",
}
_TAKEN = frozenset(dir(builtins)) | {"tools", "item"}


def example_program(specs: Iterable[ToolSpec]) -> str:
    """Write a short valid program that calls one or two of the tools, as an example for a model.

    The tools that only read come first, and of those the ones that are easiest to call. Arguments are taken from their
    examples, enums, descriptions and types; the program's value is made of keys that the tools declare, and of nothing
    else.

    Args:
        specs: The tools.

    Returns:
        A program that defines `main` and returns its value from it.
    """
    callable_ones = [(each, call) for each in Signatures.of(specs).tools if (call := _call(each)) is not None]
    ranked = sorted(callable_ones, key=lambda pair: (*_rank(pair[0]), len(pair[1])))
    reads = [pair for pair in ranked if _rank(pair[0])[0] == 0]
    telling = [pair for pair in reads[1:] if _value("", pair[0].result)]
    chosen = [*reads[:1], *(telling or reads[1:])[:1]] or ranked[:1]
    lines, values = list[str](), dict[str, str]()
    for signature, call in chosen:
        name = _variable(signature.tool.name, values)
        lines.append(f"{name} = {call}")
        values[name] = _value(name, signature.result)
    shown = [f"{name!r}: {value}" for name, value in values.items()]
    result = f"{{{', '.join(shown)}}}" if len(shown) > 1 else "".join(values.values()) or "6 * 7"
    return "\n    ".join(["async def main():", *lines, f"return {result}"]) + "\n"


def _rank(signature: Signature) -> tuple[int, int, int]:
    effect = _RANK[signature.tool.policy.effect or signature.tool.effect]
    needed = sum(item.required for item in signature.parameters)
    return effect, signature.result is None, needed


def _call(signature: Signature) -> str | None:
    arguments = []
    for item in signature.parameters:
        if item.required:
            value = _argument(signature, item)
            if value is _NONE:
                return None
            arguments.append(f"{item.keyword}={value!r}")
    call = f"await tools[{signature.tool.name!r}]({', '.join(arguments)})"
    return call if len(call) <= 200 else None


def _argument(signature: Signature, item: Parameter) -> Any:
    shape, flat = signature.shape_of(item), signature.parameters.document.flat(item.schema)
    given = [item.default, flat.get("example")]
    given += flat["examples"] if isinstance(flat.get("examples"), list) else []
    for value in given:
        if value is not None and _fits(value, shape):
            return value
    if isinstance(shape, Scalar) and shape.type == "str" and (said := _QUOTED.search(item.description)):
        return said[1] or said[2]
    return _made_up(shape, item.name, flat)


def _made_up(shape: Shape, name: str, flat: Mapping[str, Any], depth: int = 0) -> Any:
    match shape:
        case Literals(values):
            return next((value for value in values if value is not None), _NONE)
        case Scalar("str", form):
            return _FORMATS.get(form, "") or (name if re.fullmatch(r"[\w -]{1,30}", name) else "example")
        case Scalar("int") | Scalar("float"):
            least = flat.get("minimum")
            return least if _fits(least, shape) else 1
        case Scalar("bool"):
            return True
        case Array(item):
            value = _made_up(item, name.removesuffix("s"), {}, depth + 1)
            return _NONE if value is _NONE else [value]
        case Record(fields=fields) if depth < 2:
            made = {key: _made_up(each.shape, key, {}, depth + 1) for key, each in fields.items() if each.required}
            return made if made and _NONE not in made.values() else _NONE
        case Union(members):
            options = (_made_up(member, name, flat, depth) for member in members if member != Scalar("None"))
            return next((option for option in options if option is not _NONE), _NONE)
        case _:
            return _NONE


def _fits(value: object, shape: Shape) -> bool:
    match shape:
        case Literals(values):
            return any(type(value) is type(each) and value == each for each in values)
        case Scalar(name):
            kinds = {"str": str, "int": int, "float": int | float, "bool": bool, "None": type(None)}
            short = not isinstance(value, str) or (len(value) <= 60 and value.isprintable())
            return short and isinstance(value, kinds[name]) and (name == "bool" or not isinstance(value, bool))
        case Array(item):
            return isinstance(value, list) and 0 < len(value) <= 5 and all(_fits(each, item) for each in value)
        case Union(members):
            return value is not None and any(_fits(value, member) for member in members)
        case _:
            return False


def _value(name: str, shape: Shape | None) -> str:
    if isinstance(shape, Array) and isinstance(shape.item, Record) and (key := _telling(shape.item)):
        return f"[item[{key!r}] for item in {name}]"
    if isinstance(shape, Record):
        for key, each in shape.fields.items():
            if each.required and _is_short(key) and isinstance(each.shape, Array):
                listed = _value(f"{name}[{key!r}]", each.shape)
                if listed.endswith("]") and listed.startswith("["):
                    return listed
        if key := _telling(shape):
            return f"{name}[{key!r}]"
    return name


def _telling(record: Record) -> str:
    keys = [
        key
        for key, each in record.fields.items()
        if each.required and isinstance(each.shape, Scalar | Literals) and _is_short(key)
    ]
    return next((key for key in keys if key in {"title", "name", "subject", "summary"}), keys[0] if keys else "")


def _is_short(key: str) -> bool:
    return 0 < len(key) <= 40 and key.isprintable()


def _variable(tool: str, taken: Mapping[str, str]) -> str:
    words = re.findall(r"[a-z]{3,}", re.sub(r"([a-z])([A-Z])", r"\1 \2", tool).lower())
    nouns = [word[:30] for word in words if word not in _VERBS and word not in _TAKEN and not keyword.iskeyword(word)]
    name = nouns[-1] if nouns else "result"
    while name in taken:
        name += "_2"
    return name
