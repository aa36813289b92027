"""The tasks of a file for LangSmith's `evaluate` and `aevaluate`: examples, a target, and evaluators."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from langsmith.schemas import Example

from codemode_graph.errors import ConfigurationError
from codemode_graph.evaluation.evaluate import TaskRunner, run_task
from codemode_graph.evaluation.task_file import TaskSet


def examples(tasks: TaskSet) -> list[Example]:
    """Return an example for each task: its name and its text go in, and what is right is its reference.

    An example's id depends on the task's name and text alone: the same file gives the same examples.
    """
    return [
        Example(
            id=uuid5(NAMESPACE_URL, f"codemode-graph:{task.name}:{task.task}"),
            inputs={"name": task.name, "task": task.task},
            outputs=task.model_dump(include={"expected", "check", "effects"}, exclude_unset=True),
        )
        for task in tasks.tasks
    ]


def target(tasks: TaskSet, cm: TaskRunner) -> Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]:
    """Return the function that `aevaluate` calls with the inputs of an example.

    It sets up, runs and judges the task, and returns the outcome as `TaskOutcome.to_json` does. Tasks take turns,
    whatever `max_concurrency` is: their tools may share a world.

    Args:
        tasks: The tasks.
        cm: Runs them.

    Raises:
        ConfigurationError: An effect of a task can be none of these tools'.
    """
    by_name = {task.name: task for task in tasks.for_tools(cm.tools).tasks}
    turn = asyncio.Lock()

    async def run(inputs: dict[str, Any]) -> dict[str, Any]:
        task = by_name.get(inputs["name"])
        if task is None or task.task != inputs["task"]:
            raise ConfigurationError(f"the tasks have no {inputs['name']!r} of this text: a data set of another file?")
        async with turn:
            return (await run_task(task, tasks, cm)).to_json()

    return run


def solved(outputs: dict[str, Any]) -> bool:
    """Return True where the task is solved, by whichever program."""
    return outputs["outcome"] in ("solved", "repaired")


def solved_first(outputs: dict[str, Any]) -> bool:
    """Return True where the first program solved the task."""
    return bool(outputs["outcome"] == "solved")


def silently_wrong(outputs: dict[str, Any]) -> bool:
    """Return True where there is an answer, and it or what was changed is wrong."""
    return bool(outputs["outcome"] == "silently wrong")


def wrong_effects(outputs: dict[str, Any]) -> int:
    """Return the number of calls that are missing, repeated or unexpected."""
    return len(outputs["missing"]) + len(outputs["repeated"]) + len(outputs["unexpected"])


EVALUATORS: list[Any] = [solved, solved_first, silently_wrong, wrong_effects]
"""The evaluators for `evaluate`, over what `target` returns."""
