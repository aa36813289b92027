"""What a tool call would take without a sandbox: over the bare transport, and for the bytes alone."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from codemode_sandboxes import Limits, Program
from codemode_sandboxes.docker.build_image import DEFAULT_IMAGE
from codemode_sandboxes.image.contents import PYTHON
from codemode_sandboxes.process import ProcessExecution
from codemode_sandboxes.process.frames import encode
from pydantic_monty import AsyncFunctionSnapshot, AsyncFutureSnapshot, AsyncMonty, MontyComplete

from benchmarks.boxes.box import gaps

__all__ = ["bytes_alone", "over_attachment", "over_monty", "over_pipe"]

_GUEST = Path(__file__).with_name("plain_guest.py")


async def over_pipe(count: int) -> list[float]:
    """Seconds of each call that a plain program makes of this one through the pipes of its standard streams."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, _GUEST, str(count), stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        return await _answer(process.stdout, process.stdin)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def over_attachment(count: int) -> list[float]:
    """The same where the program is in a container, through the connection to the Docker daemon."""
    import docker  # type: ignore[import-untyped]

    client = docker.from_env()
    try:
        container = client.containers.create(
            DEFAULT_IMAGE, ["-c", _GUEST.read_text(), str(count)], entrypoint=PYTHON, stdin_open=True, network="none"
        )
        try:
            attached = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
            reader, writer = await asyncio.open_connection(sock=attached._sock.dup())
            attached._response.close()
            output = asyncio.StreamReader()
            reading = asyncio.create_task(_unpack(reader, output))
            await asyncio.to_thread(container.start)
            found = await _answer(output, writer)
            await reading
            writer.close()
            return found
        finally:
            container.remove(force=True)
    finally:
        client.close()


async def _unpack(reader: asyncio.StreamReader, output: asyncio.StreamReader) -> None:
    # Docker sends eight bytes before each piece of a stream, the last four its length.
    while header := await reader.read(1):
        header += await reader.readexactly(7)
        output.feed_data(await reader.readexactly(int.from_bytes(header[4:])))
    output.feed_eof()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[float]:
    async def echo(number: int) -> int:
        return number

    times: list[float] = []
    while line := await reader.readline():
        times.append(time.perf_counter())
        call = json.loads(line)
        result = await echo(*call["args"], **call["kwargs"])
        writer.write(json.dumps({"id": call["id"], "result": result}).encode() + b"\n")
        await writer.drain()
    return gaps(times)


# The very frames of a call, sent by a loop without asyncio or JSON, in the sandbox.
_ECHO = """\
import sys
frame = sys._getframe()
while "wire" not in frame.f_locals:
    frame = frame.f_back
wire = frame.f_locals["wire"]
call = memoryview(
    b\'{"type":"call","id":7,"tool":"echo","line":2,"arguments":[[7],{}]}\\n\'
    b\'{"type":"blocked","cancelled":[],"wake_after":null}\\n\'
)
while True:
    wire._write(call)
    wire._read(1 << 20)
"""
_ANSWER = b'{"type":"resume","outcomes":[[7,"returned",7]],"elapsed":null}\n'
_END = b'"wake_after":null}\n'


async def bytes_alone(sandbox: Any, count: int) -> list[float]:
    """Seconds of each exchange with a guest that echoes, through the pipe or the socket of a real guest.

    This end waits in the event loop, as a host with asynchronous tools must; it neither writes nor reads JSON, and has no
    task.

    Args:
        sandbox: A process sandbox.
        count: How many exchanges.
    """
    execution: ProcessExecution = await sandbox.start(Program(code=_ECHO, tools=("echo",)), Limits(seconds=30))
    try:
        channel: Any = execution._channel
        await channel.send(encode(execution._run_frame(None)))
        return await _exchange(channel._reading, channel._writing, count)
    finally:
        await execution.aclose()


async def _exchange(reading: int, writing: int, count: int) -> list[float]:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    times: list[float] = []
    heard = b""

    def hear() -> None:
        nonlocal heard
        try:
            data = os.read(reading, 1 << 18)
            heard += data
            if heard.endswith(_END):
                heard = b""
                times.append(time.perf_counter())
                if len(times) <= count:
                    os.write(writing, _ANSWER)
                    return
            elif data:
                return
            if not data:
                raise RuntimeError("the echoing guest ended")
            done.set_result(None)
        except Exception as error:
            done.set_exception(error)

    loop.add_reader(reading, hear)
    try:
        async with asyncio.timeout(30):
            await done
    finally:
        loop.remove_reader(reading)
    return gaps(times)


async def over_monty(count: int) -> list[float]:
    """Seconds of each call that a program makes of pydantic_monty itself: suspended, told to wait, and answered."""
    code = f"for number in range({count}):\n    await echo(number)"
    times: list[float] = []
    async with AsyncMonty() as workers, workers.checkout(limits={"max_suspensions": 10 * count}) as session:
        step: Any = await session.feed_start(code)
        while not isinstance(step, MontyComplete):
            match step:
                case AsyncFunctionSnapshot():
                    times.append(time.perf_counter())
                    waiting, value = step.call_id, step.args[0]
                    step = await step.resume({"future": ...})
                case AsyncFutureSnapshot():
                    step = await step.resume({waiting: {"return_value": value}})
                case _:
                    step = await step.resume()
    return gaps(times)
