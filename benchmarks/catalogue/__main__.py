"""Measures what the search of tools finds, with the questions beside this file.

Run it from the repository's root: `python -m benchmarks.catalogue --catalogues FOLDER`. The folder holds `github.jsonl` and
`mcp.jsonl`: a tool a line, with `name` (as `place/name`) and `description`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from codemode_graph.catalogue.search import ToolIndex
from codemode_graph.tools.spec import ToolSpec

QUESTIONS = Path(__file__).parent / "queries.json"
LIMITS = (5, 8, 10, 20)


async def _nothing(arguments: dict[str, Any], config: Any) -> Any:
    raise NotImplementedError


def read_tools(path: Path) -> list[ToolSpec]:
    """Return the tools of a file, a tool a line."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [ToolSpec(name=line["name"], description=line["description"], call=_nothing) for line in lines]


def recall(index: ToolIndex, questions: list[tuple[str, list[str]]], limit: int) -> float:
    """Return the share of the questions for which one of the right tools is among the first `limit`."""
    found = [{spec.name for spec in index.search(question, limit=limit)} & set(right) for question, right in questions]
    return sum(map(bool, found)) / len(questions)


def main() -> None:
    """Print recall for each set of questions."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalogue", description=main.__doc__)
    parser.add_argument("--catalogues", type=Path, required=True, help="the folder of the files")
    folder = parser.parse_args().catalogues
    indexes = {name: ToolIndex(read_tools(folder / f"{name}.jsonl")) for name in ("github", "mcp")}
    print(f"| questions | {' | '.join(f'recall@{limit}' for limit in LIMITS)} |\n| --- |{' ---: |' * len(LIMITS)}")
    for name, questions in json.loads(QUESTIONS.read_text(encoding="utf-8")).items():
        index = indexes[name.split(",")[0]]
        row = " | ".join(f"{recall(index, questions, limit):.2f}" for limit in LIMITS)
        print(f"| {len(questions)} of {name} | {row} |")


if __name__ == "__main__":
    main()
