"""A wrong key is blamed on a tool that the program calls, also where several tools return the same type."""

import pytest
from codemode_sandboxes.monty import MontySandbox
from typing_extensions import TypedDict

from codemode_graph.check import check_program
from codemode_graph.tools.load import load_tools
from codemode_graph.tools.signatures import Signatures, render_stubs


class Moment(TypedDict):
    zone: str
    hour: int


class Change(TypedDict):
    source: Moment
    target: Moment


async def now(zone: str) -> Moment:
    """The time now."""
    raise NotImplementedError


async def moments() -> list[Moment]:
    """All times."""
    raise NotImplementedError


async def convert(hour: int, zone: str) -> Change:
    """Convert a time."""
    raise NotImplementedError


SPECS = load_tools([now, moments, convert])


@pytest.mark.parametrize(
    ("program", "blamed"),
    [
        ("(await tools.now('UTC'))['time']", "what tools['now'] returns has no key 'time'"),
        ("(await tools.moments())[0]['time']", "each item of what tools['moments'] returns has no key 'time'"),
        ("c = await tools.convert(1, 'UTC')\nc['target']['time']", "Moment, in what tools['convert'] returns, has no"),
        (
            "n = await tools.now('UTC')\nc = await tools['convert'](1, n['zone'])\nc['target'].time",
            "Moment, in what tools['now'] and tools['convert'] return, is a dict without 'time'",
        ),
    ],
)
async def test_a_wrong_key_is_blamed_on_a_tool_that_is_called(program: str, blamed: str) -> None:
    monty = MontySandbox()
    checked = await check_program(
        program,
        signatures=Signatures.of(SPECS),
        capabilities=await monty.aprobe(),
        stubs=render_stubs(SPECS),
        type_checker=monty,
    )
    await monty.aclose()
    assert [finding["rule"] for finding in checked.findings] == ["wrong-key"]
    assert checked.findings[0]["message"].startswith(blamed)
