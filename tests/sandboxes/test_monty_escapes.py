"""Hostile programs: none gets anything of the host's, none outlives its limits, none touches the next run."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from codemode_sandboxes import Blocked, Finished, Limits, Program, Raised, Returned
from codemode_sandboxes.monty import MontySandbox

from tests.sandboxes.cases import fake_tools, load, needs_cases

pytestmark = pytest.mark.slow

LIMITS = Limits(seconds=0.7, memory_bytes=64 * 2**20, output_bytes=100_000, calls=200, value_bytes=1_000_000)
TOKEN, SECRET = "canary-of-a-file-5f1c", "canary-of-the-environment-88d2"


@dataclass
class Bait:
    """What a program must not get at."""

    file: Path
    never: Path
    port: int
    connections: int = 0

    def substitute(self, code: str) -> str:
        for placeholder, value in (
            ("@FILE@", self.file),
            ("@ENV@", "CODEMODE_CANARY"),
            ("@PORT@", self.port),
            ("@WRITE@", self.never),
        ):
            code = code.replace(placeholder, str(value))
        return code


@pytest.fixture(scope="module")
def secret_environment() -> Iterator[None]:
    os.environ["CODEMODE_CANARY"] = SECRET
    yield
    del os.environ["CODEMODE_CANARY"]


@pytest.fixture(scope="module")
async def bait(secret_environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bait]:
    folder = tmp_path_factory.mktemp("bait")
    (folder / "secret.txt").write_text(TOKEN)
    made = Bait(folder / "secret.txt", folder / "never", 0)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.connections += 1
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


@pytest.fixture(scope="module")
async def sandbox(secret_environment: None) -> AsyncIterator[MontySandbox]:
    sandbox = MontySandbox(max_workers=2)
    yield sandbox
    await sandbox.aclose()


async def attack(sandbox: MontySandbox, code: str) -> tuple[Any, str]:
    """Run a program to its end; give its last event and all that it let out."""
    tools = fake_tools()
    out: list[object] = []
    execution = await sandbox.start(Program(code=code + "\nawait main()", tools=tuple(tools)), LIMITS)
    event, elapsed = await execution.advance(), 0.0
    while isinstance(event, Blocked):
        out.append(event)
        outcomes: dict[int, Returned | Raised] = {}
        for call in event.calls:
            assert call.tool in tools
            try:
                outcomes[call.id] = Returned(await asyncio.wait_for(tools[call.tool](*call.args, **call.kwargs), 1))
            except Exception as error:
                outcomes[call.id] = Raised(type(error).__name__, str(error))
        elapsed += event.wake_after or 0.0
        event = await execution.advance(outcomes, elapsed=elapsed)
    out.append(event)
    return event, repr(out)


@needs_cases
@pytest.mark.parametrize("case", load("escapes"), ids=lambda case: case["id"])
async def test_a_hostile_program_gets_nothing(sandbox: MontySandbox, bait: Bait, case: dict[str, Any]) -> None:
    begun = time.monotonic()
    event, out = await attack(sandbox, bait.substitute(case["code"]))
    assert time.monotonic() - begun < LIMITS.seconds + 3
    assert TOKEN not in out
    assert SECRET not in out
    if isinstance(event, Finished):
        assert not any(word in f"{event.value} {event.stdout}" for word in ("REACHED", "FORGED"))
        assert len(repr(event.value)) < 4 * LIMITS.value_bytes
    assert not bait.never.exists()
    assert bait.connections == 0
    follow_up = case.get("followup") or "async def main():\n    return 'clean'"
    after, _ = await attack(sandbox, bait.substitute(follow_up))
    # A follow-up that Monty cannot run at all shows nothing; one that runs must find nothing.
    assert not isinstance(after, Finished) or after.value == "clean"
    assert case.get("followup") or isinstance(after, Finished)
