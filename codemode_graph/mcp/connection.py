"""One connection to an MCP server, held by a task of its own from its start to its end.

Over HTTP, `ReportingClient` sits below mcp's transports and reports each request that will get no answer.
"""

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import anyio
from mcp import ClientSession
from mcp.client.session import MessageHandlerFnT
from mcp.client.sse import sse_client
from mcp.types import (
    CancelledNotification,
    CancelledNotificationParams,
    LoggingMessageNotificationParams,
    RequestId,
    ToolListChangedNotification,
)

from codemode_graph.mcp.config import RemoteConnection, ServerConfig
from codemode_graph.mcp.diagnosis import (
    UNSENT,
    CallFailure,
    NotDelivered,
    Refused,
    ServerLost,
    SessionGone,
    explain,
    reason_of,
)
from codemode_graph.mcp.stdio import ServerProcess
from codemode_graph.mcp_sdk import (
    McpError,
    create_session,
    http_streams,
    httpx,
    is_lost,
    next_request_id,
    send_notification,
)

_T = TypeVar("_T")
# How long the owner may take to leave the transport once it must end.
_CLOSE_SECONDS = 5.0
_IDLE_SECONDS = 7 * 24 * 3600.0
# Those of MCP are those of syslog, of which Python has no more than five.
_LEVELS = {
    **{name.lower(): level for name, level in logging.getLevelNamesMapping().items()},
    **{"notice": logging.INFO, "alert": logging.CRITICAL, "emergency": logging.CRITICAL},
}
_MAX_LOG_CHARACTERS = 2000
_MAX_REFUSAL_BYTES = 64 * 1024
_logger = logging.getLogger("codemode")


@dataclass(slots=True)
class _Request:
    """A request without an answer yet: cancelling its scope wakes its caller, who then raises `failure`."""

    scope: anyio.CancelScope
    failure: CallFailure | None = None


class Connection:
    """A session with a server.

    mcp's clients are cancel scopes and task groups, which must be left in the task that entered them. So an owner task
    enters them, waits, and leaves them; requests may be made, and the connection be closed, in any task of the loop.

    Attributes:
        tools_changed: Whether the server has announced another list of tools.
    """

    def __init__(self, server: ServerConfig) -> None:
        self.tools_changed = False
        self._server = server
        self._process: ServerProcess | None = None
        self._session: ClientSession | None = None
        self._calls: dict[RequestId, _Request] = {}
        self._ended: CallFailure | None = None
        self._cancelled: asyncio.Queue[RequestId | None] = asyncio.Queue()
        self._lifetime = anyio.CancelScope()
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        # An empty context: the task outlives the run, and the traces, that happen to open it.
        self._owner = self._loop.create_task(self._own(), name=f"MCP server {server.name}", context=Context())

    @property
    def usable(self) -> bool:
        """True until the connection is known to have ended."""
        return self._ended is None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the connection."""
        return self._loop

    async def opened(self) -> None:
        """Wait until the server has answered for the first time.

        Raises:
            CallFailure: It did not, within its `startup_timeout`; the connection is closed.
        """
        try:
            await asyncio.shield(self._opened)
        except asyncio.CancelledError:
            await finish([self.end()], at_once=True)
            raise

    async def request(self, ask: Callable[[ClientSession], Awaitable[_T]], *, seconds: float | None) -> _T:
        """Make one request. When the caller is cancelled, so is the request.

        Args:
            ask: Makes the request on the session.
            seconds: How long to wait for the answer; None waits until the connection ends.

        Raises:
            McpError: The server answered with an error of the protocol.
            CallFailure: It did not answer.
            TimeoutError: It did not answer in time; the request was cancelled.
        """
        session = self._session
        if session is None or self._ended is not None:
            raise NotDelivered(self._reason())
        # `send_request` takes the id before it first awaits, so no other request can take this one.
        number = next_request_id(session)
        pending = _Request(anyio.CancelScope(deadline=math.inf if seconds is None else anyio.current_time() + seconds))
        self._calls[number] = pending
        try:
            with pending.scope:
                return await ask(session)
        except McpError as error:
            if pending.failure is not None:
                raise pending.failure from None
            if not is_lost(error):
                raise
            self._end(ServerLost(self._reason()))
            raise ServerLost(self._reason()) from None
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._end(ServerLost(self._reason()))
            raise NotDelivered(self._reason()) from None
        except asyncio.CancelledError:
            self._cancel(number)
            raise
        finally:
            del self._calls[number]
        if pending.failure is not None:
            raise pending.failure
        self._cancel(number)
        raise TimeoutError

    def end(self) -> "asyncio.Task[None]":
        """Make the owner task free all that the connection holds, within seconds. May be called again.

        Returns:
            The owner task, for `finish`.

        Raises:
            RuntimeError: The connection lives in another event loop that is still running.
        """
        if not self._owner.done():
            if asyncio.get_running_loop() is not self._loop:
                msg = f"MCP server {self._server.name!r} must be closed in the event loop in which it was connected"
                raise RuntimeError(msg)
            self._end(ServerLost("was closed"))
        return self._owner

    async def _own(self) -> None:
        """Enter the transport and the session, serve until the end, and leave them in this same task."""
        self._lifetime.deadline = anyio.current_time() + self._server.startup_timeout
        failure: CallFailure = ServerLost("was closed")
        try:
            with self._lifetime:
                async with self._connect() as self._session:
                    await self.request(lambda session: session.initialize(), seconds=None)
                    self._lifetime.deadline = math.inf
                    self._opened.set_result(None)
                    await self._serve(self._session)
            if not self._opened.done() and self._ended is None:
                failure = NotDelivered(f"did not answer within {self._server.startup_timeout:g} seconds")
        except Exception as error:
            failure = explain(error, self._server.connection)
        finally:
            self._end(failure)
            if not self._opened.done():
                self._opened.set_exception(type(failure)(failure.reason, failure.detail or self._stderr_line()))
                self._opened.exception()  # Nobody may be waiting for it, and asyncio would log that.

    async def _serve(self, session: ClientSession) -> None:
        """Send the server cancellations of requests until the end."""
        try:
            while (number := await self._cancelled.get()) is not None:
                params = CancelledNotificationParams(requestId=number, reason="the caller gave it up")
                await send_notification(session, CancelledNotification(params=params))
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            pass
        finally:
            self._end(ServerLost(self._reason()))

    def _cancel(self, number: RequestId) -> None:
        if self._ended is None:
            self._cancelled.put_nowait(number)

    def _end(self, failure: CallFailure) -> None:
        """Refuse new requests, fail those that wait, and make the owner task leave."""
        if self._ended is None:
            self._ended = failure
            self._lifetime.deadline = min(self._lifetime.deadline, anyio.current_time() + _CLOSE_SECONDS)
            self._cancelled.put_nowait(None)
        for pending in self._calls.values():
            pending.failure = pending.failure or ServerLost(failure.reason)
            pending.scope.cancel()

    def _fail(self, number: RequestId, failure: CallFailure) -> None:
        pending = self._calls.get(number)
        if pending is not None and pending.failure is None:
            pending.failure = failure
            pending.scope.cancel()
        # Over SSE, answers come on another stream than requests go: a request that breaks means that the server is gone.
        over_sse = self._server.connection["transport"] == "sse"
        if isinstance(failure, NotDelivered) or (over_sse and isinstance(failure, ServerLost)):
            self._end(failure)

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[ClientSession]:
        connection = self._server.connection
        transport: AbstractAsyncContextManager[tuple[Any, Any]]
        options: dict[str, Any] = {"logging_callback": self._log, "message_handler": self._message_handler()}
        if connection["transport"] == "stdio":
            self._process = ServerProcess(self._server.name, connection, on_end=self._lose)
            transport = self._process.streams()
        else:
            transport = self._remote_streams(connection)
        async with transport as (read, write), create_session(read, write, **options) as session:
            yield session

    def _remote_streams(self, connection: RemoteConnection) -> AbstractAsyncContextManager[tuple[Any, Any]]:
        url, headers, seconds = connection["url"], connection["headers"], self._server.startup_timeout
        if connection["transport"] == "streamable_http":
            # A session may idle without bound; `request` bounds the time of an answer.
            timeout = httpx.Timeout(seconds, read=_IDLE_SECONDS)
            return http_streams(url, ReportingClient(on_failure=self._fail, headers=headers, timeout=timeout))

        def client(**options: Any) -> ReportingClient:
            return ReportingClient(on_failure=self._fail, on_events_end=self._lose, **options)

        return sse_client(url, headers, seconds, _IDLE_SECONDS, httpx_client_factory=cast(Any, client))

    def _lose(self) -> None:
        self._end(ServerLost(self._reason()))

    def _message_handler(self) -> MessageHandlerFnT:
        async def handle(message: Any) -> None:
            if isinstance(message, Exception) and not isinstance(message, RuntimeError):
                # Some request gets no answer, and mcp does not say which. (A RuntimeError is an answer to no request.)
                self._end(ServerLost("sent a message that cannot be read"))
            elif isinstance(getattr(message, "root", message), ToolListChangedNotification):
                self.tools_changed = True

        return handle

    async def _log(self, params: LoggingMessageNotificationParams) -> None:
        # A log line is the server's text: bounded, and without line breaks that could pose as other lines.
        data = params.data if isinstance(params.data, str) else json.dumps(params.data, ensure_ascii=False, default=str)
        text = data[:_MAX_LOG_CHARACTERS].replace("\r", "\\r").replace("\n", "\\n")
        _logger.log(_LEVELS.get(params.level, logging.INFO), "MCP server %r: %s", self._server.name, text)

    def _reason(self) -> str:
        if self._process is not None and self._process.ended:
            return self._process.ended
        return self._ended.reason if self._ended is not None else "closed the connection"

    def _stderr_line(self) -> str:
        return self._process.last_stderr_line if self._process is not None else ""


async def finish(tasks: Iterable["asyncio.Task[Any]"], *, at_once: bool = False) -> None:
    """Wait for tasks that are about to end. Cancel them with `at_once`, or when the caller is cancelled meanwhile."""
    pending = {task for task in tasks if not task.done()}
    if not pending:
        return
    with anyio.CancelScope(shield=True):
        try:
            if not at_once:
                await asyncio.wait(pending)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending)


class ReportingClient(httpx.AsyncClient):
    """Reports every message that gets no answer to the caller that waits for it.

    mcp's transports drop such a message in silence, so that its caller waits for ever, or they end the whole session
    with every other call on it. Here they see HTTP 202, "accepted", and `on_failure` tells the caller.

    Args:
        on_failure: Takes the id of a request and the reason why it will not be answered.
        on_events_end: Called when the stream of events that belongs to no request has ended.
        **options: As for `httpx.AsyncClient`.
    """

    def __init__(
        self,
        *,
        on_failure: Callable[[RequestId, CallFailure], None],
        on_events_end: Callable[[], None] | None = None,
        **options: Any,
    ) -> None:
        # One connection a call in flight: a full pool would look like a server that cannot be reached.
        super().__init__(limits=httpx.Limits(max_connections=None, max_keepalive_connections=20), **options)
        self._on_failure = on_failure
        self._on_events_end = on_events_end

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send as `httpx.AsyncClient.send` does, but never raise for a message of the session."""
        if request.method == "GET":
            response = await super().send(request, **options)
            if _is_event_stream(response):
                response.stream = _Events(response.stream, on_end=lambda reason: self._events_ended())
            return response
        id = _request_id(request)
        try:
            response = await super().send(request, **options)
        except httpx.TransportError as error:
            failure = NotDelivered if isinstance(error, UNSENT) else ServerLost
            return self._accepted(request, id, failure(reason_of(error)))
        if response.status_code >= 400:
            return self._accepted(request, id, await _refusal(request, response))
        if id is not None and _is_event_stream(response):
            response.stream = _Events(response.stream, on_end=lambda reason: self._on_failure(id, ServerLost(reason)))
        return response

    def _events_ended(self) -> None:
        if self._on_events_end is not None:
            self._on_events_end()

    def _accepted(self, request: httpx.Request, id: RequestId | None, failure: CallFailure) -> httpx.Response:
        if id is not None:
            self._on_failure(id, failure)
        return httpx.Response(204 if request.method == "DELETE" else 202, request=request)


class _Events(httpx.AsyncByteStream):
    """An event stream that ends where it breaks, and calls `on_end` if that is before its reader closes it."""

    def __init__(self, stream: Any, *, on_end: Callable[[str], None]) -> None:
        self._stream: httpx.AsyncByteStream = stream
        self._on_end = on_end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        resumable = False
        try:
            async for chunk in self._stream:
                resumable = resumable or b"id:" in chunk
                yield chunk
        except httpx.TransportError as error:
            self._on_end(reason_of(error))
            return
        # A server may close a stream on purpose if its events bear ids; mcp then asks for the rest of it.
        if not resumable:
            self._on_end("closed the connection")

    async def aclose(self) -> None:
        await self._stream.aclose()


def _is_event_stream(response: httpx.Response) -> bool:
    return str(response.headers.get("content-type", "")).lower().startswith("text/event-stream")


async def _refusal(request: httpx.Request, response: httpx.Response) -> CallFailure:
    body = b""
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > _MAX_REFUSAL_BYTES:
                break
        message = json.loads(body)["error"]["message"]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        message = None
    finally:
        await response.aclose()
    reason = f"answered HTTP {response.status_code} {response.reason_phrase}".rstrip()
    if isinstance(message, str) and message:
        reason += f": {message}"
    if response.status_code in (httpx.codes.BAD_GATEWAY, httpx.codes.GATEWAY_TIMEOUT):
        return ServerLost(reason)  # The server behind the gateway may be at work on the request.
    # MCP asks for 404 here; servers written after the TypeScript examples answer 400 and speak of the session.
    unknown_session = response.status_code == httpx.codes.NOT_FOUND or (
        response.status_code == httpx.codes.BAD_REQUEST and isinstance(message, str) and "session" in message.lower()
    )
    return SessionGone(reason) if unknown_session and "mcp-session-id" in request.headers else Refused(reason)


def _request_id(request: httpx.Request) -> RequestId | None:
    """Return the id of the JSON-RPC request in the body; a notification has none."""
    if request.method != "POST":
        return None
    message = json.loads(request.content)
    return message.get("id") if "method" in message else None
