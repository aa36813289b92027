"""`codemode-graph serve` in production: who may reach it, what it can bear, how it ends, and what it writes down."""

import asyncio
import json
import os
import re
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import ClientSession, types
from typer.testing import CliRunner

from codemode_graph.cli.app import app
from tests.serve.test_serve import (
    COMMAND,
    TOKEN,
    Letters,
    Open,
    at_url,
    over_http,
    process_and_url,
    refused,
    served,
    text,
)
from tests.servers import PEER, ROOT, children, eventually

pytestmark = pytest.mark.slow
__all__ = ["served"]

RIGHT = {"Authorization": f"Bearer {TOKEN}"}
WALKS = "for number in range(20):\n    await tools.stroll(number)"


@pytest.fixture
def letters(tmp_path: Path) -> Letters:
    return Letters(tmp_path / "letters")


async def run(session: ClientSession, code: str, **more: Any) -> types.CallToolResult:
    return await session.call_tool("run_code", {"code": code}, **more)


async def sent(letters: Letters, count: int = 1) -> None:
    async def are_sent() -> bool:
        return len(letters.sent) >= count

    await eventually(are_sent)


async def test_names_probes_and_metrics(letters: Letters) -> None:
    options = ("--allowed-host", "code.example.com", "--allowed-host", "other.example:8443")
    async with process_and_url(letters, *options, address="0.0.0.0:0") as (_, url), httpx.AsyncClient() as client:
        base = url.replace("0.0.0.0", "127.0.0.1").removesuffix("/mcp")

        async def status(path: str, **headers: str) -> int:
            return (await client.get(base + path, headers=headers)).status_code

        names = {
            "localhost": 200,
            "127.0.0.1:8000": 200,
            "[::1]": 200,
            "10.1.2.3:80": 200,  # an address cannot be rebound
            "code.example.com": 200,
            "CODE.example.com.:443": 200,
            socket.gethostname(): 200,
            "other.example:8443": 200,
            "other.example": 421,
            "evil.example": 421,
            "code.example.com.evil.example": 421,
            "localhost@evil.example": 421,
            "10.1.2.3.evil.example": 421,
        }
        found = {name: await status("/metrics", **RIGHT, Host=name) for name in names}
        assert found == names
        assert await status("/mcp", **RIGHT, Host="evil.example") == 421
        assert await status("/metrics", **RIGHT, Origin="https://evil.example") == 403
        assert await status("/metrics", **RIGHT, Origin="https://code.example.com") == 200
        assert await status("/metrics") == 401
        # A probe comes under the address of its pod or under none that is known, and without a token.
        assert (await status("/health", Host="pod"), await status("/ready", Host="pod")) == (200, 200)
        async with at_url(f"{base}/mcp") as session:
            await run(session, "await tools.send('ann')")
            assert (await run(session, "1 / 0")).isError
        metrics = (await client.get(f"{base}/metrics", headers=RIGHT)).text
        for line in (
            'codemode_calls_total{outcome="ok",tool="run_code"} 1.0',
            'codemode_calls_total{outcome="failed",tool="run_code"} 1.0',
            'codemode_tool_calls_total{status="done",tool="send"} 1.0',
            "codemode_calls_running 0.0",
        ):
            assert line in metrics
        assert "process_resident_memory_bytes" in metrics


async def test_a_cancelled_request_makes_no_further_call(served: Open, letters: Letters) -> None:
    async with served() as session:
        call = asyncio.create_task(run(session, WALKS))
        await sent(letters, 2)
        cancelled = types.CancelledNotification(params=types.CancelledNotificationParams(requestId=1))
        await session.send_notification(types.ClientNotification(cancelled))
        await refused(call)
        assert text(await run(session, "1 + 1")) == "2"
        known = letters.sent
        await asyncio.sleep(1)
        assert letters.sent == known


async def test_a_dropped_connection_ends_its_program_and_not_its_session(letters: Letters, tmp_path: Path) -> None:
    log = tmp_path / "audit"
    async with over_http(letters, "--audit-log", str(log)) as url, httpx.AsyncClient(timeout=60) as client:
        headers = {**RIGHT, "Accept": "application/json, text/event-stream"}

        async def post(method: str, params: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
            message = {"jsonrpc": "2.0", "method": method, **({"params": params} if params else {}), **more}
            return await client.post(url, json=message, headers=headers)

        about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
        headers["Mcp-Session-Id"] = (await post("initialize", about, id=0)).headers["mcp-session-id"]
        await post("notifications/initialized")
        call = asyncio.create_task(post("tools/call", {"name": "run_code", "arguments": {"code": WALKS}}, id=1))
        await sent(letters, 2)
        call.cancel()
        await asyncio.wait([call])

        async def is_logged() -> bool:
            return '"outcome": "gone"' in log.read_text()

        await eventually(is_logged)
        known = letters.sent
        again = await post("tools/call", {"name": "run_code", "arguments": {"code": "1 + 1"}}, id=2)
        assert '"output":2' in again.text.replace(" ", "")
        await asyncio.sleep(1)
        assert letters.sent == known
        # All that took effect is in the log, the call that was cut off included.
        logged = [json.loads(line) for line in log.read_text().splitlines()]
        assert [f"walk {line['arguments']['number']}" for line in logged if line["event"] == "tool_call"] == known


async def test_too_many_calls_are_refused_and_a_person_holds_nobody_up(letters: Letters, tmp_path: Path) -> None:
    asked, decided = asyncio.Event(), asyncio.Event()

    async def elicited(context: Any, request: Any) -> types.ElicitResult:
        asked.set()
        await decided.wait()
        return types.ElicitResult(action="accept")

    options = ("--max-running", "1", "--max-waiting", "2", "--approve", "send")
    async with (
        over_http(letters, *options) as url,
        at_url(url, elicitation_callback=elicited) as asking,
        at_url(url) as session,
    ):
        waits = asyncio.create_task(run(asking, "(await tools.send('ann'))['sent']"))
        await asked.wait()
        assert text(await run(session, "1")) == "1"  # the one slot is free while a person is asked
        place = tmp_path / "there"
        code = f"await tools.arrived({str(place)!r})"
        slow = [asyncio.create_task(run(session, code)) for _ in range(2)]

        async def is_full() -> bool:
            async with httpx.AsyncClient() as client:
                return (await client.get(url.replace("/mcp", "/ready"))).status_code == 503

        await eventually(is_full)
        refused = await run(session, "await tools.stroll(1)")
        assert refused.isError
        assert text(refused) == "the server is busy, and nothing was run: 1 calls run and 2 wait. Try again later"
        place.touch()
        decided.set()
        assert [text(await each) for each in (waits, *slow)] == ['"ann"', "true", "true"]
    assert letters.sent == ["ann"]


async def test_sigterm_answers_every_client_and_the_run_can_be_gone_on_with(letters: Letters, tmp_path: Path) -> None:
    others = children()
    journal, place = tmp_path / "runs", tmp_path / "there"
    code = f"await tools.send('ann')\nawait tools.arrived({str(place)!r})\nawait tools.send('bob')"
    options = ("--grace", "3", "--journal", str(journal))
    async with process_and_url(letters, *options) as (process, url), at_url(url) as session:
        quick, slow = (asyncio.create_task(run(session, program)) for program in ("await tools.stroll(1)", code))
        await sent(letters, 2)
        left = children() - others
        process.send_signal(signal.SIGTERM)
        assert text(await quick) == '"home"'
        stopped = text(await slow)
        assert await process.wait() == 0
        assert not left & children()
    assert 'These calls took effect and stand: send({"to": "ann"}).' in stopped
    found = re.search(r"`codemode-graph (resume \w+ --journal .+)` goes on with it", stopped)
    assert found
    place.touch()
    env = {"LETTERS": str(letters.path), "COLUMNS": "80"}
    result = await asyncio.to_thread(CliRunner().invoke, app, found[1].split(), env=env)
    assert (result.exit_code, letters.sent.count("ann"), letters.sent[-1]) == (0, 1, "bob")


@pytest.mark.parametrize("end", ["a signal", "the client leaves"])
async def test_stdio_ends_in_order(letters: Letters, end: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(PEER, *COMMAND, "--grace", "0.3"),
        cwd=ROOT,
        env={**os.environ, "LETTERS": str(letters.path)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    call = {"name": "run_code", "arguments": {"code": WALKS}}
    for message in (
        {"method": "initialize", "id": 0, "params": about},
        {"method": "notifications/initialized"},
        {"method": "tools/call", "id": 1, "params": call},
    ):
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    await process.stdout.readline()
    await sent(letters, 2)
    if end == "a signal":
        process.send_signal(signal.SIGTERM)
        answer = json.loads(await process.stdout.readline())
        assert "The program was stopped: the server is shutting down" in answer["result"]["content"][0]["text"]
    else:
        process.stdin.close()
    async with asyncio.timeout(30):
        stderr = await (process.stderr or process.stdout).read()
        assert (await process.wait(), stderr) == (0, b"")
    known = letters.sent
    assert len(known) < 20


async def test_logs_say_who_called_what_and_no_secret(letters: Letters, tmp_path: Path) -> None:
    access, audit = tmp_path / "access", tmp_path / "audit"
    secret = "hunter2hunter2"

    async def elicited(context: Any, request: Any) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"approve": True})

    options = ("--access-log", str(access), "--audit-log", str(audit), "--approve", "send")
    proxied = {**RIGHT, "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    async with over_http(letters, *options) as url, httpx.AsyncClient() as client:
        async with at_url(url, elicitation_callback=elicited) as session:
            await run(session, f"await tools.send('ann')\nawait tools.confide('bob', password='{secret}')")
        await client.get(url.replace("/mcp", "/metrics"), headers=proxied)
        await client.get(url, headers={"Authorization": f"Bearer {secret}"})
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [line["event"] for line in lines if line["event"] != "program"] == [
        *("call", "tool_waits", "decision", "tool_call", "tool_result", "tool_call", "tool_result", "end")
    ]
    assert lines[0]["client"]["address"] == "127.0.0.1"
    assert lines[0]["client"]["name"] == "mcp"
    assert len({line["run"] for line in lines}) == 1
    assert (lines[-1]["outcome"], lines[-1]["tool_calls"], lines[-1]["tool_errors"]) == ("failed", 2, 1)
    requests = [json.loads(line) for line in access.read_text().splitlines()]
    assert {(line["method"], line["path"], line["status"]) for line in requests} >= {
        ("POST", "/mcp", 200),
        ("GET", "/metrics", 200),
        ("GET", "/mcp", 401),
    }
    assert {line["client"] for line in requests} == {"127.0.0.1"}  # nobody said that a proxy may say another
    assert stat.S_IMODE(audit.stat().st_mode) == 0o600
    for log in (access, audit):
        assert TOKEN not in log.read_text()
        assert secret not in log.read_text()


async def test_a_proxy_that_is_named_says_whom_it_serves(letters: Letters, tmp_path: Path) -> None:
    access = tmp_path / "access"
    options = ("--access-log", str(access), "--forwarded-from", "127.0.0.1", "--allowed-host", "code.example.com")
    headers = {**RIGHT, "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "Host": "code.example.com"}
    async with over_http(letters, *options) as url, httpx.AsyncClient() as client:
        assert (await client.get(url.replace("/mcp", "/metrics"), headers=headers)).status_code == 200
    (line,) = access.read_text().splitlines()
    assert json.loads(line)["client"] == "203.0.113.9"


def test_what_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        common = ("serve", "--tools", "tests.serve.letters:TOOLS", "--http")
        for args, said in (
            ((*common, address), "Address already in use"),
            ((*common, "localhost:0", "--audit-log", str(tmp_path)), "cannot be opened: Is a directory"),
            ((*common, "nowhere.invalid:0"), "cannot be used"),
        ):
            result = CliRunner().invoke(app, args, env={"CODEMODE_TOKEN": TOKEN})
            assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
            assert said in result.stderr
