"""Every example runs as it is, and prints what it says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = {
    "loaders/langchain_mcp_adapters_tools": "{'orders': 5, 'total': 282.5}",
    "loaders/langchain_mcp_tools_tools": "['Ann Ash', 'Bob Birch']",
    "loaders/mcp_use_tools": "['Ann Ash', 'Bob Birch']",
    "loaders/raw_sdk_tools": "{'orders': 5, 'total': 282.5}",
}


def test_every_example_is_here() -> None:
    assert {
        str(path.relative_to(ROOT / "examples").with_suffix("")) for path in (ROOT / "examples").rglob("*.py")
    } == set(EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_prints_what_it_says(example: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI", "LANGSMITH"))}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "sandboxes")])
    ended = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{example}.py")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == EXAMPLES[example], ended.stderr
