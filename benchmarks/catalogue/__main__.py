"""Measures what the search of tools finds, with the questions beside this file.

Run it from the repository's root: `python -m benchmarks.catalogue --catalogues FOLDER --bfcl FOLDER`. The first folder holds
`github.jsonl` and `mcp.jsonl`: a tool a line, with `name` (as `place/name`) and `description`. The second one is `data` of the
package bfcl-eval: questions and functions of others.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

from codemode_graph.catalogue.search import ToolIndex
from codemode_graph.tools.effects import infer_effect
from codemode_graph.tools.spec import ToolSpec

QUESTIONS = Path(__file__).parent / "queries.json"
LIMITS = (5, 8, 10, 20)
# Questions of BFCL that the weights were chosen on, and the seed that draws them.
_TUNED = 500
_SEED = 7


async def _nothing(arguments: dict[str, Any], config: Any) -> Any:
    raise NotImplementedError


def read_tools(path: Path) -> list[ToolSpec]:
    """Return the tools of a file, a tool a line."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        ToolSpec(
            name=line["name"],
            description=line["description"],
            effect=infer_effect(line["name"].partition("/")[2], {}),
            call=_nothing,
        )
        for line in lines
    ]


def read_bfcl(folder: Path) -> tuple[list[ToolSpec], list[tuple[str, list[str]]]]:
    """Return BFCL's functions, and its questions that the weights of the search were not chosen on."""
    functions, questions = dict[str, Any](), list[tuple[str, list[str]]]()
    for name in ("simple_python", "multiple", "live_simple", "live_multiple"):
        lines = (folder / "possible_answer" / f"BFCL_v4_{name}.json").read_text(encoding="utf-8").splitlines()
        answers = {each["id"]: each["ground_truth"] for each in map(json.loads, lines)}
        for line in (folder / f"BFCL_v4_{name}.json").read_text(encoding="utf-8").splitlines():
            task = json.loads(line)
            functions |= {each["name"]: functions.get(each["name"], each) for each in task["function"]}
            text = " ".join(each["content"] for each in task["question"][0] if each["role"] == "user")
            questions.append((text, sorted({tool for call in answers[task["id"]] for tool in call})))
    tuned = set(random.Random(_SEED).sample(range(len(questions)), _TUNED))
    return (
        [
            ToolSpec(
                name=name,
                description=each["description"],
                input_schema={**each["parameters"], "type": "object"},
                effect=infer_effect(name.rpartition(".")[2], {}),
                call=_nothing,
            )
            for name, each in functions.items()
        ],
        [each for number, each in enumerate(questions) if number not in tuned],
    )


def recall(index: ToolIndex, questions: list[tuple[str, list[str]]], limit: int) -> float:
    """Return the share of the questions for which one of the right tools is among the first `limit`."""
    found = [{spec.name for spec in index.search(question, limit=limit)} & set(right) for question, right in questions]
    return sum(map(bool, found)) / len(questions)


def main() -> None:
    """Print recall for each set of questions."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalogue", description=main.__doc__)
    parser.add_argument("--catalogues", type=Path, required=True, help="the folder of the files")
    parser.add_argument("--bfcl", type=Path, help="the folder `data` of the package bfcl-eval")
    options = parser.parse_args()
    names = ("github", "mcp")
    indexes = {name: ToolIndex(read_tools(options.catalogues / f"{name}.jsonl")) for name in names}
    every: dict[str, list[tuple[str, list[str]]]] = json.loads(QUESTIONS.read_text(encoding="utf-8"))
    if options.bfcl is not None:
        tools, every["BFCL, kept back"] = read_bfcl(options.bfcl)
        indexes["BFCL"] = ToolIndex(tools)
    print(f"| questions | {' | '.join(f'recall@{limit}' for limit in LIMITS)} |\n| --- |{' ---: |' * len(LIMITS)}")
    for name, questions in every.items():
        index = indexes[name.split(",")[0]]
        row = " | ".join(f"{recall(index, questions, limit):.2f}" for limit in LIMITS)
        print(f"| {len(questions):,} of {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
