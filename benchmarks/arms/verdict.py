"""The judgement of what a way made of a task, and the tables of what all of them made."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.figures import table
from benchmarks.small_tasks.task import Task, is_answer, match_changes

__all__ = ["OUTCOMES", "arms_table", "interval", "judge"]

OUTCOMES = ("solved first", "solved after repair", "silently wrong", "failed")


def judge(task: Task, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outcome of a task, why it is wrong, and the effects that are.

    Args:
        task: The task.
        answer: `value`, `failed`, `errors` and `changes` of the way.
    """
    made = [tuple(change) for change in answer["changes"]]
    missing, repeated, unexpected = match_changes(task.changes, made)
    reasons = [answer["failed"]] if answer["failed"] else []
    if not reasons and not _says(task.expected, answer["value"]):
        reasons.append(f"gave {answer['value']!r}, not {task.expected!r}"[:300])
    for word, changes in (("missing", missing), ("repeated", repeated), ("unexpected", unexpected)):
        reasons += [f"{word}: {changes}"[:300]] if changes else []
    if answer["failed"]:
        outcome = "failed"
    elif reasons:
        outcome = "silently wrong"
    else:
        outcome = "solved after repair" if answer["errors"] else "solved first"
    return {
        "outcome": outcome,
        "reason": "; ".join(reasons),
        "missing": len(missing),
        "repeated": len(repeated),
        "unexpected": len(unexpected),
    }


def _says(expected: Any, value: Any) -> bool:
    """Return whether a value is the answer, or words that name it and no other number: in favour of who answers in words."""
    if is_answer(expected, value):
        return True
    if not isinstance(value, str) or isinstance(expected, bool):
        return False
    if isinstance(expected, str):
        return expected in value
    numbers = re.findall(r"-?\d+(?:\.\d+)?", value.replace(",", ""))
    return isinstance(expected, int | float) and len(numbers) == 1 and is_answer(expected, float(numbers[0]))


def interval(solved: int, runs: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, by Wilson.

    Args:
        solved: The runs that count.
        runs: All runs, at least one.
    """
    z = 1.96
    share, spread = solved / runs, z * z / runs
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / runs + spread / (4 * runs)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


_COLUMNS: Mapping[str, str] = {
    "runs": "runs",
    **{outcome: outcome for outcome in OUTCOMES},
    "share": "solved (95 % interval)",
    "effects": "effects missing · repeated · unexpected",
    "calls": "model calls a run",
    "tokens": "tokens a run, read + written",
    "seconds": "seconds a run",
}


def arms_table(rows: Mapping[str, Sequence[Mapping[str, Any]]], corner: str = "way") -> str:
    """Return a table with a row for each way.

    Args:
        rows: The records of the runs, by the name of the row.
        corner: The heading of the first column.
    """

    def mean(name: str, key: str) -> float:
        return sum(float(each[key]) for each in rows[name]) / len(rows[name])

    def share(name: str) -> str:
        solved = sum(each["outcome"].startswith("solved") for each in rows[name])
        low, high = interval(solved, len(rows[name]))
        return f"{solved / len(rows[name]):.2f} ({low:.2f} to {high:.2f})"

    cells: dict[str, Callable[[str], str]] = {
        "runs": lambda name: str(len(rows[name])),
        **{
            outcome: lambda name, outcome=outcome: str(sum(each["outcome"] == outcome for each in rows[name]))  # type: ignore[misc]
            for outcome in OUTCOMES
        },
        "share": share,
        "effects": lambda name: " · ".join(
            str(sum(each[kind] for each in rows[name])) for kind in ("missing", "repeated", "unexpected")
        ),
        "calls": lambda name: f"{mean(name, 'model_calls'):.1f}",
        "tokens": lambda name: f"{mean(name, 'input_tokens'):,.0f} + {mean(name, 'output_tokens'):,.0f}",
        "seconds": lambda name: f"{mean(name, 'seconds'):.0f}",
    }
    return table(corner, rows, _COLUMNS, lambda name, column: cells[column](name))
