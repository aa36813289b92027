"""The simulated world: what tools change in it, how they fail, and when the process that calls them dies."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codemode_sandboxes import Returned
from langchain_core.runnables import RunnableConfig

from codemode_graph import ToolPolicy
from codemode_graph.tools import tool
from codemode_graph.tools.spec import CutOffCall, IdempotencyKey, Undo

__all__ = ["Killed", "Life", "World"]


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


class World:
    """What tools read and change. Every effect that lands is noted, with the id of its call.

    Args:
        fails: How often the tools `flaky` and `rflaky` fail for an argument, before they work.
        calm: Nothing goes wrong but what a program is told of: this is the world of the undisturbed program.
        path: A file that holds the world, so that it outlives the process; None for memory.
    """

    def __init__(self, fails: Mapping[str, int] | None = None, *, calm: bool = False, path: Path | None = None) -> None:
        self.calm, self.path = calm, path
        self.life = Life()
        self.state: dict[str, Any] = {
            "rows": [],
            "flags": {},
            "version": 0,
            "accounts": {},
            "reserved": [],
            "polls": {},
            "keys": {},
            "lost": [],
            "landed": [],
            "fails": dict(fails or {}),
        }
        if path is not None and path.exists():
            self.state = json.loads(path.read_text())

    def key(self) -> Any:
        """Return what has to be equal after two programs that did the same. A time is equal to every other."""
        state = self.state
        rows = sorted([name, _timeless(text)] for name, text in state["rows"])
        flags = {name: _timeless(value) for name, value in sorted(state["flags"].items())}
        return rows, flags, state["version"], sorted(state["accounts"].items()), sorted(state["reserved"])

    @property
    def landed(self) -> list[list[Any]]:
        """Effects, in order: tool, arguments, value, and the id of the call."""
        landed: list[list[Any]] = self.state["landed"]
        return landed

    def _save(self) -> None:
        if self.path is not None:
            new = self.path.with_suffix(".new")
            new.write_text(json.dumps(self.state))
            new.replace(self.path)

    async def _do(self, name: str, config: RunnableConfig | None, *arguments: Any, key: str | None = None) -> Any:
        """Call a tool: its process may die before the effect and after it, and the answer may be lost."""
        metadata = (config or {}).get("metadata") or {}
        id = str(metadata.get("codemode_id", ""))
        self.life.tick()
        if not self.calm:
            await asyncio.sleep(0)
        known = self.state["keys"].get(key) if key is not None else None
        if known is not None:
            return known[0]
        first = arguments[0] if arguments else None
        loses = not self.calm and first in ("lost before", "lost after") and [name, first] not in self.state["lost"]
        if loses:
            self.state["lost"].append([name, first])
            self._save()
        if loses and first == "lost before":
            raise TimeoutError("no answer")
        value = self._change(name, *arguments)
        if name in EFFECTS:
            self.landed.append([name, list(arguments), value, id])
            if key is not None:
                self.state["keys"][key] = [value]
        self._save()
        self.life.tick()
        if loses:
            raise TimeoutError("no answer")
        return value

    def _change(self, name: str, *arguments: Any) -> Any:
        state = self.state
        first = arguments[0] if arguments else None
        match name:
            case "count":
                return len(state["rows"])
            case "version":
                return state["version"]
            case "flag":
                return state["flags"].get(first, "open")
            case "get":
                return state["accounts"].get(first, 0)
            case "status":
                state["polls"][first] = state["polls"].get(first, 0) + 1
                return "ready" if state["polls"][first] >= 3 else "pending"
            case "flaky" | "rflaky" if state["fails"].get(first, 0) > 0:
                state["fails"][first] -= 1
                self._save()
                raise ValueError("503")
            case "rflaky":
                return 7
            case "save" if first != state["version"]:
                raise ValueError("conflict")
            case "set" | "setk":
                state["flags"][first] = arguments[1]
                return arguments[1]
            case "charge":
                state["accounts"][first] = state["accounts"].get(first, 0) + 1
                return state["accounts"][first]
            case "reserve":
                state["reserved"].append(first)
                return first
            case "cancel":
                if first not in state["reserved"]:
                    raise ValueError("nothing is reserved")
                state["reserved"].remove(first)
                return first
        state["rows"].append([name, str(first)])
        state["version"] += 1
        return len(state["rows"])

    def tools(self) -> list[Any]:
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
            """Give a seat back."""
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

    def policies(self, *, reads_for: float) -> dict[str, ToolPolicy]:
        """Return what is allowed of the tools. Reads answer an equal one for `reads_for` seconds."""

        async def verify(name: str, arguments: Mapping[str, Any], call: CutOffCall) -> Returned | None:
            values = [
                value for tool, known, value, _ in self.landed if (tool, known) == (name, list(arguments.values()))
            ]
            return Returned(values[-1]) if len(values) > call.equal_done else None

        async def added(arguments: Mapping[str, Any], call: CutOffCall) -> Returned | None:
            return await verify("addv", arguments, call)

        async def saved(arguments: Mapping[str, Any], call: CutOffCall) -> Returned | None:
            return await verify("save", arguments, call)

        async def reserved(arguments: Mapping[str, Any]) -> Returned | None:
            seat = arguments["seat"]
            return Returned(seat) if seat in self.state["reserved"] else None

        async def cancelled(arguments: Mapping[str, Any]) -> Returned | None:
            seat = arguments["seat"]
            return None if seat in self.state["reserved"] else Returned(seat)

        return {
            "*": ToolPolicy(answer_reads_for=reads_for),
            "addv": ToolPolicy(verify=added, answer_reads_for=reads_for),
            "save": ToolPolicy(verify=saved, answer_reads_for=reads_for),
            "reserve": ToolPolicy(verify=reserved, answer_reads_for=reads_for),
            "cancel": ToolPolicy(verify=cancelled, answer_reads_for=reads_for),
            "pay": ToolPolicy(approval=True, answer_reads_for=reads_for),
        }

    def unnoticed(self, calls: list[Any]) -> Counter[tuple[str, str]]:
        """Return how many effects landed that these calls, as a state lists them, do not know to be done."""
        found = Counter((name, json.dumps(known)) for name, known, _, _ in self.landed)
        for call in calls:
            if call["effect"] != "read" and call["status"] == "done":
                found[call["tool"], json.dumps(list(call["arguments"].values()))] -= 1
        return found

    def value_of(self, name: str, arguments: list[Any]) -> Any:
        """Return what the last call of a tool with these arguments returned."""
        return next(value for tool, known, value, _ in reversed(self.landed) if (tool, known) == (name, arguments))


EFFECTS = frozenset(
    ["add", "addk", "addv", "save", "charge", "flaky", "set", "setk", "reserve", "cancel", "pay"]
)  # of the tools that change something


def _timeless(text: str) -> str:
    return "a time" if text.startswith("@") else text
