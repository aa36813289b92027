"""Monty's values as JSON values."""

import re
from typing import Any

from pydantic_monty import MontyClassProxy, MontyStdTypeProxy

from codemode_sandboxes.guest.json_values import are_plain, clean_text, to_sized_json
from codemode_sandboxes.guest.wire import dumps

__all__ = ["arguments_from_monty", "from_monty"]

# Monty hands over what it cannot represent as the text of its repr. A program that returns such a text on purpose is
# rarer by far than one that forgot an `await`, and that one must not pass garbage to a tool.
_OPAQUE = re.compile(
    r"(?P<awaitable><coroutine (?:external_future\(\d+\)|object [^<>]{1,300})>|<gather\(\d+\)>)"
    r"|(?P<iterable>dict_(?:keys|values|items)\(\[.*\]\)|range\(-?\d+, -?\d+(?:, -?\d+)?\)"
    r"|<\w{1,50}iterator object(?: at 0x[0-9a-f]+)?>)"
    r"|(?P<other>_tool_\d+|<function '[^<>']{1,300}' at 0x[0-9a-f]+>|<function '<lambda>' at 0x[0-9a-f]+>"
    r"|<bound method>|<module '[\w.]{1,100}'>|<[\w.]{1,100} object(?: at 0x[0-9a-f]+|; [^>]{1,300})?>)",
    re.DOTALL,
)

_UNPLAIN = re.compile(r'\\|"[<dr_]')  # what begins so may be such a text


def from_monty(value: Any, *, max_bytes: int) -> tuple[Any, int]:
    """Give the JSON value that stands for what came out of Monty, and its size; see `to_sized_json`.

    A dataclass instance becomes a dict of its fields. What Monty hands over as the text of a repr (a coroutine, a
    function, a dict view, a range) is refused.

    Raises:
        TypeError: It holds something that JSON has nothing for.
        ValueError: It holds a number that JSON has not, or is too large or too deep.
    """
    return to_sized_json(value, max_bytes=max_bytes, text=_text, convert=_convert)


def arguments_from_monty(
    args: tuple[Any, ...], kwargs: dict[str, Any], *, max_bytes: int
) -> tuple[tuple[list[Any], dict[str, Any]], int]:
    """Give a call's arguments as `from_monty` does. Plain ones, as most are, take half of the time."""
    if are_plain(args) and are_plain(kwargs.values()):
        text = dumps((args, kwargs))
        if len(text) <= max_bytes and text.isascii() and not _UNPLAIN.search(text):
            return (list(args), kwargs), len(text)
    (positional, named), size = from_monty((args, kwargs), max_bytes=max_bytes)
    return (positional, named), size


def _text(text: str) -> str:
    if text[:1] in ("<", "d", "r", "_") and (found := _OPAQUE.fullmatch(text)):
        shown = text if len(text) <= 80 else text[:77] + "..."
        if found["awaitable"]:
            raise TypeError("a coroutine was never awaited; write `await` before the call")
        if found["iterable"]:
            raise TypeError(f"{shown} is not JSON; make a list of it with list(...)")
        raise TypeError(f"{shown} is not JSON; call it, or pass its parts")
    return clean_text(text)


def _convert(value: Any) -> Any:
    if isinstance(value, MontyClassProxy):
        if value.is_dataclass:
            return value.attributes
        raise TypeError(f"an object of class {value.name[:80]!r} is not JSON; pass a dict of what it holds")
    name = value.name if isinstance(value, MontyStdTypeProxy) else type(value).__name__
    raise TypeError(f"an object of type {name!r} is not JSON; pass its parts")
