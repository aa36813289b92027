"""Measures a small model on small tasks: how many it gets right at once, after repair, silently wrong, or not at all.

It needs an OpenAI-compatible server. Run it from the repository's root:

    python -m benchmarks.small_model --base-url http://127.0.0.1:8091/v1 --model qwen2.5-coder-1.5b --label "as it is"
"""

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from benchmarks import store
from benchmarks.figures import table
from benchmarks.small_tasks import TASKS, TOOLSETS, Task
from benchmarks.small_tasks.task import is_answer
from codemode_graph.api import RunResult, codemode

__all__ = ["Outcome", "main"]

MAX_RETRIES = 3
OUTCOMES = ("first time", "after repair", "silently wrong", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of one task.

    Attributes:
        task: The task's name.
        outcome: One of `OUTCOMES`.
        aside: Whether the task was kept out of the work on the prompts.
        attempts: The number of programs that the model wrote.
        input_tokens: The tokens that the model read.
        output_tokens: The tokens that it wrote.
        seconds: The time from the task to its value.
        reason: Why the value is wrong; empty where it is right.
    """

    task: str
    outcome: str
    aside: bool
    attempts: int
    input_tokens: int
    output_tokens: int
    seconds: float
    reason: str


async def run_task(task: Task, model: ChatOpenAI, *, show: bool) -> Outcome:
    """Run one task, and compare its value and its changes with those expected."""
    tools = TOOLSETS[task.toolset]
    tools.ledger.clear()
    start = time.monotonic()
    async with codemode(tools=list(tools.functions), code_model=model, max_retries=MAX_RETRIES) as cm:
        result = await cm.run(task.text)
    reason = _reason(task, result)
    if not result["success"]:
        outcome = "failed"
    elif reason:
        outcome = "silently wrong"
    else:
        outcome = "first time" if len(result["attempts"]) == 1 else "after repair"
    metrics = result["metrics"]
    found = Outcome(
        task=task.name,
        outcome=outcome,
        aside=task.aside,
        attempts=len(result["attempts"]),
        input_tokens=metrics["total_input_tokens"],
        output_tokens=metrics["total_output_tokens"],
        seconds=round(time.monotonic() - start, 1),
        reason=reason,
    )
    if show:
        _show(task, result)
    tokens = f"{found.input_tokens:>6} + {found.output_tokens:>4} tokens"
    print(f"{found.task:<20}{found.outcome:<16}{tokens}{found.seconds:>7.1f} s  {found.reason}", flush=True)
    return found


def _reason(task: Task, result: RunResult) -> str:
    if not result["success"]:
        return result["error"] or "there is no error message"
    if not is_answer(task.expected, result["output"]):
        return f"gave {result['output']!r}, not {task.expected!r}"[:300]
    changes, expected = sorted(TOOLSETS[task.toolset].ledger), sorted(task.changes)
    return "" if changes == expected else f"changed {changes!r}, not {expected!r}"[:300]


def _show(task: Task, result: RunResult) -> None:
    print(f"\n{'-' * 100}\n{task.name}: {task.text}")
    for attempt in result["attempts"]:
        print(f"\n# attempt {attempt['number']}: {attempt['verdict']}\n{attempt['program'].rstrip()}")
        if not attempt["program"].strip():
            print(f"    said: {attempt['thoughts']}")
        for fix in attempt["fixes"]:
            print(f"    fixed: {fix}")
        for finding in attempt["findings"]:
            print(f"    found: {finding['rule']}, line {finding['line']}: {finding['message']}")
        if attempt["failure"] is not None and not attempt["findings"]:
            print(f"    failed: {attempt['failure']['type']}: {attempt['failure']['message']}")
    print(f"value: {result['output']!r}")


async def measure(options: argparse.Namespace) -> None:
    """Run the tasks, print a line for each, and write the results."""
    model = ChatOpenAI(
        model=options.model,
        base_url=options.base_url,
        api_key=SecretStr(options.api_key),
        temperature=options.temperature,
        timeout=600,
        max_retries=0,
    )
    sets: dict[str, list[Task]] = {}
    for task in _select(options.only, aside=options.aside):
        sets.setdefault(task.toolset, []).append(task)
    slots = asyncio.Semaphore(options.concurrency)

    async def one_set(tasks: list[Task]) -> list[Outcome]:
        # One after another: they share a ledger. A server also keeps the prompt that they have in common.
        async with slots:
            return [await run_task(task, model, show=options.show) for task in tasks]

    outcomes = [outcome for each in await asyncio.gather(*map(one_set, sets.values())) for outcome in each]
    print(counts(outcomes))
    if options.label:
        facts: Mapping[str, object] = {
            "label": options.label,
            **store.facts(),
            "model": options.about or options.model,
            "temperature": options.temperature,
        }
        write_results(options.results, facts, [asdict(outcome) for outcome in outcomes])


def counts(outcomes: Sequence[Outcome]) -> str:
    """Return a line with the number of tasks of each outcome."""
    names = [outcome.outcome for outcome in outcomes]
    counted = [f"{names.count(name)} {name}" for name in OUTCOMES]
    return f"{len(names)} tasks: {', '.join(counted)}"


def _select(names: Sequence[str], *, aside: str) -> list[Task]:
    """Return the tasks whose name begins with one of `names`, with or without those kept aside."""
    tasks = [task for task in TASKS if not names or task.name.startswith(tuple(names))]
    return [task for task in tasks if aside == "with" or task.aside == (aside == "only")]


def write_results(folder: Path, facts: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]) -> None:
    """Add a round to the results, in place of one with the same label.

    Args:
        folder: The folder of the result files.
        facts: `label`, `date`, `model`, `temperature`, `revision`, `machine`.
        tasks: The outcome of each task, as JSON values.
    """
    try:
        rounds = store.newest("small-model", folder=folder)["rounds"]
    except FileNotFoundError:
        rounds = []
    rounds = [*(each for each in rounds if each["label"] != facts["label"]), {**facts, "tasks": list(tasks)}]
    store.write("small-model", {"date": facts["date"], "rounds": rounds}, markdown(rounds), folder=folder)


def markdown(rounds: Sequence[Mapping[str, Any]]) -> str:
    """Return the report: a row for each round, and the tasks of the last one."""
    last = rounds[-1]
    where = last["machine"]
    parts = [
        "# A small model on small tasks",
        f"{last['model']}, temperature {last['temperature']:g}, {last['date']}, {where['cpu']}, {where['cores']} cores, "
        f"Python {where['python']}. Each cell counts tasks; in brackets, those kept aside.",
        rounds_table(rounds),
        f"## {last['label']}",
        _tasks(last["tasks"]),
    ]
    return "\n\n".join(parts) + "\n"


def rounds_table(rounds: Sequence[Mapping[str, Any]]) -> str:
    """Return a table with a row for each round: tasks by their outcome, and tokens."""
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


def main() -> None:
    """Read the command line, and run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.small_model", description=__doc__.splitlines()[0])
    parser.add_argument("--base-url", required=True, help="of an OpenAI-compatible server, with its /v1")
    parser.add_argument("--model", required=True, help="the model's name there")
    parser.add_argument("--api-key", default="none")
    parser.add_argument("--about", help="the model's full name, for the results")
    parser.add_argument("--temperature", type=float, default=0)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="tasks whose names begin so")
    parser.add_argument("--aside", choices=("with", "without", "only"), default="with", help="the tasks kept aside")
    parser.add_argument("--concurrency", type=int, default=1, help="sets of tools that are worked on at one time")
    parser.add_argument("--show", action="store_true", help="print what the model wrote")
    parser.add_argument("--label", help="what was changed: keep the results under this name")
    parser.add_argument("--results", type=Path, default=store.RESULTS)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
