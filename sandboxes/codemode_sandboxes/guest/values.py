"""A program's values as JSON, by the same rules as everywhere, with hints for what a program is likely to get wrong."""

import inspect
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any

from codemode_sandboxes.guest.json_values import are_plain, to_json
from codemode_sandboxes.guest.wire import dumps

__all__ = ["encode", "encode_arguments"]


def encode(value: Any, *, max_bytes: int) -> str:
    """Write a value as JSON on one line.

    Raises:
        TypeError: It holds something that JSON has nothing for.
        ValueError: It is too large, nested too deeply, or holds a number that JSON has not.
    """
    return dumps(to_json(value, max_bytes=max_bytes, convert=_convert))


def encode_arguments(args: tuple[Any, ...], kwargs: dict[str, Any], *, max_bytes: int) -> str:
    """Write a call's arguments; see `encode`. Plain ones, as most are, take a third of the time."""
    if are_plain(args) and are_plain(kwargs.values()):
        text = dumps((args, kwargs))
        if len(text) <= max_bytes and text.isascii() and "\\" not in text:
            return text
    return encode((args, kwargs), max_bytes=max_bytes)


def _convert(value: Any) -> Any:
    name = type(value).__name__
    if inspect.isawaitable(value):
        raise TypeError(f"a {name} was never awaited; write `await` before the call")
    if isinstance(value, Iterator | KeysView | ValuesView | ItemsView | range):
        raise TypeError(f"an object of type {name!r} is not JSON; make a list of it with list(...)")
    raise TypeError(f"an object of type {name!r} is not JSON; pass its parts")
