"""A second wall around Monty's workers: bubblewrap, with nothing inside but the worker and the system's libraries."""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.jail.bubblewrap import packaged_bwrap
from codemode_sandboxes.jail.sandbox import ALLOW_NAMESPACES, NOBODY, find_setpriv
from codemode_sandboxes.linux.seccomp import ARCHITECTURES, build_deny_list

__all__ = ["LAYERS", "MontyJail", "jailed"]

MontyJail = Literal["bubblewrap"]

LAYERS = ("interpreter", "namespaces", "seccomp", "no_new_privs")
"""What stands between a program and the host in a jail; as root the worker is nobody, too."""

_NAME = "monty"
_INSTALL = "Install it: pip install 'codemode-sandboxes[bubblewrap]', or apt-get install bubblewrap"
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")
_PATIENCE = 30.0


def jailed(binary: str | Path | None) -> str:
    """Give the path of a script that runs the `monty` binary in a jail.

    It is kept in the user's cache folder, under a name that says what is in it.

    Args:
        binary: The binary; None finds the installed one.

    Raises:
        SandboxUnavailable: There is no bubblewrap, it cannot make jails here, or the binary cannot run in one.
    """
    if sys.platform != "linux" or platform.machine() not in ARCHITECTURES:
        raise SandboxUnavailable(_NAME, "a jail for its workers needs Linux on x86_64 or aarch64", "Leave `jail` out")
    bwrap = shutil.which("bwrap") or packaged_bwrap()
    if bwrap is None:
        raise SandboxUnavailable(_NAME, "a jail for its workers needs bwrap, which is not installed", _INSTALL)
    try:
        program = Path(_find(binary)).resolve(strict=True)
        filter_file = _keep("filter.bpf", build_deny_list(platform.machine()), mode=0o600)
        script = _keep("worker", _script(bwrap, program, filter_file).encode(), mode=0o700)
        done = subprocess.run(
            [str(script), "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxUnavailable(_NAME, f"its worker cannot be put in a jail ({error})", ALLOW_NAMESPACES) from error
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise SandboxUnavailable(_NAME, f"its worker does not start in a jail ({told[-1][:300]})", ALLOW_NAMESPACES)
    return str(script)


def _find(binary: str | Path | None) -> str:
    from pydantic_monty._binary import find_monty_binary

    return find_monty_binary(binary)


def _script(bwrap: str, program: Path, filter_file: Path) -> str:
    become: list[str] = []
    if os.geteuid() == 0:
        # In a user namespace of root's the worker would still be root to the kernel.
        if (setpriv := find_setpriv()) is None:
            raise OSError("root needs the command setpriv, of the package util-linux")
        become = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all"]
        become += ["--bounding-set=-all", "--no-new-privs", "--"]
    walls = [bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    walls += ["--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "guest", "--chdir", "/"]
    for folder in map(Path, _LIBRARIES):
        if folder.is_symlink():
            walls += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            walls += ["--ro-bind", str(folder), str(folder)]
    walls += ["--ro-bind", str(program), "/monty", "--seccomp", "9", "--", "/monty"]
    return f'#!/bin/sh\nexec 9<{shlex.quote(str(filter_file))}\nexec {shlex.join([*become, *walls])} "$@"\n'


def _keep(name: str, content: bytes, *, mode: int) -> Path:
    """Keep a file of this user's alone, named for what it holds."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "codemode-sandboxes" / "monty"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = folder / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"
    if not place.exists() or place.read_bytes() != content:
        descriptor, temporary = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, mode)
        Path(temporary).replace(place)
    return place
