"""A failed run that another program goes on from: what was done is not done again."""

from typing import Any, cast

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import CompiledStateGraph

from codemode_graph import ToolPolicy, codemode
from codemode_graph.errors import UnknownRun
from tests.support import scripted


def world() -> tuple[list[str], Any]:
    sent: list[str] = []

    async def send(to: str) -> dict[str, str]:
        """Send a letter."""
        sent.append(to)
        return {"sent": to}

    return sent, send


async def test_a_program_goes_on_from_one_that_failed() -> None:
    sent, send = world()
    async with codemode(tools=[send]) as cm:
        failed = await cm.run_code("r = await tools.send('ann')\n{}['x']")
        assert (failed["success"], sent) == (False, ["ann"])
        done = await cm.run_code("```python\nr = await tools.send('ann')\nr['sent']\n```", after=failed["run_id"])
        assert (done["output"], sent) == ("ann", ["ann"])
        assert len(done["attempts"]) == 2
        assert (await cm.run_code("(await tools.send('ann'))['sent']"))["output"] == "ann"
        assert sent == ["ann", "ann"]


async def test_a_run_can_be_gone_on_from_once_and_again_where_it_failed_again() -> None:
    sent, send = world()
    async with codemode(tools=[send]) as cm:
        run_id = (await cm.run_code("await tools.send('ann')\n1 / 0"))["run_id"]
        again = await cm.run_code("await tools.send('ann')\nawait tools.send('bob')\n1 / 0", after=run_id)
        assert again["run_id"] == run_id
        done = await cm.run_code("[await tools.send(to) for to in ['ann', 'bob']]\n'both'", after=run_id)
        assert (done["output"], sent) == ("both", ["ann", "bob"])
        with pytest.raises(UnknownRun, match="no failed run"):
            await cm.run_code("1", after=run_id)


async def test_a_task_that_the_model_gave_up_on_can_be_gone_on_from() -> None:
    sent, send = world()
    async with codemode(tools=[send], code_model=scripted("await tools.send('ann')\n1 / 0"), max_retries=1) as cm:
        failed = await cm.run("write to ann")
        done = await cm.run_code("(await tools.send('ann'))['sent']", after=failed["run_id"])
        assert (done["output"], sent) == ("ann", ["ann"])


async def test_a_run_may_have_somebody_of_its_own_to_approve() -> None:
    sent, send = world()
    async with codemode(tools=[send], policies={"send": ToolPolicy(approval=True)}) as cm:
        program = "(await tools.send('ann'))['sent']"
        waiting = await cm.run_code(program)
        assert "waits for a person" in (waiting["error"] or "")
        done = await cm.run_code(
            program, after=waiting["run_id"], approve=lambda _: {"decisions": [{"type": "approve"}]}
        )
        assert (done["output"], sent) == ("ann", ["ann"])


async def test_a_run_that_could_not_be_gone_on_from_can_be_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise OSError("no state can be written")

    async with codemode(tools=[world()[1]]) as cm:
        run_id = (await cm.run_code("1 / 0"))["run_id"]
        with monkeypatch.context() as patch:
            patch.setattr(CompiledStateGraph, "aupdate_state", broken)
            with pytest.raises(OSError, match="no state"):
                await cm.run_code("1", after=run_id)
        assert (await cm.run_code("1", after=run_id)).value == 1
        assert (cm._runs._run_ids, list(cast("InMemorySaver", cm._runs._checkpoints).storage)) == ({}, [])


async def test_only_so_many_failed_runs_are_run_ids() -> None:
    async with codemode(tools=[world()[1]]) as cm:
        runs = [(await cm.run_code("1 / 0"))["run_id"] for _ in range(66)]
        assert list(cm._runs._run_ids) == runs[2:]
        assert set(cast("InMemorySaver", cm._runs._checkpoints).storage) == set(runs[2:])
