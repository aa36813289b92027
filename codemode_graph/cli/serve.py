"""`codemode-graph serve`: offer code mode as an MCP server, over stdio or HTTP."""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, cast

import anyio
import uvicorn
from mcp.server.stdio import stdio_server
from rich.console import Console

from codemode_graph.api import codemode
from codemode_graph.cli.history import invocation_metadata
from codemode_graph.cli.invocation import Invocation, load_specs
from codemode_graph.cli.run import run_async
from codemode_graph.errors import ConfigurationError
from codemode_graph.integrations.mcp_http import DISCONNECT_ERRORS, HttpEndpoint, create_http_app
from codemode_graph.integrations.mcp_server import create_mcp_server
from codemode_graph.integrations.monitor import Monitor
from codemode_graph.integrations.slots import CallSlots
from codemode_graph.mcp_sdk import McpServer, serve_streams
from codemode_graph.tools.spec import ToolPolicy
from codemode_graph.trace.console import say

TOKEN = "CODEMODE_TOKEN"
"""The environment variable with the bearer token."""
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_ENDS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The settings of a server, under the names of the options of `serve`.

    Attributes:
        http: HOST:PORT; None serves stdio.
        allowed_host: Names under which clients reach it, beside those of the address.
        forwarded_from: Addresses of proxies whose `X-Forwarded-For` and `-Proto` headers count.
        max_running: Calls that run at one time.
        max_waiting: Further calls that wait.
        grace: Seconds that calls have to end when the server is asked to.
        access_log: A file for HTTP requests, or `-`.
        audit_log: A file for calls, or `-`.
        journal: A file that keeps the runs.
        version: The version that clients are told.
    """

    http: str | None
    allowed_host: Sequence[str]
    forwarded_from: Sequence[str]
    max_running: int
    max_waiting: int
    grace: float
    access_log: str | None
    audit_log: str | None
    journal: Path | None
    version: str


def serve(invocation: Invocation, service: Service) -> None:
    """Serve code mode to MCP clients until they leave (stdio), or until Ctrl-C or SIGTERM."""
    _set_up_logging()
    # Take stdout for the protocol before `run_async` redirects it: tools that print would break the stream of messages.
    out = TextIOWrapper(sys.stdout.buffer, encoding="utf-8") if service.http is None else None

    async def work() -> None:
        async with AsyncExitStack() as stack:
            # A wrong address, model, sandbox or log fails at once: look at all of them before any server is started.
            sockets = [] if service.http is None else _listen(*_parse_address(service.http))
            for each in sockets:
                stack.callback(each.close)
            model, options = invocation.load()
            # Who serves says which calls are asked about: many clients cannot ask anybody.
            options["policies"] = {pattern: ToolPolicy(approval=True) for pattern in invocation.approve}
            monitor = Monitor(access=service.access_log, audit=service.audit_log)
            stack.callback(monitor.close)
            slots = CallSlots(running=service.max_running, waiting=service.max_waiting)
            for name in ("running", "waiting", "asking"):
                monitor.gauge(f"codemode_calls_{name}", f"Calls of clients: {name}.", partial(getattr, slots, name))
            place = None if service.journal is None else service.journal.absolute()
            specs = await load_specs(stack, invocation.mcp, invocation.tools, places=True)
            cm = await stack.enter_async_context(codemode(tools=specs, code_model=model, durable=place, **options))
            server = create_mcp_server(
                cm,
                tasks=invocation.model is not None,
                version=service.version,
                slots=slots,
                monitor=monitor,
                metadata=None if place is None else invocation_metadata(invocation),
                advice="" if place is None else _how_to_resume(place),
            )
            if out is not None:
                try:
                    await _serve_stdio(server, slots, out, grace=service.grace)
                except* _Ended:
                    pass
            else:
                await _serve_http(server, slots, monitor, sockets, service)

    run_async(work())
    if out is not None:
        # A thread still waits for a line of stdin, which Python would wait for in turn.
        out.flush()
        sys.stderr.flush()
        os._exit(0)


def _how_to_resume(place: Path) -> str:
    return f"The run is recorded: `codemode-graph resume {{}} --journal {place}` goes on with it."


class _ClientsLeave(logging.Filter):
    """Drops errors of the SDK and the HTTP server that only say that a client has gone."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not _is_disconnect(error)


def _is_disconnect(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_disconnect, error.exceptions))
    return isinstance(error, (*DISCONNECT_ERRORS, asyncio.CancelledError))


def _set_up_logging() -> None:
    # Clients probe for newer versions of the protocol, and the SDK logs a long warning for each such request.
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("codemode-graph: %(name)s: %(message)s"))
    handler.addFilter(_ClientsLeave())
    logging.basicConfig(level=logging.ERROR, handlers=[handler], force=True)


@contextmanager
def _ending(end: Callable[[], Awaitable[None]]) -> Iterator[None]:
    """Call a function at the first Ctrl-C or SIGTERM; a second one leaves at once."""
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Future[None]] = []

    def begin(number: int) -> None:
        if tasks:
            os._exit(128 + number)
        tasks.append(asyncio.ensure_future(end()))

    numbers = []
    for number in _ENDS:
        with suppress(NotImplementedError):  # Windows: Ctrl-C ends the process
            loop.add_signal_handler(number, begin, number)
            numbers.append(number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class _Ended(Exception):
    """The server was asked to end."""


async def _read_lines() -> AsyncIterator[str]:
    """Read stdin line by line, in a thread that nobody waits for: a read that blocks cannot be cancelled."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue(maxsize=16)

    def read() -> None:
        with suppress(RuntimeError):  # the event loop has ended
            for line in TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="replace"):
                asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
            asyncio.run_coroutine_threadsafe(lines.put(None), loop).result()

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line


async def _serve_stdio(server: McpServer, slots: CallSlots, out: TextIOWrapper, *, grace: float) -> None:
    # The SDK takes any asynchronous iterator of lines, and needs no more of a file.
    async with stdio_server(cast("Any", _read_lines()), anyio.wrap_file(out)) as (messages, replies):
        serving = asyncio.create_task(serve_streams(server, messages, replies))

        async def end() -> None:
            await slots.close(grace=grace)
            await asyncio.sleep(0.1)  # the answers are on their way through the streams of the SDK
            serving.cancel()

        with _ending(end), suppress(asyncio.CancelledError):
            await serving
        if serving.cancelled():  # the streams of the SDK still wait for the client
            raise _Ended


async def _serve_http(
    server: McpServer, slots: CallSlots, monitor: Monitor, sockets: list[socket.socket], service: Service
) -> None:
    host = service.http.rpartition(":")[0] if service.http else ""
    endpoint = HttpEndpoint(server)
    app = create_http_app(
        server,
        token=os.environ.get(TOKEN) or None,
        hosts=_hosts(host or _LOOPBACK[0], service.allowed_host),
        addresses=host not in ("", *_LOOPBACK),
        slots=slots,
        monitor=monitor,
        endpoint=endpoint,
    )
    config = uvicorn.Config(
        app,
        # The handlers of uvicorn would print its errors, and the tracebacks of clients that leave, past our own.
        log_level="error",
        log_config=None,
        access_log=False,
        # Anybody may send the headers by which a proxy says whom it serves.
        proxy_headers=bool(service.forwarded_from),
        forwarded_allow_ips=list(service.forwarded_from),
        timeout_graceful_shutdown=3,
    )
    http = _HttpServer(config)

    async def end() -> None:
        await slots.close(grace=service.grace)
        await endpoint.close()
        http.should_exit = True

    with _ending(end):
        await http.serve(sockets)


def _hosts(host: str, allowed: Sequence[str]) -> Collection[str]:
    """Return the names under which clients may reach the server.

    A page in a browser can reach it under a name of its own; the Host header tells it apart (DNS rebinding).
    """
    own = () if host in _LOOPBACK else (host, socket.gethostname(), socket.getfqdn())
    return {*_LOOPBACK, *own, *allowed}


class _HttpServer(uvicorn.Server):
    """Prints its address once it listens. Signals are handled elsewhere, so that tools and sandboxes are closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again after its shutdown, which would skip the cleanup of the event loop.
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # The port may be 0: only the socket knows which one it has.
        for listening in sockets or ():
            host, port = listening.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            say(Console(stderr=True), f"serving code mode at http://{shown}:{port}/mcp", style="bold")


def _parse_address(text: str) -> tuple[str, int]:
    """Parse HOST:PORT.

    Raises:
        ConfigurationError: The text is no address, or others can reach the address and there is no token.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"--http takes HOST:PORT, such as 127.0.0.1:8123, not {text!r}")
    host = host or _LOOPBACK[0]
    if host not in _LOOPBACK and not os.environ.get(TOKEN):
        raise ConfigurationError(
            f"{host} can be reached from elsewhere: set {TOKEN} to a secret that clients send as their bearer token"
        )
    return host, int(port)


def _listen(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen at the addresses of a host.

    Raises:
        ConfigurationError: Another process listens there, or the address is none of this machine's.
    """
    found: list[socket.socket] = []
    try:
        known = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(known):
            # A port that the system chose for the first address is that of the others, too.
            same_port = found[0].getsockname()[1] if found else port
            try:
                found.append(socket.create_server((address[0], same_port), family=family, backlog=2048))
            except OSError:
                if not found or family != socket.AF_INET6:  # many machines have the name ::1, and no IPv6
                    raise
    except OSError as error:
        for each in found:
            each.close()
        raise ConfigurationError(f"--http {host}:{port} cannot be used: {error.strerror or error}") from None
    return found
