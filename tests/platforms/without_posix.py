"""A Python that lacks what POSIX alone has, as on Windows: `python without_posix.py SCRIPT ARGUMENT ...` runs a script in it.

The standard library keeps its own names, as it could not run without them here, and so do platformdirs and numpy, which
take their code by the system's name. All that is imported after them finds modules that lack those names: these packages, and
every library that they need.
"""

import asyncio
import importlib
import importlib.abc
import os
import pathlib
import runpy
import select
import signal
import socket
import sys
import types
import warnings
from collections.abc import Sequence
from typing import Any

BEFORE = (
    "asyncio.unix_events concurrent.futures.thread ctypes getpass inspect logging.config logging.handlers "
    "multiprocessing.context multiprocessing.synchronize multiprocessing.util pdb platform selectors shutil socketserver "
    "sqlite3 ssl subprocess tarfile tempfile unittest.mock urllib.request uuid zipfile zoneinfo platformdirs.unix"
)
"""Modules that are imported whole."""

MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty"}
NAMES: dict[types.ModuleType, tuple[str, ...]] = {
    os: (
        *("fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "getgroups", "getresuid", "getlogin", "setuid"),
        *("setgid", "setsid", "getsid", "getpgid", "getpgrp", "setpgid", "setpgrp", "killpg", "pidfd_open", "wait"),
        *("wait3", "wait4", "waitid", "WNOHANG", "WEXITED", "WNOWAIT", "P_PID", "P_PIDFD", "CLD_EXITED", "WIFEXITED"),
        *("WIFSIGNALED", "WEXITSTATUS", "WTERMSIG", "chown", "fchown", "lchown", "fchmod", "lchmod", "chroot", "fchdir"),
        *("mkfifo", "mknod", "openpty", "login_tty", "posix_spawn", "posix_spawnp", "memfd_create", "eventfd", "nice"),
        *("getpriority", "setpriority", "getloadavg", "sysconf", "confstr", "pathconf", "statvfs", "fstatvfs", "uname"),
        *("ctermid", "ttyname", "tcgetpgrp", "tcsetpgrp", "sync", "fdatasync", "sendfile", "splice", "pipe2", "preadv"),
        *("pread", "pwrite", "readv", "writev", "lockf", "F_LOCK", "register_at_fork", "sched_getaffinity", "unshare"),
        *("sched_setaffinity", "sched_yield", "setns", "getxattr", "listxattr", "posix_fallocate", "posix_fadvise"),
        *("O_CLOEXEC", "O_NONBLOCK", "O_DIRECTORY", "O_NOFOLLOW", "O_NOCTTY", "O_PATH", "O_TMPFILE", "O_SYNC", "O_DSYNC"),
        *("initgroups", "setgroups", "makedev", "major", "minor", "copy_file_range", "supports_bytes_environ", "environb"),
        *("getenvb", "set_blocking", "get_blocking"),
    ),
    signal: (
        *("SIGKILL", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "SIGPIPE", "SIGSTOP", "SIGTSTP"),
        *("SIGCONT", "SIGWINCH", "SIGXCPU", "SIGXFSZ", "SIGIO", "SIGPROF", "SIGVTALRM", "SIGTTIN", "SIGTTOU", "SIGBUS"),
        *("alarm", "setitimer", "getitimer", "pause", "pthread_kill", "pthread_sigmask", "sigwait", "sigpending"),
        *("siginterrupt", "pidfd_send_signal", "sigtimedwait", "sigwaitinfo", "SIG_BLOCK", "SIG_UNBLOCK"),
    ),
    socket: (
        *("AF_UNIX", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "SCM_RIGHTS", "SO_PEERCRED"),
        *("sendmsg", "recvmsg", "send_fds", "recv_fds", "CMSG_LEN", "CMSG_SPACE", "MSG_CMSG_CLOEXEC", "MSG_DONTWAIT"),
        *("MSG_NOSIGNAL", "SO_REUSEPORT"),
    ),
    select: ("epoll", "poll", "kqueue", "POLLIN", "POLLOUT", "POLLHUP", "POLLERR", "EPOLLIN"),
}  # fmt: skip


class _Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None) -> None:
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def remove_posix() -> None:
    """Take away the modules, and the names of others, for all that is imported from now on."""
    for name in BEFORE.split():
        importlib.import_module(name)
    sys.meta_path.insert(0, _Missing())
    for name in MODULES:
        sys.modules.pop(name, None)
    for module, names in NAMES.items():
        rest = types.ModuleType(module.__name__, module.__doc__)
        rest.__dict__.update({name: value for name, value in vars(module).items() if name not in names})
        sys.modules[module.__name__] = rest

    # A file is read and written in whatever encoding the system prefers where none is named.
    warnings.filterwarnings("error", category=EncodingWarning, module="codemode_")

    read_text = pathlib.Path.read_text

    def read_text_outside_proc(path: pathlib.Path, *arguments: Any, **options: Any) -> str:
        if path.parts[:2] == ("/", "proc"):
            raise FileNotFoundError(str(path))
        return read_text(path, *arguments, **options)

    pathlib.Path.read_text = read_text_outside_proc  # type: ignore[method-assign, assignment]

    # The event loop of Windows has neither.
    def unsupported(self: Any, *_: Any) -> None:
        raise NotImplementedError

    asyncio.SelectorEventLoop.add_signal_handler = unsupported  # type: ignore[assignment]
    add_reader = asyncio.SelectorEventLoop.add_reader

    def add_reader_of_libraries(self: Any, *arguments: Any) -> None:
        if sys._getframe(1).f_globals["__name__"].startswith("codemode_"):
            raise NotImplementedError
        add_reader(self, *arguments)

    asyncio.SelectorEventLoop.add_reader = add_reader_of_libraries  # type: ignore[assignment]


if __name__ == "__main__":
    remove_posix()
    del sys.argv[0]
    sys.path[0] = ""
    runpy.run_path(sys.argv[0], run_name="__main__")
