"""A host's answers in the form that Monty takes them."""

import builtins
from functools import cache
from typing import Any, get_args

from pydantic_monty import ExcType, MontyError

from codemode_sandboxes.contract import Outcome, Returned
from codemode_sandboxes.guest.json_values import clean_text

__all__ = ["LATER", "check_conversion", "raised", "settled"]

LATER: Any = {"future": ...}
"""Answers a call with a coroutine that is settled later."""


def settled(outcome: Outcome) -> Any:
    """Give what settles a call."""
    if isinstance(outcome, Returned):
        return {"return_value": outcome.value}
    return raised(outcome.type, outcome.message)


def raised(type_name: str, message: str) -> Any:
    """Give what makes a call raise, in the nearest type that Monty has."""
    return {"exc_type": _nearest(type_name), "message": clean_text(message)}


def check_conversion(error: MontyError) -> None:
    """Raise `TypeError` if an error came of an answer that Monty cannot take, and not from the program."""
    frames = error.traceback() if hasattr(error, "traceback") else []  # what a program raises has frames
    inner = error.exception()
    if isinstance(inner, TypeError | ValueError) and not frames:
        raise TypeError(f"an outcome is not a JSON value: {inner}") from error


@cache
def _nearest(name: str) -> str:
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return "RuntimeError"
    return next(base.__name__ for base in kind.__mro__ if base.__name__ in get_args(ExcType))
