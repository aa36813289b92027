"""Makes the folder of an image, once for each interpreter and version of the guest runner."""

import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from codemode_sandboxes.image.contents import GUEST, PYTHON, Contents, ImageError, collect, run

__all__ = ["Image", "build_image", "default_folder"]

_FORMAT = 3  # counted up when an image is made of the same files in another way
_FOLDERS = ("dev", "etc", "proc", "sys", "run", "tmp")
_NOWHERE = "dev/null"
_UNFINISHED = ".building-"
_SECONDS = 300

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A folder that stands as a guest's `/`.

    Attributes:
        root: The folder.
        version: The version of its Python, such as "3.12.1".
        command: The command that starts the guest runner in it.
        environment: All environment variables of that command.
    """

    root: Path
    version: str
    command: tuple[str, ...] = (PYTHON, "-P", "-s", "-S", "-B", f"{GUEST}/guest")
    environment: tuple[tuple[str, str], ...] = (
        ("HOME", "/tmp"),
        ("LANG", "C.UTF-8"),
        ("PYTHONHASHSEED", "0"),
        ("TZ", "UTC"),
    )


def default_folder() -> Path:
    """Return the folder that keeps images: in the user's cache; for root in the system's.

    Guests of root run as another user, who could not reach root's own cache.

    Raises:
        ImageError: This user has no cache.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/cache/codemode-sandboxes")
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "codemode-sandboxes"
    try:
        return Path.home() / ".cache" / "codemode-sandboxes"
    except RuntimeError:
        raise ImageError("this user has no home to keep an image in; set XDG_CACHE_HOME") from None


def build_image(python: str | None = None, *, folder: Path | None = None) -> Image:
    """Return an image of an interpreter: the first call makes it, in some seconds, and later ones find it.

    The name of its folder holds a hash of its files, so another image is made once the interpreter, its libraries or
    the guest runner change.

    Args:
        python: The interpreter's path; this process's own by default. Only its standard library goes in.
        folder: The folder that keeps images; `default_folder()` by default.

    Raises:
        ImageError: The image cannot be made.
    """
    if sys.platform != "linux":
        raise ImageError("images of Python are made on Linux only")
    contents = collect(python or sys.executable)
    folder = folder or default_folder()
    root = folder / f"python-{contents.version}-{_fingerprint(contents)}"
    try:
        if not root.exists():
            if not folder.exists():
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o755)  # whatever the mask: guests of root run as another user
            with _lock(folder):
                if not root.exists():  # another process may have made it while this one waited
                    _build(contents, root)
    except OSError as error:
        raise ImageError(f"the image cannot be written: {error}") from error
    return Image(root=root, version=contents.version)


def _fingerprint(contents: Contents) -> str:
    facts: list[object] = [_FORMAT]
    for place, source in sorted(contents.files.items()):
        if isinstance(source, bytes):
            facts.append([place, hashlib.sha256(source).hexdigest()])
        else:
            status = source.stat()
            facts.append([place, str(source), status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    import fcntl  # not at the top: Windows has none, and imports this module

    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel releases it when the process ends, however it ends
        # Whoever holds the lock is alone here, so these are of processes that were killed.
        for remainder in folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(remainder, ignore_errors=True)
        yield


def _build(contents: Contents, root: Path) -> None:
    _log.info("making a sandbox image of Python %s, once; it takes some seconds", contents.version)
    start = time.monotonic()
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=root.parent))
    try:
        size = _fill(unfinished, contents)
        unfinished.rename(root)  # in one step: no other process ever sees half an image
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    seconds = time.monotonic() - start
    _log.info("made a sandbox image of %d MB in %.1f s: %s", size >> 20, seconds, root)


def _fill(root: Path, contents: Contents) -> int:
    for name in _FOLDERS:
        (root / name).mkdir()
    (root / _NOWHERE).touch()  # where a jail mounts the device
    binaries = []
    for place, source in contents.files.items():
        path = root / place[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, bytes):
            path.write_bytes(source)
        else:
            shutil.copyfile(source, path)
            if path.suffix != ".py" and "zoneinfo" not in path.parts:
                binaries.append(path)
    if strip := shutil.which("strip"):  # symbols serve debuggers alone
        run(strip, "--strip-unneeded", *map(str, binaries), seconds=_SECONDS, check=False)
    _overwrite_place(contents.base, binaries)
    # A guest cannot write what it compiles. Unchecked, it does not compare each file with its source at import.
    run(
        *(str(contents.files[PYTHON]), "-I", "-S", "-m", "compileall", "-q", "-j", "0"),
        *("--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/", str(root / "py"), str(root / "guest")),
        seconds=_SECONDS,
        check=False,
    )
    size = 0
    for path in (root, *root.rglob("*")):
        size += path.stat().st_size
        path.chmod(0o755 if path.is_dir() or path in binaries else 0o644)
    (root / "tmp").chmod(0o1777)
    return size


def _overwrite_place(base: Path, binaries: list[Path]) -> None:
    """Replace the interpreter's path in binaries with another of the same length: it may name a person.

    The last part of the path stays: linkers let strings with the same end share bytes, such as those of a version.
    """
    place = os.fsencode(base.parent) + b"/"
    if place in (b"/", b"/usr/"):
        return
    for path in binaries:
        data = path.read_bytes()
        if place in data:
            path.write_bytes(data.replace(place, b"/".ljust(len(place) - 1, b"_") + b"/"))
