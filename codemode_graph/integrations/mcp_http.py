"""An MCP server over HTTP: who may reach it, its health and metrics, and an end that leaves no client without an answer."""

import asyncio
import hashlib
import hmac
import ipaddress
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import anyio
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codemode_graph.integrations.monitor import Monitor
from codemode_graph.integrations.slots import CallSlots
from codemode_graph.mcp_sdk import McpServer, handle_http

__all__ = ["DISCONNECT_ERRORS", "DISCONNECT_KEY", "HttpEndpoint", "client_of", "create_http_app"]

DISCONNECT_KEY = "codemode_client_gone"
"""The key of a request's scope with the event that is set when its client hangs up."""
DISCONNECT_ERRORS = (
    ClientDisconnect,
    ConnectionError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)
"""Errors that only say that a client has gone."""


def create_http_app(
    server: McpServer,
    *,
    token: str | None,
    hosts: Collection[str] | None = None,
    addresses: bool = False,
    slots: CallSlots | None = None,
    monitor: Monitor | None = None,
    endpoint: "HttpEndpoint | None" = None,
) -> Starlette:
    """Make the ASGI application that serves `server` at `/mcp`, with `/health`, `/ready` and `/metrics` beside it.

    Args:
        server: The server, from `create_mcp_server`.
        token: The bearer token that a client has to send to `/mcp` and `/metrics`; None admits everybody who reaches the
            application.
        hosts: Accepted names in the `Host` and `Origin` headers of `/mcp` and `/metrics`, with or without a port, so that no
            web page can reach a server on its reader's machine (DNS rebinding); None accepts any.
        addresses: Accept any IP address there, too: only names can be rebound.
        slots: The slots of the server's calls, for `/ready`.
        monitor: Counts and logs the requests.
        endpoint: Where `/mcp` is served; the default is one that nobody closes.

    Returns:
        The application.
    """
    monitor = monitor or Monitor()
    endpoint = endpoint or HttpEndpoint(server)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with endpoint.manager.run():
            yield

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(request: Request) -> Response:
        problem = None if slots is None else "shutting down" if slots.closed else "busy" if slots.full else None
        return JSONResponse({"status": problem or "ready"}, 200 if problem is None else 503)

    async def metrics(request: Request) -> Response:
        found = monitor.metrics()
        if found is None:
            return PlainTextResponse("metrics need prometheus-client: pip install 'codemode-graph[serve]'\n", 501)
        return Response(found[0], media_type=found[1])

    def guard(app: ASGIApp) -> ASGIApp:
        guarded = app if token is None else RequireAuthMiddleware(app, [])
        return guarded if hosts is None else _HostCheck(guarded, hosts, addresses=addresses)

    # Probes come without a token, and under the address of a pod, which is no name that anybody would list.
    scrape = Route("/metrics", metrics)
    routes = [
        Route("/mcp", guard(endpoint)),
        Route("/metrics", guard(scrape.app)),
        Route("/health", health),
        Route("/ready", ready),
    ]
    middleware = [Middleware(_AccessLog, monitor=monitor)]
    if token is not None:
        middleware.append(Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(_OneToken(token))))
    return Starlette(routes=routes, middleware=middleware, lifespan=lifespan)


class HttpEndpoint:
    """The ASGI application at `/mcp`. It tells a call when its client hangs up, and can end all streams at last.

    Args:
        server: The server.
    """

    def __init__(self, server: McpServer) -> None:
        self.manager = StreamableHTTPSessionManager(server)
        self._closing = asyncio.Event()
        self._answers: set[asyncio.Task[None]] = set()

    async def close(self, *, grace: float = 3.0) -> None:
        """Wait until the answers that are under way are sent, so many seconds at most, and end all streams."""
        end = time.monotonic() + grace
        while self._answers and (seconds := end - time.monotonic()) > 0:
            await asyncio.wait(list(self._answers), timeout=seconds)
        self._closing.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if self._closing.is_set():
            await PlainTextResponse("The server is shutting down\n", 503)(scope, receive, send)
            return
        scope[DISCONNECT_KEY] = disconnected = asyncio.Event()
        started = ended = False

        async def watched() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and not ended:
                disconnected.set()
            return message

        async def tracked(message: Message) -> None:
            nonlocal started, ended
            started = True
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        # In a task of its own: it is cancelled once, as asyncio does it, and its stream is then ended in order. A stream of
        # notifications has no end of its own, and would else be cut off with an error in the server's log.
        task = asyncio.create_task(handle_http(self.manager, scope, watched, tracked))
        # An answer is worth waiting for at the end; a stream of notifications never ends by itself.
        if scope["method"] == "POST":
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)
        closing = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait([task, closing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
            task.cancel()
            with suppress(asyncio.CancelledError, *DISCONNECT_ERRORS):
                await task
        if self._closing.is_set() and not ended:
            if not started:
                await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})


class _HostCheck:
    """Refuses requests under a name that is not the server's, or from a page of another origin."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], *, addresses: bool) -> None:
        self._app, self._addresses = app, addresses
        # `name:*` was the form of a name with any port.
        self._hosts = {host.lower().removesuffix(":*").removesuffix(".") for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if not self._knows(headers.get("host", "")):
            text = "This name is not among the server's: serve with --allowed-host NAME\n"
            await PlainTextResponse(text, 421)(scope, receive, send)
        elif origin is not None and not self._knows(urlsplit(origin).netloc):
            await PlainTextResponse("Pages of this origin may not reach the server\n", 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _knows(self, netloc: str) -> bool:
        try:
            parts = urlsplit(f"//{netloc.lower()}")
            name, port = (parts.hostname or "").removesuffix("."), parts.port
        except ValueError:
            return False
        # In `localhost@evil.example` the name is behind the sign; no client writes one.
        if not name or parts.username is not None:
            return False
        if not self._hosts.isdisjoint({"*", name, f"[{name}]", f"{name}:{port}"}):
            return True
        if not self._addresses:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


class _AccessLog:
    """Notes each request once it has ended."""

    def __init__(self, app: ASGIApp, monitor: Monitor) -> None:
        self._app, self._monitor = app, monitor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except DISCONNECT_ERRORS:
            status = status or 499  # as nginx writes it: the client has gone before it was answered
        finally:
            headers = Headers(scope=scope)
            address, user = client_of(scope)
            self._monitor.request(
                method=scope["method"],
                path=scope["path"],
                status=status or 500,
                seconds=time.monotonic() - started,
                client=address,
                user=user,
                host=headers.get("host"),
                agent=headers.get("user-agent"),
                session=_digest(headers.get("mcp-session-id")),
            )


def client_of(scope: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the address that a request comes from, and the name of its user, as far as they are known."""
    address, user = (scope.get("client") or [None])[0], scope.get("user")
    return address, getattr(user, "username", None) if getattr(user, "is_authenticated", False) else None


def _digest(session: str | None) -> str | None:
    """Return a short name for a session: its id, where there is no token, lets its holder in."""
    return None if session is None else hashlib.sha256(session.encode()).hexdigest()[:12]


class _OneToken:
    """Accepts one token."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        # Not `==`: the time that it takes would tell how much of a guess is right.
        same = hmac.compare_digest(token.encode(), self._token)
        return AccessToken(token=token, client_id="client", scopes=[]) if same else None
