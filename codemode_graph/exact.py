"""One form for values that JSON, a database or another language would change: exact, and made of ordinary JSON.

A value of a program is made of JSON's types, but its numbers and texts are Python's. Ordinary ones are written as they
are. The others are written as a dict with the one key `codemode_exact`:

    an integer beyond 64 bits              {"codemode_exact": ["int", "18446744073709551616"]}
    NaN, an infinity, -0.0                 {"codemode_exact": ["float", "nan"]}
    a float of 2**53 or more               {"codemode_exact": ["float", "1e+22"]}
    a text with NUL or a lone surrogate    {"codemode_exact": ["text", "a\\\\x00b"]}
    a dict with such a text for a key,     {"codemode_exact": ["dict", [["a", 1], ...]]}
    or whose only key is `codemode_exact`

The graph's state, its interrupts, its events, its journal and MCP hold values in this form. The results of `CodeMode` have
them as they were.
"""

import math
import re
from collections.abc import Callable, Mapping
from operator import is_
from typing import Any

_KEY = "codemode_exact"
_UNFIT = re.compile("[\x00\ud800-\udfff]")
_CONTAINERS = (dict, list)
# From here on PostgreSQL's JSON returns a whole float as an integer.
_WHOLE = 2.0**53
_MOST_DIGITS = 4_300  # Python parses no longer integer
# The keys of the graph's state with values of programs and tools, and the keys of the records in it. All else is text
# of our own types, which stays text.
_FIELDS = ("attempts", "tool_calls", "updates", "pending", "decisions", "earlier", "held")
_RECORD = ("output", "arguments", "value", "asks", "answers", "updates", "update", "question", "message")


def encode(value: Any) -> Any:
    """Return a value in the exact form; the value itself where nothing in it has to be written differently.

    Args:
        value: JSON's types, with any of Python's numbers and texts. Other objects in it stay as they are.
    """
    return value if _is_plain(value) else _encode(value)


def _is_plain(value: Any) -> bool:
    """Tell whether a value is its own exact form. Almost all are, and to see that is faster than to write them again."""
    kind = type(value)
    if kind is str:
        return not _is_unfit(value)
    if kind is int:
        return bool(-(2**63) <= value < 2**64)  # msgpack, which checkpoints are written in, takes no other integers
    if kind is float:
        return not _is_changed(value)
    if kind is dict:
        for key, item in value.items():
            if (type(key) is str and _is_unfit(key)) or not _is_plain(item):
                return False
        return len(value) != 1 or _KEY not in value
    if kind is list:
        for item in value:
            if not _is_plain(item):
                return False
    return True


def _encode(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return value if not _is_unfit(value) else {_KEY: ["text", value.encode("unicode_escape").decode()]}
    if kind is int:
        return value if _is_plain(value) else {_KEY: ["int", str(value)]}
    if kind is float:
        return {_KEY: ["float", repr(value)]} if _is_changed(value) else value
    if kind is dict:
        items = [(key, _encode(item)) for key, item in value.items()]
        if value.keys() == {_KEY} or any(isinstance(key, str) and _is_unfit(key) for key in value):
            return {_KEY: ["dict", [[_encode(key), item] for key, item in items]]}
        return _same(value, dict(items)) if items else value
    return _same(value, [_encode(item) for item in value]) if kind is list else value


def decode(value: Any) -> Any:
    """Return the value that is written in the exact form; what only looks like it stays as it is."""
    return _decode(value) if _is_marked(value) else value


def _is_marked(value: Any) -> bool:
    """Tell whether a value has anything in the exact form in it."""
    kind = type(value)
    if kind is dict and len(value) == 1 and _KEY in value:
        return True
    for item in value.values() if kind is dict else value if kind is list else ():
        if type(item) in _CONTAINERS and _is_marked(item):
            return True
    return False


def _decode(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        if len(value) == 1 and _KEY in value:
            return _read(value)
        return _same(value, {key: _decode(item) for key, item in value.items()}) if value else value
    return _same(value, [_decode(item) for item in value]) if kind is list else value


def encode_fields(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state of the graph, an update of it, or a result, with the values in it in the exact form."""
    return _with(state, encode)


def decode_fields(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state of the graph with the values that it holds in the exact form."""
    return _with(state, decode)


def encode_record(record: Any) -> Any:
    """Return one record of a state, or an event, with the values in it in the exact form."""
    return _record(record, encode)


def _with(state: Mapping[str, Any], convert: Callable[[Any], Any]) -> dict[str, Any]:
    found = {name: _records(state[name], convert) for name in _FIELDS if name in state}
    return {**state, **found, **({"output": convert(state["output"])} if "output" in state else {})}


def _records(records: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(records, dict):
        return {name: _record(record, convert) for name, record in records.items()}
    return [_record(record, convert) for record in records] if isinstance(records, list) else records


def _record(record: Any, convert: Callable[[Any], Any]) -> Any:
    if not isinstance(record, dict):
        return record
    changed = {}
    for name in _RECORD:
        value = record.get(name)
        # Most are left out or None, and no form of theirs differs.
        if value is not None and (converted := convert(value)) is not value:
            changed[name] = converted
    return {**record, **changed} if changed else record


def _is_unfit(text: str) -> bool:
    # Most texts are ASCII, and the search would take longer than the two looks.
    return (not text.isascii() or "\0" in text) and _UNFIT.search(text) is not None


def _is_changed(value: float) -> bool:
    return not -_WHOLE < value < _WHOLE or (value == 0 and math.copysign(1, value) < 0)


def _same(value: Any, converted: Any) -> Any:
    """Return the value itself where its conversion changed nothing: then the caller sees by `is` that nothing did."""
    old, new = (value.values(), converted.values()) if type(value) is dict else (value, converted)
    return value if all(map(is_, old, new)) else converted


def _read(value: dict[str, Any]) -> Any:
    match value[_KEY]:
        case ["int", str(text)] if len(text) <= _MOST_DIGITS and text.removeprefix("-").isdecimal():
            return int(text)
        case ["float", str(text)]:
            try:
                return float(text)
            except ValueError:
                return value
        case ["text", str(text)]:
            try:
                return text.encode("ascii").decode("unicode_escape")
            except UnicodeError:
                return value
        case ["dict", list(items)] if all(isinstance(item, list) and len(item) == 2 for item in items):
            pairs = [(decode(key), decode(item)) for key, item in items]
            return dict(pairs) if all(isinstance(key, str) for key, _ in pairs) else value
    return value
