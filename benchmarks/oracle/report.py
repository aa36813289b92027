"""The tables of the oracle programs and of the account of tokens."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.figures import table

__all__ = ["account_table", "break_even", "markdown", "programs_table"]

Tasks = Sequence[Mapping[str, Any]]

_SIZES = {"1": (1, 1), "2": (2, 2), "3": (3, 3), "4": (4, 4), "5 to 7": (5, 7), "8 and more": (8, 10_000)}
_WAYS = {
    "sequential": "one call a turn",
    "parallel": "calls together",
    "program": "one program",
    "answered": "a program and an answer in words",
    "repaired": "a program and a repair",
}

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


def account_table(results: Mapping[str, Any], figure: str = "tokens") -> str:
    """Return the account of tokens, by the number of calls.

    Args:
        results: The results.
        figure: `tokens`, or `cost`, where what is cached costs a tenth and what is written five times.
    """
    tasks = [task for task in results["tasks"] if task["calls"]]
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
    return "–" if not whole else f"{1 - part / whole:.0%}".replace("-", "−")


def break_even(results: Mapping[str, Any]) -> str:
    """Return from how many calls on a program takes fewer tokens, in the sum over the tasks of that size."""
    tasks = [task for task in results["tasks"] if task["calls"]]
    sizes = sorted({task["calls"] for task in tasks})
    lines = []
    for way, words in _AGAINST.items():
        for other, against in (("sequential", "one call a turn"), ("parallel", "calls together")):
            for figure, unit in (("tokens", "tokens"), ("cost", "cost")):
                sums = {
                    size: [
                        sum(float(task["tokens"][each][figure]) for task in tasks if task["calls"] == size)
                        for each in (way, other)
                    ]
                    for size in sizes
                }
                losing = [size for size, (ours, theirs) in sums.items() if ours >= theirs]
                start = next((size for size in sizes if not losing or size > max(losing)), None)
                lines.append(
                    f"* {words} against {against}, {unit}: "
                    + (
                        f"fewer from {start} {'call' if start == 1 else 'calls'} on"
                        if start
                        else "not fewer at every size"
                    )
                )
    return "\n".join(lines)


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
        "## Break-even",
        break_even(results),
        "## Not right",
        "\n".join(wrong) or "None.",
    ]
    return "\n\n".join(parts) + "\n"
