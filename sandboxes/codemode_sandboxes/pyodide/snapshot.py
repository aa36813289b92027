"""The memory snapshot of an interpreter that has imported everything: made once, kept, and the start of each guest."""

import base64
import hashlib
import importlib.resources
import json
import os
import subprocess
import tempfile
import time
import zoneinfo
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.process.spawn import guest_files
from codemode_sandboxes.pyodide.jail import Jail
from codemode_sandboxes.pyodide.packages import NAME, Package

__all__ = ["WORKER", "compile_wheels", "find_snapshot", "use_snapshot", "zones"]

WORKER = Path(__file__).with_name("worker.mjs")
_BOOT = Path(__file__).with_name("boot.py")
_WHEELS = Path(__file__).with_name("wheels.py")
_GUEST = "/guest/codemode_sandboxes"  # as boot.py expects
_ZONES = "/usr/share/zoneinfo"
_SECONDS = 600.0  # a thousand modules are compiled in one, and more than a minute on a machine that is busy
_MEMORY_BYTES = 512 << 20
_MOST_AGE = 30 * 24 * 3600.0


def find_snapshot(jail: Jail, pyodide: Path, cache: Path, packages: Sequence[Package] = ()) -> Path:
    """Return the file of a snapshot, and make it in a few seconds where it does not exist.

    The guest runner is in it as plain files, and packages as the wheels that were locked.

    Args:
        jail: Runs the interpreter.
        pyodide: The folder of the npm package.
        cache: The cache folder.
        packages: What guests can import beside the standard library.

    Raises:
        SandboxUnavailable: It cannot be made or kept.
    """
    files = _as_json(_files(packages))
    key = hashlib.sha256(files)
    key.update(WORKER.read_bytes())
    key.update((pyodide / "pyodide.asm.wasm").read_bytes())
    key.update(f"{jail.runtime} {jail.version}".encode())  # one version's snapshot may not start in another
    snapshot = cache / "snapshots" / f"{key.hexdigest()[:32]}.bin"
    if not use_snapshot(snapshot):
        _keep(snapshot, _run(jail, pyodide, "make", files, "its memory snapshot could not be made"))
        _remove_unused(snapshot.parent)
    return snapshot


def use_snapshot(snapshot: Path) -> bool:
    """Mark a snapshot as in use, so that it is kept; return whether it exists."""
    with suppress(PermissionError):  # it is another user's, and kept as long as that user uses it
        try:
            os.utime(snapshot)
        except FileNotFoundError:
            return False
    return snapshot.is_file()


def _files(packages: Sequence[Package]) -> dict[str, bytes]:
    """Return the files in Pyodide's file system while the snapshot is made, by their places."""
    files = {"/boot.py": _BOOT.read_bytes(), **zones()}
    files |= {f"{_GUEST}/{place}": content for place, content in guest_files().items()}
    if packages:
        files[f"{_GUEST}/wheels.py"] = _WHEELS.read_bytes()
        files.update({f"/packages/{package.name}.whl": package.wheel for package in packages})
        requested = {package.name: package.modules for package in packages if package.requested}
        files["/packages/requested.json"] = json.dumps(requested).encode()
    return files


@cache
def zones() -> Mapping[str, bytes]:
    """Return the time zones' files, by their places. They are some six hundred, and read once."""
    found: dict[str, bytes] = {}
    for name in sorted(zoneinfo.available_timezones()):
        with suppress(OSError, ValueError):
            found[f"{_ZONES}/{name}"] = _zone(name)
    return found


def _zone(name: str) -> bytes:
    for folder in map(Path, zoneinfo.TZPATH):
        if (path := folder / name).is_file():
            return path.read_bytes()
    # Where the system has no time zones, zoneinfo has found those of the package tzdata.
    return importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


def compile_wheels(jail: Jail, pyodide: Path, wheels: Sequence[Path]) -> None:
    """Add bytecode to wheels, in their files: guests, which can write none, would compile each module anew.

    Pyodide's own Python compiles them, in a jail. The command `py-compile` of pyodide-build compiles for the Python that it
    runs in, and Pyodide's takes no other's.

    Raises:
        SandboxUnavailable: They cannot be compiled.
        OSError: They cannot be written.
    """
    files = {"/wheels.py": _WHEELS.read_bytes()} | {f"/packages/{wheel.name}": wheel.read_bytes() for wheel in wheels}
    try:
        compiled = json.loads(_run(jail, pyodide, "compile", _as_json(files), "the packages could not be compiled"))
    except SandboxUnavailable as error:
        raise SandboxUnavailable(NAME, error.reason, "Install them without bytecode: --no-compile") from None
    for wheel in wheels:
        wheel.write_bytes(base64.b64decode(compiled[f"/packages/{wheel.name}"]))


def _as_json(files: Mapping[str, bytes]) -> bytes:
    return json.dumps({path: base64.b64encode(data).decode() for path, data in files.items()}).encode()


def _run(jail: Jail, pyodide: Path, mode: str, files: bytes, problem: str) -> bytes:
    """Return what Pyodide writes in a mode of `worker.mjs` that works on files."""
    command = jail.command(WORKER, mode, pyodide, memory_bytes=_MEMORY_BYTES)
    try:
        done = subprocess.run(command, input=files, capture_output=True, env=jail.environment, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise SandboxUnavailable(NAME, f"{problem} within {_SECONDS:g} seconds") from None
    except OSError as error:
        raise SandboxUnavailable(NAME, f"{problem}: {error}") from None
    if done.returncode or not done.stdout:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise SandboxUnavailable(NAME, f"{problem}: {lines[-1][:300]}")
    return done.stdout


def _remove_unused(folder: Path) -> None:
    """Remove the snapshots that no worker has started from for a month: of earlier versions, or other packages."""
    oldest = time.time() - _MOST_AGE
    for path in folder.iterdir():
        with suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def _keep(place: Path, data: bytes) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".tmp", delete=False) as file:
            written = Path(file.name)
            # Other processes look for the snapshot meanwhile, and must not find a part of it.
            try:
                file.write(data)
                file.flush()
                written.replace(place)
            except BaseException:
                written.unlink()
                raise
    except OSError as error:
        remedy = "Give PyodideSandbox(cache=...) a folder that can be written"
        raise SandboxUnavailable(NAME, f"its memory snapshot cannot be kept: {error}", remedy) from None
