"""An execution whose guest is a process that speaks the protocol of `codemode_sandboxes.guest`."""

import asyncio
import dataclasses
import signal
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from types import TracebackType
from typing import Any, Self

from codemode_sandboxes.contract import (
    OPEN_CALLS,
    Blocked,
    Call,
    Event,
    Failed,
    FailureKind,
    Finished,
    Limits,
    Outcome,
    Program,
    Raised,
    Returned,
)
from codemode_sandboxes.errors import SandboxClosed
from codemode_sandboxes.process.channel import Channel, StreamChannel, describe_exit, shielded
from codemode_sandboxes.process.frames import (
    FrameReader,
    ProtocolError,
    encode,
    parse,
    read_blocked,
    read_call,
    read_failed,
    read_text,
    read_value,
)
from codemode_sandboxes.process.pool import StartFailed
from codemode_sandboxes.process.spawn import Noise
from codemode_sandboxes.tool_names import attribute_names

__all__ = ["ProcessExecution", "Stopwatch", "require_ready", "wait_ready"]

_FRAME_EXTRA = 64 * 1024  # what a frame holds besides a value: names, a message, a traceback
_FRAMES_AT_ONCE = 64  # then the event loop has its turn, for a guest may send frames without end
_PARSE_AT_ONCE = 256 * 1024  # larger frames are parsed in a thread: they would hold up the event loop
_EXIT_SECONDS = 2.0  # from the end of a guest's stream to its own; a hostile guest may close the one and stay

_TYPES: dict[FailureKind, str] = {
    "memory": "MemoryError",
    "output": "RuntimeError",
    "calls": "RuntimeError",
    "protocol": "RuntimeError",
    "died": "RuntimeError",
}


async def wait_ready(channel: Channel) -> str | None:
    """Wait until a guest says that it is ready for a program.

    Returns:
        None once it is ready; else why it is not, in one line.
    """
    try:
        line = await FrameReader(channel, _FRAME_EXTRA).read()
        if line is None:
            return f"the guest's process {describe_exit(await _exit_status(channel))}"
        frame = parse(line, value_bytes=_FRAME_EXTRA)
    except ProtocolError as error:
        return str(error)
    if frame.get("type") == "ready":
        return None
    return str(frame.get("reason", "the guest did not say that it is ready"))


async def require_ready(channel: StreamChannel, ended: Callable[[], bool], noise: Noise | None = None) -> None:
    """Wait until a guest is ready for a program, and close its channel where that fails.

    Args:
        channel: The guest's channel.
        ended: Returns whether the guest's process has ended.
        noise: The standard error of the guest's command, for the message.

    Raises:
        StartFailed: The guest is not ready. The message says why.
    """
    try:
        reason = await wait_ready(channel)
        # A spare guest said that it was ready some time ago, and may have ended since.
        if reason is None and ended():
            reason = "the guest's process ended before it was used"
    except BaseException:
        await channel.aclose()
        raise
    if reason is not None:
        await channel.aclose()  # which reads the rest of the standard error
        lines = noise.text.splitlines() if noise is not None else []
        raise StartFailed(f"{reason}: {lines[-1]}" if lines else reason)


class ProcessExecution:
    """One program in one guest. Implements `Execution`.

    Args:
        channel: A guest that is ready, and belongs to this execution alone.
        program: The program.
        limits: Its bounds. The guest keeps them too, as it alone knows the program's line; the host relies on its own.
    """

    def __init__(self, channel: Channel, program: Program, limits: Limits) -> None:
        self._channel, self._program, self._limits = channel, program, limits
        self._frames = FrameReader(channel, limits.value_bytes + limits.output_bytes + _FRAME_EXTRA)
        self._tools = frozenset(program.tools)
        self._open: dict[int, int] = {}  # for each open call, the bytes of its frame
        self._open_bytes = 0
        self._count = 0
        self._printed = 0
        self._parsed = 0
        self._watch = Stopwatch(limits.seconds)
        self._started = self._ended = False
        self._closing: asyncio.Future[None] | None = None

    @property
    def ended(self) -> bool:
        """True once the last event has been returned."""
        return self._ended

    async def advance(self, outcomes: Mapping[int, Outcome] | None = None, *, elapsed: float | None = None) -> Event:
        """Run the program until it blocks or ends; see `Execution`."""
        if self._ended:
            raise SandboxClosed("this execution has ended")
        frame = encode(self._resume_frame(outcomes or {}, elapsed) if self._started else self._run_frame(elapsed))
        self._started = True
        self._close_calls(outcomes or ())
        stdout: list[str] = []
        try:
            event = await self._exchange(frame, stdout)
        except BaseException:
            # The stream may stand in the middle of a frame, so this execution cannot go on.
            await self.aclose()
            raise
        if not isinstance(event, Blocked):
            self._close()  # not awaited: the caller need not wait for the end of the guest's process
        return dataclasses.replace(event, stdout="".join(stdout)) if stdout else event

    def shorten(self, seconds: float) -> None:
        """Let the program compute for no longer than this from now on, where its limit leaves it more."""
        self._watch.shorten(seconds)

    async def aclose(self) -> None:
        """Kill the guest and free what it holds; see `Execution`."""
        await shielded(self._close())

    def _close(self) -> asyncio.Future[None]:
        self._ended = True
        self._watch.close()
        if self._closing is None:
            self._channel.kill()
            self._closing = asyncio.ensure_future(self._free())
        return self._closing

    async def _free(self) -> None:
        # The loop holds the task, and the task, by this method, the execution: it is not collected before it has ended.
        await self._channel.aclose()

    def _run_frame(self, elapsed: float | None) -> dict[str, Any]:
        program = self._program
        attributes = attribute_names(program.tools)
        return {
            "type": "run",
            "code": program.code,
            "tools": [[name, attributes.get(name)] for name in program.tools],
            "seed": program.seed,
            "now": program.now,
            "elapsed": elapsed,
            "limits": dataclasses.asdict(self._limits),
        }

    def _resume_frame(self, outcomes: Mapping[int, Outcome], elapsed: float | None) -> dict[str, Any]:
        answers: list[list[Any]] = []
        for id, outcome in outcomes.items():
            match outcome:
                case _ if id not in self._open:
                    continue
                case Returned(value):
                    answers.append([id, "returned", value])
                case Raised(type, message):
                    answers.append([id, "raised", type, message])
        return {"type": "resume", "outcomes": answers, "elapsed": elapsed}

    async def _exchange(self, frame: bytes, stdout: list[str]) -> Event:
        """Send a frame and read the guest's next event, within what is left of its computing time."""
        try:
            async with self._watch:
                # Frames sent ahead could not be answers to what the host is about to say.
                if not self._frames.empty:
                    raise ProtocolError("the guest spoke before it was answered")
                await self._channel.send(frame)
                return await self._listen(stdout)
        except ProtocolError as error:
            self._channel.kill()
            return _failed("protocol", f"the sandbox's guest broke the protocol: {error}")
        except TimeoutError:
            self._channel.kill()
            return Failed.out_of_time(self._limits)

    async def _listen(self, stdout: list[str]) -> Event:
        calls: list[Call] = []
        new: dict[int, int] = {}
        while (line := await self._frames.read()) is not None:
            frame = await self._parse(line)
            match frame.get("type"):
                case "print":
                    text = read_text(frame).encode()
                    room = self._limits.output_bytes - self._printed
                    # The text up to the limit is kept: it may say why the program printed so much.
                    self._printed += len(text)
                    stdout.append(text[:room].decode("utf-8", "ignore"))
                    if self._printed > self._limits.output_bytes:
                        return _failed("output", f"the program printed more than {self._limits.output_bytes:,} bytes")
                case "call":
                    self._count += 1
                    if self._count > self._limits.calls:
                        return _failed("calls", f"the program made more than {self._limits.calls} tool calls")
                    calls.append(read_call(frame, id=self._count, tools=self._tools))
                    new[self._count] = len(line)
                    self._open_bytes += len(line)
                    if self._open_bytes > (most := OPEN_CALLS * self._limits.value_bytes) + _FRAME_EXTRA:
                        return _failed("output", f"the arguments of the open calls take more than {most:,} bytes")
                case "blocked":
                    cancelled, wake_after = read_blocked(frame, open_calls=self._open)
                    self._close_calls(cancelled)
                    self._open |= new
                    return Blocked(tuple(calls), cancelled, wake_after)
                case "finished":
                    return self._last(Finished(read_value(frame)))
                case "failed":
                    return self._last(read_failed(frame))
                case _:
                    raise ProtocolError("a frame of no known type")
        return await self._died()

    def _close_calls(self, ids: Iterable[int]) -> None:
        self._open_bytes -= sum(self._open.pop(id, 0) for id in ids)

    async def _parse(self, line: bytes) -> dict[str, Any]:
        self._parsed += 1
        if self._parsed % _FRAMES_AT_ONCE == 0:
            await asyncio.sleep(0)
        if len(line) <= _PARSE_AT_ONCE:
            return parse(line, value_bytes=self._limits.value_bytes)
        return await asyncio.to_thread(parse, line, value_bytes=self._limits.value_bytes)

    def _last(self, event: Event) -> Event:
        if not self._frames.empty:
            raise ProtocolError("the guest spoke after its last frame")
        return event

    async def _died(self) -> Event:
        if self._ended:
            raise SandboxClosed("this execution was closed")
        status = await _exit_status(self._channel)
        if status == -signal.SIGXCPU:
            return Failed.out_of_time(self._limits)
        if self._channel.out_of_memory():
            limit = self._limits.memory_bytes / 2**20
            return _failed("memory", f"the program used more than its {limit:.4g} MB of memory")
        return _failed("died", f"the program's process {describe_exit(status)}")


async def _exit_status(channel: Channel) -> int | None:
    # The stream is closed, so a guest that still runs does so for nobody.
    try:
        async with asyncio.timeout(_EXIT_SECONDS):
            return await channel.exit_status()
    except TimeoutError:
        channel.kill()
        return None


def _failed(kind: FailureKind, message: str) -> Failed:
    return Failed(kind=kind, type=_TYPES[kind], message=message)


class Stopwatch:
    """Bounds the time that tasks spend in its blocks together: then a block raises `TimeoutError`.

        async with stopwatch:
            ...

    As `asyncio.timeout` does, it cancels the task that is in a block. But all blocks share one timer, as a run enters
    thousands of them, and the time between blocks does not count.

    Args:
        seconds: What all blocks together may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._entered = 0.0
        self._cancelling = 0
        self._expired = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        self._entered = self._loop.time()
        if self._timer is None:
            self._set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        self._seconds -= self._loop.time() - self._entered
        if self._expired:
            self._expired = False
            assert task is not None
            # Where somebody else cancelled the task too, that cancellation goes on.
            if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def _set(self) -> None:
        # The loop holds the timer until it goes off. By a weak reference the timer does not hold the execution.
        when = self._entered + self._seconds
        self._timer = self._loop.call_at(when, _expire, weakref.ref(self), context=Context())

    def _expire(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if (
            self._loop.time() < self._entered + self._seconds
        ):  # an earlier block set it, and time between blocks is free
            self._set()
        else:
            self._expired = True
            self._task.cancel()

    def shorten(self, seconds: float) -> None:
        """Let the blocks from now on take this long together, where less than all before is left. Call it between blocks."""
        if seconds < self._seconds:
            self._seconds = seconds
            # The next block sets another: this one goes off too late.
            self.close()
            self._timer = None

    def close(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()


def _expire(stopwatch: "weakref.ref[Stopwatch]") -> None:
    if (alive := stopwatch()) is not None:
        alive._expire()
