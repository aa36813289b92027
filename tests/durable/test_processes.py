"""A run that goes on in another process: approved, answered, or after a kill. With SQLite and with PostgreSQL."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.durable.bank import Bank, take_step
from tests.durable.steps import ROOT, Step

pytestmark = pytest.mark.slow


def run(folder: Path, command: str, answer: object = None, *, dies: bool = False) -> dict[str, Any]:
    """Do one step in a process of its own."""
    return _result(Step(take_step, folder, command, json.dumps(answer)).wait(), dies)


def _result(out: str | None, dies: bool) -> dict[str, Any]:
    assert (out is None) is dies
    result: dict[str, Any] = {} if out is None else json.loads(out.splitlines()[-1])
    return result


def begin(folder: Path, program: str, *, dies: bool = False) -> dict[str, Any]:
    """Begin in an interpreter that knows nothing of this one, not even how it hashes texts."""
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-m", "tests.durable.bank", str(folder), "start"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == (-signal.SIGKILL if dies else 0), done.stderr
    return _result(None if dies else done.stdout, dies)


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


def test_two_approved_writes_of_one_gather_run_once_each_in_another_process(folder: Path) -> None:
    stopped = begin(folder, TWO)
    (request,) = stopped["waiting"]
    assert [action["args"] for action in request["action_requests"]] == [
        {"account": "a", "amount": 1},
        {"account": "b", "amount": 2},
    ]
    assert Bank(folder).ledger == []
    done = run(folder, "resume", {"decisions": [{"type": "approve"}, {"type": "approve"}]})
    assert done["output"] == [100, 1, 2]
    assert sorted(Bank(folder).ledger) == ["pay a 1", "pay b 2"]
    assert Bank(folder).lines("reads") == ["a"]


def test_the_answer_to_one_call_never_releases_another(folder: Path) -> None:
    (request,) = begin(folder, TWO)["waiting"]
    first, second = (action["id"] for action in request["action_requests"])
    decisions = [{"type": "approve", "id": second}, {"type": "reject", "id": first, "message": "not a"}]
    done = run(folder, "resume", {"decisions": decisions})
    assert done["output"] == "the call of 'pay' was refused: not a"
    assert Bank(folder).ledger in ([], ["pay b 2"])


def test_catching_every_exception_does_not_skip_an_approval(folder: Path) -> None:
    program = """
async def main():
    try:
        return (await tools['pay'](account='a', amount=1))['paid']
    except Exception:
        return 'skipped'
    except BaseException:
        return 'skipped all the same'
"""
    assert len(begin(folder, program)["waiting"]) == 1
    assert Bank(folder).ledger == []
    assert run(folder, "resume", {"decisions": [{"type": "approve"}]})["output"] == 1


def test_a_process_killed_inside_a_write_leaves_a_question_and_no_second_write(folder: Path) -> None:
    program = """
async def main():
    first = await tools['pay_and_die'](account='a', amount=1)
    return first
"""
    begin(folder, program, dies=True)
    assert Bank(folder).ledger == ["pay a 1"]
    stopped = run(folder, "again")
    (request,) = stopped["waiting"]
    assert request["action_requests"][0]["reason"] == "unknown"
    assert Bank(folder).ledger == ["pay a 1"]
    decisions = [{"type": "respond", "message": {"paid": 1, "number": 1}}]
    done = run(folder, "resume", {"decisions": decisions})
    assert done["output"] == {"paid": 1, "number": 1}
    assert Bank(folder).ledger == ["pay a 1"]


def test_an_answer_that_fits_no_call_is_asked_for_again(folder: Path) -> None:
    begin(folder, TWO)
    again = run(folder, "resume", {"decisions": [{"type": "approve"}]})
    assert "2 calls wait" in again["waiting"][0]["problem"]
    assert run(folder, "resume", {"decisions": [{"type": "approve"}] * 2})["verdict"] == "ok"


ASKING = """
import asyncio
async def main():
    asked, gated, seen = await asyncio.gather(
        tools['pay_asking'](account='a'), tools['pay'](account='b', amount=2), tools['balance'](account='c'))
    return [asked['paid'], gated['paid'], seen]
"""


def test_a_tools_own_question_and_a_gated_call_are_answered_in_other_processes_one_by_one(folder: Path) -> None:
    stopped = begin(folder, ASKING)
    ids = dict(
        zip(("asked" if "question" in value else "gated" for value in stopped["waiting"]), stopped["ids"], strict=True)
    )
    left = run(folder, "resume", {ids["gated"]: {"decisions": [{"type": "approve"}]}})
    assert left["waiting"] == [{"account": "a", "question": "how much?"}]
    assert Bank(folder).ledger == []
    done = run(folder, "resume", 7)
    assert done["output"] == [7, 2, 100]
    assert sorted(Bank(folder).ledger) == ["pay a 7", "pay b 2"]
    assert Bank(folder).lines("reads") == ["c"]


def test_a_tool_that_is_killed_after_its_answer_is_asked_about_and_keeps_the_answer(folder: Path) -> None:
    begin(folder, "x = await tools.pay_asking('a')\nx['paid']")
    run(folder, "resume", 13, dies=True)
    (request,) = run(folder, "again")["waiting"]
    assert request["action_requests"][0]["reason"] == "unknown"
    assert Bank(folder).ledger == ["pay a 13"]
    # The person looked, and found nothing paid.
    assert run(folder, "resume", {"decisions": [{"type": "approve"}]})["output"] == 13
    assert Bank(folder).ledger == ["pay a 13", "pay a 13"]


def test_an_approval_is_for_one_time_also_where_that_is_killed(folder: Path) -> None:
    (folder / "deaths").write_text("2")
    begin(folder, "x = await tools.pay_and_die('a', 1)\nx['paid']", dies=True)
    assert len(run(folder, "again")["waiting"]) == 1
    run(folder, "resume", {"decisions": [{"type": "approve"}]}, dies=True)
    assert Bank(folder).ledger == ["pay a 1"] * 2
    (request,) = run(folder, "again")["waiting"]
    assert request["action_requests"][0]["reason"] == "unknown"
    assert Bank(folder).ledger == ["pay a 1"] * 2
    assert run(folder, "resume", {"decisions": [{"type": "respond", "message": {"paid": 1}}]})["output"] == 1


def test_a_run_within_another_graph_is_resumed_through_it_in_another_process(folder: Path) -> None:
    (folder / "nested").touch()
    (request,) = begin(folder, TWO)["waiting"]
    assert (request["task"], len(request["action_requests"])) == ("PAY", 2)
    done = run(folder, "resume", {"decisions": [{"type": "approve"}] * 2})
    assert done["output"] == {"reported": [100, 1, 2]}
    assert sorted(Bank(folder).ledger) == ["pay a 1", "pay b 2"]
    assert (Bank(folder).lines("reads"), Bank(folder).lines("prepared")) == (["a"], ["once"])


def test_a_run_within_another_graph_that_is_killed_goes_on_through_it(folder: Path) -> None:
    (folder / "nested").touch()
    begin(folder, "x = await tools.pay_and_die('a', 1)\nx['paid']", dies=True)
    assert run(folder, "again")["waiting"][0]["action_requests"][0]["reason"] == "unknown"
    done = run(folder, "resume", {"decisions": [{"type": "respond", "message": {"paid": 1}}]})
    assert done["output"] == {"reported": 1}
    assert (Bank(folder).ledger, Bank(folder).lines("prepared")) == (["pay a 1"], ["once"])
