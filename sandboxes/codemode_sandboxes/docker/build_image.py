"""Makes the image for guests out of an installed Python, without a registry, and sends it to Docker daemons."""

import contextlib
import hashlib
import logging
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from codemode_sandboxes.docker.container import GUEST_LABEL, PACKAGES_LABEL, guest_version
from codemode_sandboxes.docker.daemon import Daemon, DaemonProblem, default_address
from codemode_sandboxes.errors import SandboxError, SandboxUnavailable
from codemode_sandboxes.image import Image, ImageError, build_image
from codemode_sandboxes.image.contents import libraries

__all__ = ["DEFAULT_IMAGE", "BuildFailed", "build_command", "build_docker_image", "image_tag"]

DEFAULT_IMAGE = "codemode-sandbox:latest"
"""The image of guests where no other is named."""

_COMMAND = "python -m codemode_sandboxes.docker build"
_SECONDS = 600

_log = logging.getLogger(__name__)


class BuildFailed(SandboxError):
    """The image cannot be made. The message names the cause and the fix."""


def image_tag(packages: Iterable[str]) -> str:
    """Return the name of the image that holds these packages. Their order does not matter."""
    names = sorted({re.sub(r"[-_.]+", "-", package.strip().lower()) for package in packages})
    if not names:
        return DEFAULT_IMAGE
    # A tag takes at most 128 characters, of few kinds; the hash tells apart what they cannot.
    readable = re.sub(r"[^a-z0-9]+", "-", "-".join(names)).strip("-")[:60]
    return f"codemode-sandbox:{readable}-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:8]}"


def build_command(packages: Iterable[str], hosts: Iterable[str]) -> str:
    """Return the command that makes the image with these packages on these daemons."""
    options = [f"--package {shlex.quote(package)}" for package in packages]
    options += [f"--host {shlex.quote(host)}" for host in hosts]
    return " ".join([_COMMAND, *options])


def build_docker_image(
    tag: str | None = None,
    *,
    packages: Sequence[str] = (),
    python: str | None = None,
    hosts: Sequence[str] | None = None,
    report: Callable[[str], None] = _log.info,
) -> str:
    """Make the image that `DockerSandbox` uses, and send it to Docker daemons. Takes some seconds.

    Args:
        tag: The image's name; by default the one that `DockerSandbox` expects with the same packages.
        packages: What pip installs in it, such as "numpy" or "pandas>=2". Only wheels are installed: none of their
            code runs here.
        python: The interpreter that the image is made of; this process's own by default.
        hosts: Addresses of daemons; by default the one that DOCKER_HOST names, else this machine's.
        report: Receives a line at the start of each step.

    Returns:
        The image's name.

    Raises:
        BuildFailed: The image cannot be made, or a daemon refuses it.
    """
    tag = tag or image_tag(packages)
    repository, _, version = tag.rpartition(":")
    if not repository or "/" in version:  # the last colon is that of a registry's port, or there is none
        repository, version = tag, "latest"
    addresses = list(hosts or [default_address()])
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="codemode-image-")))
        try:
            daemons = []
            for address in addresses:  # first, so that a daemon that does not answer costs no work
                daemons.append(Daemon(address))
                stack.callback(daemons[-1].close)
            report(f"collecting {python or sys.executable}")
            image = build_image(python)
            if packages:
                report(f"installing {', '.join(packages)}")
                _install(packages, folder / "packages", python or sys.executable)
            report("packing")
            tar = folder / "image.tar"
            _pack(image, folder / "packages", tar)
            changes = [f"LABEL {GUEST_LABEL}={guest_version()}", "USER 65534:65534", "WORKDIR /tmp"]
            if packages:
                changes.append(f"LABEL {PACKAGES_LABEL}={image_tag(packages).partition(':')[2]}")
            for daemon in daemons:
                report(f"sending {tar.stat().st_size >> 20} MB to {daemon.address}")
                with tar.open("rb") as file:
                    daemon.add_image(file, repository, version, changes)
        except DaemonProblem as problem:
            raise BuildFailed(f"{problem.reason}. {problem.remedy}" if problem.remedy else problem.reason) from None
        except (ImageError, SandboxUnavailable, OSError, subprocess.TimeoutExpired) as error:
            raise BuildFailed(str(error)) from None
    return tag


def _install(packages: Sequence[str], folder: Path, python: str) -> None:
    options = ["--no-input", "--disable-pip-version-check", "--no-compile", "--only-binary", ":all:", "-q"]
    done = subprocess.run(
        [python, "-m", "pip", "install", *options, "--target", str(folder), "--", *packages],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR") or "No module named" in line]
        raise BuildFailed("pip cannot install the packages: " + (errors[-1] if errors else done.stderr.strip()[-500:]))
    # Guests cannot write what they compile, so each would compile the packages again. A file that does not compile is
    # left as it is: packages ship some for other versions of Python.
    compile_ = [python, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", str(folder)]
    subprocess.run([*compile_, "-p", "/packages", str(folder)], capture_output=True, timeout=_SECONDS, check=False)


def _pack(image: Image, packages: Path, tar: Path) -> None:
    """Write an image, and the packages in the folder where its interpreter looks for them."""
    version = ".".join(image.version.split(".")[:2])
    with tarfile.open(tar, "w") as archive:
        archive.add(image.root, ".", filter=_as_root)
        if packages.exists():
            archive.add(packages, f"./py/lib/python{version}/site-packages", filter=_as_root)
            for inside, source in _needed_libraries(packages, image.root).items():
                archive.add(Path(source).resolve(), f".{inside}", filter=_as_root)


def _needed_libraries(packages: Path, root: Path) -> dict[str, Path]:
    """Return the C libraries that packages need and neither they nor the image have, such as that of C++."""
    binaries = [path for path in packages.rglob("*.so*") if path.is_file()]
    found = libraries(*binaries) if binaries else {}
    return {
        inside: source
        for inside, source in found.items()
        if isinstance(source, Path) and not source.is_relative_to(packages) and not (root / inside[1:]).exists()
    }


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode |= 0o444 | (0o111 if entry.isdir() else 0)
    return entry
