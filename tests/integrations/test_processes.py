"""An agent's process is killed in the middle of a program; another one goes on."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


async def clerk(folder: Path, *command: str) -> tuple[int | None, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integrations.clerk",
        str(folder),
        *command,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return process.returncode, json.loads(out) if out else None


def decisions(decision: dict[str, str]) -> str:
    return json.dumps({"decisions": [decision]})


@pytest.mark.slow
async def test_a_killed_agent_goes_on_and_nothing_is_done_twice(tmp_path: Path) -> None:
    def ledger() -> list[str]:
        return (tmp_path / "ledger").read_text().split()

    code, _ = await clerk(tmp_path, "start")
    assert (code, ledger()) == (-signal.SIGKILL, ["ann", "bob"])
    _, told = await clerk(tmp_path, "again")
    assert told["waiting"] == [{"args": {"who": "bob"}, "reason": "unknown"}]
    _, told = await clerk(tmp_path, "resume", decisions({"type": "respond", "message": "paid bob"}))
    assert told["waiting"] == [{"args": {"who": "cem"}, "reason": "approval"}]
    _, told = await clerk(tmp_path, "resume", decisions({"type": "approve"}))
    assert told == {"waiting": [], "told": ['["paid ann", "paid bob", "paid cem"]']}
    assert ledger() == ["ann", "bob", "cem"]
