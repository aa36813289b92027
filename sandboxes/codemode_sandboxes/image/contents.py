"""The files of an image: the place of each inside, and where it comes from."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from codemode_sandboxes.errors import SandboxError
from codemode_sandboxes.process.spawn import guest_files

__all__ = ["GUEST", "PYTHON", "Contents", "ImageError", "collect", "libraries", "run"]

PYTHON = "/py/bin/python3"
"""The interpreter's place in an image."""

GUEST = "/guest/codemode_sandboxes"
"""The folder in an image that stands for this package: it holds the package `guest` alone."""

# `_base_executable` is the interpreter behind that of a virtual environment; no public name leads to it.
_PROBE = """
import json, sys, sysconfig, zoneinfo
print(json.dumps({
    "version": sys.version_info[:3],
    "executable": getattr(sys, "_base_executable", None) or sys.executable,
    "base": sys.base_prefix,
    "libraries": [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")],
    "extensions": [p for p in sys.path if p.endswith("lib-dynload")],
    "zones": zoneinfo.TZPATH,
}))
"""
_OLDEST = (3, 11)
# Programs have no use for these, and the image is smaller without them.
_IGNORED_FOLDERS = {
    "__pycache__", "dist-packages", "ensurepip", "idlelib", "idle_test", "lib-dynload", "lib2to3", "pydoc_data",
    "site-packages", "test", "tests", "tkinter", "turtledemo", "venv",
}  # fmt: skip
_IGNORED_FILES = re.compile(r"(antigravity|this|turtle|webbrowser)\.py")
_IGNORED_EXTENSIONS = re.compile(r"_?(test|ctypes_test|xx|tkinter|curses|readline|nis|dbm|gdbm|ossaudiodev)")
# The real one holds paths of this machine; zoneinfo reads TZPATH of it.
_BUILD_DATA = b"build_time_vars = {'TZPATH': '/usr/share/zoneinfo'}\n"
_ACCOUNTS = {"/etc/passwd": b"nobody:x:65534:65534::/tmp:/bin/false\n", "/etc/group": b"nogroup:x:65534:\n"}


class ImageError(SandboxError):
    """An image cannot be made. The message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The files of an image.

    Attributes:
        version: The interpreter's version, such as "3.12.1".
        base: The folder in which the interpreter is installed.
        files: By its place in the image, each file that is copied there, or its content.
    """

    version: str
    base: Path
    files: Mapping[str, Path | bytes]


def collect(python: str) -> Contents:
    """Return all that an image of an interpreter holds.

    Args:
        python: The interpreter's path.

    Raises:
        ImageError: An image cannot be made of this interpreter.
    """
    about = json.loads(run(python, "-I", "-S", "-c", _PROBE))
    version = ".".join(map(str, about["version"]))
    if tuple(about["version"][:2]) < _OLDEST:
        raise ImageError(f"Python {version} is too old for a sandbox: it needs {'.'.join(map(str, _OLDEST))} or later")
    executable = Path(about["executable"]).resolve()
    files: dict[str, Path | bytes] = {PYTHON: executable, **_ACCOUNTS}
    base = Path(about["base"])
    for library in map(Path, dict.fromkeys(about["libraries"])):
        inside = f"/py/{library.relative_to(base)}"
        for name, path in _modules(library):
            files[f"{inside}/{name}"] = _BUILD_DATA if path.name.startswith("_sysconfigdata_") else path
    extensions = [
        path
        for folder in about["extensions"]
        for path in sorted(Path(folder).glob("*.so"))
        if not _IGNORED_EXTENSIONS.match(path.name)
    ]
    files |= {f"/py/{path.relative_to(base)}": path for path in extensions}
    files |= libraries(executable, *extensions)
    files |= _zones(about["zones"])
    files |= {f"{GUEST}/{place}": source for place, source in guest_files().items()}
    return Contents(version=version, base=base, files=files)


def _modules(library: Path) -> Iterator[tuple[str, Path]]:
    # `config-` folders are for building extensions in C.
    for folder, inner, names in os.walk(library):
        inner[:] = [name for name in inner if name not in _IGNORED_FOLDERS and not name.startswith("config-")]
        for name in names:
            if name.endswith(".py") and not _IGNORED_FILES.fullmatch(name):
                path = Path(folder, name)
                yield str(path.relative_to(library)), path


def libraries(*binaries: Path) -> dict[str, Path | bytes]:
    """Return the C libraries that binaries need: the place in an image of each, and its file.

    All stand in the folder of the C library, where the loader looks without a cache or a search path.

    Raises:
        ImageError: `ldd` does not report them.
    """
    found: dict[str, Path] = {}
    loaders: dict[str, Path | bytes] = {}
    # ldd fails where one of many is linked to nothing.
    for line in run("ldd", *map(str, binaries), check=False).splitlines():
        if match := re.match(r"\s*(?:(\S+) => )?(/\S+) \(", line):
            name, path = match[1] or match[2], Path(match[2])
            if "/" in name or re.match(r"ld-(linux|musl)", path.name):
                loaders[str(path)] = path
            else:
                found[name] = path
    libc = next((path for name, path in found.items() if name.startswith("libc.")), None)
    if not loaders or (libc is None and found):
        raise ImageError("ldd does not tell which C libraries the interpreter needs")
    return loaders | {f"{(libc or Path('/lib/libc')).parent}/{name}": path for name, path in found.items()}


def _zones(folders: list[str]) -> dict[str, Path | bytes]:
    zones: dict[str, Path | bytes] = {}
    for folder in map(Path, folders):
        for path in folder.rglob("*") if folder.is_dir() else ():
            inside = path.relative_to(folder)
            if inside.parts[0] not in ("posix", "right") and path.is_file():
                with path.open("rb") as file:
                    if file.read(4) == b"TZif":
                        zones.setdefault(f"/usr/share/zoneinfo/{inside}", path)
    return zones


def run(*command: str, seconds: int = 60, check: bool = True) -> str:
    """Run a command without the environment of this process, and return its output.

    Args:
        command: The command and its arguments.
        seconds: How long it may take.
        check: Whether a failure of it is an error.

    Raises:
        ImageError: It does not run, or fails.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.defpath, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImageError(f"{Path(command[0]).name} does not run: {error}") from None
    if check and done.returncode:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise ImageError(f"{Path(command[0]).name} fails: {last}")
    return done.stdout
