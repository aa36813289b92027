"""The errors of real clients: whether a call may have taken effect is told by whether anything can have been sent."""

import asyncio
import contextlib
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import grpc  # type: ignore[import-untyped]  # the types are a package of their own
import grpc.aio  # type: ignore[import-untyped]
import httpx
import httpx2
import pytest
import requests
from mcp import McpError
from mcp.types import ErrorData

from codemode_graph.calls.transport import may_have_taken_effect

WAIT = 0.2
"""Seconds that clients wait for an answer: the servers here give one at once, or never."""


async def by_httpx(port: int) -> None:
    async with httpx.AsyncClient(timeout=WAIT) as client:
        (await client.post(f"http://127.0.0.1:{port}/", content=b"pay")).raise_for_status()


async def by_httpx2(port: int) -> None:
    async with httpx2.AsyncClient(timeout=WAIT) as client:
        (await client.post(f"http://127.0.0.1:{port}/", content=b"pay")).raise_for_status()


async def by_httpx_without_waiting_threads(port: int) -> None:
    await asyncio.to_thread(
        lambda: httpx.post(f"http://127.0.0.1:{port}/", content=b"pay", timeout=WAIT).raise_for_status()
    )


async def by_requests(port: int) -> None:
    url = f"http://127.0.0.1:{port}/"

    def post() -> None:
        # The response is in the error, and its connection in a pool: both are closed here, not some time later.
        with requests.Session() as session, session.post(url, data=b"pay", timeout=WAIT) as response:
            response.raise_for_status()

    await asyncio.to_thread(post)


async def by_aiohttp(port: int) -> None:
    limit = aiohttp.ClientTimeout(total=WAIT)
    async with (
        aiohttp.ClientSession(timeout=limit, raise_for_status=True) as session,
        session.post(f"http://127.0.0.1:{port}/", data=b"pay") as answer,
    ):
        await answer.read()


async def by_urllib(port: int) -> None:
    def post() -> None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", data=b"pay", timeout=WAIT) as response:
                response.read()
        except urllib.error.HTTPError as error:
            error.close()
            raise

    await asyncio.to_thread(post)


async def by_grpc(port: int) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await channel.unary_unary("/bank/Pay")(b"pay", timeout=WAIT)


async def by_grpc_in_a_thread(port: int) -> None:
    def pay() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            channel.unary_unary("/bank/Pay")(b"pay", timeout=WAIT)

    await asyncio.to_thread(pay)


async def by_asyncio(port: int) -> None:
    async with asyncio.timeout(WAIT):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"pay\n\n")
            await writer.drain()
            await reader.readuntil(b"paid")
        finally:
            writer.close()


async def in_a_group(port: int) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(by_httpx(port))


CLIENTS: list[Callable[[int], Awaitable[None]]] = [
    by_httpx, by_httpx2, by_httpx_without_waiting_threads, by_requests, by_aiohttp, by_urllib, by_asyncio, in_a_group
]  # fmt: skip
each_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__.removeprefix("by_"))


@contextlib.asynccontextmanager
async def serving(answer: bytes | None) -> AsyncIterator[int]:
    """A server that reads a request, answers this and closes the connection; None for never."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\n")
            if answer is None:
                await over.wait()
            writer.write(answer or b"")
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        over.set()


def closed_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def raised(client: Callable[[int], Awaitable[None]], port: int) -> BaseException:
    try:
        await client(port)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@each_client
@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nhalf",
        b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["never", "closed", "half", "504"],
)
async def test_what_was_sent_may_have_taken_effect(
    client: Callable[[int], Awaitable[None]], answer: bytes | None
) -> None:
    async with serving(answer) as port:
        error = await raised(client, port)
        assert may_have_taken_effect(error), repr(error)


@each_client
async def test_what_was_not_sent_has_not(client: Callable[[int], Awaitable[None]]) -> None:
    error = await raised(client, closed_port())
    assert not may_have_taken_effect(error), repr(error)


@pytest.mark.parametrize("client", [client for client in CLIENTS if client is not by_asyncio])
async def test_what_a_server_refuses_has_not(client: Callable[[int], Awaitable[None]]) -> None:
    async with serving(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as port:
        error = await raised(client, port)
        assert not may_have_taken_effect(error), repr(error)


@pytest.mark.parametrize("client", [by_grpc, by_grpc_in_a_thread])
async def test_grpc_tells_by_its_code(client: Callable[[int], Awaitable[None]]) -> None:
    async def pay(request: bytes, context: Any) -> bytes:
        await context.abort(codes.pop(), "no")
        raise AssertionError("unreachable")

    codes = [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.INVALID_ARGUMENT,
    ]
    expected = [code.name in ("UNAVAILABLE", "INTERNAL") for code in reversed(codes)]
    server = grpc.aio.server()
    handlers = {"Pay": grpc.unary_unary_rpc_method_handler(pay)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bank", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    found = [may_have_taken_effect(await raised(client, port)) for _ in expected]
    await server.stop(None)
    assert found == expected


@pytest.mark.parametrize("client", [by_grpc, by_grpc_in_a_thread])
async def test_grpc_whose_deadline_passes_may_have_taken_effect(client: Callable[[int], Awaitable[None]]) -> None:
    async with serving(None) as port:
        error = await raised(client, port)
        assert may_have_taken_effect(error), repr(error)


@pytest.mark.parametrize(("code", "may"), [(408, True), (-32000, True), (-32602, False), (-32601, False)])
def test_mcp_tells_by_its_code(code: int, may: bool) -> None:
    assert may_have_taken_effect(McpError(ErrorData(code=code, message="no"))) is may
