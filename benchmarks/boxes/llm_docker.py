"""llm-sandbox on Docker: a session, which is a container, for each program, one of them kept ready. It has no tools."""

import asyncio
import time
from typing import Any

import docker  # type: ignore[import-untyped]
from llm_sandbox import SandboxSession  # type: ignore[import-not-found]

from benchmarks.boxes.box import Box, Kind, Tool
from benchmarks.boxes.llm_image import llm_image

__all__ = ["open_box"]

# Its containers are stopped with a signal that `sleep` would not hear for ten seconds.
_CONTAINER = {"command": ["/bin/sleep", "600"], "stop_signal": "SIGKILL"}


class _Sessions:
    def __init__(self) -> None:
        self._client = docker.from_env()
        self._image = llm_image(self._client)
        self._spare: asyncio.Task[Any] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self, kind: Kind, tool: Tool) -> float:
        taken, self._spare = self._spare or self._open(), None
        session = await taken
        try:
            done = await asyncio.to_thread(session.run, "print(1)")
            ended = time.perf_counter()
        finally:
            ending = asyncio.create_task(asyncio.to_thread(session.close))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        if done.stdout.strip() != "1":
            raise RuntimeError(f"the program printed {done.stdout!r}, {done.stderr!r}")
        if self._spare is None:
            self._spare = self._open()
        return ended

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
    """Connect to the Docker daemon. No container is started yet."""
    return _Sessions()
