"""The types of tools' results are followed through a program's functions, lambdas and containers."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from codemode_graph import CodeMode, codemode
from tests.check.shop_tools import TOOLS

_HERE = Path(__file__).parent
RIGHT = (_HERE / "right_programs.txt").read_text(encoding="utf-8").partition("\n")[2].rstrip("\n").split("\n--\n")
WRONG = [
    tuple(each.split("\n", 1))
    for each in (_HERE / "wrong_programs.txt").read_text(encoding="utf-8").rstrip("\n").split("\n== ")[1:]
]


@pytest_asyncio.fixture
async def cm() -> AsyncIterator[CodeMode]:
    """Yield a `CodeMode` with the tools."""
    async with codemode(tools=TOOLS) as session:
        yield session


@pytest.mark.parametrize("part", range(8))
async def test_a_right_program_is_not_refused(cm: CodeMode, part: int) -> None:
    wrong = {}
    for program in RIGHT[part::8]:
        result = await cm.run_code(program)
        if result["error"] is not None:
            wrong[program] = result["error"]

    assert wrong == {}


@pytest.mark.parametrize("part", range(8))
async def test_a_wrong_program_is_told_before_anything_runs(cm: CodeMode, part: int) -> None:
    missed = {}
    for words, program in WRONG[part::8]:
        result = await cm.run_code(program)
        if words not in (result["error"] or "") or result["tool_calls"]:
            missed[program] = result["error"] or result["output"]

    assert missed == {}


async def test_shapes_that_double_with_each_line_are_given_up(cm: CodeMode) -> None:
    lines = [f"a{i} = (a{i - 1}, a{i - 1})\nb{i} = a{i} if a0 else a{i - 1}\nb{i}[0]" for i in range(1, 60)]

    result = await cm.run_code("\n".join(["a0 = await tools.rows()", *lines, "len(b59)"]))

    assert result["output"] == 2
