"""llm-sandbox on Docker: a session, which is a container, for each program, one of them kept ready. It has no tools.

Its own images come from a registry. The image here is that of our guests with the commands that it runs in a container,
so the Python of both starts in the same time.
"""

import asyncio
import io
import os
import re
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import docker  # type: ignore[import-untyped]
from llm_sandbox import SandboxSession  # type: ignore[import-not-found]

from benchmarks.boxes.box import Box, Kind, Tool

__all__ = ["open_box"]

_OURS, _TAG = "codemode-sandbox:latest", "codemode-benchmark-llm-sandbox"
_COMMANDS = ("sh", "mkdir", "sleep")
_ROOT = b"root:x:0:0:root:/tmp:/bin/sh\n"

# The signal that it stops containers with does not reach `sleep`, and Docker would wait for ten seconds.
_CONTAINER = {"command": ["/bin/sleep", "600"], "stop_signal": "SIGKILL"}


class _Sessions:
    def __init__(self) -> None:
        self._client = docker.from_env()
        self._image = _image(self._client)
        self._spare: asyncio.Task[Any] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self, kind: Kind, tool: Tool) -> float:
        spare, self._spare = self._spare or self._open(), None
        session = await spare
        try:
            done = await asyncio.to_thread(session.run, "print(1)")
            end = time.perf_counter()
        finally:
            # Not waited for, as no caller waits for the end of our own guests.
            ending = asyncio.create_task(asyncio.to_thread(session.close))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        if done.stdout.strip() != "1":
            raise RuntimeError(f"the program printed {done.stdout!r}, {done.stderr!r}")
        if self._spare is None:
            self._spare = self._open()
        return end

    def _open(self) -> "asyncio.Task[Any]":
        def start() -> Any:
            session = SandboxSession(
                client=self._client,
                lang="python",
                image=self._image,
                skip_environment_setup=True,
                runtime_configs=dict(_CONTAINER),
            )
            session.open()
            return session

        return asyncio.create_task(asyncio.to_thread(start))

    def guests(self) -> list[int]:
        return []

    async def aclose(self) -> None:
        if self._spare is not None:
            await asyncio.to_thread((await self._spare).close)
        await asyncio.gather(*self._ending)
        self._client.close()


def open_box() -> Box:
    """Return the sandbox, connected to the Docker daemon."""
    return _Sessions()


def _image(client: Any) -> str:
    """Return the name of the image, and make the image where it does not exist."""
    if not client.images.list(name=_TAG):
        container = client.containers.create(_OURS, command=["nothing"])
        try:
            data = b"".join(container.export())
        finally:
            container.remove()
        client.api.import_image_from_data(_with_commands(data), repository=_TAG, tag="latest")
    return f"{_TAG}:latest"


def _with_commands(data: bytes) -> bytes:
    # Each file once: of those that both have, ours is kept, but for the accounts, which lack a root.
    result = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=result, mode="w") as new:
        names = {"etc/passwd"}
        for member in old.getmembers():
            if member.name not in names:
                names.add(member.name)
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
        _add(new, "etc/passwd", _ROOT)
        for command in _COMMANDS:
            for path in (f"/bin/{command}", *_libraries(f"/bin/{command}")):
                if (name := path.lstrip("/")) not in names:
                    names.add(name)
                    _add(new, name, Path(os.path.realpath(path)).read_bytes())
        link = tarfile.TarInfo("bin/python")
        link.type, link.linkname = tarfile.SYMTYPE, "/py/bin/python3"
        new.addfile(link)
    return result.getvalue()


def _libraries(command: str) -> list[str]:
    output = subprocess.run(["ldd", command], check=True, capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(", output)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o755
    archive.addfile(info, io.BytesIO(data))
