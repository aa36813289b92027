"""The host's side of the fork server: its process, and the guests that it forks."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import weakref
from pathlib import Path

from codemode_sandboxes.process.channel import StreamChannel, describe_exit, has_data, readable
from codemode_sandboxes.process.execution import require_ready
from codemode_sandboxes.process.pool import StartFailed

__all__ = ["ForkServer", "Newborn"]

_ENVIRONMENT = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LANG": "C.UTF-8"}
_NOISE_BYTES = 4096


class ForkServer:
    """A running fork server. Implements `Starter`.

    It ends with `close`, with this object, and with the host's process.

    Args:
        python: The interpreter.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, python: str) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._noise, noise = os.pipe()
        try:
            self._control.setblocking(False)
            os.set_blocking(self._noise, False)
            # Not -E: it would ignore PYTHONHASHSEED too, and the environment has nothing else to ignore.
            self._popen = subprocess.Popen(
                [python, "-P", "-s", "-S", "-B", str(Path(__file__).parent), str(theirs.fileno()), str(os.getpid())],
                env=_ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=noise,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except BaseException:
            self._control.close()
            os.close(self._noise)
            raise
        finally:
            theirs.close()
            os.close(noise)
        self._close = weakref.finalize(self, _close, self._control, self._noise, self._popen, os.getpid())

    @property
    def alive(self) -> bool:
        """True while the server runs."""
        return self._close.alive and self._popen.poll() is None

    def layers(self) -> tuple[str, ...]:
        """Return what stands around a guest. Call it once, after the first guest is ready: the server says it once."""
        layers: list[str] = json.loads(self._control.recv(4096))["layers"]
        return tuple(layers)

    def fork(self) -> "Newborn":
        """Ask the server for a guest; see `Starter`."""
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            reading, their_output = _pipe(ours, theirs)
            their_input, writing = _pipe(theirs, ours)
            status, their_status = (
                stack.enter_context(end) for stack, end in zip((ours, theirs), socket.socketpair(), strict=True)
            )
            for descriptor in (reading, writing, status.fileno()):
                os.set_blocking(descriptor, False)
            # A full socket raises BlockingIOError; then both stacks close what was made.
            try:
                socket.send_fds(self._control, [b"f"], [their_input, their_output, their_status.fileno()])
            except ConnectionError:
                raise StartFailed(self.why_dead()) from None
            ours.pop_all()
        status.setblocking(False)  # it is read only once something is there
        return Newborn(reading, writing, status, self)

    def why_dead(self) -> str:
        """Describe how the server ended, with the last line that it wrote."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(0.2)  # a process's sockets close a moment before it can be reaped
        if (status := self._popen.returncode) is None:
            return "the guest's process ended before it was ready"
        with contextlib.suppress(OSError):
            if lines := os.read(self._noise, 65536)[-_NOISE_BYTES:].decode("utf-8", "replace").strip().splitlines():
                return f"the fork server {describe_exit(status)}: {lines[-1]}"
        return f"the fork server {describe_exit(status)}"

    def close(self) -> None:
        """End the server and all its guests. May be called again."""
        self._close()


def _close(control: socket.socket, noise: int, popen: "subprocess.Popen[bytes]", owner: int) -> None:
    if os.getpid() == owner:
        popen.kill()
        popen.wait()
    else:
        # In a fork of the host the server is the parent's. Without a return code `Popen` would wait when it is freed.
        popen.returncode = 0
    control.close()
    os.close(noise)


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """Make a pipe. Each end is closed with its stack."""
    reading, writing = os.pipe()
    reader.callback(os.close, reading)
    writer.callback(os.close, writing)
    return reading, writing


class Newborn:
    """A guest that is being forked. Implements `Newborn`."""

    def __init__(self, reading: int, writing: int, status: socket.socket, server: ForkServer) -> None:
        self._reading, self._writing, self._status, self._server = reading, writing, status, server

    async def channel(self) -> StreamChannel:
        """Wait until the guest is ready; see `Newborn`."""
        try:
            await readable(self._status.fileno())
            _, descriptors, _, _ = socket.recv_fds(self._status, 1, 1, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            descriptors = []
        except BaseException:
            self.close()
            raise
        if not descriptors:
            self.close()
            raise StartFailed(self._server.why_dead())
        process = _Forked(descriptors[0], self._status)
        channel = StreamChannel(self._reading, self._writing, process)
        await require_ready(channel, lambda: process.ended)
        return channel

    def close(self) -> None:
        """Close the guest's stream: a guest that has no program yet ends then."""
        os.close(self._reading)
        os.close(self._writing)
        self._status.close()


class _Forked:
    """A guest's process, which the fork server reaps. Implements `GuestProcess`."""

    def __init__(self, pidfd: int, status: socket.socket) -> None:
        self._pidfd, self._status = pidfd, status

    @property
    def ended(self) -> bool:
        return has_data(self._pidfd)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def out_of_memory(self) -> bool:
        return False

    async def wait(self) -> int | None:
        await readable(self._status.fileno())
        data = self._status.recv(4)
        return int.from_bytes(data, "big", signed=True) if data else None

    async def release(self) -> None:
        self._free()

    def abandon(self) -> None:
        self.kill()
        self._free()

    def _free(self) -> None:
        os.close(self._pidfd)
        self._status.close()
