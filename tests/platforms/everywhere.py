"""The main path, run in a child process by `test_every_platform`: Monty, a server over stdio, a journal in a file.

everywhere.py modules              imports every module but those of guests, and prints their names
everywhere.py run JOURNAL          runs a program, or goes on with it, and prints its result
everywhere.py notebook JOURNAL     the same in an event loop that starts no processes
"""

import asyncio
import importlib
import json
import os
import pkgutil
import sys
from pathlib import Path
from typing import Any

import codemode_sandboxes
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

import codemode_graph
from codemode_graph import codemode
from codemode_graph.calls import session
from codemode_graph.mcp import MCPToolLoader
from codemode_graph.tools import tool

COMMANDS = ("__main__", "pyodide.launch")
GUESTS = ("codemode_sandboxes.restricted.forkserver", "codemode_sandboxes.restricted.lockdown")

PROGRAM = """import asyncio
first = await tools.count()
many = await asyncio.gather(*(tools.count() for _ in range(3)))
paid = await tools.pay(amount=first + len(many))
return [first, sorted(many), paid, await tools.balance(), await tools.process()]"""


def import_all() -> list[str]:
    names = [
        module.name
        for package in (codemode_sandboxes, codemode_graph)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not module.name.endswith(COMMANDS) and module.name not in GUESTS
    ]
    for name in names:
        importlib.import_module(name)
    return names


def pay(amount: int) -> str:
    """Pay."""
    with Path(os.environ["PAID"]).open("a", encoding="utf-8") as file:
        file.write(f"{amount}\n")
    return f"paid {amount}"


@tool(effect="read")
async def balance() -> int:
    """Return the balance. The first process dies of it."""
    if os.environ.get("DIES"):
        os._exit(7)
    return 100


async def run(journal: str) -> Any:
    model = GenericFakeChatModel(messages=iter([AIMessage(f"```python\n{PROGRAM}\n```")] * 2))
    session.LEASE = 2.0  # whether a process is gone is seen by that alone here
    async with MCPToolLoader() as loader:
        loader.add_stdio_server(
            "memory",
            command="npx",  # there is npx.cmd alone
            args=["-m", "tests.mcp.servers.memory"],
            env={"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        tools = [*await loader.load(), pay, balance]
        async with codemode(tools=tools, code_model=model, durable=journal) as cm:
            result = await cm.run("Count and pay", run_id="r")
    return {key: result[key] for key in ("success", "output", "sandbox", "error")}


async def run_in_a_notebook(journal: str) -> Any:
    """Run where the event loop starts no processes, as the one that notebooks have on Windows."""

    async def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError

    asyncio.get_running_loop().subprocess_exec = refuse  # type: ignore[method-assign, assignment]
    return await run(journal)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    runs = {"run": run, "notebook": run_in_a_notebook}
    print(json.dumps(import_all() if command == "modules" else asyncio.run(runs[command](*arguments))))
