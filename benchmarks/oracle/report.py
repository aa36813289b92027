"""The tables of the oracle programs and of the account of tokens."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.figures import table

__all__ = ["account_table", "break_even", "markdown", "programs_table", "sets_table"]

Tasks = Sequence[Mapping[str, Any]]

_SIZES = {"1": (1, 1), "2": (2, 2), "3": (3, 3), "4": (4, 4), "5 to 7": (5, 7), "8 and more": (8, 10_000)}
_WAYS = {
    "sequential": "one call a turn",
    "parallel": "calls together",
    "program": "one program",
    "answered": "a program and an answer in words",
    "repaired": "a program and a repair",
}

_FIGURES = {"tokens": "tokens", "cost": "cost", "warm": "cost of a later task"}

_AGAINST = {
    "program": "One program",
    "answered": "A program and an answer in words",
    "repaired": "A program and a repair",
}


def _right(task: Mapping[str, Any], sandbox: str) -> bool:
    return bool(sandbox in task and task[sandbox]["solved"] and task[sandbox]["effects once"])


def _suites(tasks: Tasks) -> dict[str, Tasks]:
    names = dict.fromkeys(task["suite"] for task in tasks)
    return {name: [task for task in tasks if task["suite"] == name] for name in names}


def programs_table(results: Mapping[str, Any]) -> str:
    """Return the table of the programs: a row for each part of a set."""
    sandboxes = results["settings"]["sandboxes"]
    suites = _suites(results["tasks"])
    for whole in ("agentdojo", "tau2"):
        suites[f"**{whole}**"] = [task for task in results["tasks"] if task["suite"].startswith(whole)]
    columns = {
        "tasks": "tasks",
        "native": "right by the set's own calls",
        "flows": "programs with data flow",
        **{name: f"right in `{name}`" for name in sandboxes},
        "killed": "right after a kill",
        "all": "with data flow, right everywhere",
        "calls": "calls",
        "origins": "values from results · task · literal",
    }

    def cell(row: str, column: str) -> str:
        tasks = suites[row]
        if column == "origins":
            return " · ".join(
                str(sum(task["origins"].get(kind, 0) for task in tasks)) for kind in ("result", "task", "literal")
            )
        if column == "calls":
            return f"{sum(task['calls'] for task in tasks):,}"
        if column == "killed":
            killed = [task for task in tasks if "killed" in task]
            return f"{sum(_right(task, 'killed') for task in killed)} of {len(killed)}"
        counts: dict[str, Callable[[Mapping[str, Any]], bool]] = {
            "tasks": lambda task: True,
            "native": lambda task: task["native"],
            "flows": lambda task: task["flows"],
            "all": lambda task: task["flows"] and all(_right(task, name) for name in (*sandboxes, "killed")),
        }
        return str(sum(counts[column](task) if column in counts else _right(task, column) for task in tasks))

    return table("", [name for name in suites if suites[name]], columns, cell)


def _counted(results: Mapping[str, Any]) -> Tasks:
    return [task for task in results["tasks"] if task["calls"] and "tokens" in task]


def _in_one_turn(results: Mapping[str, Any]) -> Tasks:
    return [task for task in _counted(results) if task.get("turns", 1) == 1]


def sets_table(results: Mapping[str, Any]) -> str:
    """Return what programs save in each set, against one call a turn and against calls together."""
    suites = _suites(_counted(results))
    rows = {f"{name}, {words}": (tasks, key) for name, tasks in suites.items() for key, words in _FIGURES.items()}
    columns = {"tasks": "tasks", "calls": "calls a task", **{way: _WAYS[way] for way in _AGAINST}}

    def cell(row: str, column: str) -> str:
        tasks, key = rows[row]
        if column == "tasks":
            return str(len(tasks))
        if column == "calls":
            return f"{sum(task['calls'] for task in tasks) / len(tasks):.1f}"
        part, *whole = (
            sum(float(task["tokens"][way][key]) for task in tasks) for way in (column, "sequential", "parallel")
        )
        return " · ".join(_share(part, each) for each in whole)

    return table("", rows, columns, cell)


def account_table(results: Mapping[str, Any], figure: str = "tokens") -> str:
    """Return the account of tokens, by the number of calls, of the tasks that a user says in one turn.

    Args:
        results: The results.
        figure: `tokens`; or `cost`, where what is cached costs a tenth and what is written five times; or `warm`, the cost of
            a task before which the provider has seen another with the same tools.
    """
    tasks = _in_one_turn(results)
    rows = {
        name: [task["tokens"] for task in tasks if low <= task["calls"] <= high] for name, (low, high) in _SIZES.items()
    }
    rows = {name: found for name, found in rows.items() if found}
    rows |= {"all": [task["tokens"] for task in tasks]} if tasks else {}
    columns = {"tasks": "tasks", **_WAYS, "saving": "saved by one program", "repair": "saved with a repair"}

    def total(row: str, way: str) -> float:
        return sum(float(each[way][figure]) for each in rows[row])

    def cell(row: str, column: str) -> str:
        if column == "tasks":
            return str(len(rows[row]))
        if column in _WAYS:
            return f"{total(row, column) / len(rows[row]):,.0f}"
        way = "program" if column == "saving" else "repaired"
        return (
            f"{_share(total(row, way), total(row, 'sequential'))} · {_share(total(row, way), total(row, 'parallel'))}"
        )

    return table("calls", rows, columns, cell)


def _share(part: float, whole: float) -> str:
    return "–" if not whole else f"{round(100 * (1 - part / whole))}%".replace("-", "−")


def break_even(results: Mapping[str, Any]) -> str:
    """Return from how many calls on a program takes less, in the sum over the tasks of that size."""
    tasks = _in_one_turn(results)
    sizes = sorted({task["calls"] for task in tasks})
    rows = {
        f"{words} against {against}": (way, other)
        for way, words in _AGAINST.items()
        for other, against in (("sequential", "one call a turn"), ("parallel", "calls together"))
    }

    def cell(row: str, figure: str) -> str:
        ours, theirs = (
            [sum(float(task["tokens"][way][figure]) for task in tasks if task["calls"] == size) for size in sizes]
            for way in rows[row]
        )
        losing = [size for size, our, their in zip(sizes, ours, theirs, strict=True) if our >= their]
        if len(losing) == len(sizes):
            return "at no size"
        start = next((size for size in sizes if not losing or size > max(losing)), None)
        return f"from {start} on" if start else f"not with {', '.join(map(str, losing))}"

    return table("less with this many calls", rows, _FIGURES, cell)


def markdown(results: Mapping[str, Any]) -> str:
    """Return the report."""
    here = results["machine"]
    wrong = [
        f"* {task['suite']} {task['name']}, {name}: {task[name]['error'] or 'solved: ' + str(task[name]['solved'])}"
        for task in results["tasks"]
        for name in (*results["settings"]["sandboxes"], "killed")
        if name in task and not _right(task, name)
    ]
    parts = [
        "# Oracle programs",
        f"{results['date']}, codemode-graph at {results['revision'] or 'an unknown commit'}. {here['cpu']}, "
        f"{here['cores']} cores, {here['python']}; load before {here['load']}, after {results['load after']}. "
        + ", ".join(f"{name} {number}" for name, number in results["packages"].items())
        + f". Seed {results['settings']['seed']}.",
        programs_table(results),
        "## Tokens",
        account_table(results),
        "## Cost, in tokens that are read anew",
        account_table(results, "cost"),
        "## Cost of a later task",
        account_table(results, "warm"),
        "## By set",
        sets_table(results),
        "## Break-even",
        break_even(results),
        "## Not right",
        "\n".join(wrong) or "None.",
    ]
    return "\n\n".join(parts) + "\n"
