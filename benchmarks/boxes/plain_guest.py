"""A program that calls a tool over its standard streams, with the standard library alone.

    python plain_guest.py COUNT

Each call is a line of JSON, as is its answer; calls may be answered in any order.
"""

import asyncio
import json
import sys
from typing import Any


async def main(count: int) -> None:
    """Call the tool `echo` this many times, one after another."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    waiting: dict[int, asyncio.Future[Any]] = {}

    async def listen() -> None:
        while line := await reader.readline():
            answer = json.loads(line)
            waiting.pop(answer["id"]).set_result(answer["result"])

    async def call(id: int, tool: str, *args: Any, **kwargs: Any) -> Any:
        waiting[id] = loop.create_future()
        writer.write(json.dumps({"id": id, "tool": tool, "args": args, "kwargs": kwargs}).encode() + b"\n")
        await writer.drain()
        return await waiting[id]

    listening = asyncio.create_task(listen())
    for number in range(count):
        await call(number, "echo", number)
    listening.cancel()


asyncio.run(main(int(sys.argv[1])))
