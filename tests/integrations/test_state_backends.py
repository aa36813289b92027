"""Tools that reach the agent's state by the config of the node, as deepagents' file tools do."""

import asyncio
import json
from typing import Annotated, Any, NotRequired

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, AgentState, SummarizationMiddleware
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as langchain_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_config
from langgraph.types import Command

from codemode_graph import CodeModeMiddleware
from tests.integrations.agents import USER, Shop, agent_model, answers, calling


def merge(known: dict[str, Any] | None, update: dict[str, Any]) -> dict[str, Any]:
    """As deepagents' reducer: None removes a file."""
    return {name: text for name, text in {**(known or {}), **update}.items() if text is not None}


class FileState(AgentState[Any]):
    files: NotRequired[Annotated[dict[str, Any], merge]]
    newest: NotRequired[str]


def _configurable() -> dict[str, Any]:
    return get_config()["configurable"]


@langchain_tool
async def write(name: str, text: str) -> str:
    """Write a file."""
    _configurable()["__pregel_send"]([("files", {name: text}), ("newest", name)])
    return f"wrote {_configurable()['__pregel_read']('newest', True)}: {sorted(_files())}"


@langchain_tool
async def remove(name: str) -> str:
    """Remove a file."""
    _configurable()["__pregel_send"]([("files", {name: None})])
    return "removed"


@langchain_tool
async def read_all() -> dict[str, Any]:
    """Read all files."""
    return _files()


def _files() -> dict[str, Any]:
    files: dict[str, Any] = _configurable()["__pregel_read"]("files", True) or {}
    return files


class Files(AgentMiddleware[Any, Any, Any]):
    """Brings its tools, and its part of the agent's state."""

    state_schema = FileState
    tools: list[BaseTool] = [write, remove, read_all]  # noqa: RUF012


PROGRAM = """
first = await tools.write('b', 'two')
await tools.remove('a')
await tools.pay('ann', 5)
await tools.write('c', 'three')
[first, await tools.read_all()]
"""


async def test_a_program_reads_what_it_wrote_and_the_agent_has_it_afterwards() -> None:
    shop = Shop()
    agent: Any = create_agent(
        agent_model(calling("run_program", {"code": PROGRAM}), "Done.", calling("read_all", {}), "Done."),
        tools=shop.tools,
        middleware=[Files(), CodeModeMiddleware(interrupt_on={"pay": True})],
        checkpointer=InMemorySaver(),
    )
    config: Any = {"configurable": {"thread_id": "1"}}
    waiting = await agent.ainvoke({**USER, "files": {"a": "one"}}, config)
    assert waiting["__interrupt__"]
    assert waiting["files"] == {"a": "one"}
    state = await agent.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
    said, files = json.loads(answers(state)[0].text)
    assert said == "wrote b: ['a', 'b']"
    assert files == state["files"] == {"b": "two", "c": "three"}
    assert (shop.paid, state["newest"]) == ([("ann", 5)], "c")
    state = await agent.ainvoke({"messages": [("user", "again")]}, config)
    assert json.loads(answers(state)[-1].text) == files


async def test_a_program_that_fails_leaves_what_its_repair_finds() -> None:
    agent: Any = create_agent(
        agent_model(
            calling("run_program", {"code": "await tools.write('b', 'two')\n1 / 0"}),
            calling("run_program", {"code": "await tools.write('b', 'two')\nawait tools.read_all()"}),
            "Done.",
        ),
        tools=[],
        middleware=[Files(), CodeModeMiddleware(interrupt_on={})],
    )
    state = await agent.ainvoke(USER)
    assert json.loads(answers(state)[1].text) == state["files"] == {"b": "two"}


async def test_a_summary_of_the_conversation_takes_nothing_from_programs() -> None:
    shop = Shop()
    code = "await tools.pay('ann', 5)\nawait tools.write('b', 'two')\n1 / 0"
    model = agent_model(
        calling("run_program", {"code": code}),
        calling("run_program", {"code": code.replace("1 / 0", "await tools.read_all()")}),
        "Done.",
    )
    summary = SummarizationMiddleware(model=agent_model("In short."), trigger=("messages", 3), keep=("messages", 1))
    agent: Any = create_agent(model, tools=shop.tools, middleware=[Files(), summary, CodeModeMiddleware()])
    state = await agent.ainvoke(USER)
    assert any("In short." in message.text for message in state["messages"])
    assert (shop.paid, state["files"]) == ([("ann", 5)], {"b": "two"})
    assert json.loads(answers(state)[-1].text) == {"b": "two"}


DEEP = """
await tools.write_file('/a.txt', 'one')
await tools.edit_file('/a.txt', 'one', 'two')
await tools.task(description='Write a file.', subagent_type='writer')
[await tools.ls('/'), await tools.read_file('/a.txt'), await tools.read_file('/b.txt')]
"""


@pytest.mark.parametrize("is_sync", [False, True])
async def test_deepagents_file_tools_and_sub_agents_work_in_programs(is_sync: bool) -> None:
    deepagents = pytest.importorskip("deepagents", reason="its pins do not fit ours: install it with --no-deps")
    write_file = calling("write_file", {"file_path": "/b.txt", "content": "three"})
    writer = {"name": "writer", "description": "Writes.", "system_prompt": "Write.", "tools": []}
    agent = deepagents.create_deep_agent(
        model=agent_model(calling("run_program", {"code": DEEP}), "Done."),
        tools=[],
        subagents=[{**writer, "model": agent_model(write_file, "Written.")}],
        middleware=[CodeModeMiddleware(interrupt_on={})],
    )
    state = await (asyncio.to_thread(agent.invoke, USER) if is_sync else agent.ainvoke(USER))
    assert {name: file["content"] for name, file in state["files"].items()} == {"/a.txt": "two", "/b.txt": "three"}
    assert "two" in answers(state)[-1].text
    assert "three" in answers(state)[-1].text
