"""Findings about types name the tool: the one that a wrong key is blamed on, and the one that has the key."""

import dataclasses
from collections.abc import Sequence

import pytest
from codemode_sandboxes.monty import MontySandbox
from typing_extensions import TypedDict

from codemode_graph.check import check_program
from codemode_graph.tools.load import load_tools
from codemode_graph.tools.signatures import Signatures, render_stubs
from codemode_graph.tools.spec import ToolSpec


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


class City(TypedDict):
    name: str
    mayor: str


async def find_city(zone: str) -> City:
    """Find the largest city of a zone."""
    raise NotImplementedError


SPECS = load_tools([now, moments, convert])
MORE = load_tools([now, moments, convert, find_city])


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
    assert (await _messages(program, SPECS, "wrong-key"))[0].startswith(blamed)


async def _messages(program: str, specs: Sequence[ToolSpec], rule: str) -> list[str]:
    monty = MontySandbox()
    checked = await check_program(
        program,
        signatures=Signatures.of(specs),
        capabilities=await monty.aprobe(),
        stubs=render_stubs(specs),
        type_checker=monty,
    )
    await monty.aclose()
    assert {finding["rule"] for finding in checked.findings} == {rule}
    return [finding["message"] for finding in checked.findings]


@pytest.mark.parametrize(
    "program",
    [
        "(await tools.now('UTC'))['mayor']",
        "[moment['mayor'] for moment in await tools.moments()]",
        "(await tools.now('UTC')).mayor",
        "for zone in await tools.now('UTC'):\n    zone['mayor']",
    ],
)
async def test_a_wrong_key_names_the_tool_that_returns_it(program: str) -> None:
    (message,) = await _messages(program, MORE, "wrong-key")
    assert message.endswith("; 'mayor' is in what tools['find_city'](zone=...) returns")


async def test_no_tool_is_named_for_a_key_that_many_tools_return() -> None:
    many = [*SPECS, *(dataclasses.replace(MORE[-1], name=f"find_city_{number}") for number in range(4))]
    (message,) = await _messages("for zone in await tools.now('UTC'):\n    zone['mayor']", many, "wrong-key")
    assert "is in what" not in message
    (message,) = await _messages("(await tools.now('UTC'))['mayor']", many[:-2], "wrong-key")
    assert message.endswith(
        "; 'mayor' is in what tools['find_city_0'](zone=...) or tools['find_city_1'](zone=...) returns"
    )


async def test_an_argument_of_the_wrong_type_says_how_to_pass_it() -> None:
    (message,) = await _messages("await tools.convert(hour=[1, 2], zone='UTC')", MORE, "wrong-type")
    assert message.endswith(
        "must be a number: call it for each item, as in "
        "`await asyncio.gather(*[tools['convert'](hour=each, ...) for each in items])`"
    )
    (message,) = await _messages("await tools.find_city(zone=await tools.now('UTC'))", MORE, "wrong-type")
    assert message.endswith("must be a str; pass a part of it: its keys are 'zone', 'hour'; did you mean 'zone'?")
