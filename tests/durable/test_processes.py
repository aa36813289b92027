"""A run that goes on in another process: approved, or after a kill."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.durable.bank import Bank

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def run(folder: Path, command: str, answer: object = None, *, dies: bool = False) -> dict[str, Any]:
    """Do one step in a process of its own."""
    arguments = [sys.executable, "-m", "tests.durable.bank", str(folder), command]
    done = subprocess.run(
        [*arguments, json.dumps(answer)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    if dies:
        assert done.returncode == -signal.SIGKILL, done.stderr
        return {}
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def begin(folder: Path, program: str, *, dies: bool = False) -> dict[str, Any]:
    (folder / "program.py").write_text(program)
    return run(folder, "start", dies=dies)


TWO = """
import asyncio
async def main():
    before = await tools['balance'](account='a')
    try:
        first, second = await asyncio.gather(
            tools['pay'](account='a', amount=1), tools['pay'](account='b', amount=2))
    except PermissionError as refusal:
        return str(refusal)
    return [before, first['paid'], second['paid']]
"""


def test_two_approved_writes_of_one_gather_run_once_each_in_another_process(tmp_path: Path) -> None:
    stopped = begin(tmp_path, TWO)
    (request,) = stopped["waiting"]
    assert [action["args"] for action in request["action_requests"]] == [
        {"account": "a", "amount": 1},
        {"account": "b", "amount": 2},
    ]
    assert Bank(tmp_path).ledger == []
    done = run(tmp_path, "resume", {"decisions": [{"type": "approve"}, {"type": "approve"}]})
    assert done["output"] == [100, 1, 2]
    assert sorted(Bank(tmp_path).ledger) == ["pay a 1", "pay b 2"]
    assert (tmp_path / "reads").read_text() == "a\n"


def test_the_answer_to_one_call_never_releases_another(tmp_path: Path) -> None:
    (request,) = begin(tmp_path, TWO)["waiting"]
    first, second = (action["id"] for action in request["action_requests"])
    decisions = [{"type": "approve", "id": second}, {"type": "reject", "id": first, "message": "not a"}]
    done = run(tmp_path, "resume", {"decisions": decisions})
    assert done["output"] == "the call of 'pay' was refused: not a"
    assert Bank(tmp_path).ledger in ([], ["pay b 2"])


def test_catching_every_exception_does_not_skip_an_approval(tmp_path: Path) -> None:
    program = """
async def main():
    try:
        return (await tools['pay'](account='a', amount=1))['paid']
    except Exception:
        return 'skipped'
    except BaseException:
        return 'skipped all the same'
"""
    assert len(begin(tmp_path, program)["waiting"]) == 1
    assert Bank(tmp_path).ledger == []
    assert run(tmp_path, "resume", {"decisions": [{"type": "approve"}]})["output"] == 1


def test_a_process_killed_inside_a_write_leaves_a_question_and_no_second_write(tmp_path: Path) -> None:
    program = """
async def main():
    first = await tools['pay_and_die'](account='a', amount=1)
    return first
"""
    begin(tmp_path, program, dies=True)
    assert Bank(tmp_path).ledger == ["pay a 1"]
    stopped = run(tmp_path, "again")
    (request,) = stopped["waiting"]
    assert request["action_requests"][0]["reason"] == "unknown"
    assert Bank(tmp_path).ledger == ["pay a 1"]
    decisions = [{"type": "respond", "message": {"paid": 1, "number": 1}}]
    done = run(tmp_path, "resume", {"decisions": decisions})
    assert done["output"] == {"paid": 1, "number": 1}
    assert Bank(tmp_path).ledger == ["pay a 1"]


def test_an_answer_that_fits_no_call_is_asked_for_again(tmp_path: Path) -> None:
    begin(tmp_path, TWO)
    again = run(tmp_path, "resume", {"decisions": [{"type": "approve"}]})
    assert "2 calls wait" in again["waiting"][0]["problem"]
    assert run(tmp_path, "resume", {"decisions": [{"type": "approve"}] * 2})["verdict"] == "ok"
