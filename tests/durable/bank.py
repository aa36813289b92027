"""A bank whose effects are lines in a file, and a graph over it; run as a program, one step a process.

    python -m tests.durable.bank FOLDER start        begin, and stop where people are asked
    python -m tests.durable.bank FOLDER resume JSON  answer, and go on
    python -m tests.durable.bank FOLDER again        go on after a crash

Prints the result as JSON. What is in FOLDER says how: `program.py` is what runs; `database` the address of a PostgreSQL
database, else it is SQLite; with `nested` the graph is a node of another one; `deaths` is how often `pay_and_die` dies.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore
from langgraph.store.postgres.aio import AsyncPostgresStore
from langgraph.store.sqlite.aio import AsyncSqliteStore
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from codemode_graph import ToolPolicy, create_codemode
from codemode_graph.tools import tool


class Bank:
    """`folder/ledger` has a line for every effect, `folder/reads` one for every read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    @property
    def ledger(self) -> list[str]:
        return self.lines("ledger")

    def note(self, name: str, line: str) -> None:
        with (self.folder / name).open("a") as file:
            file.write(f"{line}\n")

    def die(self) -> None:
        """Have the process killed, as often as `deaths` says."""
        left = int(next(iter(self.lines("deaths")), "1"))
        if left:
            (self.folder / "deaths").write_text(str(left - 1))
            os.kill(os.getpid(), signal.SIGKILL)

    def tools(self) -> list[Any]:
        bank = self

        @tool(effect="read")
        async def balance(account: str) -> int:
            """Look up a balance."""
            bank.note("reads", account)
            return 100 - sum(int(line.split()[2]) for line in bank.ledger if line.split()[1] == account)

        async def pay(account: str, amount: int) -> dict[str, Any]:
            """Pay from an account."""
            bank.note("ledger", f"pay {account} {amount}")
            return {"paid": amount, "number": len(bank.ledger)}

        async def pay_and_die(account: str, amount: int) -> dict[str, Any]:
            """Pay from an account, and have the process killed before the answer."""
            bank.note("ledger", f"pay {account} {amount}")
            bank.die()
            return {"paid": amount, "number": len(bank.ledger)}

        async def pay_asking(account: str) -> dict[str, Any]:
            """Pay what a person says from an account, and have the process killed where that is 13."""
            amount = interrupt({"account": account, "question": "how much?"})
            bank.note("ledger", f"pay {account} {amount}")
            if amount == 13:
                bank.die()
            return {"paid": amount, "number": len(bank.ledger)}

        return [balance, pay, pay_and_die, pay_asking]


class Outer(TypedDict, total=False):
    task: str
    code: str
    output: Any
    error: Any
    verdict: str
    prepared: int


def nested(graph: StateGraph[Any, Any, Any, Any], bank: Bank) -> StateGraph[Any, Any, Any, Any]:
    """A graph with code mode as its middle node."""

    async def prepare(state: Outer) -> Outer:
        bank.note("prepared", "once")
        return {"task": state["task"].upper()}

    async def report(state: Outer) -> Outer:
        return {"output": {"reported": state["output"]}}

    outer: StateGraph[Any, Any, Any, Any] = StateGraph(Outer)
    outer.add_node(prepare).add_node("codemode", graph.compile()).add_node(report)
    return outer.add_edge(START, "prepare").add_edge("prepare", "codemode").add_edge("codemode", "report")


@asynccontextmanager
async def kept(folder: Path) -> AsyncIterator[tuple[BaseCheckpointSaver[Any], BaseStore]]:
    """Return the places of checkpoints and calls."""
    database = folder / "database"
    if database.exists():
        url = database.read_text()
        async with AsyncPostgresSaver.from_conn_string(url) as saver, AsyncPostgresStore.from_conn_string(url) as store:
            await saver.setup()
            await store.setup()
            yield saver, store
    else:
        async with (
            AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.sqlite")) as sqlite_saver,
            AsyncSqliteStore.from_conn_string(str(folder / "store.sqlite")) as sqlite_store,
        ):
            await sqlite_store.setup()
            yield sqlite_saver, sqlite_store


async def step(folder: Path, command: str, answer: str | None) -> dict[str, Any]:
    """One process's part of a run."""
    bank = Bank(folder)
    policies = {"pay": ToolPolicy(approval=True)}
    graph = create_codemode(model=None, tools=bank.tools(), policies=policies)
    if (folder / "nested").exists():
        graph = nested(graph, bank)
    async with kept(folder) as (saver, store):
        app: Any = graph.compile(checkpointer=saver, store=store)
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
            "ids": [interrupt.id for interrupt in state.interrupts],
        }


def take_step(folder: Path, command: str, answer: str | None = None) -> None:
    """Take a run one step on, and print how it stands."""
    print(json.dumps(asyncio.run(step(folder, command, answer))))


if __name__ == "__main__":
    take_step(Path(sys.argv[1]), *sys.argv[2:])
