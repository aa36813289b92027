"""A bank whose effects are lines in a file, and a graph over it; run as a program, one step a process.

    python -m tests.durable.bank FOLDER start        begin, and stop where people are asked
    python -m tests.durable.bank FOLDER resume JSON  answer, and go on
    python -m tests.durable.bank FOLDER again        go on after a crash

Prints the result as JSON.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.store.sqlite.aio import AsyncSqliteStore
from langgraph.types import Command

from codemode_graph import ToolPolicy, create_codemode
from codemode_graph.tools import tool


class Bank:
    """`folder/ledger` has a line for every effect; `folder/program.py` is what runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def ledger(self) -> list[str]:
        path = self.folder / "ledger"
        return path.read_text().splitlines() if path.exists() else []

    def note(self, line: str) -> None:
        with (self.folder / "ledger").open("a") as file:
            file.write(f"{line}\n")

    def tools(self) -> list[Any]:
        bank = self

        @tool(effect="read")
        async def balance(account: str) -> int:
            """Look up a balance."""
            with (bank.folder / "reads").open("a") as file:
                file.write(f"{account}\n")
            return 100 - sum(int(line.split()[2]) for line in bank.ledger if line.split()[1] == account)

        async def pay(account: str, amount: int) -> dict[str, Any]:
            """Pay from an account."""
            bank.note(f"pay {account} {amount}")
            return {"paid": amount, "number": len(bank.ledger)}

        async def pay_and_die(account: str, amount: int) -> dict[str, Any]:
            """Pay from an account, and have the process killed before the answer. Only the first time."""
            mark = bank.folder / "died"
            bank.note(f"pay {account} {amount}")
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return {"paid": amount, "number": len(bank.ledger)}

        return [balance, pay, pay_and_die]


async def step(folder: Path, command: str, answer: str | None) -> dict[str, Any]:
    """One process's part of a run."""
    policies = {"pay": ToolPolicy(approval=True)}
    async with (
        AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.sqlite")) as saver,
        AsyncSqliteStore.from_conn_string(str(folder / "store.sqlite")) as store,
    ):
        await store.setup()
        graph = create_codemode(model=None, tools=Bank(folder).tools(), policies=policies)
        app = graph.compile(checkpointer=saver, store=store)
        config: RunnableConfig = {"configurable": {"thread_id": "one"}}
        given: Any = None
        if command == "start":
            given = {"task": "pay", "code": (folder / "program.py").read_text()}
        elif command == "resume":
            given = Command(resume=json.loads(answer or "null"))
        await app.ainvoke(given, config)
        state = await app.aget_state(config)
        return {
            "output": state.values.get("output"),
            "error": state.values.get("error"),
            "verdict": state.values.get("verdict"),
            "waiting": [interrupt.value for interrupt in state.interrupts],
        }


if __name__ == "__main__":
    result = asyncio.run(step(Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None))
    print(json.dumps(result))
