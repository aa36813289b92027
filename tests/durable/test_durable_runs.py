"""Runs in a file: of `codemode(durable=...)`, and of the command line, whose processes are killed."""

import asyncio
import datetime
import json
import math
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from codemode_graph import CodeMode, ToolPolicy, codemode, create_codemode
from codemode_graph.calls.journal import MemoryJournal
from codemode_graph.calls.sqlite import SQLiteJournal
from codemode_graph.checkpoints import FileCheckpoints
from codemode_graph.errors import ConfigurationError, JournalError, UnknownRun
from codemode_graph.settings import Parts
from tests.support import scripted

GATED = {"pay": ToolPolicy(approval=True)}
APPROVED = [{"type": "approve"}]


class World:
    def __init__(self) -> None:
        self.paid: list[str] = []

    async def pay(self, to: str) -> str:
        """Pay."""
        self.paid.append(to)
        await asyncio.sleep(0)
        return f"paid {to}"


async def test_a_run_that_waits_goes_on_in_another_codemode_with_its_trace_and_prices(tmp_path: Path) -> None:
    world, place = World(), tmp_path / "folder" / "runs.sqlite"
    model = scripted("await tools.pay('ann')")
    async with codemode(tools=[world.pay], code_model=model, durable=place, policies=GATED) as cm:
        waiting = await cm.run("pay ann", metadata={"ticket": 7})
        assert waiting["error"] is not None
        assert "waits for a person" in waiting["error"]
        (summary,) = await cm.runs()
        assert (summary.run_id, summary.task, summary.status) == (waiting["run_id"], "pay ann", "waiting")
        assert summary.metadata == {"ticket": 7}
    async with codemode(tools=[world.pay], code_model=scripted(), durable=place, policies=GATED) as cm:
        seen = await cm.result(summary.run_id)
        assert (seen["success"], seen["error"], world.paid) == (False, waiting["error"], [])
        done = await cm.resume(summary.run_id, decisions=APPROVED)
        assert (done["output"], done["run_id"], world.paid) == ("paid ann", summary.run_id, ["ann"])
        assert done.trace.task == "pay ann"
        assert done["metrics"]["total_tokens"] > 0
        assert (await cm.resume(summary.run_id, decisions=APPROVED))["output"] == "paid ann"
        (summary,) = await cm.runs()
        assert (summary.status, summary.metadata, world.paid) == ("ok", {"ticket": 7}, ["ann"])


async def test_two_resumes_at_once_pay_once(tmp_path: Path) -> None:
    world, place = World(), tmp_path / "runs.sqlite"
    async with (
        codemode(tools=[world.pay], durable=place, policies=GATED) as one,
        codemode(tools=[world.pay], durable=SQLiteJournal(place), policies=GATED) as other,
    ):
        await one.run_code("[await tools.pay('ann'), await tools.pay('bob')]", run_id="r")
        decisions = [{"type": "approve"}]
        results = await asyncio.gather(*(cm.resume("r", decisions=decisions) for cm in (one, other, one)))
        assert world.paid == ["ann"]
        assert {result["run_id"] for result in results} == {"r"}
        done = await asyncio.gather(*(cm.resume("r", decisions=decisions) for cm in (one, other)))
        assert [result["output"] for result in done] == [["paid ann", "paid bob"]] * 2
    assert world.paid == ["ann", "bob"]


async def test_a_task_with_an_id_is_done_once(tmp_path: Path) -> None:
    world, place = World(), tmp_path / "runs.sqlite"
    for _ in range(2):
        async with codemode(tools=[world.pay], code_model=scripted("await tools.pay('ann')"), durable=place) as cm:
            assert (await cm.run("pay", run_id="invoice 7"))["output"] == "paid ann"
    assert world.paid == ["ann"]
    with pytest.raises(ConfigurationError, match="is of another task"):
        await cm.run("pay twice", run_id="invoice 7")
    with pytest.raises(ConfigurationError, match="is of another task"):
        await cm.run_code("1", run_id="invoice 7")
    await cm.aclose()


async def test_a_failed_run_is_repaired_in_another_codemode_and_tells_what_is_left_over(tmp_path: Path) -> None:
    world, place = World(), tmp_path / "runs.sqlite"
    async with codemode(tools=[world.pay], durable=place) as cm:
        await cm.run_code("await tools.pay('ann')\nawait tools.pay('eve')\n1 / 0", run_id="r")
    async with codemode(tools=[world.pay], durable=place) as cm:
        done = await cm.run_code("await tools.pay('ann')", after="r")
        assert (done["output"], done["left_over"], world.paid) == ("paid ann", ["1.2"], ["ann", "eve"])
        text = 'left over: pay {"to": "eve"} (call 1.2)'
        assert text in str(done.trace)
        assert text in done.trace.html().replace("&#34;", '"')
        assert (await cm.result("r")).trace.left_over == ["1.2"]
        with pytest.raises(UnknownRun, match="no failed run"):
            await cm.run_code("1", after="r")


async def test_an_unknown_run_and_a_wrong_place_are_errors(tmp_path: Path) -> None:
    async with codemode(tools=[], durable=tmp_path / "runs.sqlite") as cm:
        for reading in (cm.resume("no"), cm.result("no"), cm.summary("no"), cm.run_code("1", after="no")):
            with pytest.raises(UnknownRun, match="'no'"):
                await reading
        assert await cm.runs() == []
    with pytest.raises(ConfigurationError, match="a file or a SQLiteJournal"):
        codemode(tools=[], durable=MemoryJournal())
    with pytest.raises(ConfigurationError, match="leave out journal"):
        codemode(tools=[], durable=tmp_path / "a", journal=MemoryJournal())
    (tmp_path / "text").write_text("no database" * 100)
    async with codemode(tools=[], durable=tmp_path / "text") as cm:
        with pytest.raises(JournalError, match="text cannot be used: it is not a SQLite database; name another file"):
            await cm.runs()


async def test_a_damaged_page_and_a_full_disk_are_told_with_the_file(tmp_path: Path) -> None:
    world, file = World(), tmp_path / "runs.sqlite"
    async with codemode(tools=[world.pay], durable=file) as cm:
        await cm.run_code("await tools.pay('ann')", run_id="a")
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + bytes(reversed(whole[4096:])))
    async with codemode(tools=[world.pay], durable=file) as cm:
        for use in (cm.runs(), cm.result("a"), cm.run_code("await tools.pay('bob')", run_id="b")):
            with pytest.raises(JournalError, match=r"runs.sqlite cannot be used: it is damaged; move it away"):
                await use
    file.write_bytes(whole)
    async with codemode(tools=[world.pay], durable=file) as cm:
        assert (await cm.run_code("await tools.pay('ann')", run_id="a"))["output"] == "paid ann"
        saver: Any = cm._program_graph.checkpointer
        saver.conn.execute("PRAGMA max_page_count = 1")
        with pytest.raises(
            JournalError, match=r"runs.sqlite cannot be used: there is no space left on its disk; free some"
        ):
            await cm.run_code(f"await tools.pay('eve')\n'{'x' * 100_000}'", run_id="c")
        saver.conn.execute("PRAGMA max_page_count = 1000000")
        await cm.run_code(f"await tools.pay('eve')\n'{'x' * 100_000}'", run_id="c")
    assert sorted(world.paid) == ["ann", "eve"]


@pytest.mark.parametrize("decisions", [APPROVED, {"decisions": APPROVED}])
async def test_without_a_file_a_run_that_waits_is_resumed_in_its_process(decisions: Any) -> None:
    world = World()
    async with codemode(tools=[world.pay], policies=GATED) as cm:
        waiting = await cm.run_code("await tools.pay('ann')")
        assert [run.status for run in await cm.runs()] == ["waiting"]
        assert (await cm.resume(str(waiting["run_id"]), decisions=decisions))["output"] == "paid ann"
        assert await cm.runs() == []
        with pytest.raises(UnknownRun):
            await cm.resume(str(waiting["run_id"]))


async def test_an_answer_that_cannot_be_taken_says_why_and_the_run_waits_on() -> None:
    world = World()
    async with codemode(tools=[world.pay], policies=GATED) as cm:
        waiting = await cm.run_code("await tools.pay('ann')")
        assert "could not be taken" not in str(waiting["error"])
        wrong: Any
        for wrong, why in ((["approve"], '[{"type": "approve"}, ...]'), ([{"type": "ok"}], "one of approve, edit")):
            result = await cm.resume(str(waiting["run_id"]), decisions=wrong)
            assert "the last answer could not be taken: " in str(result["error"])
            assert why in str(result["error"])
        assert world.paid == []
        result = await cm.resume(str(waiting["run_id"]), decisions=APPROVED)
        assert (result["output"], result["error"]) == ("paid ann", None)


async def test_memory_keeps_the_journals_of_those_runs_alone_that_can_be_gone_on_with() -> None:
    world = World()
    async with codemode(tools=[world.pay]) as cm:
        failed = await cm.run_code("await tools.pay('ann')\n1 / 0")
        for _ in range(70):
            await cm.run_code("await tools.pay('ann')")
        journal = cm._runs._journal
        assert [run.thread for run in await journal.runs()] == [failed["run_id"]]
        for _ in range(64):
            await cm.run_code("1 / 0")
        assert len(await journal.runs()) <= 64
        assert failed["run_id"] not in {run.thread for run in await journal.runs()}


async def test_a_run_that_waits_in_a_graph_that_cannot_resume_it_leaves_nothing_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[MemoryJournal] = []

    class Watched(MemoryJournal):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr("codemode_graph.graph.Parts", lambda **parts: Parts(**parts, memory=Watched()))
    graph = create_codemode(model=None, tools=[World().pay], policies=GATED).compile()
    state = await graph.ainvoke({"task": "", "code": "await tools.pay('ann')"})
    assert state["__interrupt__"]
    (journal,) = made
    assert await journal.runs() == []


async def test_pruning_takes_what_is_over_and_old(tmp_path: Path) -> None:
    world = World()
    async with codemode(tools=[world.pay], durable=tmp_path / "runs.sqlite", policies=GATED) as cm:
        await cm.run_code("1", run_id="over")
        await cm.run_code("await tools.pay('ann')", run_id="waits")
        assert await cm.prune(older_than=timedelta(days=1)) == []
        assert await cm.prune(older_than=timedelta()) == ["over"]
        assert [run.run_id for run in await cm.runs()] == ["waits"]
        assert [run.thread for run in await cm._runs._journal.runs()] == ["waits"]


def test_a_run_is_gone_on_with_in_another_event_loop_and_after_a_close(tmp_path: Path) -> None:
    cm = codemode(tools=[World().pay], code_model=scripted("await tools.pay('ann')"), durable=tmp_path / "runs.sqlite")
    assert cm.run_sync("pay")["output"] == "paid ann"
    assert asyncio.run(cm.runs())[0].status == "ok"
    asyncio.run(cm.aclose())
    assert asyncio.run(cm.runs())[0].status == "ok"
    asyncio.run(cm.aclose())


def test_the_library_is_needed_only_for_a_file_and_its_absence_says_how_to_install_it(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['langgraph.checkpoint.sqlite'] = None\n"
        "from codemode_graph import codemode\n"
        "codemode(tools=[])\n"
        "codemode(tools=[], durable='runs.sqlite')"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert found.stderr.splitlines()[-1].endswith("pip install langgraph-checkpoint-sqlite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("policies", [{}, GATED], ids=["at once", "approved"])
async def test_a_run_that_breaks_off_between_any_two_writes_of_its_checkpoints_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policies: dict[str, ToolPolicy]
) -> None:
    for count in range(100):
        world, left = World(), [True] * count

        def limited(write: Callable[..., Any], left: list[bool] = left) -> Callable[..., Any]:
            def once(*args: Any) -> Any:
                if not left:
                    raise BrokenPipeError("the disk is gone")
                left.pop()
                return write(*args)

            return once

        def runs(model: Any, count: int = count, world: World = world) -> CodeMode:
            place = tmp_path / f"{count}.sqlite"
            return codemode(
                tools=[world.pay],
                code_model=model,
                durable=place,
                policies=policies,
                approve=lambda _: {"decisions": APPROVED},
            )

        broke = False
        with monkeypatch.context() as patch:
            for name in ("put", "put_writes"):
                patch.setattr(FileCheckpoints, name, limited(getattr(FileCheckpoints, name)))
            async with runs(scripted("await tools.pay('ann')")) as cm:
                try:
                    await cm.run("pay ann", run_id="r")
                except BrokenPipeError:
                    broke = True
        async with runs(scripted("await tools.pay('ann')")) as cm:
            known = [run.status for run in await cm.runs()]
            # What a step returned and the checkpoint behind it are written side by side: the last checkpoint may be there
            # where the other write broke off, and has all of the run.
            assert not broke or known in ([], ["open"], ["waiting"], ["ok"])
            if known in (["open"], ["waiting"]):
                assert await cm.prune(older_than=timedelta()) == []
            result = await (cm.resume("r") if known else cm.run("pay ann", run_id="r"))
            assert result["output"] == "paid ann"
            assert (await cm.run("pay ann", run_id="r"))["output"] == "paid ann"
            assert [run.status for run in await cm.runs()] == ["ok"]
        assert world.paid == ["ann"]
        if not broke:
            break
    assert not broke
    assert count > 5


# The command line, each command in a process of its own.


class Shell:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "PAYMENTS": str(folder), "XDG_STATE_HOME": str(folder / "state"), "COLUMNS": "200"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "codemode_graph", *arguments]
        return subprocess.Popen(
            command,
            env=self.env,
            cwd=Path(__file__).parents[2],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def call(self, *arguments: str, status: int = 0) -> tuple[str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode == status, err
        return out, err

    def run(self, program: str, *options: str, status: int = 0, deaths: Sequence[str] = ()) -> tuple[str, str]:
        """Run a program, and return the id of the run and what went to stderr."""
        (self.folder / "deaths").write_text(" ".join(deaths))
        (self.folder / "program.py").write_text(program)
        arguments = ("--program", str(self.folder / "program.py"), "--tools", "tests.durable.payments:TOOLS")
        _, err = self.call("run", *arguments, *options, status=status)
        return next(line.removeprefix("Run ") for line in err.splitlines() if line.startswith("Run ")), err

    @property
    def ledger(self) -> list[str]:
        path = self.folder / "ledger"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


KILLED = -signal.SIGKILL


@pytest.mark.slow
def test_a_command_that_is_killed_between_payments_goes_on_and_pays_nothing_twice(shell: Shell) -> None:
    program = "a = await tools.pay('ann', 1)\nb = await tools.look('ann')\n[a, b, await tools.pay('bob', 2)]"
    run_id, _ = shell.run(program, status=KILLED, deaths=["look"])
    assert shell.ledger == ["pay ann 1"]
    listed, _ = shell.call("runs")
    assert f"{run_id} " in listed
    assert " open " in listed
    shown, _ = shell.call("show", run_id)
    assert "pay" in shown
    out, _ = shell.call("resume", run_id)
    assert json.loads(out) == ["paid 1", 100, "paid 2"]
    assert shell.ledger == ["pay ann 1", "pay bob 2"]
    again, _ = shell.call("resume", run_id)
    assert again == out
    assert shell.ledger == ["pay ann 1", "pay bob 2"]


@pytest.mark.slow
def test_a_command_that_is_killed_in_a_payment_asks_before_it_pays_again(shell: Shell) -> None:
    run_id, _ = shell.run("await tools.pay('ann', 1)", status=KILLED, deaths=["pay"])
    _, err = shell.call("resume", run_id, status=1)
    said = dict(re.findall(r"^  (It .*)\n    codemode-graph (resume .*)$", err, re.MULTILINE))
    assert list(said) == [
        "It took effect. The program gets the message as the result, so put the real one there:",
        "It did not take effect. Call it now:",
        "It did not take effect. Do not call it:",
    ]
    kinds = [json.loads(shlex.split(command)[-1]) for command in said.values()]
    assert [(each["id"], each["type"]) for (each,) in kinds] == [
        ("1.1", kind) for kind in ("respond", "approve", "reject")
    ]
    assert err.rstrip().splitlines()[-2:] == [
        f"The run is not over. Go on with it: codemode-graph resume {run_id}",
        "No answer after 1 attempt",
    ]
    assert "may have taken effect: pay " in err
    assert "not called" not in err
    assert shell.ledger == ["pay ann 1"]
    happened, *_ = said.values()
    out, _ = shell.call(*shlex.split(happened.replace("it took effect", "it was paid")))
    assert (out, shell.ledger) == ("it was paid\n", ["pay ann 1"])
    page = shell.folder / "run.html"
    assert "The run is in" in shell.call("show", run_id, "--html", str(page))[1]
    assert "it was paid" in page.read_text()


@pytest.mark.slow
def test_a_command_that_goes_on_holds_the_answer_to_the_type_that_it_began_with(shell: Shell) -> None:
    schema = shell.folder / "answer.json"
    schema.write_text('{"type": "integer"}')
    program = "import json\nawait tools.look('ann')\nx = await tools.pay('ann', 1)\njson.loads(json.dumps(x))"
    run_id, _ = shell.run(program, "--returns", str(schema), status=KILLED, deaths=["look"])
    schema.unlink()
    _, err = shell.call("resume", run_id, status=1)
    assert "the answer is str, but must be of type integer" in err
    assert shell.ledger == ["pay ann 1"]


@pytest.mark.slow
def test_two_commands_that_resume_at_once_pay_once(shell: Shell) -> None:
    program = "await tools.look('ann')\nx = await tools.pay('ann', 1)\nx"
    run_id, _ = shell.run(program, status=KILLED, deaths=["look"])
    both = [shell.start("resume", run_id, "--quiet") for _ in range(2)]
    ended = [process.communicate(timeout=120) for process in both]
    assert [(process.returncode, out) for process, (out, _) in zip(both, ended, strict=True)] == [
        (0, "paid 1\n")
    ] * 2, ended
    assert shell.ledger == ["pay ann 1"]


@pytest.mark.slow
def test_what_took_effect_is_told_after_a_failed_command_and_old_runs_are_pruned(shell: Shell) -> None:
    run_id, err = shell.run("await tools.pay('ann', 1)\n1 / 0", status=1)
    assert 'took effect: pay {"account": "ann", "amount": 1} (call 1.1)\n' in err
    assert err.endswith("No answer after 1 attempt\n")
    state = shell.folder / "state" / "codemode-graph"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()] == [0o600] * len(list(state.iterdir()))
    assert shell.call("runs", "prune", "--older-than", "30d")[0] == "0 runs deleted\n"
    assert "such as 30d" in shell.call("runs", "prune", "--older-than", "a month", status=2)[1]
    assert shell.call("runs", "prune", "--older-than", "0m")[0] == "1 run deleted\n"
    assert f"no run '{run_id}'" in shell.call("resume", run_id, status=2)[1]


def test_a_command_is_not_recorded_where_nobody_wants_it(shell: Shell) -> None:
    (shell.folder / "program.py").write_text("await tools.pay('ann', 1)")
    arguments = ("--program", str(shell.folder / "program.py"), "--tools", "tests.durable.payments:TOOLS")
    out, err = shell.call("run", *arguments, "--no-journal")
    assert (out, shell.ledger) == ("paid 1\n", ["pay ann 1"])
    assert "Run " not in err
    assert not (shell.folder / "state").exists()
    assert "there are no runs" in shell.call("runs", status=2)[1]


def test_without_a_home_a_command_says_what_to_do(shell: Shell) -> None:
    del shell.env["XDG_STATE_HOME"]
    shell.env.pop("HOME", None)
    (shell.folder / "program.py").write_text("1")
    # The user is in no list of users either, as in many containers.
    script = "import pwd, sys; pwd.getpwuid = lambda uid: {}[uid]; from codemode_graph.cli import main; main()"
    arguments = ["run", "--program", str(shell.folder / "program.py"), "--tools", "tests.durable.payments:TOOLS"]

    def call(*more: str) -> Any:
        command = [sys.executable, "-c", script, *arguments, *more]
        root = Path(__file__).parents[2]
        return subprocess.run(command, env=shell.env, cwd=root, capture_output=True, text=True, check=False)

    refused = call()
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no home folder" in refused.stderr
    assert call("--no-journal").stdout == "1\n"
    assert call("--journal", str(shell.folder / "my.sqlite")).stdout == "1\n"
    assert stat.S_IMODE((shell.folder / "my.sqlite").stat().st_mode) == 0o600


DECIDED: list[tuple[Any, Any]] = [
    (2**70, 2**70),
    (math.nan, math.nan),
    ({"day": datetime.date(2026, 1, 2), "sum": Decimal("1.10")}, {"day": "2026-01-02", "sum": "1.10"}),
    ({1: {3, 2}}, {"1": [2, 3]}),
    ({"codemode_exact": ["text", "a\\x00"]}, "a\0"),
    ("\ud800", "\ud800"),
]


@pytest.mark.parametrize("way", ["approve", "resume"])
@pytest.mark.parametrize("kind", ["edit", "respond"])
async def test_what_a_person_decides_arrives_as_values_of_programs_do(tmp_path: Path, kind: str, way: str) -> None:
    seen: list[Any] = []

    async def take(value: Any) -> Any:
        """Take."""
        seen.append(value)
        return value

    def decide(value: Any) -> list[dict[str, Any]]:
        action = {"name": "take", "args": {"value": value}}
        return [{"type": "edit", "edited_action": action} if kind == "edit" else {"type": "respond", "message": value}]

    policies = {"take": ToolPolicy(approval=True)}
    async with codemode(tools=[take], policies=policies, durable=tmp_path / "runs.sqlite", sandbox="restricted") as cm:

        async def answer(run_id: str, value: Any) -> Any:
            if way == "approve":
                return await cm.run_code(
                    "await tools.take(1)", run_id=run_id, approve=lambda _: {"decisions": decide(value)}
                )
            await cm.run_code("await tools.take(1)", run_id=run_id)
            return await cm.resume(run_id, decisions=decide(value))

        for number, (value, arrives) in enumerate(DECIDED):
            result = await answer(f"{kind} {number}", value)
            assert repr(result.value) == repr(arrives)
            assert repr((await cm.result(f"{kind} {number}")).value) == repr(arrives)
        seen.clear()
        for number, value in enumerate([object(), b"x", {(1, 2): 3}]):
            with pytest.raises(ConfigurationError, match="what was decided is no data"):
                await answer(f"{kind} wrong {number}", value)
            assert (await cm.summary(f"{kind} wrong {number}")).status == "waiting"
        assert seen == []


async def test_a_graph_asks_again_where_a_decision_is_no_data() -> None:
    seen: list[Any] = []

    async def take(value: Any) -> str:
        """Take."""
        seen.append(value)
        return "taken"

    graph = create_codemode(
        model=None, tools=[take], policies={"take": ToolPolicy(approval=True)}, sandbox="restricted"
    )
    app: Any = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    await app.ainvoke({"task": "", "code": "await tools.take(1)"}, config)
    for value, arrives in ((b"x", None), (datetime.date(2026, 1, 2), "2026-01-02")):
        action = {"name": "take", "args": {"value": value}}
        answer = {"decisions": [{"type": "edit", "edited_action": action}]}
        state = await app.ainvoke(Command(resume=answer), config)
        if arrives is None:
            assert "what was decided is no data" in state["__interrupt__"][0].value["problem"]
            assert seen == []
    assert (state["output"], seen) == ("taken", ["2026-01-02"])
