"""The bare transports: what a tool call would take if nothing were done at either end but to send it and to hear it."""

import asyncio
import itertools
import os
import time
from typing import Any

from codemode_sandboxes import Limits, Program
from codemode_sandboxes.process import ProcessExecution
from codemode_sandboxes.process.frames import encode
from pydantic_monty import AsyncFunctionSnapshot, AsyncFutureSnapshot, AsyncMonty, MontyComplete

__all__ = ["over_monty", "over_wire"]

# The very frames of a call, sent by a loop without asyncio or JSON, in the sandbox and through the descriptors of a guest.
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


async def over_wire(sandbox: Any, count: int) -> list[float]:
    """Seconds of each exchange with a guest that echoes, through the pipe or the socket of a real guest.

    This end waits in the event loop, as a host with asynchronous tools must, and neither writes nor reads JSON.

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
    return [after - before for before, after in itertools.pairwise(times)]


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
    return [after - before for before, after in itertools.pairwise(times)]
