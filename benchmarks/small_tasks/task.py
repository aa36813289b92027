"""What a task is, and when a value counts as its answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["Change", "Task", "Toolset", "is_answer"]

Change: TypeAlias = tuple[Any, ...]
"""A change that a tool made: the tool's name and what it was given, in the order of its parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolset:
    """Tools, and the ledger in which those that change something write.

    Attributes:
        name: Of the set.
        functions: The tools.
        ledger: What was changed since it was last cleared.
    """

    name: str
    functions: Sequence[Callable[..., Any]]
    ledger: list[Change]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task and what should come of it.

    Attributes:
        name: Short and unique.
        toolset: The name of its tools.
        text: What the model is asked.
        expected: The answer, as `is_answer` reads it.
        changes: What the ledger must hold then, in any order.
        aside: Kept out of the work on the prompts, for the end.
    """

    name: str
    toolset: str
    text: str
    expected: Any
    changes: Sequence[Change] = field(default=())
    aside: bool = False


def is_answer(expected: Any, value: Any) -> bool:
    """Whether a program's value is the answer.

    Numbers may differ by less than a hundredth. The order of a list does not matter. A tuple stands for a record whose
    keys are free: a list or a dict with these values. A list of records may also be a dict from the first value to the
    second. A dict's keys are demanded. Any answer may stand alone in a dict, under a key of the model's choice.

    Args:
        expected: The answer.
        value: What the program gave back.
    """
    if _is(expected, value):
        return True
    return isinstance(value, dict) and len(value) == 1 and _is(expected, next(iter(value.values())))


def _is(expected: Any, value: Any) -> bool:
    match expected:
        case bool() | None:
            return expected is value
        case int() | float():
            return isinstance(value, int | float) and not isinstance(value, bool) and abs(expected - value) < 0.01
        case str():
            return isinstance(value, str) and value.strip() == expected
        case dict():
            return (
                isinstance(value, dict)
                and value.keys() == expected.keys()
                and all(_is(item, value[key]) for key, item in expected.items())
            )
        case tuple():
            return _same(expected, list(value.values()) if isinstance(value, dict) else value)
        case list():
            return _same(expected, [list(pair) for pair in value.items()] if isinstance(value, dict) else value)
    raise TypeError(f"an expected value is JSON with tuples for records, not {expected!r}")


def _same(expected: Sequence[Any], values: Any) -> bool:
    """Whether the values are those expected, in any order."""
    if not isinstance(values, list) or len(values) != len(expected):
        return False
    left = list(values)
    for item in expected:
        found = next((index for index, value in enumerate(left) if _is(item, value)), None)
        if found is None:
            return False
        del left[found]
    return True
