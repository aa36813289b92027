"""Tasks, and the comparison of a value with a task's answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["Change", "Task", "Toolset", "is_answer"]

Change: TypeAlias = tuple[Any, ...]
"""A change that a tool made: the tool's name and its arguments, in the order of its parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolset:
    """Tools, and the ledger of what they change.

    Attributes:
        name: The name of the set.
        functions: The tools.
        ledger: The changes since it was last cleared.
    """

    name: str
    functions: Sequence[Callable[..., Any]]
    ledger: list[Change]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task, its answer, and the changes that it makes.

    Attributes:
        name: A short and unique name.
        toolset: The name of its set of tools.
        text: The task, as the model reads it.
        expected: The answer, in the form that `is_answer` takes.
        changes: The ledger after the task, in any order.
        aside: Whether the task is kept out of the work on the prompts.
    """

    name: str
    toolset: str
    text: str
    expected: Any
    changes: Sequence[Change] = field(default=())
    aside: bool = False


def is_answer(expected: Any, value: Any) -> bool:
    """Return whether a program's value is the answer.

    Numbers may differ by less than a hundredth. The order of a list does not matter. A tuple stands for a record whose
    keys are free: a list or a dict with these values. A list of records may also be a dict from the first value to the
    second. A dict's keys are demanded. Any answer may stand alone in a dict, under a key of the model's choice.

    Args:
        expected: The answer.
        value: The program's value.
    """
    if _equal(expected, value):
        return True
    return isinstance(value, dict) and len(value) == 1 and _equal(expected, next(iter(value.values())))


def _equal(expected: Any, value: Any) -> bool:
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
                and all(_equal(item, value[key]) for key, item in expected.items())
            )
        case tuple():
            return _equal_unordered(expected, list(value.values()) if isinstance(value, dict) else value)
        case list():
            return _equal_unordered(
                expected, [list(pair) for pair in value.items()] if isinstance(value, dict) else value
            )
    raise TypeError(f"an expected value is JSON with tuples for records, not {expected!r}")


def _equal_unordered(expected: Sequence[Any], values: Any) -> bool:
    """Return whether the values are those expected, in any order."""
    if not isinstance(values, list) or len(values) != len(expected):
        return False
    left = list(values)
    for item in expected:
        found = next((index for index, value in enumerate(left) if _equal(item, value)), None)
        if found is None:
            return False
        del left[found]
    return True
