"""The simulated world: what tools change in it, and how they fail. It may be in this process, or in one of its own."""

import copy
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

__all__ = ["EFFECTS", "READS", "OneWorld", "World", "Worlds", "key_of", "unnoticed", "value_of"]

READS = frozenset(["count", "version", "flag", "get", "status", "rflaky"])
EFFECTS = frozenset(["add", "addk", "addv", "save", "charge", "flaky", "set", "setk", "reserve", "cancel", "pay"])
"""The tools that change something."""


class World:
    """The state that the tools of one thread read and change. Every effect that lands is noted, with the id of its call.

    Args:
        fails: How often the tools `flaky` and `rflaky` fail for an argument, before they work.
        calm: Nothing goes wrong but what a program is told of: this is the world of the undisturbed program.
        state: A world that was before, to go on from.
    """

    def __init__(
        self, fails: Mapping[str, int] | None = None, *, calm: bool = False, state: Mapping[str, Any] | None = None
    ) -> None:
        self.calm = calm
        self.state: dict[str, Any] = (
            copy.deepcopy(dict(state))
            if state is not None
            else {
                "rows": [],
                "flags": {},
                "version": 0,
                "accounts": {},
                "reserved": [],
                "polls": {},
                "keys": {},
                "lost": [],
                "landed": [],
            }
        )
        self.state["fails"] = dict(fails or {})
        self.turns: dict[str, dict[str, Any]] = {}
        """By the name of a turn: the world `before` it, and how it `ended`."""

    async def delay(self) -> None:
        """Take the time that a call takes: none."""

    def begin(self, turn: str, fails: Mapping[str, int], checkpoint: str = "") -> None:
        """Note that a turn of the thread begins here, unless it has begun, after which checkpoint."""
        if turn not in self.turns:
            self.turns[turn] = {"before": copy.deepcopy(self.state), "ended": None, "checkpoint": checkpoint}
            self.state["fails"], self.state["lost"] = dict(fails), []

    def end(self, turn: str, ended: Mapping[str, Any]) -> None:
        """Note how a turn has ended, unless that is known."""
        known = self.turns[turn]
        if known["ended"] is None:
            known["ended"] = dict(ended)

    def snapshot(self) -> dict[str, Any]:
        """Return the world as it is, and its turns."""
        return copy.deepcopy({"state": self.state, "turns": self.turns})

    def perform(self, name: str, arguments: list[Any], key: str | None = None, id: str = "") -> list[Any]:
        """Do what a tool does.

        Returns:
            What came of it, and the value or the error: "value"; "known", which an effect under the same key returned;
            "failed"; "lost before" and "lost after", where the answer is lost before the effect and after it.
        """
        known = self.state["keys"].get(key) if key is not None else None
        if known is not None:
            return ["known", known[0]]
        first = arguments[0] if arguments else None
        loses = not self.calm and first in ("lost before", "lost after") and [name, first] not in self.state["lost"]
        if loses:
            self.state["lost"].append([name, first])
        if loses and first == "lost before":
            return [first, None]
        try:
            value = self._change(name, *arguments)
        except ValueError as error:
            return ["failed", str(error)]
        if name in EFFECTS:
            self.state["landed"].append([name, arguments, value, id])
            if key is not None:
                self.state["keys"][key] = [value]
        return ["lost after" if loses else "value", value]

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


def key_of(state: Mapping[str, Any]) -> Any:
    """Return what has to be equal after two programs that did the same. A time is equal to every other."""
    rows = sorted([name, _timeless(text)] for name, text in state["rows"])
    flags = {name: _timeless(value) for name, value in sorted(state["flags"].items())}
    return rows, flags, state["version"], sorted(state["accounts"].items()), sorted(state["reserved"])


def unnoticed(landed: list[list[Any]], calls: list[Any]) -> Counter[tuple[str, str]]:
    """Return how many effects landed that these calls, as a state lists them, do not know to be done."""
    found = Counter((name, json.dumps(known)) for name, known, _, _ in landed)
    for call in calls:
        if call["effect"] != "read" and call["status"] == "done":
            found[call["tool"], json.dumps(list(call["arguments"].values()))] -= 1
    return found


def value_of(landed: list[list[Any]], name: str, arguments: list[Any]) -> Any:
    """Return what the last call of a tool with these arguments returned."""
    return next(value for tool, known, value, _ in reversed(landed) if (tool, known) == (name, arguments))


def _timeless(text: str) -> str:
    return "a time" if text.startswith("@") else text


class OneWorld:
    """One world for all threads, in this process."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def call(self, thread: str, method: str, *arguments: Any) -> Any:
        """Call a method of the world."""
        await self._world.delay()
        return getattr(self._world, method)(*arguments)


class Worlds:
    """The worlds of all threads, in this process."""

    def __init__(self) -> None:
        self._worlds: dict[str, World] = {}

    def do(self, thread: str, method: str, *arguments: Any) -> Any:
        """Call a method of the world of a thread."""
        return getattr(self._worlds.setdefault(thread, World()), method)(*arguments)

    async def call(self, thread: str, method: str, *arguments: Any) -> Any:
        """Call a method of the world of a thread."""
        return self.do(thread, method, *arguments)
