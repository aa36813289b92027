"""Ask the person at the terminal about the calls that wait."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from codemode_graph.errors import ConfigurationError, Undecided
from codemode_graph.tools.spec import ToolPolicy
from codemode_graph.trace.console import say, visible

_WORDS = {
    "approve": ("y", "yes", "a", "approve"),
    "reject": ("n", "no", "reject"),
    "edit": ("e", "edit"),
    "respond": ("r", "respond"),
}
_HELP = {"approve": "yes", "reject": "no [REASON]", "edit": "edit ARGUMENTS-AS-JSON", "respond": "respond RESULT"}
# A bare yes to a call that may have taken effect could mean "it did" as well as "call it": it is asked again.
_UNKNOWN_WORDS = {**_WORDS, "approve": ("approve",)}
_UNKNOWN_HELP = {
    "respond": "respond [RESULT]: it took effect, and the program gets this result, as text or JSON",
    "approve": "approve: it did not take effect, and is called now",
    "edit": "edit ARGUMENTS-AS-JSON: it did not take effect, and is called now with these",
    "reject": "no [REASON]: it did not take effect, and is not called",
}


def can_ask() -> bool:
    """Return True where a person can be asked: what they type and what they are shown are both on a terminal."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def read_policies(patterns: Sequence[str], *, yes: bool) -> dict[str, ToolPolicy]:
    """Return the policies by which a person is asked: about destructive tools, and about those of the patterns.

    Raises:
        ConfigurationError: There are patterns, and `yes`.
    """
    if yes and patterns:
        raise ConfigurationError("--yes calls tools without asking, and --approve asks: leave one of them out")
    return {} if yes else {name: ToolPolicy(approval=True) for name in ("effect:destructive", *patterns)}


class TerminalApproval:
    """Puts the calls that wait to the person at the terminal, one by one; it is an `approve` function for `codemode`.

    Args:
        yes: Approve without asking. A call that was cut off and may have taken effect is asked about all the same.
    """

    def __init__(self, *, yes: bool) -> None:
        self._yes = yes
        self._console = Console(stderr=True)
        self._ended = False

    async def __call__(self, request: Any) -> Any:
        """Return the decisions of the person, or their answer to the question of a tool.

        Raises:
            Undecided: There is no terminal, or the person has ended the input.
        """
        if not (isinstance(request, dict) and "action_requests" in request):
            return await self._answer(request)
        allowed = {config["action_name"]: config["allowed_decisions"] for config in request["review_configs"]}
        if request.get("problem"):
            say(self._console, request["problem"], prefix="  ! ", style="yellow")
        decisions: list[dict[str, Any]] = []
        for action in request["action_requests"]:
            try:
                decision = await self._decide(action, allowed[action["name"]])
            except Undecided:
                # What has been decided counts; the run waits for the rest, and is asked for it next.
                if not decisions:
                    raise
                break
            decisions.append({**decision, "id": action["id"]})
        return {"decisions": decisions}

    async def _decide(self, action: Mapping[str, Any], allowed: Sequence[str]) -> dict[str, Any]:
        # `--yes` is no knowledge of what became of a call that was cut off: making it again may do it twice.
        if self._yes and action["reason"] == "approval" and "approve" in allowed:
            return {"type": "approve"}
        say(self._console, action["description"], prefix="  ? ", style="yellow bold")
        # The description may shorten a long value; a person decides on the whole call.
        whole = f"{action['name']} {json.dumps(action['args'], ensure_ascii=False, indent=2)}"
        for line in whole.splitlines():
            say(self._console, line, prefix="    ")
        # The value of a call that did take effect may be lost: then there is nothing to look up, and nothing to approve.
        doubt = action["reason"] == "unknown" and "approve" in allowed
        words = _UNKNOWN_WORDS if doubt else _WORDS
        if doubt and can_ask():
            say(self._console, "Look first whether it took effect, then answer:", prefix="    ")
            for line in (line for kind, line in _UNKNOWN_HELP.items() if kind in allowed):
                say(self._console, line, prefix="      ", hang=8)
        hint = "your answer" if doubt else ", ".join(_HELP[each] for each in allowed)
        while True:
            word, _, rest = (await self._read(f"    {hint} (Ctrl-D decides later): ")).partition(" ")
            kind = next((each for each in allowed if word.lower() in words[each]), None)
            if kind == "edit":
                try:
                    arguments = json.loads(rest)
                except ValueError as error:
                    say(self._console, f"the arguments are not JSON: {error}", prefix="  ! ", style="yellow")
                    continue
                return {"type": "edit", "edited_action": {"name": action["name"], "args": arguments}}
            if kind == "respond" and doubt:
                return {"type": kind, "message": _read_value(rest.strip()) if rest.strip() else None}
            if kind is not None:
                message = {"message": rest.strip()} if kind == "respond" or rest.strip() else {}
                return {"type": kind, **message}
            if word:
                say(self._console, f"answer with one of {', '.join(allowed)}", prefix="  ! ", style="yellow")

    async def _answer(self, question: Any) -> Any:
        text = question if isinstance(question, str) else json.dumps(question, ensure_ascii=False, default=str)
        say(self._console, text, prefix="  ? ", style="yellow bold")
        return _read_value(await self._read("    answer, as text or JSON (Ctrl-D answers later): "))

    async def _read(self, prompt: str) -> str:
        if self._ended or not can_ask():
            raise Undecided("nobody can be asked here")
        self._console.print(visible(prompt), end="", markup=False, highlight=False, soft_wrap=True)
        self._console.file.flush()
        # In a thread: the event loop renews the lease of the run meanwhile, and a signal can end the wait.
        line: str = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            self._ended = True
            self._console.print()
            raise Undecided("the person has ended the input")
        return line.strip()


def _read_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
