"""Measures what a small model makes of small tasks in several ways: programs, classical tool calls, other systems.

It needs an OpenAI-compatible server. Run it from the repository's root:

    python -m benchmarks.small_model --base-url http://127.0.0.1:8091/v1 --model qwen2.5-coder-1.5b --half report

Each run of a task is written at once, and one that is in the day's file is not made again: a stop loses nothing.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks import store
from benchmarks.arms.meter import Meter
from benchmarks.arms.verdict import arms_table, judge
from benchmarks.machine import load, revision
from benchmarks.small_tasks import REPORT, TASKS, TUNING, Task
from benchmarks.systems import MONTY, OURS, SMOLAGENTS, System, Worker, environment

__all__ = ["ARMS", "arms_of", "conditions", "main", "markdown", "rounds_of"]

TASK_SECONDS = 900
MOST_TOKENS = 700
"""Tokens of one answer of the model."""

_OURS = (*OURS, "langchain>=1.2,<2", "langchain-openai>=1.1,<2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to do the tasks: its module under `benchmarks.arms`, the variant, and its virtual environment."""

    module: str
    variant: str = "-"
    environment: str = "small-model"
    requirements: tuple[str, ...] = _OURS
    packages: tuple[str, ...] = ("langchain", "langgraph", "langchain-openai")


_CODE_MODE = {"module": "code_mode", "packages": ("codemode-graph", "langgraph", "langchain-openai", "pydantic-monty")}

ARMS: Mapping[str, Arm] = {
    "codemode-graph": Arm(variant="whole", **_CODE_MODE),  # type: ignore[arg-type]
    "codemode-graph, answer declared": Arm(variant="answer declared", **_CODE_MODE),  # type: ignore[arg-type]
    "tool calls (create_agent)": Arm(module="tool_calling"),
    "plain loop": Arm(module="plain_loop"),
    "smolagents CodeAgent": Arm(
        module="smolagents_agent",
        environment="smolagents-agent",
        requirements=(*SMOLAGENTS, "openai>=2,<3", "typing-extensions"),
        packages=("smolagents", "openai"),
    ),
    "pydantic-ai-harness CodeMode": Arm(
        module="harness_agent",
        environment="pydantic-ai-harness",
        requirements=("pydantic-ai-harness[code-mode]>=0.62,<0.63", "pydantic-ai-slim[openai]>=2.62,<3", MONTY),
        packages=("pydantic-ai-harness", "pydantic-ai-slim", "pydantic-monty"),
    ),
    "codemode-graph, no check": Arm(variant="no check", **_CODE_MODE),  # type: ignore[arg-type]
    "codemode-graph, no repair": Arm(variant="no repair", **_CODE_MODE),  # type: ignore[arg-type]
    "codemode-graph, no observed types": Arm(variant="no observed types", **_CODE_MODE),  # type: ignore[arg-type]
}
"""The ways, by the name that the tables use."""

_HALVES = {"tuning": TUNING, "report": REPORT, "both": TASKS}


class _File:
    """The results of a day, written anew after each run."""

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self._folder = folder
        try:
            kept = store.newest("small-model", folder=folder)
        except FileNotFoundError:
            kept = {}
        # Those of another day are another measurement.
        same_day = kept.get("date") == facts["date"]
        self.results: dict[str, Any] = kept if same_day else {**facts, "runs": [], "packages": {}}

    def has(self, run: Mapping[str, Any]) -> bool:
        """Return whether the run was made."""
        return any(all(each[key] == run[key] for key in run) for each in self.results["runs"])

    def add(self, run: Mapping[str, Any]) -> None:
        """Add a run, and write the file."""
        # Of its own: ways that a change cannot have touched need not be run again.
        self.results["runs"].append({**run, "revision": revision()})
        self.results["load after"] = load()
        store.write("small-model", self.results, markdown(self.results), folder=self._folder)


async def _arm(name: str, tasks: Sequence[Task], file: _File, options: argparse.Namespace) -> None:
    """Do the tasks in one way, set by set and seed by seed."""
    arm = ARMS[name]
    python = Path(sys.executable) if options.here else environment(arm.environment, arm.requirements)
    for seed in options.seeds:
        sampling = {"temperature": options.temperature, "seed": seed, "max_tokens": MOST_TOKENS, "cache_prompt": True}
        about = {"round": options.round, "arm": name, "seed": seed, "temperature": options.temperature}
        for _, group in groupby(tasks, key=lambda task: task.toolset):
            todo = [task for task in group if not file.has({**about, "task": task.name})]
            if not todo:
                continue
            with Meter(options.base_url, sampling) as meter:
                system = System(
                    name=f"small-model {arm.module}",
                    module=f"benchmarks.arms.{arm.module}",
                    environment=arm.environment,
                    requirements=arm.requirements,
                    arguments=(meter.url, options.model, arm.variant),
                )
                while todo:
                    worker = await Worker.start(system, python, module="benchmarks.arms.arm")
                    packages = worker.ready["packages"]
                    file.results["packages"][name] = {each: packages.get(each, "?") for each in arm.packages}
                    try:
                        while todo:
                            run = await _run(todo.pop(0), worker, meter, about, show=options.show)
                            file.add(run)
                            if run["lost"]:
                                break
                    finally:
                        await worker.stop()


async def _run(task: Task, worker: Worker, meter: Meter, about: Mapping[str, Any], *, show: bool) -> dict[str, Any]:
    start = time.monotonic()
    lost = False
    try:
        answer = await worker.ask({"task": task.name}, seconds=TASK_SECONDS)
    except RuntimeError as error:  # the process hangs, or has died; what it had changed died with it
        lost, why = True, f"no answer in {TASK_SECONDS} s: {error}"[:300]
        answer = {"value": None, "failed": why, "errors": 0, "changes": [], "transcript": []}
    seconds = round(time.monotonic() - start, 1)
    judged, usage = judge(task, answer), meter.take()
    if show:
        print(f"\n{'-' * 100}\n{task.name}: {task.text}", *answer["transcript"], json.dumps(answer["value"]), sep="\n")
    tokens = f"{usage.model_calls} calls {usage.input_tokens:>6} + {usage.output_tokens:>4} tokens"
    print(
        f"{about['arm']:<30.30} {task.name:<20}{judged['outcome']:<20}{tokens}{seconds:>7.1f} s  {judged['reason']}",
        flush=True,
    )
    return {
        **about,
        "task": task.name,
        "half": "report" if task in REPORT else "tuning",
        **judged,
        **usage.to_json(),
        "lost": lost,
        "errors": answer["errors"],
        "seconds": seconds,
        "value": answer["value"],
        "changes": answer["changes"],
        "transcript": answer["transcript"],
    }


async def measure(options: argparse.Namespace) -> None:
    """Run the ways, one after another."""
    facts = {**store.facts(), "model": options.about or options.model, "sampling": {"max_tokens": MOST_TOKENS}}
    file = _File(options.results, facts)
    chosen = [task for task in _HALVES[options.half] if not options.only or task.name.startswith(tuple(options.only))]
    for name in options.arms:
        await _arm(name, chosen, file, options)
    print(markdown(file.results))


def arms_of(results: Mapping[str, Any], half: str, round_name: str = "final") -> str:
    """Return the table of one half: a row for each way that was run, of seeds or greedy.

    Args:
        results: The content of a result file.
        half: `report` or `tuning`.
        round_name: The round.
    """
    runs = [each for each in results["runs"] if each["half"] == half and each["round"] == round_name]
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for temperature in sorted({each["temperature"] for each in runs}):
        for name in ARMS:
            found = [each for each in runs if each["arm"] == name and each["temperature"] == temperature]
            seeds = len({each["seed"] for each in found})
            if found:
                rows[f"{name}, {seeds} seeds" if temperature else name] = found
    return arms_table(rows)


def rounds_of(results: Mapping[str, Any], half: str) -> str:
    """Return the table of the rounds of codemode-graph itself: what a change of its prompts brought.

    Args:
        results: The content of a result file.
        half: `report` or `tuning`.
    """
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for each in results["runs"]:
        if each["half"] == half and each["arm"] == "codemode-graph" and not each["temperature"]:
            rows.setdefault(each["round"], []).append(each)
    return arms_table(rows, "round")


def conditions(results: Mapping[str, Any]) -> str:
    """Return the machine, the model, the sampling and the versions of a result file in one paragraph."""
    here = results["machine"]
    revisions = dict.fromkeys(each.get("revision") or results["revision"] or "not recorded" for each in results["runs"])
    versions = dict.fromkeys(f"{n} {v}" for named in results["packages"].values() for n, v in named.items())
    return (
        f"{results['model']}, {results['date']}, commit {' and '.join(revisions)}, {here['cpu']}, "
        f"{here['cores']} cores, load {here['load']} to {results['load after']}; temperature 0 and seed 0 where no seeds are "
        f"named, at most {results['sampling']['max_tokens']} tokens an answer. {', '.join(versions)}."
    )


def markdown(results: Mapping[str, Any]) -> str:
    """Return the report of a result file."""
    parts = ["# A small model on small tasks", conditions(results)]
    for half in ("report", "tuning"):
        for name in dict.fromkeys(each["round"] for each in results["runs"] if each["half"] == half):
            parts += [f"## {half}, {name}", arms_of(results, half, name)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Read the command line, and run the benchmark."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.small_model", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--base-url", required=True, help="of an OpenAI-compatible server, with its /v1")
    parser.add_argument("--model", required=True, help="the model's name there")
    parser.add_argument("--about", help="the model's full name, for the results")
    parser.add_argument(
        "--arms", nargs="+", choices=list(ARMS), default=list(ARMS), metavar="NAME", help="the ways to run"
    )
    parser.add_argument("--half", choices=list(_HALVES), default="report", help="the tasks (%(default)s)")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="tasks whose names begin so")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the sampling; several need a temperature")
    parser.add_argument("--round", default="final", help="the name of the measurement, such as what was changed")
    parser.add_argument("--show", action="store_true", help="print what the model wrote")
    parser.add_argument("--here", action="store_true", help="run in this environment, and make none")
    parser.add_argument("--results", type=Path, default=store.RESULTS)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
