"""The numbers of a run that waits, was refused, or was cut off."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from langchain_core.outputs import ChatResult
from rich.console import Console

from codemode_graph import Prices, ToolPolicy, codemode
from codemode_graph.calls.log import Attached, Done, Ended, Event, Renewed, Started, Unknown
from codemode_graph.calls.view import fold
from codemode_graph.integrations.answer import effects
from codemode_graph.metrics import metrics_box
from tests.support import ScriptedModel, scripted


async def pay(to: str) -> str:
    """Pay."""
    if to == "Zoe":
        raise TimeoutError("no answer")
    return f"paid {to}"


def executions(result: Any) -> list[int]:
    used = result["metrics"]
    return [used[f"{kind}_executions"] for kind in ("total", "successful", "failed", "open")]


def calls(result: Any) -> list[int]:
    used = result["metrics"]
    numbers = [used[f"{kind}_tool_calls"] for kind in ("total", "successful", "failed", "denied", "open")]
    names = ("calls", "successes", "failures", "denied", "open")
    assert numbers == [sum(entry[name] for entry in used["tool_breakdown"].values()) for name in names]
    return numbers


@pytest.mark.parametrize(
    ("program", "decision", "before", "after"),
    [
        ("await tools.pay('Zoe')", {"type": "respond", "message": "paid"}, [1, 0, 0, 0, 1], [1, 1, 0, 0, 0]),
        ("await tools.pay('Zoe')", {"type": "reject"}, [1, 0, 0, 0, 1], [1, 0, 0, 1, 0]),
        ("await tools.pay('Ann')\nawait tools.pay('Bob')", {"type": "approve"}, [1, 1, 0, 0, 0], [2, 2, 0, 0, 0]),
        ("await tools.pay('Ann')\nawait tools.pay('Bob')", {"type": "reject"}, [1, 1, 0, 0, 0], [2, 1, 0, 1, 0]),
    ],
)
async def test_what_waits_is_neither_good_nor_bad(
    tmp_path: Path, program: str, decision: Any, before: list[int], after: list[int]
) -> None:
    policies = {"pay": ToolPolicy(approval=lambda arguments: arguments["to"] == "Bob")}
    async with codemode(tools=[pay], durable=tmp_path / "runs.sqlite", policies=policies, sandbox="monty") as cm:
        waiting = await cm.run_code(program, run_id="1")
        assert (executions(waiting), calls(waiting)) == ([1, 0, 0, 1], before)
        assert executions(await cm.result("1")) == [1, 0, 0, 1]
        assert " failed</a>" not in waiting.trace.html()
        ended = await cm.resume("1", decisions=[decision])
        assert ("answered by a person" in str(ended.trace)) == (decision["type"] == "respond")
    bad = decision["type"] == "reject"
    assert (executions(ended), calls(ended)) == ([1, 1 - bad, bad, 0], after)
    console = Console(file=io.StringIO(), width=120)
    console.print(metrics_box(waiting["metrics"]), metrics_box(ended["metrics"]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert ("Not over: 1" in text, "Rejected: 1" in text, "Outcome unknown: 1" in text) == (
        True,
        bool(after[3]),
        bool(before[4]),
    )


class Silent(ScriptedModel):
    """Reports no tokens, as some local servers."""

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        result = super()._generate(*args, **kwargs)
        result.generations[0].message.usage_metadata = None  # type: ignore[attr-defined]
        return result


@pytest.mark.parametrize("bound", [{"max_tokens": 100}, {"max_cost": 0.0001, "prices": Prices(input=1.0, output=1.0)}])
async def test_a_model_that_reports_no_tokens_is_bounded_all_the_same(bound: dict[str, Any]) -> None:
    model = Silent(replies=["```python\n1 / 0\n```", "```python\n2 / 0\n```"])
    async with codemode(tools=[pay], code_model=model, max_attempts=9, **bound) as cm:
        result = await cm.run("Divide.")
    assert len(result["attempts"]) == 1
    assert re.search(r"\(not repaired: the run has (used|cost) about [\d.]+ of its [\d.]+", str(result["error"]))
    assert result["metrics"]["total_tokens"] == 0


async def test_a_refused_call_is_none_of_those_that_a_run_may_make() -> None:
    model = scripted("await tools.pay('Bob')", "'done without'")
    policies = {"pay": ToolPolicy(approval=True)}
    options: Any = {"max_tool_calls": 1, "approve": lambda _: {"decisions": [{"type": "reject"}]}}
    async with codemode(tools=[pay], code_model=model, policies=policies, **options) as cm:
        assert (await cm.run("Pay.")).value == "done without"


async def test_what_may_have_taken_effect_is_not_said_to_have_taken_none() -> None:
    async with codemode(tools=[pay], sandbox="monty") as cm:
        texts = [effects((await cm.run_code(f"await tools.pay({to!r})\n1 / 0"))["tool_calls"]) for to in ("Zoe", "Ann")]
        texts.append(effects((await cm.run_code("1 / 0"))["tool_calls"]))
    assert texts == [
        'These were cut off, and may have taken effect: pay({"to": "Zoe"}).',
        'These calls took effect and stand: pay({"to": "Ann"}).',
        "No call took effect.",
    ]


def test_a_call_that_a_kill_cut_off_took_no_longer_than_its_process_lived() -> None:
    def start(number: int, time: float) -> Started:
        return Started(
            session=1,
            attempt=1,
            number=number,
            tool="pay",
            digest=str(number),
            occurrence=1,
            effect="write",
            arguments={},
            known_effects="",
            time=time,
        )

    first = Attached(session=1, attempt=1, digest="d", owner="a", until=130.0, time=100.0)
    killed: list[Event] = [first, start(1, 101.0), Renewed(owner="a", until=151.0), Unknown(call=0, time=9000.0)]
    again = Attached(session=1, attempt=1, digest="d", owner="b", until=9030.0, time=9000.0)
    view = fold([*killed, again])
    assert [call["seconds"] for call in view.tool_calls()] == [20.0]
    assert view.sessions[1].spent == 21.0  # a limit of seconds counts them
    view = fold([*killed, again, Ended(session=1, how="waiting", spent=1.0), Done(call=0, time=99_000.0, value="paid")])
    assert [(call["status"], call["seconds"]) for call in view.tool_calls()] == [("done", 20.0)]
