"""The events of a run on the `custom` stream."""

from typing import Any, get_args

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from codemode_graph import create_codemode
from codemode_graph.events import Event, read_event
from codemode_graph.state import CodeModeInput
from codemode_graph.tools.spec import ToolPolicy
from tests.support import scripted

FIRST = "print('paying')\nawait tools.note(text='a')\nawait tools.pay(cents=5)\n{}['x']"
SECOND = "await tools.note(text='a')\nawait tools.pay(cents=5)"


async def note(text: str) -> str:
    """Note."""
    return text


async def pay(cents: int) -> int:
    """Pay."""
    return cents


async def test_everything_that_a_run_tells_is_one_of_the_events() -> None:
    builder = create_codemode(
        model=scripted(FIRST, SECOND),
        tools=[note, pay],
        sandbox="auto",
        policies={"pay": ToolPolicy(approval=True)},
    )
    graph = builder.compile(checkpointer=InMemorySaver())
    sent: list[Any] = []
    approval: Command[Any] = Command(resume={"decisions": [{"type": "approve"}]})
    payload: CodeModeInput | Command[Any]
    for payload in (CodeModeInput(task="Pay."), approval):
        sent += [
            event async for event in graph.astream(payload, {"configurable": {"thread_id": "1"}}, stream_mode="custom")
        ]
    assert [read_event(event) for event in sent] == sent
    kinds: set[Any] = {get_args(kind.__annotations__["type"])[0] for kind in get_args(Event)}
    assert {event["type"] for event in sent} == kinds
