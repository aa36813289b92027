"""Tasks, their tools, and the comparison of what came of a task with what is right."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

__all__ = ["Change", "Task", "Toolset", "is_answer", "match_changes", "tool"]

Change: TypeAlias = tuple[Any, ...]
"""A change that a tool made: the tool's name and its arguments, in the order of its parameters."""

F = TypeVar("F", bound=Callable[..., Any])


def tool(*, effect: Literal["read", "write", "destructive"], name: str | None = None) -> Callable[[F], F]:
    """Mark a function as a tool. Each system makes a tool of its own from it, in an environment of its own.

    Args:
        effect: The effect of a call.
        name: Its name, where it is not the function's.
    """

    def mark(function: F) -> F:
        vars(function).update(effect=effect, tool_name=name or function.__name__)
        return function

    return mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolset:
    """Tools, and the ledger of what they change.

    Attributes:
        name: The name of the set.
        functions: The tools, each marked by `tool`.
        ledger: The changes since it was last cleared; the tools read the state of their world from it.
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
    """

    name: str
    toolset: str
    text: str
    expected: Any
    changes: Sequence[Change] = field(default=())


def match_changes(
    expected: Sequence[Change], made: Sequence[Change]
) -> tuple[list[Change], list[Change], list[Change]]:
    """Return the changes that are missing, those made once too often, and those that nobody expects.

    Args:
        expected: The right changes.
        made: The changes that were made.
    """
    missing, rest = list(expected), []
    for change in made:
        found = next((each for each in missing if _is(each, change)), None)
        if found is None:
            rest.append(change)
        else:
            missing.remove(found)
    known = [change for change in expected if change not in missing]
    repeated = [change for change in rest if any(_is(each, change) for each in known)]
    return missing, repeated, [change for change in rest if change not in repeated]


def _is(expected: Change, made: Change) -> bool:
    return len(expected) == len(made) and all(map(_equal, expected, made))


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
