"""The fork server: imports once, then forks a locked-down guest for each request.

It runs no program and reads nothing that a guest wrote. A request is one byte on the control socket with three
descriptors: the guest's input, its output, and a status socket. On the status socket the guest sends a pidfd of itself,
with one byte, then closes it and locks itself down. When the guest ends, the server writes its exit status there: four
bytes, as `os.waitstatus_to_exitcode` returns it. When the control socket closes or the host's process ends, the server
ends, and the kernel ends its guests with it.
"""

import contextlib
import fcntl
import gc
import os
import select
import signal
import socket
from typing import NoReturn

from codemode_sandboxes.guest import runner, wire
from codemode_sandboxes.guest.clock import Clock
from codemode_sandboxes.restricted.lockdown import Lockdown

__all__ = ["serve"]

_INPUT, _OUTPUT = 3, 4


def serve(control: socket.socket, host: int, lockdown: Lockdown, clock: Clock) -> NoReturn:
    """Answer requests until the host is gone.

    Args:
        control: The control socket, of type SOCK_SEQPACKET.
        host: A pidfd of the host's process.
        lockdown: What each guest gives up.
        clock: The programs' clock, which is installed.
    """
    gc.collect()
    gc.freeze()  # a collection in a child would write to every object, and so copy the memory shared with the server
    guests: dict[int, tuple[int, int]] = {}
    poll = select.poll()
    for descriptor in (control.fileno(), host):
        poll.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor in guests:
                poll.unregister(descriptor)
                _report(descriptor, *guests.pop(descriptor))
            elif descriptor == host or (request := _receive(control)) is None:
                os._exit(0)
            else:
                try:
                    input, output, status = request
                    pidfd, pid = _fork(input, output, status, lockdown, clock)
                except (OSError, ValueError):
                    # No process or no descriptor is left. The host learns of it as the status socket closes.
                    for descriptor in request:
                        os.close(descriptor)
                    continue
                guests[pidfd] = (pid, status)
                poll.register(pidfd, select.POLLIN)


def _receive(control: socket.socket) -> list[int] | None:
    message, descriptors, _, _ = socket.recv_fds(control, 16, 3)
    return descriptors if message else None


def _report(pidfd: int, pid: int, status: int) -> None:
    _, raw = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):  # the host has closed this guest's channel
        os.write(status, os.waitstatus_to_exitcode(raw).to_bytes(4, "big", signed=True))
    os.close(pidfd)
    os.close(status)


def _fork(input: int, output: int, status: int, lockdown: Lockdown, clock: Clock) -> tuple[int, int]:
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            _become_guest(input, output, status, server, lockdown, clock)
        finally:
            os._exit(1)
    # The child is not reaped yet, so its number is its own until then.
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    os.close(input)
    os.close(output)
    return pidfd, pid


def _become_guest(input: int, output: int, status: int, server: int, lockdown: Lockdown, clock: Clock) -> NoReturn:
    with socket.socket(fileno=status) as sender:
        socket.send_fds(sender, [b"\n"], [os.pidfd_open(os.getpid())])
    # First out of the way of the numbers that are assigned below, then to their own; all others are closed.
    input, output = (fcntl.fcntl(stream, fcntl.F_DUPFD, _OUTPUT + 1) for stream in (input, output))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.dup2(input, _INPUT, inheritable=False)
    os.dup2(output, _OUTPUT, inheritable=False)
    # On a kernel without close_range Python closes one number after another: so up to the highest that is open.
    last = max(map(int, os.listdir("/proc/self/fd")), default=1024)  # noqa: PTH208 - names, not paths
    os.closerange(_OUTPUT + 1, last + 1)
    base = runner.address_space()  # it reads /proc, so before the lockdown
    conversation = wire.Wire(lambda size: os.read(_INPUT, size), lambda data: os.write(_OUTPUT, data), os._exit)
    try:
        lockdown.apply(server)
    except OSError as error:
        conversation.send(wire.dumps({"type": "unavailable", "reason": str(error)}))
        os._exit(1)
    runner.serve(conversation, clock, lambda values: runner.confine(values, base))
