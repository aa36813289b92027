"""A server as a child process that speaks over its standard input and output.

mcp's own client hides the process, so that neither its exit status nor its standard error can be reported, and breaks the
connection at a message that it cannot decode.
"""

import asyncio
import json
import logging
import os
import signal
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import anyio
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.file import FileReadStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.os.win32.utilities import (
    FallbackProcess,
    create_windows_process,
    get_windows_executable_command,
    terminate_windows_process_tree,
)
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from codemode_graph.mcp.config import StdioConnection
from codemode_graph.mcp_sdk import parse_message

# A server that writes without end must not fill the host's memory.
_MAX_MESSAGE_BYTES = 256 * 1024 * 1024
_MAX_LINE_CHARACTERS = 500
_EXIT_SECONDS = 2.0
_HAS_GROUPS = hasattr(os, "killpg")  # POSIX; on Windows a job object holds a server and what it starts
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
        cancelled meanwhile, it is killed at once. All of that goes for its whole process group. On Windows it is killed
        two seconds after its input was closed, with all that it started.

        Raises:
            OSError: It cannot be started.
        """
        process = await _start(self._connection)
        to_session, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        to_server, from_session = anyio.create_memory_object_stream[SessionMessage](0)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, process, to_session)
                tasks.start_soon(self._write, process, from_session)
                try:
                    yield from_server, to_server
                except asyncio.CancelledError:
                    await _kill(process)
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

    def _decode(self, line: bytes) -> Any:
        try:
            return parse_message(line)
        except ValidationError:
            pass
        try:
            # JavaScript servers write half a surrogate pair where they cut a text; pydantic refuses it, json does not.
            text = json.dumps(json.loads(line), ensure_ascii=False)
            return parse_message(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
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


async def _start(connection: StdioConnection) -> Process:
    """Start a server so that `_kill` ends it and all that it starts.

    Raises:
        OSError: It cannot be started.
    """
    command, args, cwd = connection["command"], connection["args"], connection.get("cwd")
    env = get_default_environment() | (connection.get("env") or {})
    if _HAS_GROUPS:
        return await anyio.open_process([command, *args], env=env, cwd=cwd, start_new_session=True)
    # "npx" is npx.cmd there. The annotation of `errlog` names a file alone, and it is handed on to `Popen`.
    process = await create_windows_process(
        get_windows_executable_command(command), list(args), env, cast(Any, subprocess.PIPE), cwd
    )
    return cast(Process, _ThreadedProcess(process)) if isinstance(process, FallbackProcess) else process


class _ThreadedProcess:
    """The part of anyio's `Process` that is used here, where the event loop of Windows starts none, as in a notebook."""

    def __init__(self, process: FallbackProcess) -> None:
        assert process.popen.stderr is not None
        self._process = process
        self.stdin, self.stdout, self.stderr = process.stdin, process.stdout, FileReadStream(process.popen.stderr)

    @property
    def returncode(self) -> int | None:
        return self._process.popen.poll()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        while (status := self.returncode) is None:  # noqa: ASYNC110 - a thread that waits could not be cancelled
            await anyio.sleep(0.02)
        return status

    def terminate(self) -> None:
        self._process.popen.terminate()

    async def aclose(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                await stream.aclose()


async def _shut_down(process: Process) -> None:
    assert process.stdin is not None
    is_dead = False
    try:
        with anyio.CancelScope(shield=True):
            with suppress(OSError, anyio.BrokenResourceError):
                await process.stdin.aclose()
            with anyio.move_on_after(_EXIT_SECONDS):
                await process.wait()
            if not _HAS_GROUPS:
                return
            is_dead = not _signal_group(process, signal.SIGTERM)
            with anyio.move_on_after(_EXIT_SECONDS):
                while not is_dead:
                    await anyio.sleep(0.02)
                    is_dead = not _signal_group(process, 0)
    finally:
        if not is_dead:
            await _kill(process)


async def _kill(process: Process) -> None:
    """Kill a server and all that it started."""
    if _HAS_GROUPS:
        _signal_group(process, signal.SIGKILL)
        return
    with anyio.CancelScope(shield=True):
        await terminate_windows_process_tree(process)
        with suppress(OSError):
            process.terminate()  # the same as to kill it, there


def _signal_group(process: Process, number: int) -> bool:
    """Signal the server's process group; return whether any process of it was left. Signal 0 only asks."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
