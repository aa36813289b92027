"""`codemode-graph serve`, driven by the client of the MCP SDK over standard input and output and over HTTP."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from codemode_graph.mcp_sdk import McpError
from tests.servers import PEER
from tests.wire.server import Service

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMMAND = ["-m", "codemode_graph", "serve", "--tools", "tests.serve.letters:TOOLS"]
TOKEN = "a-token-of-the-tests"

Open = Callable[..., AbstractAsyncContextManager[ClientSession]]


class Letters:
    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def sent(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []


@pytest.fixture
def letters(tmp_path: Path) -> Letters:
    return Letters(tmp_path / "letters")


@asynccontextmanager
async def over_http(letters: Letters, *options: str, env: dict[str, str] | None = None) -> AsyncIterator[str]:
    """The URL of a server."""
    async with process_and_url(letters, *options, env=env) as (_, url):
        yield url


@asynccontextmanager
async def process_and_url(
    letters: Letters, *options: str, env: dict[str, str] | None = None, address: str = "127.0.0.1:0"
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A server over HTTP, which in the end is told to end, and has said nothing that is an error."""
    process = await asyncio.create_subprocess_exec(
        *(PEER, *COMMAND, "--http", address, *options),
        cwd=ROOT,
        env={**os.environ, "LETTERS": str(letters.path), "CODEMODE_TOKEN": TOKEN, **(env or {})},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        line = (await process.stderr.readline()).decode()
        found = re.search(r"http://\S+", line)
        assert found, line
        yield process, found[0]
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        rest = await process.stderr.read()
        assert await process.wait() == 0, rest.decode()
        assert "Traceback" not in rest.decode()
        assert "codemode-graph:" not in rest.decode()


@asynccontextmanager
async def over_stdio(letters: Letters, *options: str, env: dict[str, str] | None = None, **how: Any) -> Any:
    parameters = StdioServerParameters(
        command=PEER,
        args=[*COMMAND, *options],
        cwd=ROOT,
        env={**os.environ, "LETTERS": str(letters.path), **(env or {})},
    )
    async with stdio_client(parameters) as (reading, writing), ClientSession(reading, writing, **how) as session:
        await session.initialize()
        yield session


@asynccontextmanager
async def at_url(url: str, token: str = TOKEN, **how: Any) -> Any:
    async with (
        create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as client,
        streamable_http_client(url, http_client=client) as (reading, writing, *_),
        ClientSession(reading, writing, **how) as session,
    ):
        await session.initialize()
        yield session


@asynccontextmanager
async def over_http_with_a_client(
    letters: Letters, *options: str, env: dict[str, str] | None = None, **how: Any
) -> Any:
    async with over_http(letters, *options, env=env) as url, at_url(url, **how) as session:
        yield session


@pytest.fixture(params=[over_stdio, over_http_with_a_client], ids=["stdio", "http"])
def served(request: pytest.FixtureRequest, letters: Letters) -> Open:
    return lambda *options, **how: request.param(letters, *options, **how)


async def refused(call: asyncio.Task[Any]) -> None:
    """Wait for the answer to a request that was cancelled. The server sends none with mcp 2, as the protocol asks."""
    if sys.executable != PEER:
        call.cancel()
    with pytest.raises((McpError, asyncio.CancelledError), match="cancelled" if sys.executable == PEER else None):
        await call


def text(result: types.CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text


async def test_a_program_runs_and_tells_what_it_does(served: Open, letters: Letters) -> None:
    progressed: list[tuple[float, str | None]] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        progressed.append((progress, message))

    async with served() as session:
        (tool,) = (await session.list_tools()).tools
        assert tool.name == "run_code"
        assert "await tools['send'](to: str)" in (tool.description or "")
        assert tool.annotations is not None
        assert (tool.annotations.readOnlyHint, tool.annotations.destructiveHint) == (False, False)
        code = "[(await tools.send(p['name']))['sent'] for p in await tools.people()]"
        result = await session.call_tool("run_code", {"code": code}, progress_callback=progress)
    assert not result.isError
    assert text(result) == '["ann", "bob"]'
    assert result.structuredContent is not None
    assert result.structuredContent["output"] == letters.sent == ["ann", "bob"]
    assert [number for number, _ in progressed] == list(range(1, len(progressed) + 1))
    messages = [message for _, message in progressed]
    assert messages[:2] == ["attempt 1", "checked"]
    assert "send: done" in messages


async def test_a_failed_program_is_gone_on_from_and_nothing_is_sent_twice(served: Open, letters: Letters) -> None:
    async with served() as session:
        failed = await session.call_tool("run_code", {"code": "r = await tools.send('ann')\nprint('sent')\n{}['x']"})
        assert failed.isError
        assert "line 3: KeyError: x" in text(failed)
        assert "Printed:\nsent" in text(failed)
        run_id = (failed.structuredContent or {})["run_id"]
        done = await session.call_tool("run_code", {"code": "await tools.send('ann')", "after": run_id})
        assert json.loads(text(done)) == {"sent": "ann"}
        assert letters.sent == ["ann"]
        unknown = await session.call_tool("run_code", {"code": "1", "after": run_id})
        assert unknown.isError
        assert "no failed run" in text(unknown)
        wrong = await session.call_tool("run_code", {"code": "await tools.sned('ann')"})
        assert "did you mean" in text(wrong)
        assert (await session.call_tool("run_code", {})).isError
        assert (await session.call_tool("run_task", {"task": "x"})).isError


DECISIONS: dict[str, tuple[dict[str, Any] | str, Any, list[str]]] = {
    "approve": ({"decision": "approve"}, {"sent": "ann"}, ["ann"]),
    "reject": ({"decision": "reject", "message": "not today"}, "the call of 'send' was refused: not today", []),
    "edit": ({"decision": "edit", "arguments": '{"to": "bob"}'}, {"sent": "bob"}, ["bob"]),
    "respond": ({"decision": "respond", "message": "it was"}, "it was", []),
    "a button": ({}, {"sent": "ann"}, ["ann"]),
    "a switch": ({"approved": True}, {"sent": "ann"}, ["ann"]),
    "a text": ({"answer": "No."}, "the call of 'send' was refused", []),
    "decline": ("decline", "the call of 'send' was refused: nobody decided", []),
    "cancel": ("cancel", "the call of 'send' was refused: nobody decided", []),
}


@pytest.mark.parametrize("decision", DECISIONS)
async def test_a_person_at_the_client_decides(letters: Letters, decision: str) -> None:
    answer, expected, sent = DECISIONS[decision]
    asked: list[types.ElicitRequestFormParams] = []

    async def elicited(context: Any, request: Any) -> types.ElicitResult:
        asked.append(request)
        if isinstance(answer, str):
            return types.ElicitResult(action=answer)  # type: ignore[arg-type]
        return types.ElicitResult(action="accept", content=answer)

    code = "try:\n    r = await tools.send('ann')\nexcept PermissionError as error:\n    r = str(error)\nr"
    async with over_stdio(letters, "--approve", "send*", elicitation_callback=elicited) as session:
        result = await session.call_tool("run_code", {"code": code})
    assert (result.structuredContent or {})["output"] == expected
    assert letters.sent == sent
    (request,) = asked
    assert "send on line 2" in request.message
    assert request.requestedSchema["properties"]["arguments"]["default"] == '{"to": "ann"}'


async def test_calls_side_by_side_are_asked_about_one_by_one(letters: Letters) -> None:
    async def elicited(context: Any, request: Any) -> types.ElicitResult:
        wanted = "approve" if "bob" in request.message else "reject"
        return types.ElicitResult(action="accept", content={"decision": wanted})

    code = "import asyncio\nr = await asyncio.gather(tools.send('ann'), tools.send('bob'), return_exceptions=True)\n[str(x) for x in r]"
    async with over_http_with_a_client(
        letters, "--approve", "send", "--sandbox", "restricted", elicitation_callback=elicited
    ) as session:
        result = await session.call_tool("run_code", {"code": code})
    assert (result.structuredContent or {})["output"] == ["the call of 'send' was refused", "{'sent': 'bob'}"]
    assert letters.sent == ["bob"]


async def test_a_client_that_cannot_ask_is_told_and_nothing_is_sent(letters: Letters) -> None:
    async with over_stdio(letters, "--approve", "effect:write") as session:
        result = await session.call_tool("run_code", {"code": "await tools.send('ann')"})
    assert result.isError
    assert "waits for a person to decide on send" in text(result)
    assert letters.sent == []


async def test_a_task_is_done_by_the_servers_model(served: Open, letters: Letters) -> None:
    with Service("```python\n(await tools.send('ann'))['sent']\n```") as service:
        env = {"OPENAI_API_KEY": service.key, "OPENAI_BASE_URL": service.url}
        async with served("--model", "openai:gpt-5.2", env=env) as session:
            assert [tool.name for tool in (await session.list_tools()).tools] == ["run_code", "run_task"]
            result = await session.call_tool("run_task", {"task": "write to ann"})
    assert (text(result), letters.sent) == ('"ann"', ["ann"])


async def test_only_those_with_the_token_are_let_in(letters: Letters) -> None:
    async with over_http(letters) as url, httpx.AsyncClient() as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            response = await client.post(url, json={}, headers=headers)
            assert (response.status_code, response.headers["www-authenticate"][:6]) == (401, "Bearer")
        right = {"Authorization": f"Bearer {TOKEN}"}
        response = await client.post(url, json={}, headers={**right, "Host": "evil.example"})
        assert response.status_code == 421
        async with at_url(url) as session:
            assert len((await session.list_tools()).tools) == 1


async def test_clients_work_side_by_side(letters: Letters) -> None:
    async def one(url: str, number: int) -> Any:
        async with at_url(url) as session:
            return text(await session.call_tool("run_code", {"code": f"len(await tools.people()) + {number}"}))

    async with over_http(letters) as url:
        assert await asyncio.gather(*(one(url, number) for number in range(5))) == ["2", "3", "4", "5", "6"]


async def test_a_request_that_is_cancelled_ends_its_run(letters: Letters) -> None:
    code = "await tools.send('ann')\nimport asyncio\nawait asyncio.sleep(50)\nawait tools.send('bob')"
    async with over_stdio(letters) as session:
        call = asyncio.create_task(session.call_tool("run_code", {"code": code}))
        async with asyncio.timeout(60):
            while not letters.sent:  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.02)
        cancelled = types.CancelledNotification(params=types.CancelledNotificationParams(requestId=1))
        await session.send_notification(types.ClientNotification(cancelled))
        await refused(call)
        assert text(await session.call_tool("run_code", {"code": "1 + 1"})) == "2"
    assert letters.sent == ["ann"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--http", "0.0.0.0:8123"], "set CODEMODE_TOKEN"),
        (["--http", "8123x"], "HOST:PORT"),
        (["--model", "openai:gpt-5.2"], "OPENAI_API_KEY"),
        (["--sandbox", "mony"], "did you mean 'monty'"),
        (["--approve", "snd"], "snd"),
    ],
)
async def test_what_cannot_be_served_is_refused(letters: Letters, options: list[str], said: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(PEER, *COMMAND, *options),
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if not key.startswith(("OPENAI", "CODEMODE"))},
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()
    assert process.returncode == 2
    assert said in stderr.decode()
    assert "Traceback" not in stderr.decode()
