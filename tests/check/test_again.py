"""`again(tools.x(...))`, by which a program says that a call is meant anew."""

import asyncio
from typing import Any

import pytest
from codemode_sandboxes import create_sandbox
from codemode_sandboxes.source import to_script

from codemode_graph.check import check_program
from codemode_graph.check.again import mark_again, without_marks
from codemode_graph.tools import tool
from codemode_graph.tools.load import load_tools
from codemode_graph.tools.signatures import Signatures
from tests.check.harness import run

NAMES = ["pay", "list-events", "now"]
MARKED = {
    "await again(tools.pay('ann', 5))": "await (tools.pay('ann', 5, codemode_again=True))",
    "again(tools.now())": "(tools.now(codemode_again=True))",
    "await again(tools['list-events']('a', **more))": "await (tools['list-events']('a', **more, codemode_again=True))",
    "await again(await tools.now())": "await (tools.now(codemode_again=True))",
    "again(await tools.now())": "(await tools.now(codemode_again=True))",
    "await again(\n    tools.pay(\n        'ann',  # she\n        5,  # all, of it\n    ),\n)": (
        "await (\n    tools.pay(\n        'ann',  # she\n        5,  # all, of it\n     codemode_again=True)\n)"
    ),
    "await again(tools.pay(('ann'), (5)))": "await (tools.pay(('ann'), (5), codemode_again=True))",
    "p = tools.pay\nawait again(p('é', 5))": "p = tools.pay\nawait (p('é', 5, codemode_again=True))",
    "[await again(tools.pay(n, 1)) for n in x]": "[await (tools.pay(n, 1, codemode_again=True)) for n in x]",
}  # fmt: skip


@pytest.mark.parametrize("program", MARKED)
def test_the_call_is_marked_where_it_stands(program: str) -> None:
    code, fixes, findings = mark_again(program, NAMES)
    assert (code, findings, len(fixes)) == (MARKED[program], [], 1)
    assert "codemode_again" not in without_marks(code)
    compile(f"async def main():\n{_indented(code)}", "", "exec")
    compile(f"async def main():\n{_indented(without_marks(code))}", "", "exec")


def _indented(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.split("\n"))


@pytest.mark.parametrize(
    "program",
    ["again(5)", "x = again\nx", "c = tools.pay('ann', 5)\nawait again(c)", "again()", "list(map(again, []))"],
)
def test_another_use_is_a_finding(program: str) -> None:
    code, _, (finding,) = mark_again(program, NAMES)
    assert (code, finding["rule"]) == (program, "wrong-again")


async def test_a_program_may_have_a_function_of_that_name() -> None:
    program = "def again(x):\n    return x\nagain(4)"
    assert mark_again(program, NAMES) == (program, [], [])
    assert await run(to_script(program).code) == 4


@tool(effect="write")
def pay(who: str, amount: int = 1) -> str:
    """Pay."""
    return f"paid {who} {amount}"


@pytest.mark.parametrize("name", ["monty", "restricted"])
async def test_the_check_finds_in_the_call_what_it_finds_without_the_mark(name: str) -> None:
    sandbox = create_sandbox(name)
    signatures = Signatures.of(load_tools([pay]))
    checker: Any = create_sandbox("monty")
    check = {"signatures": signatures, "capabilities": sandbox.capabilities, "type_checker": checker}
    fine = await check_program("x = again(tools.pay('ann', amount='5'))\nx", **check)
    assert (fine.findings, fine.tools) == ((), ("pay",))
    assert fine.program == "x = (await tools.pay('ann', amount=5, codemode_again=True))\nx"
    wrong = await check_program("await again(tools.pay('ann', sum=5))", **check)
    assert [finding["rule"] for finding in wrong.findings] == ["unknown-argument"]
    lost = await check_program("await again(tools.pai('ann'))", **check)
    assert [finding["rule"] for finding in lost.findings] == ["unknown-tool"]
    await asyncio.gather(sandbox.aclose(), checker.aclose())
