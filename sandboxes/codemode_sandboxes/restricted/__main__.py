"""Entry point of the fork server: `python -P -s -S -B path/to/codemode_sandboxes/restricted CONTROL HOST`.

CONTROL is the descriptor of the control socket, HOST the process id of the host; see `forkserver`. The imports stand
inside `main` because their order matters: the program's clock has to be in place before anything binds the real one.
"""

import os
import sys
import types
from pathlib import Path


def main() -> None:
    """Prepare, tell the host which layers stand around the guests, and serve."""
    control_descriptor, host_pid = map(int, sys.argv[1:])
    del sys.path[0]  # this folder, whose modules are no top-level modules
    root = Path(__file__).parent.parent
    # The packages' own code imports the host's half of the sandbox, which a guest must not hold: empty ones stand in.
    for name in ("codemode_sandboxes", "codemode_sandboxes.linux", "codemode_sandboxes.restricted"):
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    from codemode_sandboxes.guest import clock as clocks

    clock = clocks.Clock()
    clocks.install(clock)
    import resource
    import socket

    from codemode_sandboxes.guest.preload import preload
    from codemode_sandboxes.guest.wire import dumps
    from codemode_sandboxes.restricted import forkserver
    from codemode_sandboxes.restricted.lockdown import Lockdown, open_libc

    host = os.pidfd_open(host_pid)
    if os.getppid() != host_pid:  # the host ended before its pidfd was open, and the number may be another's
        sys.exit(0)
    control = socket.socket(fileno=control_descriptor)
    control.set_inheritable(False)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the server holds two for each guest
    lockdown = Lockdown(open_libc())
    preload()
    control.send(dumps({"layers": lockdown.layers}).encode())
    forkserver.serve(control, host, lockdown, clock)


main()
