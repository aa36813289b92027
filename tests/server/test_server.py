"""The graph on a real `langgraph dev`, driven by the SDK."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

ROOT = Path(__file__).parents[2]
LANGGRAPH = Path(sys.executable).parent / "langgraph"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not LANGGRAPH.exists(), reason="needs langgraph-cli: pip install 'codemode-graph[server]'"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that asks before a reminder is sent."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copytree(ROOT / "graphs", folder / "graphs")
    (folder / "langgraph.json").write_text(
        '{"dependencies": ["."], "graphs": {"codemode": "./graphs/codemode.py:make_graph"}}'
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "CODEMODE_APPROVE": "send_*",
        "LANGSMITH_TRACING": "false",
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sandboxes")]),
    }
    environment.pop("CODEMODE_MODEL", None)
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
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ok").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
async def client(server: str) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server) as client:
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
    assert events == ["attempt", "check", "call_started", "call_finished", "outcome"]


async def test_threads_run_side_by_side(client: LangGraphClient) -> None:
    async def one(number: int) -> Any:
        given: Any = {"task": "", "code": f"[{number}, len(await tools['list-orders']('paid'))]"}
        return await client.runs.wait(None, "codemode", input=given)

    results = await asyncio.gather(*map(one, range(5)))
    assert [result["output"] for result in results] == [[number, 1] for number in range(5)]


async def test_the_schemas_and_the_drawing_are_served(client: LangGraphClient) -> None:
    (assistant,) = await client.assistants.search(graph_id="codemode")
    schemas: Any = await client.assistants.get_schemas(assistant["assistant_id"])
    assert set(schemas["input_schema"]["properties"]) == {"task", "code"}
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
