"""Compares prompts that show all cards with catalogue mode, for ten, a hundred and a thousand tools.

Run it from the repository's root: `python -m benchmarks run catalogue-table FOLDER`. The folder holds what MCP servers
answered, a file a server. The tasks are the questions beside this file; the tools are those that answer them, filled up with
others. The model is scripted: it writes the program that calls the right tool if the prompt has the card of one, else one that
searches with the words of the task, and gives up where that finds none either. So the figures tell what a model gets to see
and what that costs, not how well a model writes.
"""

import argparse
import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from benchmarks import store
from benchmarks.catalogue.__main__ import QUESTIONS
from benchmarks.catalogue.scale import read_specs
from codemode_graph import create_codemode
from codemode_graph.catalogue import CARD_TOKENS, Catalogue
from codemode_graph.tools.cards import estimate_tokens
from codemode_graph.tools.spec import ToolSpec

COUNTS = (10, 100, 1_000)
TASKS = 45
LIMIT = 8


class Scripted(BaseChatModel):
    """Writes the program that calls a tool which answers the task, as soon as it has read the card of one."""

    right: dict[str, list[str]]
    task: str = ""
    asked: list[str] = []  # noqa: RUF012

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text = "\n".join(message.text for message in messages)
        self.asked.append(text)
        shown = [name for name in self.right[self.task] if f"await tools[{name!r}](" in text]
        if shown:
            body = f"return await tools[{shown[0]!r}](**{{}})"
        elif "await tools['search_tools'](" in text and len(self.asked) == 1:
            body = f"return await search_tools({self.task!r}, limit={LIMIT})"
        else:
            body = "return 'none of the tools does it'"
        return ChatResult(
            generations=[ChatGeneration(message=AIMessage(f"```python\nasync def main():\n    {body}\n```"))]
        )


async def _answer(arguments: dict[str, Any], config: Any) -> Any:
    return "right"


def choose(specs: Sequence[ToolSpec], questions: Sequence[tuple[str, list[str]]], count: int) -> list[ToolSpec]:
    """Return so many tools: one that answers each question, as far as there is room, and others."""
    by_name = {spec.name: spec for spec in specs}
    needed = list(dict.fromkeys(right[0] for _, right in questions))[:count]
    others = [name for name in by_name if name not in needed]
    random.Random(count).shuffle(others)
    return [_without_arguments(by_name[name]) for name in [*needed, *others][:count]]


def _without_arguments(spec: ToolSpec) -> ToolSpec:
    # A call without arguments is to pass the check: what is measured is whether the tool is found.
    schema = {key: value for key, value in spec.input_schema.items() if key != "required"}
    return replace(spec, call=_answer, input_schema=schema)


async def measure(
    specs: list[ToolSpec], questions: Sequence[tuple[str, list[str]]], tokens: int | None
) -> dict[str, Any]:
    """Return what the prompts of these tools cost, and how often the right tool is seen."""
    names = {spec.name for spec in specs}
    asked = [(task, [name for name in right if name in names]) for task, right in questions]
    asked = [(task, right) for task, right in asked if right]
    catalogue = Catalogue(specs, tokens=tokens)
    found = [{spec.name for spec in catalogue.index.search(task, limit=LIMIT)} & set(right) for task, right in asked]
    first, solved, spent, systems = 0, 0, 0, list[int]()
    model = Scripted(right=dict(asked))
    graph = create_codemode(model=model, tools=specs, card_tokens=tokens).compile()
    for task, _ in asked:
        model.task, model.asked = task, []
        state = await graph.ainvoke({"task": task})
        done = [attempt for attempt in state["attempts"] if attempt["verdict"] == "ok"]
        solved += state["output"] == "right"
        first += state["output"] == "right" and done[0]["number"] == 1
        spent += sum(map(estimate_tokens, model.asked))
        systems.append(estimate_tokens(model.asked[0]))
    return {
        "tools": len(specs),
        "searched": catalogue.is_searched,
        "tasks": len(asked),
        "prompt": round(sum(systems) / len(asked)),
        "recall": sum(map(bool, found)) / len(asked),
        "first": first / len(asked),
        "solved": solved / len(asked),
        "spent": round(spent / len(asked)),
    }


def table(results: Any) -> str:
    """Return the table of the documentation."""
    lines = [
        f"| tools | prompt shows | first prompt, tokens | recall@{LIMIT} | right at once | right in the end | tokens a task |",
        f"| ---: | --- |{' ---: |' * 5}",
    ]
    for row in results["rows"]:
        shows = "a catalogue" if row["searched"] else "all cards"
        shares = " | ".join(f"{row[key]:.2f}" for key in ("recall", "first", "solved"))
        lines.append(f"| {row['tools']} | {shows} | {row['prompt']:,} | {shares} | {row['spent']:,} |")
    return "\n".join(lines)


async def _rows(folder: Path) -> list[dict[str, Any]]:
    specs = read_specs(folder, max(COUNTS))
    questions = json.loads(QUESTIONS.read_text(encoding="utf-8"))["mcp"][:TASKS]
    rows = []
    for count in COUNTS:
        chosen = choose(specs, questions, count)
        rows.append(await measure(chosen, questions, None))
        # Few tools are a catalogue only if the budget says so.
        rows.append(await measure(chosen, questions, CARD_TOKENS))
        if not rows[-1]["searched"]:
            del rows[-1]
    return rows


def main() -> None:
    """Print the table, and write it to the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalogue.table", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the folder of the servers' files")
    folder: Path = parser.parse_args().folder
    results = {**store.facts(), "rows": asyncio.run(_rows(folder))}
    print(table(results))
    store.write("catalogue-table", results)


if __name__ == "__main__":
    main()
