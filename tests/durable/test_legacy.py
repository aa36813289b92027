"""A thread that 0.1.0 paused: its records cannot tell what the journal has to know, so it is refused before any call.

The fixture is a SQLite file of the checkpointer, written by the last version without a journal: a program that has paid Ann and
waits for a person to let it pay Bob.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from codemode_graph import ToolPolicy, create_codemode
from codemode_graph.errors import JournalError

FIXTURE = Path(__file__).parent / "fixtures" / "thread-0.1.0.sqlite"
CONFIG: Any = {"configurable": {"thread_id": "t"}}


async def test_a_thread_of_an_earlier_version_is_refused_with_its_open_question(tmp_path: Path) -> None:
    paid: list[str] = []

    async def pay(to: str, amount: int) -> str:
        """Pay somebody."""
        paid.append(to)
        return f"paid {amount} to {to}"

    shutil.copy(FIXTURE, tmp_path / "thread.sqlite")
    policies = {"pay": ToolPolicy(approval=lambda arguments: arguments["amount"] > 100)}
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "thread.sqlite")) as saver:
        app = create_codemode(model=None, tools=[pay], policies=policies).compile(checkpointer=saver)
        (waiting,) = (await app.aget_state(CONFIG)).interrupts  # it can be looked at
        assert waiting.value["action_requests"][0]["args"] == {"to": "Bob", "amount": 500}
        with pytest.raises(JournalError, match=r"0\.1\.0.*on a new thread.*pay .*'Bob'.*500"):
            await app.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), CONFIG)
        assert paid == []
        # A new input on that thread is a new run.
        state = await app.ainvoke({"task": "", "code": "await tools.pay('Cid', 1)"}, CONFIG)
        assert (state["output"], paid) == ("paid 1 to Cid", ["Cid"])
