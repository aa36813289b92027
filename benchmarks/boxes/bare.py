"""The bare transport: what a tool call takes between two plain programs, without a sandbox."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from codemode_sandboxes.compat import take_socket
from codemode_sandboxes.docker.build_image import DEFAULT_IMAGE
from codemode_sandboxes.image.contents import PYTHON
from pydantic_monty import AsyncFunctionSnapshot, AsyncFutureSnapshot, AsyncMonty, MontyComplete

from benchmarks.boxes.box import gaps

__all__ = ["over_attachment", "over_monty", "over_pipe"]

_GUEST = Path(__file__).with_name("plain_guest.py")


async def over_pipe(count: int) -> list[float]:
    """Return the seconds of each call from a plain program through the pipes of its standard streams."""
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
    """Return the seconds of each call from a plain program in a container, through the Docker daemon."""
    import docker  # type: ignore[import-untyped]

    client = docker.from_env()
    try:
        container = client.containers.create(
            DEFAULT_IMAGE, ["-c", _GUEST.read_text(), str(count)], entrypoint=PYTHON, stdin_open=True, network="none"
        )
        try:
            stream = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
            connection, close_response = take_socket(stream)
            reader, writer = await asyncio.open_connection(sock=connection.dup())
            close_response()
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
    # Docker sends eight bytes before each part of a stream; the last four are its length.
    while header := await reader.read(1):
        header += await reader.readexactly(7)
        output.feed_data(await reader.readexactly(int.from_bytes(header[4:])))
    output.feed_eof()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[float]:
    # A coroutine, as the tools of the sandboxes are.
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


async def over_monty(count: int) -> list[float]:
    """Return the seconds of each call through `pydantic_monty` alone, which suspends, waits and resumes the program."""
    code = f"for number in range({count}):\n    await echo(number)"
    times: list[float] = []
    async with AsyncMonty() as workers, workers.checkout(limits={"max_suspensions": 10 * count}) as session:
        step: Any = await session.feed_start(code)
        while not isinstance(step, MontyComplete):
            match step:
                case AsyncFunctionSnapshot():
                    times.append(time.perf_counter())
                    waiting, value = step.call_id, step.args[0]
                    # As a host with asynchronous tools does: the program goes on until it awaits the call.
                    step = await step.resume({"future": ...})
                case AsyncFutureSnapshot():
                    step = await step.resume({waiting: {"return_value": value}})
                case _:
                    step = await step.resume()
    return gaps(times)
