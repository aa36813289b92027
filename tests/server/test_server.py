"""The graphs on a real `langgraph dev`, driven by the SDK."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from tests.sandboxes.processes import descendants
from tests.wire.payloads import Reply
from tests.wire.server import Service

ROOT = Path(__file__).parents[2]
LANGGRAPH = Path(sys.executable).parent / "langgraph"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not LANGGRAPH.exists(), reason="needs langgraph-cli: pip install 'codemode-graph[server]'"),
]


SHOP: dict[str, Any] = {
    "mcpServers": {"shop": {"command": sys.executable, "args": ["-m", "codemode_graph.demo.shop_server"]}}
}
ARCHIVE = """
from codemode_graph import tool

@tool(effect="destructive")
def delete_order(order_id: str) -> str:
    with open("deleted", "a") as file:
        print(order_id, file=file)
    return f"deleted {order_id}"
"""
DEAD: dict[str, Any] = {"mcpServers": {"shop": {"command": "/nowhere/shop"}}}


@dataclass(frozen=True)
class Server:
    """A server that asks before a reminder is sent, with the MCP servers of the file `mcp`."""

    url: str
    pid: int
    log: Path
    mcp: Path


@pytest.fixture(scope="module")
def model() -> Iterator[Service]:
    with Service() as service:
        yield service


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, model: Service) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copytree(ROOT / "graphs", folder / "graphs")
    served = json.loads((ROOT / "langgraph.json").read_text())
    served["graphs"]["chat"] = "codemode_graph.server:chat"
    (folder / "langgraph.json").write_text(json.dumps({**served, "dependencies": ["."]}))
    (folder / "servers.json").write_text(json.dumps(SHOP))
    (folder / "archive.py").write_text(ARCHIVE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "CODEMODE_APPROVE": "send_*",
        "CODEMODE_MCP": str(folder / "servers.json"),
        "CODEMODE_TOOLS": "codemode_graph.demo:send_reminder,archive:delete_order",
        "CODEMODE_MODEL": "openai:gpt-4.1",
        "OPENAI_API_KEY": model.key,
        "OPENAI_BASE_URL": model.url,
        "LANGSMITH_TRACING": "false",
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sandboxes")]),
    }
    command = [str(LANGGRAPH), "dev", "--host", "127.0.0.1", "--port", str(port), "--no-browser", "--no-reload"]
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not _is_up(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield Server(url, process.pid, log, folder / "servers.json")
    finally:
        process.terminate()
        process.wait(timeout=30)


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ok").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
async def client(server: Server) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url) as client:
        yield client


PROGRAM = """
orders = await tools['list-orders'](status='unpaid')
receipt = await tools.send_reminder('c1', sum(o['total'] for o in orders if o['customer_id'] == 'c1'))
[len(orders), receipt is not None]
"""


async def test_a_run_stops_for_approval_and_goes_on(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "codemode", input={"task": "", "code": PROGRAM})
    state: Any = await client.threads.get_state(thread)
    (interrupt,) = state["interrupts"]
    assert [action["args"]["amount"] for action in interrupt["value"]["action_requests"]] == [125.0]
    assert state["values"]["pending"][0]["tool"] == "send_reminder"
    resume: Any = {"resume": {"decisions": [{"type": "approve"}]}}
    done: Any = await client.runs.wait(thread, "codemode", command=resume)
    assert done["output"] == [5, True]
    assert [(call["tool"], call["status"]) for call in done["tool_calls"]] == [
        ("list-orders", "done"),
        ("send_reminder", "done"),
    ]


async def test_a_run_streams_its_nodes_and_events(client: LangGraphClient) -> None:
    updates, events = [], []
    given: Any = {"task": "", "code": "len(await tools['list-orders']('paid'))"}
    async for part in client.runs.stream(None, "codemode", input=given, stream_mode=["updates", "custom"]):
        if part.event == "updates":
            updates += list(part.data)
        elif part.event == "custom":
            events.append(part.data["type"])
    assert updates == ["generate", "check", "execute", "inspect_output"]
    assert events == ["attempt", "check", "sandbox", "call_started", "call_finished", "outcome"]


async def test_threads_run_side_by_side(client: LangGraphClient) -> None:
    async def one(number: int) -> Any:
        given: Any = {"task": "", "code": f"[{number}, len(await tools['list-orders']('paid'))]"}
        return await client.runs.wait(None, "codemode", input=given)

    results = await asyncio.gather(*map(one, range(5)))
    assert [result["output"] for result in results] == [[number, 1] for number in range(5)]


async def test_the_schemas_and_the_drawing_are_served(client: LangGraphClient) -> None:
    (assistant,) = await client.assistants.search(graph_id="codemode")
    schemas: Any = await client.assistants.get_schemas(assistant["assistant_id"])
    assert {"task", "code"} <= set(schemas["input_schema"]["properties"])
    assert "max_attempts" in schemas["context_schema"]["properties"]
    graph: Any = await client.assistants.get_graph(assistant["assistant_id"])
    assert {"generate", "check", "execute", "approve", "inspect_output", "repair"} <= {
        node["id"] for node in graph["nodes"]
    }


async def test_a_finished_thread_can_be_edited_and_run_from(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    given: Any = {"task": "", "code": "1 + 1"}
    await client.runs.wait(thread, "codemode", input=given)
    await client.threads.update_state(thread, {"program": "40 + 2", "verdict": None}, as_node="check")
    done: Any = await client.runs.wait(thread, "codemode", input=None)
    assert done["output"] == 42


async def test_a_conversation_with_code_mode_in_it_streams_stops_and_goes_on(
    client: LangGraphClient, model: Service
) -> None:
    model.script('{"task": "Remind c1."}', Reply(code="await tools.send_reminder('c1', 125.0)"), "C1 is reminded.")
    thread = (await client.threads.create())["thread_id"]
    said: Any = {"messages": [{"role": "user", "content": "remind c1"}]}
    steps = []
    async for part in client.runs.stream(
        thread, "composed", input=said, stream_mode=["updates", "custom", "messages-tuple"], stream_subgraphs=True
    ):
        kind, *path = part.event.split("|")
        steps += [(len(path), name) for name in part.data] if kind == "updates" else []
    assert [name for depth, name in steps if depth] == ["generate", "check", "execute", "__interrupt__"]
    state: Any = await client.threads.get_state(thread)
    (interrupt,) = state["interrupts"]
    assert interrupt["value"]["action_requests"][0]["name"] == "send_reminder"
    resume: Any = {"resume": {interrupt["id"]: {"decisions": [{"type": "approve"}]}}}
    done: Any = await client.runs.wait(thread, "composed", command=resume)
    assert [message["content"] for message in done["messages"]] == ["remind c1", "C1 is reminded."]


def shops(server: Server) -> set[int]:
    """The MCP servers that run."""
    return {pid for pid in descendants(server.pid) if b"shop_server" in Path(f"/proc/{pid}/cmdline").read_bytes()}


async def test_a_run_that_is_cancelled_or_left_leaves_nothing(client: LangGraphClient, server: Server) -> None:
    # The first runs have started the MCP server, which all share, and the sandbox's worker that waits for the next.
    await client.runs.wait(None, "codemode", input={"task": "", "code": "await tools['list-orders']('paid')"})
    before = len(descendants(server.pid))
    code = "import asyncio\nawait tools['list-orders']('paid')\nwhile True:\n    await asyncio.sleep(0.01)"
    endless: Any = {"task": "", "code": code}
    thread = (await client.threads.create())["thread_id"]
    stream = client.runs.stream(thread, "codemode", input=endless, stream_mode="custom")
    async for part in stream:
        if part.event == "metadata":
            run_id = part.data["run_id"]
        if part.event == "custom" and part.data["type"] == "call_finished":
            break
    await client.runs.cancel(thread, run_id, wait=True)
    await stream.aclose()  # type: ignore[attr-defined]
    await _until(lambda: len(descendants(server.pid)) <= before)
    stream = client.runs.stream(None, "codemode", input=endless, stream_mode="custom", on_disconnect="cancel")
    async for part in stream:
        if part.event == "custom" and part.data["type"] == "call_finished":
            break
    await stream.aclose()  # type: ignore[attr-defined]
    await _until(lambda: len(descendants(server.pid)) <= before)
    assert len(shops(server)) == 1


async def _until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.05)


async def test_an_agent_calls_a_tool_itself_or_writes_a_program(client: LangGraphClient, model: Service) -> None:
    program = "r = await tools.send_reminder('c1', 125.0)\nlen(await tools['list-orders']('unpaid'))"
    model.script(
        Reply(calls=(("get-customer", '{"customer_id": "c1"}'),)),
        Reply(calls=(("run_program", json.dumps({"code": program})),)),
        "There are 5, and c1 is reminded.",
    )
    thread = (await client.threads.create())["thread_id"]
    said: Any = {"messages": [{"role": "user", "content": "remind c1, and how many are unpaid?"}]}
    await client.runs.wait(thread, "agent", input=said)
    state: Any = await client.threads.get_state(thread)
    (interrupt,) = state["interrupts"]
    assert [action["name"] for action in interrupt["value"]["action_requests"]] == ["send_reminder"]
    resume: Any = {"resume": {interrupt["id"]: {"decisions": [{"type": "approve"}]}}}
    done: Any = await client.runs.wait(thread, "agent", command=resume)
    answers = [message for message in done["messages"] if message["type"] == "tool"]
    assert [(answer["name"], answer["status"]) for answer in answers] == [
        ("get-customer", "success"),
        ("run_program", "success"),
    ]
    assert "Ann Ash" in str(answers[0]["content"])
    assert answers[1]["content"].startswith("5")
    assert done["messages"][-1]["content"] == "There are 5, and c1 is reminded."


async def test_the_servers_own_mcp_endpoint_offers_the_graphs(server: Server) -> None:
    async with (
        streamable_http_client(f"{server.url}/mcp/") as (reading, writing, _),
        ClientSession(reading, writing) as session,
    ):
        await session.initialize()
        names = {tool.name for tool in (await session.list_tools()).tools}
        assert names == {"codemode", "composed", "agent", "chat"}
        result = await session.call_tool("codemode", {"task": "", "code": "40 + 2"})
    assert "42" in str(result.content)


async def test_an_assistant_has_a_configuration_of_its_own(client: LangGraphClient, model: Service) -> None:
    context: Any = {"max_attempts": 1, "policies": {"list-orders": {"max_calls": 1}}, "instructions": "In verse."}
    assistant = await client.assistants.create("codemode", context=context)
    model.script(Reply(code="await tools['list-orders']('paid')\nawait tools['list-orders']('unpaid')"))
    failed: Any = await client.runs.wait(None, assistant["assistant_id"], input={"task": "Look."})
    assert (failed["verdict"], len(failed["attempts"])) == ("exhausted", 1)
    assert "In verse." in str(model.requests[-1].body)
    over: Any = {"policies": {"list-orders": {"max_calls": 2}}}
    code = "len(await tools['list-orders']('paid')) + len(await tools['list-orders']('unpaid'))"
    given: Any = {"task": "", "code": code}
    done: Any = await client.runs.wait(None, assistant["assistant_id"], input=given, context=over)
    assert done["output"] == 6


async def test_a_destructive_call_is_approved_by_the_json_that_studio_sends(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as studio:
        context = {"policies": {"effect:destructive": {"approval": True}}}
        named = {"graph_id": "codemode", "context": context, "name": "careful"}
        assistant = (await studio.post("/assistants", json=named)).json()["assistant_id"]
        thread = (await studio.post("/threads", json={})).json()["thread_id"]
        given = {"task": "", "code": "await tools.delete_order('o1')"}
        run = {"assistant_id": assistant, "input": given}
        await studio.post(f"/threads/{thread}/runs/wait", json=run)
        state = (await studio.get(f"/threads/{thread}/state")).json()
        (interrupt,) = state["interrupts"]
        assert [action["name"] for action in interrupt["value"]["action_requests"]] == ["delete_order"]
        resume = {"assistant_id": assistant, "command": {"resume": {"decisions": [{"type": "approve"}]}}}
        done = (await studio.post(f"/threads/{thread}/runs/wait", json=resume)).json()
    assert done["output"] == "deleted o1"
    assert [(call["tool"], call["effect"], call["status"]) for call in done["tool_calls"]] == [
        ("delete_order", "destructive", "done")
    ]


async def test_a_conversation_over_a2a_waits_and_is_answered_there(
    client: LangGraphClient, server: Server, model: Service
) -> None:
    (assistant,) = await client.assistants.search(graph_id="chat", metadata={"created_by": "system"})
    program = "f\"It is sent: {await tools.send_reminder('c1', 125.0)}\""
    model.script(Reply(code=program), Reply(code=program))

    async def say(text: str, **more: str) -> Any:
        message = {"role": "user", "messageId": text, "parts": [{"kind": "text", "text": text}], **more}
        call = {"jsonrpc": "2.0", "id": "1", "method": "message/send", "params": {"message": message}}
        answer = await http.post(f"/a2a/{assistant['assistant_id']}", json=call)
        return answer.json()["result"]

    headers = {"Accept": "application/json"}
    async with httpx.AsyncClient(base_url=server.url, timeout=60, headers=headers) as http:
        task = await say("Remind c1.")
        assert task["status"]["state"] == "input-required"
        (part,) = task["artifacts"][0]["parts"]
        assert part["data"]["value"]["action_requests"][0]["name"] == "send_reminder"
        task = await say("approve", contextId=task["contextId"], taskId=task["id"])
        assert task["status"]["state"] == "completed"
        assert "It is sent:" in json.dumps(task["artifacts"])
        task = await say("And again.", contextId=task["contextId"])
        assert task["status"]["state"] == "input-required"
        task = await say("reject: enough", contextId=task["contextId"], taskId=task["id"])
        assert "enough" in json.dumps(task["artifacts"])


async def test_no_node_blocks_the_event_loop(server: Server) -> None:
    """After all tests whose runs end well: the server has noted what blocked meanwhile."""
    log = server.log.read_text()
    assert "Blocking" not in log
    assert "Traceback" not in log


async def test_reads_start_nothing_and_work_while_mcp_servers_are_dead(
    client: LangGraphClient, server: Server, model: Service
) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "codemode", input={"task": "", "code": PROGRAM})
    running = shops(server)
    server.mcp.write_text(json.dumps(DEAD))
    try:
        for graph in ("codemode", "agent", "composed"):
            (assistant,) = await client.assistants.search(graph_id=graph, metadata={"created_by": "system"})
            await client.assistants.get_schemas(assistant["assistant_id"])
            await client.assistants.get_graph(assistant["assistant_id"], xray=True)
            other = (await client.threads.create(graph_id=graph))["thread_id"]
            await client.threads.update_state(other, {"task": "x"} if graph != "agent" else {"messages": []})
            await client.threads.get_state(other)
        state: Any = await client.threads.get_state(thread)
        assert [action["name"] for action in state["interrupts"][0]["value"]["action_requests"]] == ["send_reminder"]
        assert state["next"] == ["approve"]
        assert len(await client.threads.get_history(thread)) > 3
        failed: Any = await client.runs.wait(None, "codemode", input={"task": "", "code": "1"}, raise_error=False)
        assert "MCP server 'shop'" in failed["__error__"]["message"]
        assert "cannot be started" in failed["__error__"]["message"]
    finally:
        server.mcp.write_text(json.dumps(SHOP))
    done: Any = await client.runs.wait(thread, "codemode", command={"resume": {"decisions": [{"type": "approve"}]}})
    assert done["output"] == [5, True]
    assert shops(server) == running
    assert len(running) == 1


async def call_over_mcp(server: Server, graph: str, arguments: dict[str, Any]) -> str:
    """The text with which a graph's call over the server's own MCP endpoint fails."""
    async with (
        streamable_http_client(f"{server.url}/mcp/") as (reading, writing, _),
        ClientSession(reading, writing) as session,
    ):
        await session.initialize()
        result: Any = await session.call_tool(graph, arguments)
    assert result.isError, result
    return str(result.content[0].text)


async def answer_as_told(server: Server, text: str) -> Any:
    """Do what the error of a run that waits says: look at what is asked, and approve it with plain JSON."""
    told = re.search(r"GET (\S+) .* POST (\S+) with (\{.*\}), one decision", text)
    assert told, text
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as person:
        async with asyncio.timeout(60):
            while not (state := (await person.get(told[1])).json())["interrupts"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        (action,) = state["interrupts"][0]["value"]["action_requests"]
        assert action["name"] == "send_reminder"
        return (await person.post(told[2], content=told[3], headers={"Content-Type": "application/json"})).json()


async def test_a_run_that_waits_over_mcp_says_so_and_is_answered(server: Server) -> None:
    code = f"await tools.delete_order('o7')\n{PROGRAM}"
    text = await call_over_mcp(server, "codemode", {"task": "", "code": code})
    assert text.startswith("ApprovalNeedsThread: The run waits for a person to decide on send_reminder(")
    assert "These calls took effect: delete_order." in text
    done = await answer_as_told(server, text)
    assert done["output"] == [5, True]
    assert [(call["tool"], call["status"]) for call in done["tool_calls"]] == [
        ("delete_order", "done"),
        ("list-orders", "done"),
        ("send_reminder", "done"),
    ]
    # The thread goes on with the run's journal: what took effect before is not done again.
    assert (server.log.parent / "deleted").read_text().splitlines().count("o7") == 1


async def test_an_agent_that_waits_over_mcp_says_so_and_is_answered(server: Server, model: Service) -> None:
    call = Reply(calls=(("send_reminder", '{"customer_id": "c1", "amount": 125.0}'),))
    model.script(call, "C1 is reminded.")
    text = await call_over_mcp(server, "agent", {"messages": [{"role": "user", "content": "remind c1"}]})
    assert text.startswith("ApprovalNeedsThread: The agent waits for a person to decide on send_reminder(")
    done = await answer_as_told(server, text)
    assert [message["content"] for message in done["messages"]][-2:] == ["sent", "C1 is reminded."]


@pytest.mark.parametrize("graph", ["agent", "composed", "chat"])
async def test_a_program_within_another_graph_says_that_it_needs_a_thread(
    server: Server, model: Service, graph: str
) -> None:
    program = {"agent": Reply(calls=(("run_program", json.dumps({"code": PROGRAM})),))}.get(graph, Reply(code=PROGRAM))
    model.script(*(['{"task": "Remind c1."}'] if graph == "composed" else []), program)
    text = await call_over_mcp(server, graph, {"messages": [{"role": "user", "content": "remind c1"}]})
    assert "waits for a person to decide on send_reminder(" in text
    assert "start it on a thread, or over A2A. No call took effect." in text


async def test_a_run_with_a_configuration_of_its_own_needs_a_thread(client: LangGraphClient) -> None:
    # The answer on a thread would come with the assistant's configuration, in which this call may need no approval.
    given: Any = {"task": "", "code": "await tools.delete_order('o8')"}
    own: Any = {"policies": {"delete_order": {"approval": True}}}
    failed: Any = await client.runs.wait(None, "codemode", input=given, context=own, raise_error=False)
    assert "start it on a thread, or over A2A. No call took effect." in failed["__error__"]["message"]


@pytest.mark.parametrize("graph", ["codemode", "agent", "composed"])
async def test_a_wrong_configuration_is_an_error_that_says_what_is_wrong(client: LangGraphClient, graph: str) -> None:
    given: Any = {"task": "", "code": "1"} if graph == "codemode" else {"messages": []}

    async def error(context: Any) -> str:
        assistant = await client.assistants.create(graph, context=context)
        failed: Any = await client.runs.wait(None, assistant["assistant_id"], input=given, raise_error=False)
        return str(failed["__error__"]["message"])

    assert "context.max_atempts: Extra inputs are not permitted" in await error({"max_atempts": 1})
    assert "context.max_attempts: Input should be greater than" in await error({"max_attempts": 0})
    assert "CODEMODE_ASSISTANTS_MAY=own_mcp_servers" in await error({"own_mcp_servers": {"x": {"command": "sh"}}})
