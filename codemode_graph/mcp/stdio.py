"""A server as a child process that speaks over its standard input and output.

mcp's own client hides the process, so that neither its exit status nor its standard error can be reported, and breaks the
connection at a message that it cannot decode.
"""

import asyncio
import json
import logging
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from langchain_mcp_adapters.sessions import StdioConnection
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCMessage
from pydantic import ValidationError

__all__ = ["ServerProcess"]

# A server that writes without end must not fill the host's memory.
_MAX_MESSAGE_BYTES = 256 * 1024 * 1024
_MAX_LINE_CHARACTERS = 500
_EXIT_SECONDS = 2.0
_logger = logging.getLogger("codemode")


class ServerProcess:
    """Runs a server, in a process group of its own, for as long as its streams are open.

    Args:
        name: Its name in log messages.
        connection: How to start it.
        on_end: Called when it has ended by itself.

    Attributes:
        ended: Why the server is gone ("ended with exit status 1"), or None while it runs.
    """

    def __init__(self, name: str, connection: StdioConnection, *, on_end: Callable[[], None]) -> None:
        self.ended: str | None = None
        self._name = name
        self._connection = connection
        self._on_end = on_end
        self._stderr: deque[str] = deque(maxlen=20)

    @property
    def last_stderr_line(self) -> str:
        """The last line that it wrote to its standard error, or an empty string."""
        return next((line for line in reversed(self._stderr) if line), "")

    @asynccontextmanager
    async def streams(
        self,
    ) -> AsyncIterator[
        tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]
    ]:
        """Start the process; yield the streams that a `ClientSession` reads from and writes to.

        On leaving, its input is closed; two seconds later it gets SIGTERM, and two seconds later SIGKILL. When the task is
        cancelled meanwhile, it is killed at once. All of that goes for its whole process group.

        Raises:
            OSError: It cannot be started.
        """
        env = get_default_environment() | (self._connection.get("env") or {})
        process = await anyio.open_process(
            [self._connection["command"], *self._connection["args"]],
            env=env,
            cwd=self._connection.get("cwd"),
            start_new_session=True,
        )
        to_session, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        to_server, from_session = anyio.create_memory_object_stream[SessionMessage](0)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, process, to_session)
                tasks.start_soon(self._write, process, from_session)
                try:
                    yield from_server, to_server
                except asyncio.CancelledError:
                    _signal_group(process, signal.SIGKILL)
                    raise
                finally:
                    self.ended = self.ended or "was closed"
                    await _shut_down(process)
                    tasks.cancel_scope.cancel()
        finally:
            for stream in (to_session, from_server, to_server, from_session):
                stream.close()
            with anyio.CancelScope(shield=True):
                await process.aclose()

    async def _watch(self, process: Process, to_session: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        """Read until the process ends or closes its output. Record why before the session sees the end."""
        assert process.stdout is not None
        assert process.stderr is not None
        ending = anyio.Event()

        async def read(stdout: ByteReceiveStream) -> None:
            await self._read(stdout, to_session)
            ending.set()

        async def wait() -> None:
            await process.wait()
            ending.set()

        with anyio.CancelScope() as grace:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, process.stdout)
                tasks.start_soon(wait)
                tasks.start_soon(self._read_stderr, process.stderr)
                await ending.wait()
                # The end of its output, its exit status and its last lines come in any order, and a child of it may
                # hold the pipes open for longer.
                grace.deadline = anyio.current_time() + _EXIT_SECONDS
        self.ended = self.ended or _exit_reason(process.returncode)
        self._on_end()
        to_session.close()

    async def _read(
        self, stdout: ByteReceiveStream, to_session: MemoryObjectSendStream[SessionMessage | Exception]
    ) -> None:
        lines = BufferedByteReceiveStream(stdout)
        with suppress(anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                try:
                    line = await lines.receive_until(b"\n", _MAX_MESSAGE_BYTES)
                except anyio.DelimiterNotFound:
                    self.ended = f"sent a message of more than {_MAX_MESSAGE_BYTES >> 20} MiB"
                    return
                if message := self._decode(line):
                    await to_session.send(SessionMessage(message))

    def _decode(self, line: bytes) -> JSONRPCMessage | None:
        try:
            return JSONRPCMessage.model_validate_json(line)
        except ValidationError:
            pass
        try:
            # JavaScript servers write half a surrogate pair where they cut a text; pydantic refuses it, json does not.
            text = json.dumps(json.loads(line), ensure_ascii=False)
            return JSONRPCMessage.model_validate_json(
                text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            )
        except (ValueError, RecursionError):
            _logger.debug("MCP server %r wrote what is not a message: %s", self._name, _printable(line))
            return None

    async def _read_stderr(self, stderr: ByteReceiveStream) -> None:
        rest = b""
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                *lines, rest = (rest + await stderr.receive()).split(b"\n")
                for line in lines:
                    self._record(line)
                if len(rest) > _MAX_LINE_CHARACTERS * 4:
                    self._record(rest)
                    rest = b""
        if rest:
            self._record(rest)

    def _record(self, line: bytes) -> None:
        self._stderr.append(_printable(line))
        _logger.debug("MCP server %r: %s", self._name, self._stderr[-1])

    @staticmethod
    async def _write(process: Process, from_session: MemoryObjectReceiveStream[SessionMessage]) -> None:
        assert process.stdin is not None
        with from_session, suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for message in from_session:
                await process.stdin.send(
                    message.message.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n"
                )


def _exit_reason(status: int | None) -> str:
    if status is None:
        return "closed its output"
    if status < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
    return f"ended with exit status {status}"


def _printable(line: bytes) -> str:
    text = line[: _MAX_LINE_CHARACTERS * 4].decode(errors="replace").strip()[:_MAX_LINE_CHARACTERS]
    return "".join(c if c.isprintable() else " " for c in text)


async def _shut_down(process: Process) -> None:
    assert process.stdin is not None
    gone = False
    try:
        with anyio.CancelScope(shield=True):
            with suppress(OSError, anyio.BrokenResourceError):
                await process.stdin.aclose()
            with anyio.move_on_after(_EXIT_SECONDS):
                await process.wait()
            gone = not _signal_group(process, signal.SIGTERM)
            with anyio.move_on_after(_EXIT_SECONDS):
                while not gone:
                    await anyio.sleep(0.02)
                    gone = not _signal_group(process, 0)
    finally:
        if not gone:
            _signal_group(process, signal.SIGKILL)


def _signal_group(process: Process, number: int) -> bool:
    """Signal the server's process group; return whether any process of it was left. Signal 0 only asks."""
    if not hasattr(os, "killpg"):  # Windows
        if process.returncode is None and number:
            process.kill()
        return process.returncode is None
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
