"""The memory of an interpreter that has imported everything: made once, kept, and each guest's start."""

import base64
import hashlib
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
from codemode_sandboxes.pyodide.install import NAME
from codemode_sandboxes.pyodide.jail import Jail
from codemode_sandboxes.pyodide.packages import Package

__all__ = ["WORKER", "find_snapshot", "use_snapshot", "zones"]

WORKER = Path(__file__).with_name("worker.mjs")
_ZONES = "/usr/share/zoneinfo"
_SECONDS = 180.0
_MEMORY = 512 << 20
_KEPT_SECONDS = 30 * 24 * 3600.0


def find_snapshot(jail: Jail, pyodide: Path, cache: Path, packages: Sequence[Package] = ()) -> Path:
    """Give the snapshot's file; where there is none for these versions and contents, make it: a few seconds.

    The guest runner is in it as plain files, not as a wheel with a lockfile: it belongs to this distribution, of the
    same version, and is imported before anything else is. Packages come as the wheels that were locked.

    Raises:
        SandboxUnavailable: It cannot be made or kept.
    """
    files = json.dumps({path: base64.b64encode(data).decode() for path, data in _files(packages).items()}).encode()
    key = hashlib.sha256(files)
    key.update(WORKER.read_bytes())
    key.update((pyodide / "pyodide.asm.wasm").read_bytes())
    key.update(f"{jail.runtime} {jail.version}".encode())  # one version's snapshot may not start in another
    snapshot = cache / "snapshots" / f"{key.hexdigest()[:32]}.bin"
    if not use_snapshot(snapshot):
        _keep(snapshot, _make(jail, pyodide, files))
        _remove_unused(snapshot.parent)
    return snapshot


def use_snapshot(snapshot: Path) -> bool:
    """Note that a snapshot is in use; False where it is not there."""
    with suppress(PermissionError):  # another user's: it stays as long as its owner uses it
        try:
            os.utime(snapshot)
        except FileNotFoundError:
            return False
    return snapshot.is_file()


def _files(packages: Sequence[Package]) -> dict[str, bytes]:
    """The files that stand in Pyodide's file system while the snapshot is made."""
    files = {"/boot.py": Path(__file__).with_name("boot.py").read_bytes(), **zones()}
    files |= {f"/guest/codemode_sandboxes/{place}": source for place, source in guest_files().items()}
    if packages:
        files["/guest/codemode_sandboxes/wheels.py"] = Path(__file__).with_name("wheels.py").read_bytes()
        files.update({f"/packages/{package.name}.whl": package.wheel for package in packages})
        asked = {package.name: package.modules for package in packages if package.asked}
        files["/packages/asked.json"] = json.dumps(asked).encode()
    return files


@cache
def zones() -> Mapping[str, bytes]:
    """The files of the time zones, some six hundred: read once, in a tenth of a second."""
    found: dict[str, bytes] = {}
    for name in sorted(zoneinfo.available_timezones()):
        with suppress(OSError, ValueError):
            found[f"{_ZONES}/{name}"] = _zone(name)
    return found


def _zone(name: str) -> bytes:
    for folder in map(Path, zoneinfo.TZPATH):
        if (path := folder / name).is_file():
            return path.read_bytes()
    from zoneinfo import _common

    with _common.load_tzdata(name) as stream:  # from the package tzdata
        return bytes(stream.read())


def _make(jail: Jail, pyodide: Path, files: bytes) -> bytes:
    command = jail.command(WORKER, "make", pyodide, memory_bytes=_MEMORY)
    try:
        done = subprocess.run(command, input=files, capture_output=True, env=jail.environment, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxUnavailable(NAME, f"its memory snapshot could not be made: {error}") from None
    if done.returncode or not done.stdout:
        said = (done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise SandboxUnavailable(NAME, f"its memory snapshot could not be made: {said[:300]}")
    return done.stdout


def _remove_unused(folder: Path) -> None:
    """Remove snapshots that nobody has started a worker from for long: of earlier versions, or other packages."""
    oldest = time.time() - _KEPT_SECONDS
    for path in folder.iterdir():
        with suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def _keep(place: Path, data: bytes) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".tmp", delete=False) as file:
            written = Path(file.name)
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
