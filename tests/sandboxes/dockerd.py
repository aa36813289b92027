"""A Docker daemon of a test's own, which may be stopped and killed."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from codemode_sandboxes.docker import build_docker_image

from tests.sandboxes.processes import alive

__all__ = ["OwnDaemon", "certificates", "own_daemon"]

SCRIPT = Path(__file__).parents[2] / "scripts" / "start-dockerd"


class OwnDaemon:
    """A daemon with the image for guests.

    Args:
        folder: Where it keeps everything; its path is short, as those of sockets must be.
        options: More for dockerd.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder, self._options = folder, options
        self.address = f"unix://{folder}/d.sock"
        self.secure = ""

    def start(self) -> None:
        environment = {**os.environ, "CODEMODE_DOCKER_SOCKET": f"{self._folder}/d.sock"}
        done = subprocess.run([SCRIPT, *self._options], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def fill(self) -> None:
        build_docker_image(hosts=[self.address])

    @property
    def pid(self) -> int:
        return int((self._folder / "d" / "docker.pid").read_text())

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, which ends its containers, or kill it, which does not."""
        pid = self.pid
        os.kill(pid, how)
        end = time.monotonic() + 60
        while alive(pid):
            assert time.monotonic() < end
            time.sleep(0.02)


@contextlib.contextmanager
def own_daemon(folder: Path, *options: str) -> Iterator[OwnDaemon]:
    """Start a daemon, and end it and unmount what it leaves."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a Docker daemon")
    daemon = OwnDaemon(folder, *options)
    daemon.start()
    try:
        daemon.fill()
        yield daemon
    finally:
        if alive(daemon.pid):
            daemon.end()
        for left in Path("/proc").glob("[0-9]*"):  # what a daemon that was killed leaves
            with contextlib.suppress(OSError):
                if f"{folder}/d/".encode() in (left / "cmdline").read_bytes():
                    os.kill(int(left.name), signal.SIGKILL)
        places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for place in reversed([place for place in places if place.startswith(f"{folder}/")]):
            subprocess.run(["umount", place], capture_output=True)


def certificates(folder: Path) -> None:
    """Make an authority, and a certificate of it for a daemon on 127.0.0.1 and one for its clients."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    authority = ("-addext", "keyUsage=critical,keyCertSign", "-subj", "/CN=ca", "-days", "2")
    openssl("req", "-x509", *key, "-keyout", "ca-key.pem", "-out", "ca.pem", *authority)
    for name, extension in (("server-", "subjectAltName=IP:127.0.0.1"), ("", "extendedKeyUsage=clientAuth")):
        openssl("req", *key, "-keyout", f"{name}key.pem", "-out", f"{name}req.pem", "-subj", "/CN=guest")
        (folder / "extension").write_text(f"{extension}\nauthorityKeyIdentifier=keyid:always\n")
        signing = ("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2", "-extfile", "extension")
        openssl("x509", "-req", "-in", f"{name}req.pem", "-out", f"{name}cert.pem", *signing)
