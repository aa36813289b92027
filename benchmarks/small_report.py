"""The results of the small model's tasks: JSON, and a table a person can read."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import table

__all__ = ["write_results"]

OUTCOMES = ("first time", "after repair", "silently wrong", "failed")


def write_results(folder: Path, facts: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]) -> None:
    """Add a round to the results, in place of one with the same label.

    Args:
        folder: Where `small-model.json` and `small-model.md` are.
        facts: `label`, `date`, `model`, `temperature`, `revision`, `machine`.
        tasks: What came of each task: `task`, `outcome`, `aside`, the tokens, `reason`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "small-model.json"
    rounds = json.loads(path.read_text()) if path.exists() else []
    rounds = [*(each for each in rounds if each["label"] != facts["label"]), {**facts, "tasks": list(tasks)}]
    path.write_text(json.dumps(rounds, indent=1) + "\n")
    (folder / "small-model.md").write_text(_markdown(rounds))


def _markdown(rounds: Sequence[Mapping[str, Any]]) -> str:
    last = rounds[-1]
    where = last["machine"]
    parts = [
        "# A small model on small tasks",
        f"{last['model']}, temperature {last['temperature']:g}, {last['date']}, {where['cpu']}, {where['cores']} cores, "
        f"Python {where['python']}. Each cell counts tasks; in brackets, those kept aside.",
        _rounds(rounds),
        f"## {last['label']}",
        _tasks(last["tasks"]),
    ]
    return "\n\n".join(parts) + "\n"


def _rounds(rounds: Sequence[Mapping[str, Any]]) -> str:
    by_label = {each["label"]: each for each in rounds}
    columns = {"tasks": "tasks"} | {name: name for name in OUTCOMES} | {"tokens": "tokens read + written"}

    def cell(label: str, column: str) -> str:
        tasks = by_label[label]["tasks"]
        if column == "tokens":
            return " + ".join(f"{sum(task[f'{way}_tokens'] for task in tasks):,}" for way in ("input", "output"))
        found = [task for task in tasks if column in ("tasks", task["outcome"])]
        aside = sum(task["aside"] for task in found)
        return f"{len(found)} ({aside})" if aside else str(len(found))

    return table("round", list(by_label), columns, cell)


def _tasks(tasks: Sequence[Mapping[str, Any]]) -> str:
    by_name = {task["task"]: task for task in tasks}
    columns = {"outcome": "outcome", "attempts": "programs", "tokens": "tokens read + written", "reason": "why"}

    def cell(name: str, column: str) -> str:
        task = by_name[name]
        if column == "tokens":
            return f"{task['input_tokens']:,} + {task['output_tokens']:,}"
        return str(task[column]).replace("|", "\\|").replace("\n", " ")

    return table("task", list(by_name), columns, cell)
