"""Every example runs as it is, and prints what it says; where it asks a model, a service on loopback gives the words."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wire.payloads import Reply
from tests.wire.server import Service

FOLDER = Path(__file__).parents[1] / "examples"
PAY = "[await tools.pay(name, await tools.owed(name)) for name in ['ann', 'bob', 'cy']]"
SUMS = """owed = {}
for order in await tools.list_unpaid_orders():
    owed[order['customer']] = owed.get(order['customer'], 0) + order['total']
for customer, amount in owed.items():
    await tools.send_reminder(customer=customer, amount=amount)
owed"""
REMINDED = ["reminding Ann of 125.0", "reminding Bob of 12.0"]
EXAMPLES: dict[str, tuple[list[str], list[Reply | str]]] = {
    "loaders/langchain_mcp_adapters_tools.py": (["{'orders': 5, 'total': 282.5}"], []),
    "loaders/langchain_mcp_tools_tools.py": (["['Ann Ash', 'Bob Birch']"], []),
    "loaders/mcp_use_tools.py": (["['Ann Ash', 'Bob Birch']"], []),
    "loaders/raw_sdk_tools.py": (["{'orders': 5, 'total': 282.5}"], []),
    "reminders.py": (
        ["{'Ann': 125.0, 'Bob': 12.0}", "attempts: 1"],
        [Reply(code=SUMS)],
    ),
    "subgraph.py": (["asked: order {'item': 'toast'}", "tea ordered; toast is there already"], []),
    "agent_with_middleware.py": (
        ['["paid ann 80", "paid bob 12", "paid cy 31"]', "All three are paid."],
        [Reply(calls=(("run_program", json.dumps({"code": PAY})),)), "All three are paid."],
    ),
    "openai_responses.py": (
        ["Pears are."],
        [
            Reply(calls=(("codemode", json.dumps({"task": "Which of apple, pear and plum are out of stock?"})),)),
            Reply(code="[i for i in ['apple', 'pear', 'plum'] if not await tools.stock_of(i)]"),
            "Pears are.",
        ],
    ),
    "compare/compare.sh": (["restricted", "the same", 'Value: {"fox": 2, "the": 2}'], []),
}
PARTS = {"compare/program.py", "compare/words.py"}


def test_every_example_is_here() -> None:
    files = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.*") if "__pycache__" not in path.parts}
    files.remove("many_tasks_on_ray.py")  # with fewer tasks, on a cluster of the tests': tests/sandboxes/test_ray.py
    assert files == EXAMPLES.keys() | PARTS


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_prints_what_it_says(example: str) -> None:
    expected, replies = EXAMPLES[example]
    printed = run_example(example, *replies)
    for line in expected:
        assert line in printed


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ([Reply(code=SUMS)], [*REMINDED, "{'Ann': 125.0, 'Bob': 12.0}", "attempts: 1"]),
        (
            [Reply(code=SUMS.replace("total", "amount")), Reply(code=f"{SUMS}['all']"), Reply(code=SUMS)],
            [*REMINDED, "{'Ann': 125.0, 'Bob': 12.0}", "attempts: 3"],
        ),
        (
            [Reply(code=f"{SUMS}['{key}']") for key in ("all", "each", "both")],
            [
                *REMINDED,
                "line 6: KeyError: both (before that attempt 1: line 6: KeyError: all; attempt 2: line 6: KeyError: each)",
                "attempts: 3",
            ],
        ),
        (["I cannot do that."], ["the model wrote no program, but: I cannot do that.", "attempts: 2"]),
    ],
    ids=["right at once", "repaired", "never right", "no program"],
)
def test_the_twenty_lines_of_the_readme_end_well_with_any_answer(
    replies: list[Reply | str], expected: list[str]
) -> None:
    printed = run_example("reminders.py", *replies)
    assert printed.splitlines() == expected


def test_the_twenty_lines_of_the_readme_are_the_example() -> None:
    code = (FOLDER / "reminders.py").read_text().partition('"""\n\n')[2]
    assert f"```python\n{code}```\n" in (FOLDER.parent / "README.md").read_text()


def run_example(example: str, *replies: Reply | str) -> str:
    """Run an example with these replies of the model, and return what it prints."""
    root = FOLDER.parent
    with Service(*replies) as service:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI", "LANGSMITH"))}
        environment |= {
            "PYTHONPATH": os.pathsep.join([str(root), str(root / "sandboxes")]),
            "PYTHON": sys.executable,
            "OPENAI_API_KEY": service.key,
            "OPENAI_BASE_URL": service.url,
        }
        command = [sys.executable, example] if example.endswith(".py") else [f"./{example}"]
        ended = subprocess.run(
            command, cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=110, check=False
        )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
