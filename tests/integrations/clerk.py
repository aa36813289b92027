"""An agent that pays by programs, one step a process.

    python -m tests.integrations.clerk FOLDER start | again | resume JSON

`FOLDER/ledger` has a line for every payment. The process is killed within bob's, once. Prints what waits and what was said.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.store.sqlite.aio import AsyncSqliteStore
from langgraph.types import Command

from codemode_graph import CodeModeMiddleware, ToolPolicy
from tests.integrations.agents import USER, agent_model, answers
from tests.integrations.test_middleware import program

CODE = """
import asyncio
paid = await asyncio.gather(tools.pay('ann'), tools.pay('bob'))
[*paid, await tools.pay('cem')]
"""


async def step(folder: Path, command: str, answer: str) -> dict[str, Any]:
    ledger = folder / "ledger"

    async def pay(who: str) -> str:
        """Pay somebody."""
        await asyncio.sleep(0.05 if who == "bob" else 0)
        with ledger.open("a") as file:
            file.write(f"{who}\n")
        if who == "bob" and not (folder / "killed").exists():
            (folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return f"paid {who}"

    code = CodeModeMiddleware(policies={"pay": ToolPolicy(approval=lambda given: given["who"] == "cem")})
    async with (
        AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints")) as saver,
        AsyncSqliteStore.from_conn_string(str(folder / "store")) as store,
    ):
        await store.setup()
        model = agent_model(program(CODE) if command == "start" else "done")
        agent = create_agent(model, tools=[pay], middleware=[code], checkpointer=saver, store=store)
        config: RunnableConfig = {"configurable": {"thread_id": "t"}}
        given = {"start": USER, "again": None, "resume": Command(resume=json.loads(answer))}[command]
        await agent.ainvoke(given, config)
        state = await agent.aget_state(config)
        return {
            "waiting": [
                {key: action[key] for key in ("args", "reason")}
                for each in state.interrupts
                for action in each.value["action_requests"]
            ],
            "told": [message.text for message in answers(state.values)],
        }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(step(Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "null"))))
