"""The conversion of Python values to JSON values, at the boundary of a sandbox.

The numbers and the texts are Python's: integers of any size, NaN and the infinities, NUL characters and lone surrogates
arrive as they were sent. What JSON has no type for takes the form that `to_json` states, or is refused.
"""

import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import re
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

__all__ = [
    "MAX_DEPTH",
    "ValueTooLarge",
    "are_plain",
    "clean_text",
    "has_surrogates",
    "most_containers",
    "to_json",
    "to_sized_json",
]

MAX_DEPTH = 60
"""Containers within containers that a value may have."""

# An empty list takes 2 bytes as JSON and about 60 in memory: without a bound of their own, containers would let a value
# take 20 times the memory that its size allows.
_LEAST_CONTAINERS, _BYTES_A_CONTAINER = 10_000, 32

_UNFIT = re.compile("[\x00\ud800-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_WORD = range(-(2**63), 2**64)  # integers beyond may be long, and their length in JSON has to be looked at
_SHORT = 64
_MAX_NESTED_SET = 1024 * 1024  # sets are sorted by `repr`, which takes long for nested values
_MOST_BITS = 14_000  # 4,214 digits: `str` refuses integers of more than 4,300


class ValueTooLarge(ValueError):
    """The value's JSON has more bytes than allowed."""


def clean_text(text: str) -> str:
    """Replace NUL characters and lone surrogates, which databases and encoders refuse, by U+FFFD."""
    if text.isascii() and "\0" not in text:
        return text
    return _UNFIT.sub("\ufffd", text)


def most_containers(max_bytes: int) -> int:
    """Return how many lists and dicts a value of at most so many bytes of JSON may have."""
    return max(_LEAST_CONTAINERS, max_bytes // _BYTES_A_CONTAINER)


def are_plain(values: Iterable[Any]) -> bool:
    """Return whether all values are None, booleans, finite numbers or strings: `to_json` changes none but strings."""
    for value in values:
        kind = type(value)
        if kind is str or value is None or kind is bool:
            continue
        if not ((kind is int and value in _WORD) or (kind is float and math.isfinite(value))):
            return False
    return True


def has_surrogates(value: Any) -> bool:
    """Return whether a text of a JSON value, or a key in it, holds a surrogate, which UTF-8 has no form for."""
    try:
        return _has_surrogates(value)
    except RecursionError:  # it is no JSON value
        return False


def _has_surrogates(value: Any) -> bool:
    if isinstance(value, str):
        return not value.isascii() and _SURROGATES.search(value) is not None
    if isinstance(value, dict):
        return any(_has_surrogates(part) for item in value.items() for part in item)
    return isinstance(value, list) and any(map(_has_surrogates, value))


def _unchanged(text: str) -> str:
    return text


def _is_plain(text: str) -> bool:
    """Tell whether a text is written in JSON as it is, a byte for each character."""
    return text.isascii() and text.isprintable() and '"' not in text and "\\" not in text


@lru_cache(maxsize=1024)
def _size_of_plain(text: str) -> int:
    """Return the bytes of a plain text in JSON; 0 of another one."""
    return len(text) + 2 if _is_plain(text) else 0


def to_json(
    value: Any,
    *,
    max_bytes: int,
    text: Callable[[str], str] = _unchanged,
    convert: Callable[[Any], Any] | None = None,
    around: int = 0,
    duration: Callable[[datetime.timedelta], str] | None = None,
) -> Any:
    """Return the JSON value that stands for a Python value.

    None, booleans, integers, floats and strings stay what they are, NaN, infinities, NUL characters and lone surrogates
    included. tuple, set, frozenset and deque become lists (sets sorted by the `repr` of their converted items); datetime,
    date and time ISO 8601 strings; timedelta seconds; Decimal, UUID and Path strings; an enum member its value; a dataclass
    a dict of its fields; a key that is not a string its `str`. Subclasses count as their base.

    An object that occurs more than once in the value is converted once and occurs as often in the result, so do not
    change the result in place.

    Args:
        value: Anything.
        max_bytes: Bound on the result, in bytes of compact UTF-8 JSON.
        text: Replaces each string; it may raise `TypeError` on a string that stands for something else.
        convert: Called with each object of an unknown type; returns a replacement, or raises `TypeError`.
        duration: Writes a timedelta, in place of its seconds.
        around: Containers around the values proper, which do not count as nesting: 2 for the arguments of a call.

    Returns:
        None, bool, int, float, str, or lists and dicts (with string keys) of them.

    Raises:
        TypeError: Bytes, a key that is a container, or an object that JSON has nothing for; the message names its type.
        ValueError: A cycle, nesting over `MAX_DEPTH`, an integer of over 4,214 digits, two keys that become the same
            string, or, as `ValueTooLarge`, a result over `max_bytes`, one of more than `most_containers` lists and dicts,
            or a set of tuples or sets over 1 MB.
    """
    return to_sized_json(value, max_bytes=max_bytes, text=text, convert=convert, around=around, duration=duration)[0]


def to_sized_json(
    value: Any,
    *,
    max_bytes: int,
    text: Callable[[str], str] = _unchanged,
    convert: Callable[[Any], Any] | None = None,
    around: int = 0,
    duration: Callable[[datetime.timedelta], str] | None = None,
) -> tuple[Any, int]:
    """Return what `to_json` returns, and its size in bytes of compact UTF-8 JSON."""
    conversion = _Conversion(max_bytes, text, convert, duration)
    try:
        result, size = conversion.value(value, -around)
    except RecursionError:
        raise _too_deep() from None
    conversion.check_size(size)
    return result, size


class _Conversion:
    """One call of `to_json`. Each method returns the converted value and its size, or raises."""

    def __init__(
        self,
        max_bytes: int,
        text: Callable[[str], str],
        convert: Callable[[Any], Any] | None,
        duration: Callable[[datetime.timedelta], str] | None,
    ) -> None:
        self._max_bytes = max_bytes
        self._containers = most_containers(max_bytes)
        self._text = text
        self._convert, self._duration = convert, duration
        # By identity: the object (held, so that no other gets its id), the levels of containers in it, and the result,
        # None while the conversion is inside the object: to meet it then is a cycle. Objects that occur often are
        # converted once, else a few nested references to one list would take exponential time.
        self._seen: dict[int, tuple[Any, int, tuple[Any, int] | None]] = {}
        self._deepest = 0

    def value(self, value: Any, depth: int) -> tuple[Any, int]:
        kind = type(value)
        if kind is str:
            return self._string(value)
        if kind is int:
            return self._integer(value)
        if kind is dict or kind is list or kind is tuple:
            return self._container(value, depth)
        if value is None or kind is bool:
            return value, 5 if value is False else 4
        if kind is float:
            return self._float(value)
        return self._other(value, depth)

    def _string(self, value: str) -> tuple[str, int]:
        self.check_size(len(value))
        clean = self._text(value)
        # Most strings are short and plain, and their size is known without encoding them.
        if len(clean) < 512 and _is_plain(clean):
            return clean, len(clean) + 2
        return clean, len(encode_basestring(clean).encode("utf-8", "surrogatepass"))

    def _integer(self, value: int) -> tuple[int, int]:
        # `str` takes the square of the digits, and Python itself refuses more than 4,300.
        if value not in _WORD and value.bit_length() > _MOST_BITS:
            raise ValueError("an integer has more than 4,214 digits; pass it as text, such as hex(n)")
        return value, len(repr(value))

    def _float(self, value: float) -> tuple[float, int]:
        # Both ends of the wire are Python's `json`, which writes NaN, Infinity and -Infinity.
        return value, len(repr(value)) if math.isfinite(value) else len(json.dumps(value))

    def _container(self, value: Any, depth: int) -> tuple[Any, int]:
        if (known := self._seen.get(id(value))) is not None:
            _, levels, known_result = known
            if known_result is None:
                raise ValueError("the value contains itself")
            self._reach(depth + levels)
            return known_result
        self._containers -= 1
        if self._containers < 0:
            raise ValueTooLarge(f"the value has more than {most_containers(self._max_bytes):,} lists and dicts")
        if depth >= MAX_DEPTH:
            raise _too_deep()
        before, self._deepest = self._deepest, depth + 1
        self._seen[id(value)] = (value, 0, None)
        result = self._dict(value, depth) if isinstance(value, dict) else self._list(value, depth)
        self._seen[id(value)] = (value, self._deepest - depth, result)
        if before > self._deepest:
            self._deepest = before
        return result

    def _reach(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _too_deep()
        self._deepest = max(self._deepest, depth)

    def _list(self, value: Any, depth: int) -> tuple[list[Any], int]:
        result: list[Any] = []
        size = 1
        for item in value:
            converted, item_size = self.value(item, depth + 1)
            size += item_size + 1
            if size > self._max_bytes:
                self.check_size(size)
            result.append(converted)
        if isinstance(value, set | frozenset):
            if size > _MAX_NESTED_SET and any(isinstance(item, list | dict) for item in result):
                raise ValueTooLarge(f"a set of tuples or sets is larger than {_MAX_NESTED_SET:,} bytes of JSON")
            result.sort(key=repr)
        return result, max(size, 2)

    def _dict(self, value: dict[Any, Any], depth: int) -> tuple[dict[str, Any], int]:
        result: dict[str, Any] = {}
        size, unchanged = 1, self._text is _unchanged
        for key, item in value.items():
            # The same few names come again and again.
            if unchanged and type(key) is str and len(key) < _SHORT and (known := _size_of_plain(key)):
                name, key_size = key, known
            else:
                name, key_size = self._string(key if type(key) is str else self._key(key, depth))
            if name in result:
                raise ValueError(f"two keys of a dict become the same string, {name[:80]!r}")
            converted, item_size = self.value(item, depth + 1)
            size += key_size + item_size + 2
            if size > self._max_bytes:
                self.check_size(size)
            result[name] = converted
        return result, max(size, 2)

    def _key(self, key: Any, depth: int) -> str:
        converted, size = self.value(key, depth + 1)
        self.check_size(size)
        # The text of a tuple is a key that nobody would look up.
        if isinstance(converted, list | dict):
            raise TypeError(
                f"a {type(key).__name__} cannot be a key; join its parts to a string, or pass a list of pairs"
            )
        return str(converted)

    def _other(self, value: Any, depth: int) -> tuple[Any, int]:
        if isinstance(value, enum.Enum):
            return self.value(value.value, depth)
        if isinstance(value, str):
            return self._string(str.__str__(value))
        if isinstance(value, bool | int):
            return self._integer(int(value))
        if isinstance(value, float):
            return self._float(float(value))
        if isinstance(value, dict | list | tuple | set | frozenset | deque):
            return self._container(value, depth)
        if isinstance(value, datetime.datetime | datetime.date | datetime.time):
            return self._string(value.isoformat())
        if isinstance(value, datetime.timedelta):
            return self._float(value.total_seconds()) if self._duration is None else self._string(self._duration(value))
        if isinstance(value, decimal.Decimal | uuid.UUID | pathlib.PurePath):
            return self._string(str(value))
        if isinstance(value, bytes | bytearray | memoryview):
            raise TypeError("bytes are not JSON; decode them, or encode them with base64")
        self._reach(depth + 1)
        # One of pydantic's has a serializer of its own, which `convert` knows.
        own = self._convert is not None and hasattr(value, "__pydantic_serializer__")
        if dataclasses.is_dataclass(value) and not isinstance(value, type) and not own:
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            return self._dict(fields, depth)
        if self._convert is not None:
            return self.value(self._convert(value), depth + 1)
        raise TypeError(f"an object of type {type(value).__name__!r} is not JSON")

    def check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise ValueTooLarge(f"the value is larger than {self._max_bytes:,} bytes of JSON")


def _too_deep() -> ValueError:
    return ValueError(f"the value is nested more than {MAX_DEPTH} deep")
