"""The tools that programs call. What they do is in the world of their thread; their process may die at every call."""

import asyncio
import os
import signal
from collections.abc import Mapping
from typing import Any, Protocol

from codemode_sandboxes import Returned
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config

from benchmarks.chaos.world import READS
from codemode_graph import ToolPolicy
from codemode_graph.tools import tool
from codemode_graph.tools.spec import CutOffCall, IdempotencyKey, Undo

__all__ = ["Killed", "Life", "Tools", "WorldCalls"]


class WorldCalls(Protocol):
    """The calls to worlds, by thread."""

    async def call(self, thread: str, method: str, *arguments: Any) -> Any:
        """Call a method of the world of a thread."""
        ...


class Killed(BaseException):
    """The process ends here. Nothing in the product catches it."""


class Life:
    """One process of a run. It dies at a random event: a call of a tool, an append, a checkpoint.

    Args:
        left: Events that it survives; None for a life without end.
        real: The process is a real one, and is killed by SIGKILL.
    """

    def __init__(self, left: int | None = None, *, real: bool = False) -> None:
        self._left, self._real = left, real
        self.dead = False

    def tick(self) -> None:
        """Die here, if it is time.

        Raises:
            Killed: It was time, or had been before.
        """
        if self._left is not None and not self.dead:
            self._left -= 1
            if self._left < 0:
                if self._real:
                    os.kill(os.getpid(), signal.SIGKILL)
                self.dead = True
        if self.dead:
            raise Killed


class Tools:
    """The tools over the worlds of all threads, in one process.

    Args:
        worlds: Where the worlds are.
        life: Of the process.
        calm: Nobody is asked: this is for the undisturbed program.
    """

    def __init__(self, worlds: WorldCalls, life: Life, *, calm: bool = False) -> None:
        self.worlds, self.life, self.calm = worlds, life, calm

    async def _do(self, name: str, config: RunnableConfig | None, *arguments: Any, key: str | None = None) -> Any:
        """Call a tool: its process may die before the effect and after it, and the answer may be lost."""
        metadata = (config or {}).get("metadata") or {}
        id = str(metadata.get("codemode_id", ""))
        self.life.tick()
        if not self.calm:
            await asyncio.sleep(0)
        kind, value = await self.worlds.call(_thread(config), "perform", name, list(arguments), key, id)
        if kind == "failed":
            raise ValueError(value)
        if kind == "lost before":
            raise TimeoutError("no answer")
        if kind != "known":
            self.life.tick()
        if kind == "lost after":
            raise TimeoutError("no answer")
        return value

    def functions(self) -> list[Any]:
        """Return the tools that programs call."""
        do = self._do

        @tool(effect="read")
        async def count(config: RunnableConfig) -> int:
            """Count the rows."""
            return int(await do("count", config))

        @tool(effect="read")
        async def version(config: RunnableConfig) -> int:
            """Return the version."""
            return int(await do("version", config))

        @tool(effect="read")
        async def flag(name: str, config: RunnableConfig) -> str:
            """Return a flag."""
            return str(await do("flag", config, name))

        @tool(effect="read")
        async def get(account: str, config: RunnableConfig) -> int:
            """Return how often an account was charged."""
            return int(await do("get", config, account))

        @tool(effect="read")
        async def status(job: str, config: RunnableConfig) -> str:
            """Look whether a job is ready."""
            return str(await do("status", config, job))

        @tool(effect="read")
        async def rflaky(name: str, config: RunnableConfig) -> int:
            """Read from a service that fails at first."""
            return int(await do("rflaky", config, name))

        @tool(effect="write")
        async def add(text: str, config: RunnableConfig) -> int:
            """Add a row."""
            return int(await do("add", config, text))

        @tool(effect="write")
        async def addk(text: str, key: IdempotencyKey, config: RunnableConfig) -> int:
            """Add a row under a key."""
            return int(await do("addk", config, text, key=key))

        @tool(effect="write")
        async def addv(text: str, config: RunnableConfig) -> int:
            """Add a row that can be looked for."""
            return int(await do("addv", config, text))

        @tool(effect="write")
        async def save(version: int, config: RunnableConfig) -> int:
            """Add a row, if the version is this one."""
            return int(await do("save", config, version))

        @tool(effect="write")
        async def charge(account: str, amount: int, config: RunnableConfig) -> int:
            """Charge an account."""
            return int(await do("charge", config, account, amount))

        @tool(effect="write")
        async def flaky(name: str, config: RunnableConfig) -> int:
            """Add a row by a service that fails at first."""
            return int(await do("flaky", config, name))

        @tool(effect="idempotent")
        async def set(name: str, value: str, config: RunnableConfig) -> str:
            """Set a flag."""
            return str(await do("set", config, name, value))

        @tool(effect="idempotent")
        async def setk(name: str, value: str, key: IdempotencyKey, config: RunnableConfig) -> str:
            """Set a flag under a key."""
            return str(await do("setk", config, name, value, key=key))

        @tool(effect="write")
        async def reserve(seat: str, config: RunnableConfig) -> str:
            """Reserve a seat."""
            return str(await do("reserve", config, seat))

        @tool(effect="write", undoes=Undo("reserve", match={"seat": "value"}))
        async def cancel(seat: str, config: RunnableConfig) -> str:
            """Return a seat."""
            return str(await do("cancel", config, seat))

        @tool(effect="destructive")
        async def pay(text: str, config: RunnableConfig) -> int:
            """Pay. A person approves, changes or refuses it."""
            if self.calm and text == "refuse":
                raise PermissionError("the call of 'pay' was refused")
            return int(await do("pay", config, "changed" if self.calm and text == "change" else text))

        return [
            count, version, flag, get, status, rflaky, add, addk, addv, save, charge, flaky, set, setk, reserve, cancel, pay
        ]  # fmt: skip

    async def _landed(self, name: str, arguments: list[Any]) -> list[Any]:
        """Return what equal calls of this turn returned that took effect."""
        world = await self.worlds.call(_thread(get_config()), "snapshot")
        *_, turn = (each for name, each in world["turns"].items() if not name.endswith(".back"))
        landed = world["state"]["landed"][len(turn["before"]["landed"]) :]
        return [value for tool, known, value, _ in landed if (tool, known) == (name, arguments)]

    def policies(self, *, reads_for: float) -> dict[str, ToolPolicy]:
        """Return what is allowed of the tools, with their effects. Reads answer an equal one for `reads_for` seconds."""

        async def verify(name: str, arguments: Mapping[str, Any], call: CutOffCall) -> Returned | None:
            values = await self._landed(name, list(arguments.values()))
            return Returned(values[-1]) if len(values) > call.equal_done else None

        async def added(arguments: Mapping[str, Any], call: CutOffCall) -> Returned | None:
            return await verify("addv", arguments, call)

        async def saved(arguments: Mapping[str, Any], call: CutOffCall) -> Returned | None:
            return await verify("save", arguments, call)

        async def is_reserved(seat: str) -> bool:
            return len(await self._landed("reserve", [seat])) > len(await self._landed("cancel", [seat]))

        async def reserved(arguments: Mapping[str, Any]) -> Returned | None:
            return Returned(arguments["seat"]) if await is_reserved(arguments["seat"]) else None

        async def cancelled(arguments: Mapping[str, Any]) -> Returned | None:
            return None if await is_reserved(arguments["seat"]) else Returned(arguments["seat"])

        special: dict[str, dict[str, Any]] = {
            "addv": {"verify": added},
            "save": {"verify": saved},
            "reserve": {"verify": reserved},
            "cancel": {"verify": cancelled, "undoes": Undo("reserve", match={"seat": "value"})},
            "pay": {"approval": True, "effect": "destructive"},
            "set": {"effect": "idempotent"},
            "setk": {"effect": "idempotent"},
        }
        common: dict[str, Any] = {"answer_reads_for": reads_for}
        return {
            name: ToolPolicy(**{"effect": "read" if name in READS else "write", **common, **special.get(name, {})})
            for name in (each.__name__ for each in self.functions())
        }


def _thread(config: RunnableConfig | None) -> str:
    return str(((config or {}).get("configurable") or {}).get("thread_id", ""))
