"""The configuration of an assistant: read from the context of a run, checked, and used by all three served graphs."""

import json
import sys
from importlib import import_module
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore
from langgraph_sdk.runtime import _ExecutionRuntime

from codemode_graph import ConfigurationError
from codemode_graph.server import environment
from codemode_graph.server.assistant import Assistant, read_assistant
from tests.servers import own_server
from tests.wire.payloads import Reply
from tests.wire.server import Service

GRAPHS = ["codemode", "agent", "composed"]
SENT: list[str] = []


async def send(to: str) -> str:
    """Send a letter."""
    SENT.append(to)
    return f"sent to {to}"


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    SENT.clear()
    environment.sandbox.cache_clear()
    for name in ("MODEL", "MODELS", "MCP", "APPROVE", "SANDBOX", "AUTO", "FALLBACK", "ASSISTANTS_MAY"):
        monkeypatch.delenv(f"CODEMODE_{name}", raising=False)
    monkeypatch.setenv("CODEMODE_TOOLS", f"{__name__}:send")


def made(graph: str, context: dict[str, Any] | None) -> Any:
    """The graph as the server has it made for a run."""
    run: Any = _ExecutionRuntime(access_context="threads.create_run", store=InMemoryStore(), context=context)
    return import_module(f"graphs.{graph}").make_graph(run)


async def run(context: dict[str, Any], code: str, graph: str = "codemode") -> Any:
    async with made(graph, context) as app:
        return await app.ainvoke({"task": "", "code": code}, context=context)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize(
    ("context", "complaint"),
    [
        ({"modle": "openai:gpt-5.2"}, r"context\.modle: Extra inputs are not permitted"),
        ({"max_attempts": 0}, r"context\.max_attempts: Input should be greater than or equal to 1"),
        ({"max_attempts": True}, r"context\.max_attempts: .*Input should be a number"),
        ({"policies": {"send": {"approve": True}}}, r"context\.policies\.send\.approve: Extra inputs"),
        ({"policies": {"sned": {"max_calls": 1}}}, "policies name 'sned'.*'send'"),
        ({"policies": {"send": {"approval": False}}}, r"context\.policies\.send\.approval: Input should be True"),
        ({"max_cost": 1.0}, "max_cost needs prices"),
        ({"mcp_servers": ["shop"]}, "no server is named 'shop'; there are none"),
        ({"sandbox": "mounty"}, "mounty"),
        ({"model": "nobody:nothing"}, "no provider is named 'nobody'"),
        ({"tools_module": "os:system"}, "CODEMODE_ASSISTANTS_MAY=tools_module"),
        ({"own_mcp_servers": {"x": {"command": "sh"}}}, "CODEMODE_ASSISTANTS_MAY=own_mcp_servers"),
    ],
)
async def test_what_is_wrong_is_an_error_of_every_graph(graph: str, context: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        async with made(graph, context):
            pass


@pytest.mark.parametrize("context", [["max_attempts"], "max_attempts", 7])
def test_a_configuration_that_is_no_object_is_an_error(context: object) -> None:
    with pytest.raises(ConfigurationError, match="context: expected an object with the configuration, not"):
        read_assistant(context)


@pytest.mark.parametrize("graph", GRAPHS)
async def test_studio_gets_a_form_for_each_setting(graph: str) -> None:
    async with made(graph, {}) as app:
        schema = app.get_context_jsonschema()
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(Assistant.model_fields)
    for field in schema["properties"].values():
        assert field["title"]
        assert field["description"]
    assert schema["properties"]["instructions"]["langgraph_type"] == "prompt"


def test_what_langgraph_puts_into_the_context_is_none_of_ours() -> None:
    context = {"thread_id": "1", "langgraph_auth_user": None, "__request_start_time_ms__": 1, "x-request-id": "2"}
    assert read_assistant({**context, "max_attempts": 2}) == Assistant(max_attempts=2)
    assert read_assistant(None) == read_assistant(context) == Assistant()


async def test_policies_limit_and_never_widen_what_the_server_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEMODE_APPROVE", "send")
    state = await run({"policies": {"send": {"max_calls": 1}}}, "await tools.send('ann')")
    assert ("__interrupt__" in state, SENT) == (True, [])
    monkeypatch.delenv("CODEMODE_APPROVE")
    state = await run({"policies": {"effect:write": {"approval": True}}}, "await tools.send('ann')")
    assert ("__interrupt__" in state, SENT) == (True, [])
    state = await run(
        {"policies": {"se*": {"max_calls": 1}}, "max_attempts": 1}, "for n in 'ab':\n    await tools.send(n)"
    )
    assert (state["verdict"], SENT) == ("exhausted", ["a"])


async def test_the_sandbox_is_chosen_among_those_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    state = await run({"sandbox": "restricted"}, "1")
    assert state["attempts"][0]["sandbox"] == "restricted"
    monkeypatch.setenv("CODEMODE_SANDBOX", "monty")
    environment.sandbox.cache_clear()
    with pytest.raises(ConfigurationError, match=r"context\.sandbox: this server runs programs in monty alone"):
        await run({"sandbox": "restricted"}, "1")


async def test_code_is_taken_where_the_server_permits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEMODE_ASSISTANTS_MAY", "tools_module, own_mcp_servers")
    more = {"tools_module": "codemode_graph.demo:send_letter", "own_mcp_servers": {"memory": own_server("memory")}}
    state = await run(more, "[await tools.send_letter('c1', 1.0), await tools.count(by=3)]")
    assert state["output"] == ["posted", 3]
    monkeypatch.setenv("SECRET", "s3cret")
    leak = {"own_mcp_servers": {"x": {"url": "https://example.com/${SECRET}"}}}
    with pytest.raises(ConfigurationError, match=r"cannot use variables of the server's environment") as error:
        await run(leak, "1")
    assert "s3cret" not in str(error.value)
    with pytest.raises(ConfigurationError, match="'nowhere:X' cannot be imported"):
        await run({"tools_module": "nowhere:X"}, "1")


async def test_some_of_the_servers_mcp_servers_are_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    shop = {"command": sys.executable, "args": ["-m", "codemode_graph.demo.shop_server"]}
    config = {"mcpServers": {"shop": shop, "memory": own_server("memory"), "dead": {"command": "/nowhere"}}}
    (tmp_path / "servers.json").write_text(json.dumps(config))
    monkeypatch.setenv("CODEMODE_MCP", str(tmp_path / "servers.json"))
    monkeypatch.setenv("CODEMODE_APPROVE", "count,get-*")
    state = await run({"mcp_servers": ["shop"]}, "len(await tools['list-orders']('unpaid'))")
    assert state["output"] == 5
    state = await run({"mcp_servers": ["memory"]}, "await tools.count(by=3)")
    assert state["__interrupt__"][0].value["action_requests"][0]["name"] == "count"
    with pytest.raises(ConfigurationError, match="no server is named 'office'; there are shop, memory, dead"):
        await run({"mcp_servers": ["office"]}, "1")


async def test_model_instructions_and_budgets_are_those_of_the_assistant(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "```python\nawait tools.send('ann')\n```"
    with Service(program, "Hello.", '{"task": "Write."}', program, "Done.") as service:
        monkeypatch.setenv("OPENAI_API_KEY", service.key)
        monkeypatch.setenv("OPENAI_BASE_URL", service.url)
        context = {"model": "openai:gpt-4.1", "instructions": "Write in verse.", "max_attempts": 1}
        inputs: dict[str, Any] = {"codemode": {"task": "Write to Ann."}}
        said = {"messages": [{"role": "user", "content": "Write to Ann."}]}
        for graph in GRAPHS:
            async with made(graph, context) as app:
                await app.ainvoke(inputs.get(graph, said), context=context)
        assert len(service.requests) == 5
        assert all("Write in verse." in str(request.body) for request in service.requests)
        monkeypatch.setenv("CODEMODE_MODELS", "openai:gpt-5*")
        with pytest.raises(ConfigurationError, match="this server has openai:gpt-5"):
            async with made("agent", context):
                pass


@pytest.mark.parametrize("graph", GRAPHS)
async def test_budgets_hold_in_every_graph(monkeypatch: pytest.MonkeyPatch, graph: str) -> None:
    code = "for name in ['ann', 'bob']:\n    await tools.send(name)"
    program = f"```python\n{code}\n```"
    replies: dict[str, list[Any]] = {
        "codemode": [program],
        "agent": [Reply(calls=(("run_program", json.dumps({"code": code})),)), "No."],
        "composed": ['{"task": "Write."}', program, "No."],
    }
    with Service(*replies[graph]) as service:
        monkeypatch.setenv("OPENAI_API_KEY", service.key)
        monkeypatch.setenv("OPENAI_BASE_URL", service.url)
        monkeypatch.setenv("CODEMODE_MODEL", "openai:gpt-4.1")
        context = {"max_tool_calls": 1, "max_attempts": 1}
        async with made(graph, context) as app:
            said = {"messages": [{"role": "user", "content": "Write."}]}
            await app.ainvoke({"task": "Write."} if graph == "codemode" else said, context=context)
    assert SENT == ["ann"]
