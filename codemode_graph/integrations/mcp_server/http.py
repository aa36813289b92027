"""The server over streamable HTTP."""

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["create_http_app"]


def create_http_app(server: Server[Any, Any], *, token: str | None, hosts: list[str] | None = None) -> Starlette:
    """Make the ASGI application that serves `server` at `/mcp`.

    Args:
        server: Of `create_mcp_server`.
        token: What a client has to send as its bearer token; None lets everybody in who reaches the application.
        hosts: Values of the `Host` header that are taken, such as `localhost:*`, so that no web page can reach a server
            on its reader's machine; None takes any.
    """
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=hosts is not None,
        allowed_hosts=hosts or [],
        allowed_origins=[f"http://{host}" for host in hosts or []],
    )
    manager = StreamableHTTPSessionManager(server, security_settings=security)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with manager.run():
            yield

    endpoint: ASGIApp = _Endpoint(manager)
    middleware = []
    if token is not None:
        endpoint = RequireAuthMiddleware(endpoint, [])
        middleware = [Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(_OneToken(token)))]
    return Starlette(routes=[Route("/mcp", endpoint)], middleware=middleware, lifespan=lifespan)


class _Endpoint:
    def __init__(self, manager: StreamableHTTPSessionManager) -> None:
        self._manager = manager

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._manager.handle_request(scope, receive, send)


class _OneToken:
    """Knows one token."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        same = hmac.compare_digest(token.encode(), self._token)
        return AccessToken(token=token, client_id="client", scopes=[]) if same else None
