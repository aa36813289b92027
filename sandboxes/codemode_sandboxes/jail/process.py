"""A guest in a jail: its process, inside and outside, and its control group."""

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import time
from pathlib import Path

from codemode_sandboxes.jail.cgroup import Leaf
from codemode_sandboxes.process.channel import StreamChannel, readable, shielded
from codemode_sandboxes.process.execution import wait_ready
from codemode_sandboxes.process.pool import StartFailed
from codemode_sandboxes.process.spawn import Command, Noise, Started

__all__ = ["JailNewborn", "JailProcess"]

_SLOW_SECONDS = 20.0
_END_SECONDS = 1.0
_SHELL_SIGNAL = 128


class JailNewborn:
    """A jail that was started. Implements `Newborn`."""

    def __init__(self, started: Started, leaf: Leaf | None) -> None:
        self._started, self._leaf = started, leaf
        self._owner, self._since, self._pending = os.getpid(), time.monotonic(), True

    @property
    def starting(self) -> bool:
        """Whether it is on its way still, as far as anybody knows."""
        if not self._pending or time.monotonic() - self._since > _SLOW_SECONDS:
            return False
        poll = select.poll()
        poll.register(self._started.reading, select.POLLIN)
        return not poll.poll(0)

    async def channel(self) -> StreamChannel:
        """Wait until the guest is ready; see `Newborn`."""
        self._pending = False
        noise = Noise()
        try:
            process = JailProcess(self._started, noise, self._leaf)
        except BaseException:
            self.close()
            raise
        channel = StreamChannel(self._started.reading, self._started.writing, process)
        try:
            reason = await wait_ready(channel)
        except BaseException:
            await channel.aclose()
            raise
        process.look_inside()
        if reason is None and process.ended:  # it was ready once
            reason = "the guest's process ended before it was used"
        if reason is not None:
            await channel.aclose()
            raise StartFailed(f"{reason}: {noise.text.splitlines()[-1]}" if noise.text else reason)
        return channel

    def close(self) -> None:
        """End it."""
        self._pending = False
        popen, reading, writing = self._started
        if self._owner == os.getpid():
            _end(popen)
            if self._leaf is not None:
                self._leaf.discard()
        else:
            popen.returncode = 0  # nobody's to wait for here
        assert popen.stderr is not None
        popen.stderr.close()
        os.close(reading)
        os.close(writing)


class JailProcess(Command):
    """The jail's outer process, which ends with its first inner one, and the other way round."""

    def __init__(self, started: Started, noise: Noise, leaf: Leaf | None) -> None:
        super().__init__(started.popen, noise, None if leaf is None else leaf.discard)
        self._leaf = leaf
        self._inner: int | None = None

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def look_inside(self) -> None:
        """Find the first inner process, once it is there."""
        self._inner = _inner(self._popen.pid)

    def kill(self) -> None:
        """End the jail at once, from inside where possible; see `_inner`."""
        if self._inner is not None and self._popen.returncode is None and self._owner == os.getpid():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._inner, signal.SIGKILL)
        else:
            super().kill()

    def limit_memory(self, size: int) -> None:
        """Bound the memory of the whole jail, in bytes, where a control group can.

        Raises:
            OSError: The kernel refuses.
        """
        if self._leaf is not None:
            self._leaf.limit_memory(size)

    async def wait(self) -> int | None:
        """Wait for its end. The jails tell a program's end as a shell does."""
        status = await super().wait()
        return _SHELL_SIGNAL - status if status is not None and status > _SHELL_SIGNAL else status

    def out_of_memory(self) -> bool:
        """Whether the kernel ended one of its processes for its memory."""
        return self._leaf is not None and self._leaf.out_of_memory()

    async def release(self) -> None:
        """Wait until it has ended, and free what stands for it, its control group too."""
        await shielded(self._clear())

    async def _clear(self) -> None:
        await self._reap()
        if self._leaf is not None:
            await self._leaf.remove()

    async def _reap(self) -> None:
        try:
            async with asyncio.timeout(_END_SECONDS):
                await readable(self._pidfd)
        except TimeoutError:
            super().kill()
        await super()._reap()

    def _free(self) -> None:
        if self._owner == os.getpid():
            try:
                self._popen.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                super().kill()
        super()._free()
        if self._inner is not None:
            os.close(self._inner)
            self._inner = None


def _end(popen: "subprocess.Popen[bytes]") -> None:
    if (inner := _inner(popen.pid)) is not None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(inner, signal.SIGKILL)
        os.close(inner)
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(_END_SECONDS)
    if popen.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()


def _inner(outer: int) -> int | None:
    """Open a pidfd of a jail's first inner process.

    Where that is killed, the outer one reaps it. Were the outer one killed, the machine's first process would have to
    do so, and in many containers it does not.
    """
    for child in _children(outer):
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(child)
            if child in _children(outer):
                return pidfd
            os.close(pidfd)
    return None


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
