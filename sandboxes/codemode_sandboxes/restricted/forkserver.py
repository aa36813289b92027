"""The fork server: imports once, then forks a locked-down guest for each request.

It runs no program and reads nothing that a guest wrote. A request is one byte on the control socket with three
descriptors: the pipes on which the guest hears and speaks, and a socket. On that the guest sends a pidfd of itself, with
one byte, before it is locked down and closes it; and the server says how the guest ended (four bytes, the exit status as
`os.waitstatus_to_exitcode` has it). When the control socket closes, or the host's process ends, the
server ends, and the kernel ends its guests with it.
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
        lockdown: What each guest goes through.
        clock: The programs' clock, in place already.
    """
    gc.collect()
    gc.freeze()  # so that a child's collections do not copy what it shares with the server
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
                except (
                    OSError,
                    ValueError,
                ):  # no process or no descriptor is left: the host hears of it by the closing
                    for left in request:
                        os.close(left)
                    continue
                guests[pidfd] = (pid, status)
                poll.register(pidfd, select.POLLIN)


def _receive(control: socket.socket) -> list[int] | None:
    message, descriptors, _, _ = socket.recv_fds(control, 16, 3)
    return descriptors if message else None


def _report(pidfd: int, pid: int, status: int) -> None:
    _, raw = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):  # the host has lost interest
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
    # Neither may have a number that is to be another's.
    input, output = (fcntl.fcntl(stream, fcntl.F_DUPFD, _OUTPUT + 1) for stream in (input, output))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.dup2(input, _INPUT, inheritable=False)
    os.dup2(output, _OUTPUT, inheritable=False)
    last = max(map(int, os.listdir("/proc/self/fd")), default=1024)  # noqa: PTH208 - names, not paths
    os.closerange(_OUTPUT + 1, last + 1)
    base = runner.address_space()
    conversation = wire.Wire(lambda size: os.read(_INPUT, size), lambda data: os.write(_OUTPUT, data), os._exit)
    try:
        lockdown.apply(server)
    except OSError as error:
        conversation.send(wire.dumps({"type": "unavailable", "reason": str(error)}))
        os._exit(1)
    runner.serve(conversation, clock, lambda values: runner.confine(values, base))
