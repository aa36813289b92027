"""One connection to a server, held by a task of its own from its start to its end."""

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import httpx
from langchain_mcp_adapters.sessions import create_session
from mcp import ClientSession, McpError
from mcp.client.session import MessageHandlerFnT
from mcp.types import (
    CONNECTION_CLOSED,
    CancelledNotification,
    CancelledNotificationParams,
    ClientNotification,
    LoggingMessageNotificationParams,
    RequestId,
    ToolListChangedNotification,
)

from codemode_graph.compat import next_request_id
from codemode_graph.mcp.config import ServerConfig
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

__all__ = ["Connection", "ReportingClient", "finish"]

_T = TypeVar("_T")
_CLOSE_SECONDS = 5.0
_IDLE_SECONDS = 7 * 24 * 3600.0
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "emergency": logging.CRITICAL,
}
_MAX_LOG_CHARACTERS = 2000
_logger = logging.getLogger("codemode")


@dataclass(slots=True)
class _Waiting:
    scope: anyio.CancelScope
    failure: CallFailure | None = None


class Connection:
    """A session with a server.

    mcp's clients are cancel scopes and task groups, which must be left in the task that entered them. So an owner task
    enters them, waits, and leaves them; requests may be made, and the connection be closed, in any task of the loop.

    Attributes:
        tools_changed: Whether the server said that its list of tools is another one.
    """

    def __init__(self, server: ServerConfig) -> None:
        self.tools_changed = False
        self._server = server
        self._process: ServerProcess | None = None
        self._session: ClientSession | None = None
        self._calls: dict[RequestId, _Waiting] = {}
        self._ended: CallFailure | None = None
        self._given_up: asyncio.Queue[RequestId | None] = asyncio.Queue()
        self._life = anyio.CancelScope()
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        # A context of its own: it outlives the run, and the traces, in which it happens to be opened.
        self._owner = self._loop.create_task(self._own(), name=f"MCP server {server.name}", context=Context())

    @property
    def usable(self) -> bool:
        """Whether a request may be made: the server is there, as far as is known."""
        return self._ended is None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop in which it lives."""
        return self._loop

    async def opened(self) -> None:
        """Wait until the server has answered for the first time.

        Raises:
            CallFailure: It did not, within its `startup_timeout`; nothing of it is left.
        """
        try:
            await asyncio.shield(self._opened)
        except asyncio.CancelledError:
            await finish([self.end()], at_once=True)
            raise

    async def request(self, ask: Callable[[ClientSession], Awaitable[_T]], *, seconds: float | None) -> _T:
        """Make one request of the session. When the caller is cancelled, so is the request.

        Args:
            ask: Makes the request.
            seconds: How long to wait for the answer; None waits as long as the server is there.

        Raises:
            McpError: The server answered with an error of the protocol.
            CallFailure: It did not answer.
            TimeoutError: It did not answer in time; the request was cancelled.
        """
        session = self._session
        if session is None or self._ended is not None:
            raise NotDelivered(self._reason())
        # mcp neither tells the number of a request nor cancels one; it takes the number before it first waits.
        number = next_request_id(session)
        waiting = _Waiting(anyio.CancelScope(deadline=math.inf if seconds is None else anyio.current_time() + seconds))
        self._calls[number] = waiting
        try:
            with waiting.scope:
                return await ask(session)
        except McpError as error:
            if error.error.code != CONNECTION_CLOSED or error.error.message != "Connection closed":
                raise
            self._end(ServerLost(self._reason()))
            raise ServerLost(self._reason()) from None
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._end(ServerLost(self._reason()))
            raise NotDelivered(self._reason()) from None
        except asyncio.CancelledError:
            self._give_up(number)
            raise
        finally:
            del self._calls[number]
        if waiting.failure is not None:
            raise waiting.failure
        self._give_up(number)
        raise TimeoutError

    def end(self) -> "asyncio.Task[None]":
        """Tell the owner to free all that the connection holds, which takes seconds at most. May be called again.

        Returns:
            The owner, to be handed to `finish`.

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
        self._life.deadline = anyio.current_time() + self._server.startup_timeout
        failure: CallFailure = ServerLost("was closed")
        try:
            with self._life:
                async with self._connect() as self._session:
                    await self.request(lambda session: session.initialize(), seconds=None)
                    self._life.deadline = math.inf
                    self._opened.set_result(None)
                    await self._serve(self._session)
            if not self._opened.done() and self._ended is None:
                failure = NotDelivered(f"did not answer within {self._server.startup_timeout:g} seconds")
        except Exception as error:
            failure = explain(error, self._server.connection)
        finally:
            self._end(failure)
            if not self._opened.done():
                self._opened.set_exception(type(failure)(failure.reason, failure.detail or self._last_words()))
                self._opened.exception()  # nobody may be waiting for it

    async def _serve(self, session: ClientSession) -> None:
        """Tell the server which requests nobody waits for any more, until the end."""
        try:
            while (number := await self._given_up.get()) is not None:
                params = CancelledNotificationParams(requestId=number, reason="the caller gave it up")
                await session.send_notification(ClientNotification(CancelledNotification(params=params)))
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            pass
        finally:
            self._end(ServerLost(self._reason()))

    def _give_up(self, number: RequestId) -> None:
        if self._ended is None:
            self._given_up.put_nowait(number)

    def _end(self, failure: CallFailure) -> None:
        """Let no request start, wake those that wait, and send the owner on its way."""
        if self._ended is None:
            self._ended = failure
            self._life.deadline = min(self._life.deadline, anyio.current_time() + _CLOSE_SECONDS)
            self._given_up.put_nowait(None)
        for waiting in self._calls.values():
            waiting.failure = waiting.failure or ServerLost(failure.reason)
            waiting.scope.cancel()

    def _fail(self, number: RequestId, failure: CallFailure) -> None:
        waiting = self._calls.get(number)
        if waiting is not None and waiting.failure is None:
            waiting.failure = failure
            waiting.scope.cancel()
        # Over SSE answers come by another way than requests go: a request that breaks tells that its server is in trouble.
        over_sse = self._server.connection["transport"] == "sse"
        if isinstance(failure, NotDelivered) or (over_sse and isinstance(failure, ServerLost)):
            self._end(failure)

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[ClientSession]:
        connection = self._server.connection
        options: dict[str, Any] = {
            "logging_callback": self._log,
            "message_handler": self._message_handler(),
        }
        if connection["transport"] == "stdio":
            self._process = ServerProcess(self._server.name, connection, on_end=self._gone)
            async with self._process.streams() as (read, write), ClientSession(read, write, **options) as session:
                yield session
        else:
            remote: Any = {
                **connection,
                "session_kwargs": options,
                "timeout": self._server.startup_timeout,
                # A session may idle for as long as it likes; `request` bounds the time of an answer.
                "sse_read_timeout": _IDLE_SECONDS,
                "httpx_client_factory": lambda **options: ReportingClient(
                    on_failure=self._fail,
                    on_events_end=self._gone if connection["transport"] == "sse" else None,
                    **options,
                ),
            }
            async with create_session(remote) as session:
                yield session

    def _gone(self) -> None:
        self._end(ServerLost(self._reason()))

    def _message_handler(self) -> MessageHandlerFnT:
        async def handle(message: Any) -> None:
            if isinstance(message, Exception) and not isinstance(message, RuntimeError):
                # Some request gets no answer, and nothing tells which. (A RuntimeError is an answer to no request.)
                self._end(ServerLost("sent a message that cannot be read"))
            elif isinstance(getattr(message, "root", None), ToolListChangedNotification):
                self.tools_changed = True

        return handle

    async def _log(self, params: LoggingMessageNotificationParams) -> None:
        data = params.data if isinstance(params.data, str) else json.dumps(params.data, ensure_ascii=False, default=str)
        text = data[:_MAX_LOG_CHARACTERS].replace("\r", "\\r").replace("\n", "\\n")
        _logger.log(_LEVELS.get(params.level, logging.INFO), "MCP server %r: %s", self._server.name, text)

    def _reason(self) -> str:
        if self._process is not None and self._process.ended:
            return self._process.ended
        return self._ended.reason if self._ended is not None else "closed the connection"

    def _last_words(self) -> str:
        return self._process.last_words if self._process is not None else ""


async def finish(tasks: Iterable["asyncio.Task[Any]"], *, at_once: bool = False) -> None:
    """Wait for tasks that are about to end; cut them short where it is to be at once, or when cancelled meanwhile."""
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


_MAX_REFUSAL_BYTES = 64 * 1024


class ReportingClient(httpx.AsyncClient):
    """Reports every message that gets no answer to whoever waits for it.

    mcp's transports drop such a message in silence, so that its caller waits for ever, or they give up the whole
    session with every other call on it. Here they see it accepted (HTTP 202), and the caller hears of it through
    `on_failure`.

    Args:
        on_failure: Called with the id of a request and the reason why it will not be answered.
        on_events_end: Called when a stream of events that belongs to no request has ended.
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
        """Send as `httpx.AsyncClient.send` does; a message of the session never raises."""
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
    """An event stream that ends where it breaks, and tells when it ended before its reader had what it wanted."""

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
        # A server may close a stream whose events bear ids on purpose; mcp then asks for the rest of it.
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
        return ServerLost(reason)  # what is behind the gateway may be at work
    # MCP asks for 404 here; servers written after the TypeScript examples answer 400 and speak of the session.
    unknown_session = response.status_code == httpx.codes.NOT_FOUND or (
        response.status_code == httpx.codes.BAD_REQUEST and isinstance(message, str) and "session" in message.lower()
    )
    return SessionGone(reason) if unknown_session and "mcp-session-id" in request.headers else Refused(reason)


def _request_id(request: httpx.Request) -> RequestId | None:
    """The id of the JSON-RPC request in the body; a notification has none."""
    if request.method != "POST":
        return None
    message = json.loads(request.content)
    return message.get("id") if "method" in message else None
