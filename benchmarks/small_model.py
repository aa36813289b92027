"""Measures how a small model does on small tasks: what it gets right at once, after repair, and silently wrong.

It needs an OpenAI-compatible server, and is run by hand from the repository's root:

    python -m benchmarks.small_model --base-url http://127.0.0.1:8091/v1 --model qwen2.5-coder-1.5b --label "as it is"
"""

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from benchmarks.environments import ROOT
from benchmarks.machine import machine, revision
from benchmarks.small_report import write_results
from benchmarks.small_tasks import TASKS, TOOLSETS, Task
from benchmarks.small_tasks.task import is_answer
from codemode_graph.api import RunResult, codemode

__all__ = ["Outcome", "main"]

MAX_RETRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one task.

    Attributes:
        task: Its name.
        outcome: `first time`, `after repair`, `silently wrong` or `failed`.
        aside: Whether the task was kept aside.
        attempts: Programs that were tried.
        input_tokens: That the model read.
        output_tokens: That it wrote.
        seconds: From task to value.
        reason: Why it is not right; empty where it is.
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
    """Have one task done, and judge what came of it."""
    tools = TOOLSETS[task.toolset]
    tools.ledger.clear()
    started = time.monotonic()
    async with codemode(tools=list(tools.functions), code_model=model, max_retries=MAX_RETRIES) as cm:
        result = await cm.run(task.text)
    reason = _reason(task, result)
    tries = len(result["attempts"])
    if not result["success"]:
        outcome = "failed"
    elif reason:
        outcome = "silently wrong"
    else:
        outcome = "first time" if tries == 1 else "after repair"
    used = result["metrics"]
    told = Outcome(
        task=task.name,
        outcome=outcome,
        aside=task.aside,
        attempts=tries,
        input_tokens=used["total_input_tokens"],
        output_tokens=used["total_output_tokens"],
        seconds=round(time.monotonic() - started, 1),
        reason=reason,
    )
    if show:
        _show(task, result)
    tokens = f"{told.input_tokens:>6} + {told.output_tokens:>4} tokens"
    print(f"{told.task:<20}{told.outcome:<16}{tokens}{told.seconds:>7.1f} s  {told.reason}", flush=True)
    return told


def _reason(task: Task, result: RunResult) -> str:
    if not result["success"]:
        return result["error"] or "no error was told"
    if not is_answer(task.expected, result["output"]):
        return f"gave {result['output']!r}, not {task.expected!r}"[:300]
    made, wanted = sorted(TOOLSETS[task.toolset].ledger), sorted(task.changes)
    return "" if made == wanted else f"changed {made!r}, not {wanted!r}"[:300]


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
    for task in _chosen(options.only, aside=options.aside):
        sets.setdefault(task.toolset, []).append(task)
    slots = asyncio.Semaphore(options.concurrency)

    async def one_set(tasks: list[Task]) -> list[Outcome]:
        # The tasks of a set share a ledger, and a server keeps the prompt that they have in common.
        async with slots:
            return [await run_task(task, model, show=options.show) for task in tasks]

    outcomes = [outcome for each in await asyncio.gather(*map(one_set, sets.values())) for outcome in each]
    print(counts(outcomes))
    if options.label:
        facts: Mapping[str, object] = {
            "label": options.label,
            "date": date.today().isoformat(),
            "model": options.about or options.model,
            "temperature": options.temperature,
            "revision": revision(),
            "machine": machine(),
        }
        write_results(options.results, facts, [asdict(outcome) for outcome in outcomes])


def counts(outcomes: Sequence[Outcome]) -> str:
    """One line: how many tasks came out which way."""
    names = [outcome.outcome for outcome in outcomes]
    told = [f"{names.count(name)} {name}" for name in ("first time", "after repair", "silently wrong", "failed")]
    return f"{len(names)} tasks: {', '.join(told)}"


def _chosen(names: Sequence[str], *, aside: str) -> list[Task]:
    """The tasks whose name begins with one of `names`, with or without those kept aside."""
    chosen = [task for task in TASKS if not names or task.name.startswith(tuple(names))]
    return [task for task in chosen if aside == "with" or task.aside == (aside == "only")]


def main() -> None:
    """Read the command line and measure."""
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
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
