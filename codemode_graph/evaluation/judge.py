"""Compare a run with what is right: its answer, and the calls that took effect."""

import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

from codemode_graph.evaluation.bounds import call_function
from codemode_graph.evaluation.task_file import EvalTask
from codemode_graph.preview import sample
from codemode_graph.result import RunResult
from codemode_graph.tools.canonical import canonical

OutcomeWord: TypeAlias = Literal["solved", "repaired", "silently wrong", "failed", "not judged"]
"""`solved`: right by the first program; `repaired`: right by a later one; `silently wrong`: there is an answer, and it, or
what was changed, is wrong; `failed`: there is no answer, and the run says so; `not judged`: the model could not be asked, or a
function of the task file failed."""

_SHOWN = 200  # characters of a value in a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A call that took effect, or that has to."""

    tool: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.tool}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The judgement of a task.

    Attributes:
        outcome: One word.
        reason: Why it is not solved, in one line; empty where it is.
        missing: Calls that had to take effect and did not.
        repeated: Calls that took effect once more than they had to.
        unexpected: Other calls that took effect and had not to.
    """

    outcome: OutcomeWord
    reason: str = ""
    missing: tuple[Effect, ...] = ()
    repeated: tuple[Effect, ...] = ()
    unexpected: tuple[Effect, ...] = ()

    @property
    def right(self) -> bool:
        """True where the task is solved, by whichever program."""
        return self.outcome in ("solved", "repaired")


async def judge(task: EvalTask, result: RunResult[Any], functions: Mapping[str, Callable[..., Any]]) -> Judgement:
    """Compare the result of a run with the task.

    Args:
        task: The task.
        result: The result.
        functions: The checks, by their references.
    """
    missing, repeated, unexpected = match_effects(task.effects, standing(result))
    judged = partial(Judgement, missing=missing, repeated=repeated, unexpected=unexpected)
    if not result["success"]:
        replied = any(attempt["program"].strip() or attempt["thoughts"] for attempt in result["attempts"])
        return judged(outcome="failed" if replied else "not judged", reason=str(result["error"]))
    reasons = []
    if task.has_expected and not equal(task.expected, result["output"], task.tolerance, unordered=task.unordered):
        reasons.append(f"the answer is {_show(result['output'])}, not {_show(task.expected)}")
    if task.check is not None:
        try:
            complaint = await _complaint(functions[task.check], result)
        except Exception as error:
            return judged(outcome="not judged", reason=f"{task.check}: {type(error).__name__}: {error}")
        reasons += [complaint] if complaint else []
    for word, calls in (("missing", missing), ("repeated", repeated), ("unexpected", unexpected)):
        reasons += [f"{word}: {', '.join(map(str, calls))}"[:_SHOWN]] if calls else []
    if reasons:
        return judged(outcome="silently wrong", reason="; ".join(reasons))
    return judged(outcome="solved" if len(result["attempts"]) == 1 else "repaired")


def standing(result: RunResult[Any]) -> list[Effect]:
    """Return the calls of a run whose effects stand, or may, in their order."""
    ids = set(result["took_effect"])
    return [
        Effect(tool=call["tool"], arguments=call["arguments"]) for call in result["tool_calls"] if call["id"] in ids
    ]


async def _complaint(check: Callable[..., Any], result: RunResult[Any]) -> str:
    """Return what a check has to say against an answer; empty where it has nothing."""
    takes = [
        each
        for each in inspect.signature(check).parameters.values()
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD, each.VAR_POSITIONAL)
        and each.default is each.empty
    ]
    arguments = (result["output"], result) if len(takes) > 1 else (result["output"],)
    try:
        found = await call_function(check, *arguments)
    except AssertionError as error:
        return str(error) or f"an assertion of {check.__name__} failed"
    if isinstance(found, str):
        return found
    # None is what a check returns that forgot to: taken for right, it would hide every wrong answer.
    if not isinstance(found, bool):
        raise TypeError(f"it returned {found!r}, neither True or False nor a text that says what is wrong")
    return "" if found else f"{check.__name__} says that the answer {_show(result['output'])} is wrong"


def equal(expected: Any, value: Any, tolerance: float = 0.0, *, unordered: bool = False) -> bool:
    """Return whether a value is the expected one. True is not 1; 45 is 45.0, and floats may differ by a rounding.

    Args:
        expected: JSON's types.
        value: JSON's types.
        tolerance: By how much numbers may differ.
        unordered: Whether lists may be in any order.
    """
    if isinstance(expected, bool) or isinstance(value, bool) or expected is None or value is None:
        return expected is value
    if isinstance(expected, int | float) and isinstance(value, int | float):
        if isinstance(expected, int) and isinstance(value, int):
            return abs(expected - value) <= tolerance
        same = math.isnan(expected) and math.isnan(value)
        return same or math.isclose(expected, value, rel_tol=1e-9, abs_tol=max(tolerance, 1e-12))
    if isinstance(expected, dict) and isinstance(value, dict):
        return expected.keys() == value.keys() and all(
            equal(item, value[key], tolerance, unordered=unordered) for key, item in expected.items()
        )
    if isinstance(expected, list) and isinstance(value, list):
        if len(expected) != len(value):
            return False
        if unordered:
            fits = [[equal(one, other, tolerance, unordered=True) for other in value] for one in expected]
            return all(other is not None for other in _assign(fits))
        return all(equal(one, other, tolerance) for one, other in zip(expected, value, strict=True))
    return type(expected) is type(value) and bool(expected == value)


def match_effects(
    expected: Sequence[Mapping[str, Mapping[str, Any] | None]] | None, actual: Sequence[Effect]
) -> tuple[tuple[Effect, ...], tuple[Effect, ...], tuple[Effect, ...]]:
    """Return the effects that are missing, those made once too often, and those that nobody expects.

    Args:
        expected: Tools with the arguments that matter; None where effects are not compared.
        actual: The calls that took effect.
    """
    if expected is None:
        return (), (), ()
    goals = [
        Effect(tool=tool, arguments=dict(arguments or {})) for each in expected for tool, arguments in each.items()
    ]
    fits = [[_is(one, other) for other in actual] for one in goals]
    found = _assign(fits)
    missing = tuple(one for one, place in zip(goals, found, strict=True) if place is None)
    known = {_key(actual[place]) for place in found if place is not None}
    rest = [each for place, each in enumerate(actual) if place not in set(found)]
    return (
        missing,
        tuple(each for each in rest if _key(each) in known),
        tuple(each for each in rest if _key(each) not in known),
    )


def _is(goal: Effect, actual: Effect) -> bool:
    return goal.tool == actual.tool and all(
        name in actual.arguments and equal(value, actual.arguments[name]) for name, value in goal.arguments.items()
    )


def _key(effect: Effect) -> tuple[str, str]:
    return effect.tool, json.dumps(canonical(dict(effect.arguments)), sort_keys=True)


def _assign(fits: Sequence[Sequence[bool]]) -> list[int | None]:
    """Return a column for each row of a table of what fits, no column twice and as many as there can be.

    An expected call that leaves arguments open fits several: the first that comes may be the only one for another.
    """
    matches: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        columns = [column for column, fit in enumerate(fits[row]) if fit and column not in seen]
        # A free column first: a long list of equal items would otherwise move every item for each new one.
        for column in sorted(columns, key=matches.__contains__):
            seen.add(column)
            if column not in matches or place(matches[column], seen):
                matches[column] = row
                return True
        return False

    for row in range(len(fits)):
        place(row, set())
    columns = {row: column for column, row in matches.items()}
    return [columns.get(row) for row in range(len(fits))]


def _show(value: Any) -> str:
    return sample(value, limit=_SHOWN)
