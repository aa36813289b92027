"""Over streamable HTTP no call waits for an answer that will not come, and one call's trouble is not another's."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from codemode_graph.errors import ToolCallError, ToolOutcomeUnknown
from codemode_graph.mcp import MCPToolLoader
from tests.mcp.conftest import Tools

Answer = Callable[[Any], Awaitable[Response]]


def result(id: Any, **fields: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "result": fields}


def text(id: Any, words: str) -> dict[str, Any]:
    return result(id, content=[{"type": "text", "text": words}])


class Faulty:
    """A server whose tool `odd` answers as its `answer` says; `fine` always answers. It records its requests."""

    def __init__(self, *odd: Answer) -> None:
        self.odd = list(odd)
        self.sessions = 0
        self.called: list[str] = []
        self.rest: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def handle(self, request: Request) -> Response:
        if request.method == "GET" and "last-event-id" in request.headers:
            return events(f"id: 2\ndata: {await self.rest}\n\n")
        if request.method != "POST":
            return Response(status_code=405)
        message = await request.json()
        if "id" not in message:
            return Response(status_code=202)
        id, method, params = message["id"], message["method"], message.get("params") or {}
        if method == "initialize":
            self.sessions += 1
            info = {"name": "faulty", "version": "1"}
            body = result(id, protocolVersion="2025-06-18", capabilities={"tools": {}}, serverInfo=info)
            return JSONResponse(body, headers={"mcp-session-id": str(self.sessions)})
        if method == "tools/list":
            schema = {"type": "object"}
            return JSONResponse(result(id, tools=[{"name": name, "inputSchema": schema} for name in ("odd", "fine")]))
        self.called.append(params["name"])
        if params["name"] == "odd" and self.odd:
            return await self.odd.pop(0)(id)
        return JSONResponse(text(id, f"answer of session {request.headers['mcp-session-id']}"))


def events(*chunks: str, broken: bool = False) -> Response:
    async def stream() -> AsyncIterator[str]:
        for chunk in chunks:
            yield chunk
        if broken:
            raise ConnectionResetError

    return StreamingResponse(stream(), media_type="text/event-stream")


def status(code: int, body: Any = None) -> Answer:
    async def answer(id: Any) -> Response:
        return Response(status_code=code) if body is None else JSONResponse(body, status_code=code)

    return answer


async def no_answer(id: Any) -> Response:
    return events(": ping\n\n")


async def broken_answer(id: Any) -> Response:
    return events(": ping\n\n", broken=True)


async def broken_answer_with_ids(id: Any) -> Response:
    return events("id: 1\ndata:\n\n", broken=True)


async def the_rest_is_asked_for(id: Any) -> Response:
    return events("id: 1\nretry: 10\ndata:\n\n")


async def no_json(id: Any) -> Response:
    return Response("<html>", media_type="application/json")


async def no_known_type(id: Any) -> Response:
    return Response("<html>", media_type="text/html")


@asynccontextmanager
async def tools_of(server: Faulty) -> AsyncIterator[Tools]:
    app = Starlette(routes=[Route("/mcp", server.handle, methods=["GET", "POST", "DELETE"])])
    http = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    )
    http.config.load()
    http.lifespan = http.config.lifespan_class(http.config)
    await http.startup()
    port = http.servers[0].sockets[0].getsockname()[1]
    try:
        async with MCPToolLoader() as loader:
            loader.add_http_server("faulty", f"http://127.0.0.1:{port}/mcp")
            await loader.load()
            yield Tools(loader)
    finally:
        await http.shutdown()


@pytest.mark.parametrize(
    "answer", [no_answer, broken_answer, broken_answer_with_ids, no_json, no_known_type, status(504)]
)
async def test_an_answer_that_does_not_come_is_an_unknown_outcome(answer: Answer) -> None:
    server = Faulty(answer)
    async with tools_of(server) as tools:
        with pytest.raises(
            ConnectionError, match="before it answered odd; whether the call had its effect is not known"
        ):
            async with asyncio.timeout(60):
                await tools("odd")
        assert server.called == ["odd"]
        assert (await tools("fine")).startswith("answer of session")


@pytest.mark.parametrize("answer", [no_answer, broken_answer])
async def test_a_broken_answer_leaves_the_session(answer: Answer) -> None:
    server = Faulty(answer)
    async with tools_of(server) as tools:
        with pytest.raises(ConnectionError) as error:
            await tools("odd")
        assert isinstance(error.value, ToolOutcomeUnknown)
        assert await tools("odd") == "answer of session 1"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (status(429), "MCP server 'faulty' answered HTTP 429 Too Many Requests"),
        (
            status(500, {"error": {"message": "disk is full"}}),
            "MCP server 'faulty' answered HTTP 500 Internal Server Error: disk is full",
        ),
        (status(400, ["odd"]), "MCP server 'faulty' answered HTTP 400 Bad Request"),
    ],
)
async def test_a_call_that_is_refused_leaves_the_session(answer: Answer, message: str) -> None:
    server = Faulty(answer)
    async with tools_of(server) as tools:
        with pytest.raises(ToolCallError) as error:
            await tools("odd")
        assert str(error.value) == message
        assert server.called == ["odd"]
        assert await tools("odd") == "answer of session 1"


@pytest.mark.parametrize(
    "gone", [status(404), status(400, {"error": {"message": "Bad Request: No valid session ID provided"}})]
)
async def test_a_session_that_the_server_forgot_is_opened_again(gone: Answer) -> None:
    server = Faulty(gone)
    async with tools_of(server) as tools:
        assert await tools("odd") == "answer of session 2"
        assert server.called == ["odd", "odd"]


async def test_a_server_that_forgets_every_session_is_an_error() -> None:
    server = Faulty(*[status(404)] * 5)
    async with tools_of(server) as tools:
        with pytest.raises(ConnectionError, match="MCP server 'faulty' answered HTTP 404 Not Found"):
            await tools("odd")
        assert server.called == ["odd", "odd"]


async def test_the_rest_of_an_answer_is_asked_for_where_the_server_wants_it() -> None:
    server = Faulty(the_rest_is_asked_for)
    async with tools_of(server) as tools:
        call = asyncio.create_task(tools("odd"))
        assert await tools("fine") == "answer of session 1"
        server.rest.set_result(json.dumps(text(0, "late")))
        async with asyncio.timeout(60):
            assert await call == "late"
        assert server.called.count("odd") == 1
