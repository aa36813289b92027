"""Entry point of a guest that is started as a command: frames come on standard input and go to standard output.

    PYTHONHASHSEED=0 TZ=UTC python -P -s -S -B path/to/codemode_sandboxes/guest [LIMIT=VALUE ...]

A LIMIT is a resource limit, such as nproc, which the process sets for good before it reads anything. In a jail or an
image the folder `codemode_sandboxes/guest` is all that is needed. The imports stand inside `main` because their order
matters: the program's clock has to be in place before anything binds the real one.
"""

import fcntl
import os
import sys
import types
from pathlib import Path

_PRIVATE = 200


def main() -> None:
    """Serve one program on the process's standard streams."""
    del sys.path[0]  # this folder, whose modules are no top-level modules
    # The package's own code imports the host's half, which is not here: an empty package stands in.
    package = types.ModuleType("codemode_sandboxes")
    package.__path__ = [str(Path(__file__).parent.parent)]
    sys.modules[package.__name__] = package
    from codemode_sandboxes.guest import clock as clocks

    clock = clocks.Clock()
    clocks.install(clock)
    from codemode_sandboxes.guest import runner, wire

    # Prints of C code and of child processes go to the usual numbers: between two frames they would break the protocol.
    read, write = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _PRIVATE) for fd in (0, 1))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    os.close(nowhere)
    base = runner.address_space()
    runner.harden(sys.argv[1:])
    runner.serve(
        wire.Wire(lambda size: os.read(read, size), lambda data: os.write(write, data), os._exit),
        clock,
        lambda values: runner.confine(values, base),
    )


main()
