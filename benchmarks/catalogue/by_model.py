"""Compares prompts that show all cards with catalogue mode, with a real model.

It needs an OpenAI-compatible server. Run it from the repository's root:

    python -m benchmarks run catalogue-by-model FOLDER --base-url http://127.0.0.1:8091/v1 --model qwen2.5-coder-1.5b

The folder holds what MCP servers answered, a file a server. Tasks and tools are those of `benchmarks.catalogue.table`. A
program is right where it calls a tool that answers the task; arguments are not looked at, so no tool requires any. What does
not fit into the model's context counts as not done.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from benchmarks import store
from benchmarks.catalogue.__main__ import QUESTIONS
from benchmarks.catalogue.scale import read_specs
from benchmarks.catalogue.table import COUNTS, choose
from codemode_graph import codemode
from codemode_graph.catalogue import CARD_TOKENS, Catalogue
from codemode_graph.tools.cards import estimate_tokens
from codemode_graph.tools.spec import ToolSpec

TASKS = 10
# Tokens of a reply: what a prompt may have is the context without them.
REPLY = 700


async def measure(
    specs: list[ToolSpec], questions: Sequence[tuple[str, list[str]]], tokens: int | None, options: argparse.Namespace
) -> dict[str, Any]:
    """Return how many tasks a model gets right with these tools, and the tokens it reads."""
    from langchain_openai import ChatOpenAI  # the tables of the documentation are made without it

    catalogue = Catalogue(specs, tokens=tokens)
    row: dict[str, Any] = {"tools": len(specs), "searched": catalogue.is_searched, "tasks": []}
    for task, right in questions:
        found = {"task": task, "first": False, "solved": False, "tokens": 0, "seconds": 0.0, "fits": True}
        row["tasks"].append(found)
        # All cards are the same for each task: what is too long is told without asking.
        if estimate_tokens(catalogue.text(task)) > options.context - REPLY:
            found["fits"] = False
            continue
        model = ChatOpenAI(
            model=options.model,
            base_url=options.base_url,
            api_key=SecretStr("none"),
            temperature=0,
            timeout=600,
            max_retries=0,
            max_completion_tokens=REPLY,
        )
        start = time.monotonic()
        async with codemode(tools=specs, code_model=model, card_tokens=tokens, max_retries=1) as cm:
            result = await cm.run(task)
        called = [
            {call["tool"] for call in result["tool_calls"] if call["attempt"] == each["number"]}
            for each in result["attempts"]
        ]
        found["first"] = bool(called) and bool(called[0] & set(right))
        found["solved"] = any(names & set(right) for names in called)
        found["tokens"] = result["metrics"]["total_input_tokens"]
        found["seconds"] = round(time.monotonic() - start, 1)
        print(json.dumps(found), flush=True)
    return row


def table(results: Any) -> str:
    """Return the table of the documentation."""
    lines = [
        "| tools | prompt shows | tasks | right at once | right in the end | tokens a task |",
        f"| ---: | --- |{' ---: |' * 4}",
    ]
    for row in results["rows"]:
        shows, asked = "a catalogue" if row["searched"] else "all cards", row["tasks"]
        if not any(each["fits"] for each in asked):
            lines.append(f"| {row['tools']} | {shows} | does not fit | | | |")
            continue
        counts = " | ".join(str(sum(each[key] for each in asked)) for key in ("first", "solved"))
        lines.append(
            f"| {row['tools']} | {shows} | {len(asked)} | {counts} | {sum(each['tokens'] for each in asked) // len(asked):,} |"
        )
    return "\n".join(lines)


async def _rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    specs = read_specs(options.folder, max(COUNTS))
    questions = json.loads(QUESTIONS.read_text(encoding="utf-8"))["mcp"][: options.tasks]
    rows = []
    for count in options.counts:
        chosen = choose(specs, questions, count)
        names = {spec.name for spec in chosen}
        asked = [(task, [name for name in right if name in names]) for task, right in questions]
        for tokens in (None, CARD_TOKENS):
            if tokens is not None and not Catalogue(chosen, tokens=tokens).is_searched:
                continue
            rows.append(await measure(chosen, [each for each in asked if each[1]], tokens, options))
            print(table({"rows": rows[-1:]}), flush=True)
    return rows


def main() -> None:
    """Print the table, and write it to the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalogue.by_model", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the folder of the servers' files")
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", required=True, help="the model's name there")
    parser.add_argument("--about", help="the model's full name, for the results")
    parser.add_argument("--context", type=int, default=8_192, help="tokens of the model's context")
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--counts", type=int, nargs="*", default=list(COUNTS))
    options = parser.parse_args()
    results = {**store.facts(), "model": options.about or options.model, "rows": asyncio.run(_rows(options))}
    print(table(results))
    store.write("catalogue-by-model", results)


if __name__ == "__main__":
    main()
