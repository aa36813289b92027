"""A run goes on after a deployment: with tools that have other parameters since, and without some of its tools."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from codemode_graph import CodeMode, ToolPolicy, codemode
from codemode_graph.errors import ConfigurationError
from codemode_graph.tools import tool

PROGRAM = "await tools.pay('ann', 5)\nawait tools.pay('ann', 5)\nawait tools.send('ann')"
APPROVED = [{"type": "approve"}]
made: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    made.clear()


def pay(to: str, amount: int) -> str:
    """Pay."""
    made.append(f"pay {to}")
    return f"paid {to}"


@tool(name="pay")
def pay_in(to: str, amount: int, currency: str = "EUR") -> str:
    """Pay in a currency."""
    return pay(to, amount)


@tool(name="pay")
def pay_exactly(to: str, amount: Decimal) -> str:
    """Pay an exact amount."""
    return pay(to, int(amount))


def send(to: str) -> str:
    """Send a letter."""
    made.append(f"send {to}")
    return f"sent to {to}"


def opened(place: Path, *tools: Callable[..., Any]) -> CodeMode:
    return codemode(tools=[*tools], durable=place, policies={"send": ToolPolicy(approval=True)})


@pytest.mark.parametrize("since", [pay_in, pay_exactly], ids=["a default more", "another type"])
@pytest.mark.parametrize("how", ["resumed", "repaired"])
async def test_a_tool_with_other_parameters_makes_no_call_again(
    how: str, since: Callable[..., Any], tmp_path: Path
) -> None:
    place = tmp_path / "runs.sqlite"
    async with opened(place, pay, send) as cm:
        first = await cm.run_code(PROGRAM if how == "resumed" else f"{PROGRAM.partition('await tools.send')[0]}1 / 0")
    assert made == ["pay ann"] * 2
    async with opened(place, since, send) as cm:
        if how == "repaired":
            first = await cm.run_code(PROGRAM, after=str(first["run_id"]))
        result = await cm.resume(str(first["run_id"]), decisions=APPROVED)
    assert (result["output"], made) == ("sent to ann", ["pay ann"] * 2 + ["send ann"])
    assert result["left_over"] == []


@pytest.mark.parametrize("kept", [[pay], [send]], ids=["not called yet", "called"])
async def test_a_run_whose_tool_is_gone_waits_until_it_is_back(kept: list[Any], tmp_path: Path) -> None:
    place = tmp_path / "runs.sqlite"
    async with opened(place, pay, send) as cm:
        waiting = await cm.run_code(PROGRAM)
    async with codemode(tools=kept, durable=place) as cm:
        gone = "send" if kept == [pay] else "pay"
        with pytest.raises(ConfigurationError, match=f"calls '{gone}', and there is no such tool here"):
            await cm.resume(str(waiting["run_id"]), decisions=APPROVED)
    async with opened(place, pay, send) as cm:
        (summary,) = await cm.runs()
        assert (summary.status, made) == ("open", ["pay ann"] * 2)
        result = await cm.resume(str(waiting["run_id"]))
    assert (result["output"], made) == ("sent to ann", ["pay ann"] * 2 + ["send ann"])


@pytest.mark.parametrize("since", [pay_in, pay_exactly], ids=["a default more", "another type"])
@pytest.mark.parametrize("arguments", ["'ann', 5", "'bob', 4"])
async def test_a_call_that_a_person_edited_is_known_by_what_was_written_before_and_after(
    arguments: str, since: Callable[..., Any], tmp_path: Path
) -> None:
    place, policies = tmp_path / "runs.sqlite", {"pay": ToolPolicy(approval=True)}
    edit = [{"type": "edit", "edited_action": {"name": "pay", "args": {"to": "bob", "amount": 4}}}]
    async with codemode(tools=[pay], durable=place, policies=policies) as cm:
        waiting = await cm.run_code("await tools.pay('ann', 5)\n1 / 0")
        failed = await cm.resume(str(waiting["run_id"]), decisions=edit)
    async with codemode(tools=[since], durable=place, policies=policies) as cm:
        again = await cm.run_code(f"await tools.pay({arguments})", after=str(failed["run_id"]))
    assert (again["output"], made) == ("paid bob", ["pay bob"])
