"""Values on their way between Monty and the host: JSON values out, answers to calls in."""

import builtins
import re
import types
from decimal import Decimal
from functools import cache
from typing import Any, get_args

from pydantic_monty import ExcType, MontyClassProxy, MontyError, MontyStdTypeProxy

from codemode_sandboxes.contract import Outcome, Returned
from codemode_sandboxes.guest.json_values import are_plain, clean_text, to_sized_json
from codemode_sandboxes.guest.wire import dumps

__all__ = [
    "LATER",
    "SURROGATES",
    "OtherText",
    "arguments_from_monty",
    "check_conversion",
    "check_floats",
    "error_answer",
    "from_monty",
    "to_answer",
]

LATER: Any = {"future": ...}
"""The answer that makes a call return a coroutine, which is resolved later."""

# Monty hands over what it cannot represent as the text of its repr. A program that returns such a text on purpose is
# rarer by far than one that forgot an `await`, and that one must not pass garbage to a tool.
_OPAQUE = re.compile(
    r"(?P<awaitable><coroutine (?:external_future\(\d+\)|object [^<>]{1,300})>|<gather\(\d+\)>)"
    r"|(?P<iterable>dict_(?:keys|values|items)\(\[.*\]\)|range\(-?\d+, -?\d+(?:, -?\d+)?\)"
    r"|<\w{1,50}iterator object(?: at 0x[0-9a-f]+)?>)"
    r"|<class '(?P<class>\w{1,100})'>"
    r"|(?P<other>_tool_\d+|<function (?:'(?:[^<>']{1,300}|<lambda>)'|\w{1,100}) at 0x[0-9a-f]+>"
    r"|re\.compile\(.*\)|slice\([^()]*, [^()]*, [^()]*\)|typing\.\w+(?:\[.*\])?|functools\.partial\(<.*\)"
    r"|<bound method>|<module '[\w.]{1,100}'>|<[\w.]{1,100} object(?: at 0x[0-9a-f]+|; [^>]{1,300})?>)",
    re.DOTALL,
)

SURROGATES = (
    "the call was made, and its result holds a lone surrogate (\\ud800 to \\udfff), which no text in Monty can; every other "
    "sandbox takes it"
)
"""Why a run ends to which a result comes with half of a pair: Monty would refuse the answer as a whole."""
_OPENINGS = ("<", "dict_", "range(", "_tool_", "re.compile(", "slice(", "typing.", "functools.partial(")
_UNPLAIN = re.compile(rf'\\|"(?:{"|".join(map(re.escape, _OPENINGS))})')  # JSON text that may hold such a repr
# Of these a program may have the text, as from `str(type(x))`; the classes themselves arrive in another way.
_CLASSES = frozenset(dir(builtins)) | {each.__name__ for each in vars(types).values() if isinstance(each, type)}

# A float's text of 16 digits or more, for of shorter ones there is one alone. It begins at each place at most once, and
# every part is bounded, so that hostile text takes no quadratic time.
_LONG_FLOAT = re.compile(
    r"(?<![\d.])(?=[\d.,_]{17})(?:\d{1,17}|\d{1,3}(?:[,_]\d{3}){1,5})\.\d{1,21}(?:e[-+]\d{1,3})?", re.ASCII
)

_OTHER_DIGIT = (
    "this program writes a float as {}, which Python writes as {}; write it with as many digits as it needs, as in "
    "f'{{x:.2f}}', or pass the number"
)


class OtherText(Exception):
    """A text has a float whose last digit Monty writes otherwise than CPython."""


def check_floats(text: str) -> None:
    """Raise where a text that a program made has a float which CPython writes otherwise.

    Of two shortest texts that are equally near to a float, CPython takes the even one, and Monty the larger. A program's
    texts may come from anywhere, but a number that is such a text of a float is hardly anything else.

    Raises:
        OtherText: It has.
    """
    for written in _LONG_FLOAT.findall(text):
        digits = written.replace(",", "").replace("_", "")
        number = float(digits)
        shown = repr(number)
        if shown != digits and Decimal(digits) - Decimal(number) == Decimal(number) - Decimal(shown):
            raise OtherText(_OTHER_DIGIT.format(written, shown))


def from_monty(value: Any, *, max_bytes: int, around: int = 0) -> tuple[Any, int]:
    """Return the JSON value that stands for a value of Monty's, and its size in bytes; see `to_sized_json`.

    A dataclass instance becomes a dict of its fields. What Monty hands over as the text of a repr (a coroutine, a
    function, a dict view, a range) is refused.

    Raises:
        OtherText: It holds a text of a float that CPython would write otherwise.
        TypeError: It holds something that JSON has nothing for.
        ValueError: It holds an integer of thousands of digits, or is too large or too deep.
    """
    return to_sized_json(value, max_bytes=max_bytes, text=_text, convert=_convert, around=around)


def arguments_from_monty(
    args: tuple[Any, ...], kwargs: dict[str, Any], *, max_bytes: int
) -> tuple[tuple[list[Any], dict[str, Any]], int]:
    """Return a call's arguments, positional and named, and their size, as `from_monty` does.

    Most arguments are plain JSON already; a shorter way for them takes half of the time.
    """
    if are_plain(args) and are_plain(kwargs.values()):
        text = dumps((args, kwargs))
        if len(text) <= max_bytes and text.isascii() and not _UNPLAIN.search(text):
            check_floats(text)  # the numbers that are no texts are written by CPython here
            return (list(args), kwargs), len(text)
    (positional, named), size = from_monty((args, kwargs), max_bytes=max_bytes, around=2)
    return (positional, named), size


def _text(text: str) -> str:
    found = _OPAQUE.fullmatch(text) if text.startswith(_OPENINGS) else None
    if found is not None and found["class"] not in _CLASSES:
        shown = text if len(text) <= 80 else text[:77] + "..."
        if found["awaitable"]:
            raise TypeError("a coroutine was never awaited; write `await` before the call")
        if found["iterable"]:
            raise TypeError(f"{shown} is not JSON; make a list of it with list(...)")
        raise TypeError(f"{shown} is not JSON; call it, or pass its parts")
    check_floats(text)
    return text


def _convert(value: Any) -> Any:
    if isinstance(value, MontyClassProxy):
        if value.is_dataclass:
            return value.attributes
        raise TypeError(f"an object of class {value.name[:80]!r} is not JSON; pass a dict of what it holds")
    name = value.name if isinstance(value, MontyStdTypeProxy) else type(value).__name__
    raise TypeError(f"an object of type {name!r} is not JSON; pass its parts")


def to_answer(outcome: Outcome) -> Any:
    """Return the answer that resolves a call's coroutine."""
    if isinstance(outcome, Returned):
        return {"return_value": outcome.value}
    return error_answer(outcome.type, outcome.message)


def error_answer(type_name: str, message: str) -> Any:
    """Return the answer that makes a call raise an exception, of the nearest type that Monty has."""
    return {"exc_type": _nearest(type_name), "message": clean_text(message)}


def check_conversion(error: MontyError) -> None:
    """Raise `TypeError` if an error comes from an answer that Monty cannot take, and not from the program."""
    frames = error.traceback() if hasattr(error, "traceback") else []  # an exception of the program has frames
    inner = error.exception()
    if isinstance(inner, TypeError | ValueError) and not frames:
        raise TypeError(f"an outcome is not a JSON value: {inner}") from error


@cache
def _nearest(name: str) -> str:
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return "RuntimeError"
    # A class of the host's Python that Monty lacks is raised as its nearest base, which the same handlers catch.
    return next(base.__name__ for base in kind.__mro__ if base.__name__ in get_args(ExcType))
