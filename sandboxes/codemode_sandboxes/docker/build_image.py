"""Makes the image for guests and gives it to Docker daemons. It needs no registry: it is made of an installed Python."""

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

from codemode_sandboxes.docker.daemon import Daemon, default_address
from codemode_sandboxes.docker.delivery import GUEST_LABEL, PACKAGES_LABEL, guest_version
from codemode_sandboxes.docker.facts import DaemonProblem
from codemode_sandboxes.errors import SandboxError, SandboxUnavailable
from codemode_sandboxes.image import Image, ImageError, build_image
from codemode_sandboxes.image.contents import libraries

__all__ = ["DEFAULT_IMAGE", "BuildFailed", "build_command", "build_docker_image", "image_tag"]

DEFAULT_IMAGE = "codemode-sandbox:latest"
"""The image that guests have unless told otherwise."""

_COMMAND = "python -m codemode_sandboxes.docker build"
_SECONDS = 600

_log = logging.getLogger(__name__)


class BuildFailed(SandboxError):
    """The image was not made. The message says why, and what to do."""


def image_tag(packages: Iterable[str]) -> str:
    """Name the image that holds these packages, in whatever order."""
    named = sorted({re.sub(r"[-_.]+", "-", package.strip().lower()) for package in packages})
    if not named:
        return DEFAULT_IMAGE
    readable = re.sub(r"[^a-z0-9]+", "-", "-".join(named)).strip("-")[:60]
    return f"codemode-sandbox:{readable}-{hashlib.sha256(' '.join(named).encode()).hexdigest()[:8]}"


def build_command(packages: Iterable[str], hosts: Iterable[str]) -> str:
    """Give the command that makes the image with these packages on these daemons."""
    named = [f"--package {shlex.quote(package)}" for package in packages]
    named += [f"--host {shlex.quote(host)}" for host in hosts]
    return " ".join([_COMMAND, *named])


def build_docker_image(
    tag: str | None = None,
    *,
    packages: Sequence[str] = (),
    python: str | None = None,
    hosts: Sequence[str] | None = None,
    report: Callable[[str], None] = _log.info,
) -> str:
    """Make the image that `DockerSandbox` uses, and give it to Docker daemons. Takes some seconds.

    Args:
        tag: Its name; by default the one that `DockerSandbox` asks for when it is given the same packages.
        packages: What pip is to install in it, such as "numpy" or "pandas>=2". Only wheels are installed: nothing of
            them runs here.
        python: The interpreter that it is made of; this process's own by default.
        hosts: Addresses of daemons; by default the one that DOCKER_HOST names, else this machine's.
        report: Is told what is being done.

    Returns:
        The image's name.

    Raises:
        BuildFailed: It cannot be made, or a daemon does not take it.
    """
    tag = tag or image_tag(packages)
    repository, _, version = tag.rpartition(":")
    if not repository or "/" in version:  # that colon stood before a registry's port, or nowhere
        repository, version = tag, "latest"
    addresses = list(hosts or [default_address()])
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="codemode-image-")))
        try:
            daemons = []
            for address in addresses:  # before the long work, not after it
                daemons.append(Daemon(address))
                stack.callback(daemons[-1].close)
            report(f"collecting {python or sys.executable}")
            image = build_image(python)
            place = folder / "packages"
            if packages:
                report(f"installing {', '.join(packages)}")
                _install(packages, place, python or sys.executable)
            report("packing")
            tar = folder / "image.tar"
            _pack(image, place, tar)
            changes = [f"LABEL {GUEST_LABEL}={guest_version()}", "USER 65534:65534", "WORKDIR /tmp"]
            if packages:
                changes.append(f"LABEL {PACKAGES_LABEL}={image_tag(packages).partition(':')[2]}")
            for daemon in daemons:
                report(f"sending {tar.stat().st_size >> 20} MB to {daemon.address}")
                with tar.open("rb") as file:
                    daemon.add_image(file, repository, version, changes)
        except (ImageError, DaemonProblem, SandboxUnavailable, OSError, subprocess.TimeoutExpired) as problem:
            raise BuildFailed(_told(problem)) from None
    return tag


def _told(problem: Exception) -> str:
    remedy = getattr(problem, "remedy", "")
    if isinstance(problem, DaemonProblem) and remedy:
        return f"{problem.reason}. {remedy}"
    return str(problem)


def _install(packages: Sequence[str], place: Path, python: str) -> None:
    options = ["--no-input", "--disable-pip-version-check", "--no-compile", "--only-binary", ":all:", "-q"]
    done = subprocess.run(
        [python, "-m", "pip", "install", *options, "--target", str(place), "--", *packages],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR") or "No module named" in line]
        raise BuildFailed("pip cannot install the packages: " + (errors[-1] if errors else done.stderr.strip()[-500:]))
    compile_ = [python, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", str(place)]
    subprocess.run([*compile_, "-p", "/packages", str(place)], capture_output=True, timeout=_SECONDS, check=False)


def _pack(image: Image, packages: Path, tar: Path) -> None:
    """Write the image, with the packages where its interpreter looks for them; everything is root's."""
    version = ".".join(image.version.split(".")[:2])
    with tarfile.open(tar, "w") as archive:
        archive.add(image.root, ".", filter=_roots)
        if packages.exists():
            archive.add(packages, f"./py/lib/python{version}/site-packages", filter=_roots)
            for inside, source in _needed_libraries(packages, image.root).items():
                archive.add(Path(source).resolve(), f".{inside}", filter=_roots)


def _needed_libraries(packages: Path, root: Path) -> dict[str, Path]:
    """The C libraries that packages bring not themselves, such as that of C++."""
    binaries = [path for path in packages.rglob("*.so*") if path.is_file()]
    found = libraries(*binaries) if binaries else {}
    return {
        inside: source
        for inside, source in found.items()
        if isinstance(source, Path) and not source.is_relative_to(packages) and not (root / inside[1:]).exists()
    }


def _roots(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode |= 0o444 | (0o111 if entry.isdir() else 0)
    return entry
