"""Starts guests in containers, for a pool."""

import asyncio
import os
import time
from concurrent.futures import Future

from codemode_sandboxes.docker.guest import AttachedChannel
from codemode_sandboxes.docker.host import Guest
from codemode_sandboxes.docker.hosts import Hosts
from codemode_sandboxes.process.channel import StreamChannel
from codemode_sandboxes.process.execution import wait_ready
from codemode_sandboxes.process.pool import StartFailed
from codemode_sandboxes.process.spawn import Noise

__all__ = ["ContainerNewborn", "ContainerStarter"]

_FRESH_SECONDS = 5.0


class ContainerStarter:
    """Starts containers. Implements `Starter`.

    Args:
        hosts: Where.
        memory_bytes: What a program may use in one.
    """

    def __init__(self, hosts: Hosts, memory_bytes: int) -> None:
        self._hosts, self._memory_bytes = hosts, memory_bytes
        self._starting: list[ContainerNewborn] = []

    @property
    def alive(self) -> bool:
        """Whether it can start guests still."""
        return self._hosts.alive

    def fork(self) -> "ContainerNewborn":
        """Start a guest; see `Starter`."""
        self._starting = [newborn for newborn in self._starting if newborn.starting]
        if len(self._starting) >= self._hosts.most_starting:
            raise BlockingIOError("enough guests are starting")
        newborn = ContainerNewborn(self)
        self._starting.append(newborn)
        return newborn

    def start(self) -> "Future[Guest]":
        """Start a container."""
        try:
            return self._hosts.start(self._memory_bytes)
        except RuntimeError as error:
            raise StartFailed(f"no more guests are started: {error}") from None

    def close(self) -> None:
        """There is nothing to end but the guests."""


class ContainerNewborn:
    """A container that is on its way. Implements `Newborn`."""

    def __init__(self, starter: ContainerStarter) -> None:
        self._starter, self._owner, self._since = starter, os.getpid(), time.monotonic()
        self._future = starter.start()

    @property
    def starting(self) -> bool:
        """Whether it is on its way still."""
        return not self._future.done()

    async def channel(self) -> StreamChannel:
        """Wait until the guest is ready; see `Newborn`."""
        kept = time.monotonic() - self._since > _FRESH_SECONDS
        try:
            return await self._channel()
        except StartFailed:
            if not kept:
                raise
        self._future = self._starter.start()  # its daemon has ended it meanwhile, or is gone
        return await self._channel()

    async def _channel(self) -> StreamChannel:
        try:
            guest = await asyncio.wrap_future(self._future)
        except BaseException:
            self.close()
            raise
        noise = Noise()
        try:
            channel = AttachedChannel(guest, noise)
        except BaseException:
            guest.discard()
            raise
        try:
            reason = await wait_ready(channel)
            if reason is None and channel.ended:  # it was ready once
                reason = "the guest's process ended before it was used"
        except BaseException:
            await channel.aclose()
            raise
        if reason is not None:
            await channel.aclose()
            raise StartFailed(f"{reason}: {noise.text.splitlines()[-1]}" if noise.text else reason)
        return channel

    def close(self) -> None:
        """Do without it."""
        if self._owner == os.getpid():
            self._future.add_done_callback(_discard)


def _discard(future: "Future[Guest]") -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().discard()
