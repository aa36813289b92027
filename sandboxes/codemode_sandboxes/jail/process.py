"""A guest in a jail: the jail's own process, the guest's first process in it, and its control group."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from codemode_sandboxes.jail.cgroup import Leaf
from codemode_sandboxes.process.channel import StreamChannel, has_data, readable, shielded
from codemode_sandboxes.process.execution import wait_ready
from codemode_sandboxes.process.pool import StartFailed
from codemode_sandboxes.process.spawn import Command, Noise, Started

__all__ = ["JailNewborn", "JailProcess"]

_SLOW_SECONDS = 20.0  # a jail that is not ready by then does not count as starting: others may be started in its place
_END_SECONDS = 1.0  # what a jail takes to end after its guest, at the very most
_SHELL_SIGNAL = 128


class JailNewborn:
    """A jail that was started. Implements `Newborn`."""

    def __init__(self, started: Started, leaf: Leaf | None) -> None:
        self._started, self._leaf = started, leaf
        self._owner, self._since, self._pending = os.getpid(), time.monotonic(), True

    @property
    def starting(self) -> bool:
        """True until the guest has said that it is ready."""
        if not self._pending or time.monotonic() - self._since > _SLOW_SECONDS:
            return False
        return not has_data(self._started.reading)

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
        process.open_inner()
        # A spare guest said that it was ready some time ago, and may have ended since.
        if reason is None and process.ended:
            reason = "the guest's process ended before it was used"
        if reason is not None:
            await channel.aclose()
            raise StartFailed(f"{reason}: {noise.text.splitlines()[-1]}" if noise.text else reason)
        return channel

    def close(self) -> None:
        """End the jail."""
        self._pending = False
        popen, reading, writing = self._started
        if self._owner == os.getpid():
            _end(popen)
            if self._leaf is not None:
                self._leaf.discard()
        else:
            # A fork of the host has no such child. Without a return code `Popen` would wait for one when it is freed.
            popen.returncode = 0
        assert popen.stderr is not None
        popen.stderr.close()
        os.close(reading)
        os.close(writing)


class JailProcess(Command):
    """The jail's own process, which ends when the guest's first process does, and the other way round."""

    def __init__(self, started: Started, noise: Noise, leaf: Leaf | None) -> None:
        super().__init__(started.popen, noise, None if leaf is None else leaf.discard)
        self._leaf = leaf
        self._inner: int | None = None

    @property
    def ended(self) -> bool:
        """True once the process has ended."""
        return has_data(self._pidfd)

    def open_inner(self) -> None:
        """Find the guest's first process. There is none before the guest is ready."""
        self._inner = _open_inner(self._popen.pid)

    def kill(self) -> None:
        """End the jail at once, from inside where possible; see `_open_inner`."""
        if self._inner is not None and self._popen.returncode is None and self._owner == os.getpid():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._inner, signal.SIGKILL)
        else:
            super().kill()

    def limit_memory(self, size: int) -> None:
        """Bound the memory of the whole jail, in bytes, where there is a control group.

        Raises:
            OSError: The kernel refuses.
        """
        if self._leaf is not None:
            self._leaf.limit_memory(size)

    async def wait(self) -> int | None:
        """Wait for the end; see `Channel.exit_status`."""
        status = await super().wait()
        # A jail exits as a shell does: with 128 and the number of the signal that ended its guest.
        return _SHELL_SIGNAL - status if status is not None and status > _SHELL_SIGNAL else status

    def out_of_memory(self) -> bool:
        """Return whether the kernel ended a process of the jail for its memory."""
        return self._leaf is not None and self._leaf.out_of_memory()

    async def release(self) -> None:
        """Wait for the end, and free what stands for the process, with its control group."""
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
    if (inner := _open_inner(popen.pid)) is not None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(inner, signal.SIGKILL)
        os.close(inner)
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(_END_SECONDS)
    if popen.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()


def _open_inner(outer: int) -> int | None:
    """Return a pidfd of the first process in a jail; None where there is none.

    When that process is killed, the jail's own one reaps it. If the jail's own process were killed, the machine's first
    process would have to reap the guest, and in many containers it does not: zombies would be left.
    """
    for child in _children(outer):
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(child)
            if child in _children(outer):  # else the number may be another process's by now
                return pidfd
            os.close(pidfd)
    return None


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
