"""Many MCP clients on `codemode-graph serve`, which cancel, hang up, and see it restarted: what they wait, what is lost.

    python -m benchmarks.serve_load [--clients 200] [--seconds 300] [--pause 1.0] [--idle] [--out FILE]

Each client sends programs over HTTP, one after the other: most of them empty, some with an effect, some that it cancels, some
whose connection it drops in the middle. Half-way the server gets SIGTERM and is started again. The effects are lines in a
file, which is compared with what the clients were told and with the log of calls. Linux only.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx

from benchmarks.boxes.processes import descendants
from benchmarks.machine import machine, revision
from codemode_graph.tools import tool

__all__ = ["Outcome", "load", "note"]

ROOT = Path(__file__).parents[1]
BOOK = "SERVE_LOAD_BOOK"
_HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
_EFFECT = "await tools.note({!r})"
_CUT = "await tools.note({!r})\nimport asyncio\nawait asyncio.sleep(30)\nawait tools.note({!r})"


@tool(effect="write")
async def note(text: str) -> str:
    """Write a line."""
    with Path(os.environ[BOOK]).open("a") as book:  # noqa: ASYNC230 - a line is short
        book.write(f"{text}\n")
    return text


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The clients' results, and what is in the book.

    Attributes:
        empty: Seconds of each empty program that was answered.
        answers: How many calls were answered how.
        done: Effects whose call was answered with success.
        cut: Effects of calls that were cancelled, dropped or stopped: at most once in the book.
        never: Effects that come after the cancellation in their program.
        hung: Calls without an answer within a minute.
        memory: Resident bytes of the server and its guests, second by second, with the number of its processes.
        left: Processes of the first server that outlived it.
        statuses: Exit statuses of the servers.
        stderr: What the servers wrote, their address aside.
        book: The lines of the book.
        logged: Effects in the log of calls.
    """

    empty: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    done: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    never: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    memory: list[tuple[float, int, int]] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    statuses: list[int | None] = field(default_factory=list)
    stderr: str = ""
    book: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """Return what is wrong: effects that are lost, doubled or unknown, hung calls, and what is left behind."""
        counts = Counter(self.book)
        found = [
            f"{text} is {counts[text]} times in the book, and was answered" for text in self.done if counts[text] != 1
        ]
        found += [f"{text} is {count} times in the book" for text, count in counts.items() if count > 1]
        found += [f"{text} came after its program was cut" for text in self.never if counts[text]]
        unknown = counts.keys() - {*self.done, *self.cut}
        found += [f"{text} is in the book, and nobody asked for it" for text in unknown]
        found += [f"{text} is not in the log of calls" for text in counts.keys() - set(self.logged)]
        found += [f"no answer to {each}" for each in self.hung]
        found += [f"process {pid} is left" for pid in self.left]
        found += [f"a server ended with {status}" for status in self.statuses if status != 0]
        return found + ([f"stderr: {self.stderr[:2000]}"] if self.stderr else [])


class _Server:
    """The server as a process, which can be ended and started again at the same port."""

    def __init__(self, folder: Path, outcome: Outcome, options: list[str]) -> None:
        self.folder, self.outcome, self.options = folder, outcome, options
        self.url, self.up = "", asyncio.Event()
        self.process: Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        port = httpx.URL(self.url).port if self.url else 0
        env = {name: value for name, value in os.environ.items() if name != "CODEMODE_TOKEN"}
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "codemode_graph", "serve", "--tools", "benchmarks.serve_load:note"),
            *("--http", f"127.0.0.1:{port}", "--audit-log", str(self.folder / "audit"), *self.options),
            cwd=ROOT,
            env={**env, BOOK: str(self.folder / "book")},
            stderr=PIPE,
        )
        assert self.process.stderr is not None
        line = (await self.process.stderr.readline()).decode()
        found = re.search(r"http://\S+", line)
        if found is None:
            raise RuntimeError(line + (await self.process.stderr.read()).decode())
        self.url = found[0]
        self._reading = asyncio.create_task(self._read(self.process.stderr))
        self.up.set()

    async def _read(self, stream: asyncio.StreamReader) -> None:
        self.outcome.stderr += (await stream.read()).decode()

    async def stop(self) -> None:
        """Send SIGTERM, and note the exit status and the processes that are left."""
        assert self.process is not None
        assert self._reading is not None
        own = descendants(self.process.pid)
        self.up.clear()
        self.process.send_signal(signal.SIGTERM)
        self.outcome.statuses.append(await asyncio.wait_for(self.process.wait(), 60))
        await self._reading
        self.outcome.left += sorted(set(own) & _processes())

    def sample(self, since: float) -> None:
        """Note the memory of the server and of its guests."""
        assert self.process is not None
        pids = [self.process.pid, *descendants(self.process.pid)]
        pages = 0
        for pid in pids:
            with contextlib.suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        self.outcome.memory.append((time.monotonic() - since, pages * os.sysconf("SC_PAGE_SIZE"), len(pids)))


class _Client:
    """One client, with a connection and a session of its own."""

    def __init__(self, name: str, server: _Server, outcome: Outcome, seed: int) -> None:
        self.name, self.server, self.outcome = name, server, outcome
        self.random = random.Random(seed)
        self.http = httpx.AsyncClient(timeout=httpx.Timeout(60, pool=None))
        self.session: str | None = None
        self.number = 0

    async def work(self, until: float, pause: float) -> None:
        """Send programs until the time is over."""
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.http)
            await asyncio.sleep(self.random.uniform(0, pause))  # clients do not come all at one time
            while time.monotonic() < until:
                await self.server.up.wait()
                try:
                    if self.session is None:
                        await self._open()
                    await self._one()
                except httpx.TransportError:
                    # The server is being started again: what is not answered here has its line in `cut` already.
                    self.outcome.answers["unreachable"] += 1
                    self.session = None
                    await asyncio.sleep(0.2)
                await asyncio.sleep(self.random.uniform(0, 2 * pause))
            with contextlib.suppress(httpx.TransportError):
                if self.session is not None:
                    await self.http.delete(self.server.url, headers={**_HEADERS, "Mcp-Session-Id": self.session})

    async def _open(self) -> None:
        about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": self.name, "version": "1"}}
        async with self._post({"method": "initialize", "id": 0, "params": about}) as response:
            await _answer(response)
            self.session = response.headers.get("mcp-session-id")
        async with self._post({"method": "notifications/initialized"}):
            pass

    def _post(self, message: dict[str, Any]) -> Any:
        headers = {**_HEADERS, **({"Mcp-Session-Id": self.session} if self.session else {})}
        return self.http.stream("POST", self.server.url, json={"jsonrpc": "2.0", **message}, headers=headers)

    async def _one(self) -> None:
        self.number += 1
        text, kind = f"{self.name}.{self.number}", self.random.random()
        if kind < 0.7:
            started = time.monotonic()
            if await self._call("1", text) == "ok":
                self.outcome.empty.append(time.monotonic() - started)
        elif kind < 0.9:
            # Until it is answered with success, it may or may not be in the book.
            self.outcome.cut.append(text)
            if await self._call(_EFFECT.format(text), text) == "ok":
                self.outcome.done.append(text)
        else:
            self.outcome.cut.append(text)
            late = f"{text}-late"
            # By the protocol a cancellation that overtakes its request says nothing: the program then runs to its end.
            overtook = await self._cut(_CUT.format(text, late), cancel=kind < 0.95)
            (self.outcome.done if overtook else self.outcome.never).append(late)
            self.outcome.answers["cancelled too early"] += overtook

    async def _call(self, code: str, text: str) -> str:
        answer = "hung"
        try:
            async with asyncio.timeout(60), self._run(code) as response:
                if response.status_code in (404, 503):  # the session of a server that has ended, or that ends
                    self.session = None
                    answer = "no session" if response.status_code == 404 else "refused: shutting down"
                else:
                    answer = _kind(await _answer(response))
        except TimeoutError:
            self.outcome.hung.append(text)
        self.outcome.answers[answer] += 1
        return answer

    def _run(self, code: str) -> Any:
        params = {"name": "run_code", "arguments": {"code": code}}
        return self._post({"method": "tools/call", "id": self.number, "params": params})

    async def _cut(self, code: str, *, cancel: bool) -> bool:
        """Cancel a call after a moment, or hang up; return True where it was answered with success all the same."""
        moment = self.random.uniform(0.1, 2.0)
        call = asyncio.create_task(self._call(code, f"{self.name}.{self.number}"))
        await asyncio.wait([call], timeout=moment)
        if call.done():  # it was refused, or the server was stopped
            await call
        elif cancel:
            async with self._post({"method": "notifications/cancelled", "params": {"requestId": self.number}}):
                pass
            return await call == "ok"
        else:
            call.cancel()  # httpx closes the connection
            await asyncio.wait([call])
            self.outcome.answers["hung up"] += 1
        return False


async def _answer(response: httpx.Response) -> dict[str, Any]:
    """Return the answer to a request, from a stream of events or in one piece."""
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        return {"status": response.status_code, **_json(await response.aread())}
    async for line in response.aiter_lines():
        if (
            line.startswith("data:")
            and "id" in (message := _json(line.removeprefix("data:")))
            and "method" not in message
        ):
            return message
    return {}


def _json(text: str | bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        value = json.loads(text)
        return value if isinstance(value, dict) else {}
    return {}


def _kind(answer: dict[str, Any]) -> str:
    if "result" not in answer:
        return (
            "cancelled" if "cancelled" in str(answer.get("error")) else f"no answer ({answer.get('status', 'ended')})"
        )
    text = answer["result"]["content"][0]["text"]
    if not answer["result"].get("isError"):
        return "ok"
    known = {"busy": "refused: busy", "shutting down, and nothing": "refused: shutting down", "was stopped": "stopped"}
    return next((kind for words, kind in known.items() if words in text), text[:200])


def _processes() -> set[int]:
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()}


@contextlib.asynccontextmanager
async def _sampling(server: _Server) -> AsyncIterator[None]:
    since = time.monotonic()

    async def sample() -> None:
        while True:
            with contextlib.suppress(ProcessLookupError):
                if server.up.is_set():
                    await asyncio.to_thread(server.sample, since)
            await asyncio.sleep(1)

    task = asyncio.create_task(sample())
    try:
        yield
    finally:
        task.cancel()


async def load(
    *, clients: int, seconds: float, pause: float, idle: bool = False, options: list[str] | None = None
) -> Outcome:
    """Put a load on a server, restart it half-way, and return what was seen.

    Args:
        clients: Clients at one time.
        seconds: How long they work.
        pause: Seconds that a client waits between two programs, on the average.
        idle: Wait at the end until the idle guests have ended, three minutes at most.
        options: More options of `codemode-graph serve`.
    """
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        server = _Server(folder, outcome, options or [])
        await server.start()
        async with _sampling(server):
            until = time.monotonic() + seconds
            working = [
                asyncio.create_task(_Client(f"c{n}", server, outcome, n).work(until, pause)) for n in range(clients)
            ]
            await asyncio.sleep(seconds / 2)
            await server.stop()
            await server.start()
            await asyncio.gather(*working)
            end = time.monotonic() + 180
            while idle and time.monotonic() < end and outcome.memory[-1][2] > 2:  # noqa: ASYNC110 - processes tell nobody
                await asyncio.sleep(1)
        await server.stop()
        outcome.book = (folder / "book").read_text().splitlines()
        lines = map(json.loads, (folder / "audit").read_text().splitlines())
        outcome.logged = [line["arguments"]["text"] for line in lines if line["event"] == "tool_call"]
    return outcome


def _report(outcome: Outcome, arguments: argparse.Namespace) -> str:
    cut = quantiles(outcome.empty, n=100)
    half = [row for row in outcome.memory if row[0] > arguments.seconds / 2 + 5]
    half = [row for row in half if row[0] < arguments.seconds] or outcome.memory
    first, last = half[: len(half) // 4 + 1], half[-len(half) // 4 - 1 :]
    mb, where = 1 << 20, machine()
    lines = [
        f"{where['cpu']}, {where['cores']} cores, load {where['load']}, {where['python']}, commit {revision()}, "
        f"{date.today().isoformat()}; {arguments.clients} clients, {arguments.seconds:g} s, pause {arguments.pause:g} s",
        "",
        f"* {len(outcome.empty)} empty runs: median {median(outcome.empty) * 1000:.0f} ms, p99 {cut[98] * 1000:.0f} ms, "
        f"longest {max(outcome.empty) * 1000:.0f} ms",
        f"* answers: {', '.join(f'{count} {kind}' for kind, count in outcome.answers.most_common() if count)}",
        f"* {len(outcome.done)} effects answered, {len(outcome.book)} in the book, {len(set(outcome.logged))} in the log",
        f"* memory of the server and its guests: {median(row[1] for row in first) / mb:.0f} MB at first, "
        f"{median(row[1] for row in last) / mb:.0f} MB at last; {max(row[2] for row in half) - 1} guests at most, "
        f"{outcome.memory[-1][2] - 1} at the end",
        f"* exit statuses {outcome.statuses}",
        *(f"* PROBLEM: {problem}" for problem in outcome.problems()[:20]),
    ]
    return "\n".join(lines)


def main() -> None:
    """Put a load on a server, print what was seen, and exit with status 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two programs of a client")
    parser.add_argument("--idle", action="store_true", help="wait until idle guests have ended")
    parser.add_argument("--out", type=Path, help="write the report here, too")
    arguments = parser.parse_args()
    outcome = asyncio.run(
        load(clients=arguments.clients, seconds=arguments.seconds, pause=arguments.pause, idle=arguments.idle)
    )
    report = _report(outcome, arguments)
    print(report)
    if arguments.out is not None:
        arguments.out.write_text(f"{report}\n")
    raise SystemExit(bool(outcome.problems()))


if __name__ == "__main__":
    main()
