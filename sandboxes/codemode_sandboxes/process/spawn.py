"""Guests that are started as a command of their own: a jail, or an interpreter for WebAssembly.

`asyncio.create_subprocess_exec` does not serve here: its `wait` can hang after a flood of output, and it can lose exit
statuses to its child watcher. So the process is a plain `Popen`, and a pidfd tells when it ends.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from codemode_sandboxes.process.channel import StreamChannel, readable, shielded

__all__ = ["Command", "Noise", "Started", "guest_files", "launch", "spawn"]


def guest_files() -> dict[str, bytes]:
    """Return the files of a guest, by their paths in this package.

    They are all that a place needs where guests run without this distribution: an image, a container, Pyodide.
    """
    package = Path(__file__).parents[1]
    return {path.relative_to(package).as_posix(): path.read_bytes() for path in sorted(package.glob("guest/*.py"))}


class Noise:
    """The last of what a guest's command wrote to its standard error. It is for the host's messages, not for a model."""

    def __init__(self, limit: int = 4096) -> None:
        self._limit, self._data = limit, b""

    def add(self, data: bytes) -> None:
        """Append data, and drop the oldest above the limit."""
        self._data = (self._data + data)[-self._limit :]

    @property
    def text(self) -> str:
        """The text that is kept."""
        return self._data.decode("utf-8", "replace").strip()


class Command:
    """A child process of this one, in a process group of its own."""

    def __init__(self, popen: "subprocess.Popen[bytes]", noise: Noise, freed: Callable[[], None] | None) -> None:
        self._popen, self._noise, self._freed = popen, noise, freed
        self._owner = os.getpid()
        self._pidfd = os.pidfd_open(popen.pid)
        assert popen.stderr is not None
        self._errors = popen.stderr
        os.set_blocking(self._errors.fileno(), False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._errors.fileno(), self._drain)

    def _drain(self) -> None:
        # A command whose errors nobody read would block on a full pipe.
        with contextlib.suppress(BlockingIOError):
            if data := os.read(self._errors.fileno(), 65536):
                self._noise.add(data)
            else:
                self._loop.remove_reader(self._errors.fileno())

    def kill(self) -> None:
        """End the command at once, with its process group."""
        # The group's number stays taken until its leader is reaped, and `_free` alone does that: so this hits no other
        # group. A fork of the host has the same object, and may not end the parent's guest.
        if self._popen.returncode is None and self._owner == os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)

    async def wait(self) -> int | None:
        """Wait for the command's end; see `Channel.exit_status`."""
        await readable(self._pidfd)
        ended = os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - it ended
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def out_of_memory(self) -> bool:
        """Return False: a command alone does not show it."""
        return False

    async def release(self) -> None:
        """Wait for the command's end, and free what stands for it."""
        await shielded(self._reap())

    async def _reap(self) -> None:
        await readable(self._pidfd)
        self._drain()
        self._free()

    def abandon(self) -> None:
        """Kill the command and free what stands for it, without waiting."""
        # This runs in whatever thread collects the garbage, and a loop's descriptors may be touched in its own thread alone.
        self.kill()
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._free)
            return
        self._free()

    def _free(self) -> None:
        self._loop.remove_reader(self._errors.fileno())
        self.kill()
        self._popen.wait()
        self._errors.close()
        os.close(self._pidfd)
        if self._freed is not None:
            self._freed()


class Started(NamedTuple):
    """A command that runs, and the host's ends of its pipes, non-blocking. It belongs to no event loop yet."""

    popen: "subprocess.Popen[bytes]"
    reading: int
    writing: int


def launch(argv: Sequence[str], *, env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()) -> Started:
    """Start a command with pipes for its standard streams; see `spawn`.

    Raises:
        OSError: The command cannot be started.
    """
    their_input, writing = os.pipe()
    reading, their_output = os.pipe()
    try:
        for descriptor in (reading, writing):
            os.set_blocking(descriptor, False)
        popen = subprocess.Popen(
            argv,
            stdin=their_input,
            stdout=their_output,
            stderr=subprocess.PIPE,
            env=dict(env or {}),
            pass_fds=pass_fds,
            bufsize=0,
            start_new_session=True,  # so that one kill ends the command and all that it started
        )
    except BaseException:
        os.close(reading)
        os.close(writing)
        raise
    finally:
        os.close(their_input)
        os.close(their_output)
    return Started(popen, reading, writing)


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    noise: Noise | None = None,
    freed: Callable[[], None] | None = None,
) -> StreamChannel:
    """Start a command whose standard input and output carry frames.

    Args:
        argv: The command, with the guest in it.
        env: Its whole environment; empty by default.
        pass_fds: Descriptors that it inherits.
        noise: Keeps what it writes to its standard error.
        freed: Called once, after the process has ended and is reaped.

    Returns:
        The guest's channel, for the running event loop.

    Raises:
        OSError: The command cannot be started.
    """
    popen, reading, writing = launch(argv, env=env, pass_fds=pass_fds)
    try:
        return StreamChannel(reading, writing, Command(popen, noise or Noise(), freed))
    except BaseException:
        os.close(reading)
        os.close(writing)
        popen.kill()
        popen.wait()
        raise
