"""A channel's two pipes: nothing that a guest says is lost or heard twice, whenever it says it."""

import asyncio
import gc
import os
import socket
from collections.abc import Iterator

import pytest
from codemode_sandboxes import Finished, Limits, Program, SandboxClosed
from codemode_sandboxes.process import ProcessExecution
from codemode_sandboxes.process.channel import StreamChannel


class Process:
    """A guest's process that is none."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def kill(self) -> None:
        self.said.append("killed")

    async def wait(self) -> int | None:
        return 0

    def out_of_memory(self) -> bool:
        return False

    async def release(self) -> None:
        await asyncio.sleep(0.01)
        self.said.append("released")

    def abandon(self) -> None:
        self.said.append("abandoned")


class Ends:
    """The host's ends of two pipes, and the guest's."""

    def __init__(self) -> None:
        self.reading, self.output = os.pipe()
        self.input, self.writing = os.pipe()
        for descriptor in (self.reading, self.writing):
            os.set_blocking(descriptor, False)


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    for descriptor in (ends.output, ends.input):
        os.close(descriptor)


async def hear(channel: StreamChannel, ends: Ends, words: bytes) -> bytes:
    """Return what a channel hears that listens while this is said."""
    listening = asyncio.create_task(channel.receive())
    await asyncio.sleep(0)
    os.write(ends.output, words)
    return await listening


async def test_what_is_said_while_nobody_listens_is_heard_later(ends: Ends) -> None:
    channel = StreamChannel(ends.reading, ends.writing, Process())
    assert await hear(channel, ends, b"one") == b"one"
    for words in (b"two", b"three"):
        os.write(ends.output, words)
        await asyncio.sleep(0.02)  # the loop has had the time to hear it
    assert await channel.receive() + await channel.receive() == b"twothree"
    assert await hear(channel, ends, b"four") == b"four"
    await channel.aclose()
    assert await channel.receive() == b""


async def test_what_is_said_while_the_host_speaks_is_heard_later(ends: Ends) -> None:
    channel = StreamChannel(ends.reading, ends.writing, Process())
    assert await hear(channel, ends, b"first") == b"first"
    data = bytes(1 << 20)
    sending = asyncio.create_task(channel.send(data))
    await asyncio.sleep(0)
    os.write(ends.output, b"between")
    taken = 0
    while taken < len(data):
        taken += len(await asyncio.to_thread(os.read, ends.input, 1 << 16))
    await sending
    assert await channel.receive() == b"between"
    await channel.aclose()


async def test_a_listener_that_is_cancelled_loses_nothing(ends: Ends) -> None:
    channel = StreamChannel(ends.reading, ends.writing, Process())
    for _ in range(2):
        listening = asyncio.create_task(channel.receive())
        await asyncio.sleep(0)
        listening.cancel()
        os.write(ends.output, b"late")
        await asyncio.sleep(0.02)
        assert await channel.receive() == b"late"
    await channel.aclose()


async def test_the_end_is_told_again_and_again(ends: Ends) -> None:
    channel = StreamChannel(ends.reading, ends.writing, Process())
    listening = asyncio.create_task(channel.receive())
    await asyncio.sleep(0)
    os.dup2(ends.input, ends.output)  # closes it
    assert [await listening, await channel.receive(), await channel.receive()] == [b""] * 3
    await channel.aclose()


async def test_a_channel_that_is_closed_frees_all_and_wakes_who_listens(ends: Ends) -> None:
    process = Process()
    channel = StreamChannel(ends.reading, ends.writing, process)
    listening = asyncio.create_task(channel.receive())
    await asyncio.sleep(0)
    await channel.aclose()
    await channel.aclose()
    assert await listening == b""
    assert process.said == ["killed", "released"]
    for descriptor in (ends.reading, ends.writing):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


async def test_a_channel_that_is_forgotten_while_the_loop_hears_for_it_is_freed(ends: Ends) -> None:
    process = Process()
    channel = StreamChannel(ends.reading, ends.writing, process)
    listening = asyncio.create_task(channel.receive())
    await asyncio.sleep(0)
    os.write(ends.output, b"x")
    await listening
    del channel, listening
    gc.collect()
    await asyncio.sleep(0)
    assert process.said == ["abandoned"]
    reused, other = socket.socketpair()  # the loop does not take the numbers for what they were
    with reused, other:
        reused.setblocking(False)
        other.send(b"new")
        assert await asyncio.get_running_loop().sock_recv(reused, 10) == b"new"
    for descriptor in (ends.reading, ends.writing):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_a_loop_that_is_closed_while_a_channel_frees_its_process_abandons_it(ends: Ends) -> None:
    process = Process()

    async def forget() -> None:
        channel = StreamChannel(ends.reading, ends.writing, process)
        asyncio.ensure_future(channel.aclose())  # noqa: RUF006 - the loop ends before it does
        await asyncio.sleep(0)

    asyncio.run(forget())
    assert process.said == ["killed", "abandoned"]


async def test_a_value_does_not_wait_for_the_end_of_the_guest(ends: Ends) -> None:
    process = Process()
    execution = ProcessExecution(
        StreamChannel(ends.reading, ends.writing, process), Program(code="1"), Limits(seconds=10)
    )
    running = asyncio.create_task(execution.advance())
    await asyncio.to_thread(os.read, ends.input, 1 << 16)
    os.write(ends.output, b'{"type":"finished","value":1}\n')
    assert await running == Finished(1)
    assert set(process.said) == {"killed"}
    with pytest.raises(SandboxClosed):
        await execution.advance()
    await asyncio.gather(execution.aclose(), execution.aclose())
    assert process.said.count("released") == 1
